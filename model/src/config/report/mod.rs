//! What a good config promises: the answer of `wirepace check`.
//!
//! [`report`] is for people, [`report_json`] for programs; both print the same [`Report`]. Its
//! `envelopes` are what a conformance checker holds departures against: at most
//! `burst + rate x (t - s)` in every window `[s, t]`.

mod guarantees;
mod limits;
mod ports;
mod shaping;
mod text;

use serde::Serialize;

pub use guarantees::{Guarantee, guarantees};
pub use limits::LimitReport;
pub use ports::{PairReport, PortReport, QueueReport};
pub use shaping::ShapingReport;

use super::bursts::within;
use super::{Budget, ClockKind, Config, Derivation, Derived, Level, SampleRing};
use crate::kind::{Kind, Side};
use crate::profile::{Bucket, Caps, Segment};
use crate::stop::StopWord;
use crate::time::Nanos;

/// The unit that every rate, burst and budget of bytes counts.
pub const ACCOUNTING_UNIT: &str =
    "wire bytes = max(frame, 60) + 24 (preamble 8, FCS 4, inter-frame gap 12)";

/// What `check` says of a config.
#[derive(Clone, Debug, Serialize)]
pub struct Report<'a> {
    /// Name of the gateway.
    pub gateway: &'a str,
    /// Digest of the config.
    pub config_digest: &'a str,
    /// Its clock.
    pub clock: ClockKind,
    /// Its seed.
    pub seed: u64,
    /// Wheel slot, ns.
    pub slot_ns: Nanos,
    /// State at start.
    pub start_state: StopWord,
    /// [`ACCOUNTING_UNIT`].
    pub accounting_unit: &'static str,
    /// Ports.
    pub ports: Vec<PortReport<'a>>,
    /// Pairs.
    pub pairs: Vec<PairReport<'a>>,
    /// Classes with what holds for them in every profile.
    pub classes: Vec<ClassReport<'a>>,
    /// Venue limits, in the order of the file.
    pub venue_limits: Vec<LimitReport<'a>>,
    /// Profiles, `normal` first.
    pub profiles: Vec<ProfileReport<'a>>,
    /// Why the pool cannot run dry.
    pub buffer_budget: BudgetReport,
    /// Why no row of an order class is lost; `None` without a timeline.
    pub sample_ring: Option<SampleRing>,
    /// The envelope of every node of every profile.
    pub envelopes: Vec<Envelope<'a>>,
    /// What is worth a word to the operator.
    pub warnings: &'a [String],
}

/// What holds for a class in every profile.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its side.
    pub from: Side,
    /// Its kind.
    pub kind: Kind,
    /// Whether TCP may be led into it.
    pub may_carry_tcp: bool,
    /// The caps as they are written.
    pub stated_caps: &'a str,
    /// What holds and what cannot.
    pub guarantees: Vec<Guarantee>,
}

/// A profile.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its lease, ns; `None` = it needs none.
    pub lease_ns: Option<Nanos>,
    /// One for each class.
    pub classes: Vec<ClassInProfile<'a>>,
    /// One for each port.
    pub ports: Vec<PortInProfile<'a>>,
}

/// A class in a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassInProfile<'a> {
    /// Its name.
    pub name: &'a str,
    /// 0 is served first.
    pub priority: u8,
    /// Caps of the class.
    pub class: NodeReport,
    /// Caps of each of its flows.
    pub flow: NodeReport,
    /// Longest hold, ns; `None` = unlimited.
    pub max_hold_ns: Option<Nanos>,
    /// Packets that it may hold.
    pub queue_packets: u32,
    /// Wire bytes that it may hold.
    pub queue_bytes: u64,
    /// `drop` or `backpressure`.
    pub on_overflow: &'static str,
    /// New packets end as `profile_closed`.
    pub closed: bool,
    /// What is done with a frame that is too long, by egress port of the other side.
    pub segment: Vec<(&'a str, Segment)>,
    /// What shapes it beside its caps.
    pub shaping: ShapingReport,
}

/// An egress port in a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortInProfile<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its caps.
    pub caps: NodeReport,
    /// In-flight limit, bytes.
    pub inflight_limit_bytes: Option<u64>,
}

/// The caps of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Bits per second over wire bytes; `None` = unlimited.
    pub bits: Option<BucketReport>,
    /// Messages per second; `None` = unlimited.
    pub messages: Option<BucketReport>,
}

/// A bucket and the arithmetic behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketReport {
    /// Bits or messages per second.
    pub rate_per_s: u64,
    /// The burst as it is written.
    pub stated_burst: Option<String>,
    /// The bucket.
    #[serde(skip)]
    pub bucket: Bucket,
    /// The effective burst, wire bytes or messages, rounded up to whole ones.
    pub effective_burst: u64,
    /// The same exactly, where it is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_burst_exact: Option<ExactBurst>,
    /// How it is made up.
    pub arithmetic: String,
    /// The most that can arrive at once and still be paced: `B + R x max_hold`, rounded down. What
    /// is beyond leaves when `max_hold` is over, above the envelope. `None` = all of it is paced.
    pub paced_before_flush: Option<u64>,
}

/// The buffer budget.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetReport {
    /// Its rows.
    #[serde(flatten)]
    pub budget: Budget,
    /// Their sum.
    pub needed: u64,
    /// The arithmetic as text.
    pub arithmetic: String,
}

/// What the departures of one node keep to in every window. `None` = unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Envelope<'a> {
    /// Name of the profile.
    pub profile: &'a str,
    /// Name of the class, or of the port at level `port`.
    pub name: &'a str,
    /// Level of the node.
    pub level: Level,
    /// Bits per second over wire bytes.
    pub rate_bps: Option<u64>,
    /// Wire bytes.
    pub burst_bytes: Option<u64>,
    /// Messages per second.
    pub messages_per_s: Option<u64>,
    /// Messages, rounded up to whole ones.
    pub message_burst: Option<u64>,
    /// The same exactly, where it is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_burst_exact: Option<ExactBurst>,
}

/// A burst of `whole + rate x slack` messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExactBurst {
    /// Messages.
    pub whole: u64,
    /// What the rate gives in so long comes on top.
    pub slack_ns: Nanos,
}

/// The report as text, for people.
pub fn report(config: &Config) -> String {
    Report::of(config).to_string()
}

/// The report as JSON, for programs.
///
/// # Errors
/// The values cannot be written as JSON, which no value of these types brings about.
pub fn report_json(config: &Config) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(Report::of(config))
}

impl<'a> Report<'a> {
    /// What `config` promises.
    pub fn of(config: &'a Config) -> Self {
        let budget =
            Budget::of(&config.ports, &config.pairs, &config.profiles[0].classes, &config.dpdk);
        Self {
            gateway: &config.gateway.name,
            config_digest: &config.digest,
            clock: config.gateway.clock,
            seed: config.gateway.seed,
            slot_ns: config.gateway.slot,
            start_state: config.gateway.start_state,
            accounting_unit: ACCOUNTING_UNIT,
            ports: ports::ports(config),
            pairs: ports::pairs(config),
            classes: classes(config),
            venue_limits: limits::limits(config),
            profiles: (0..config.profiles.len())
                .map(|profile| in_profile(config, profile))
                .collect(),
            buffer_budget: BudgetReport {
                needed: budget.needed(),
                arithmetic: budget.to_string(),
                budget,
            },
            sample_ring: config
                .timeline
                .as_ref()
                .map(|timeline| SampleRing::of(config, Some(timeline))),
            envelopes: envelopes(config),
            warnings: &config.warnings,
        }
    }
}

fn classes(config: &Config) -> Vec<ClassReport<'_>> {
    let report = |(index, class): (usize, &'_ super::Class)| ClassReport {
        name: &config.classes[index].name,
        from: class.from,
        kind: class.kind,
        may_carry_tcp: class.may_carry_tcp,
        stated_caps: &config.classes[index].stated_caps,
        guarantees: guarantees(config, index),
    };
    config.classes.iter().enumerate().map(report).collect()
}

fn in_profile(config: &Config, index: usize) -> ProfileReport<'_> {
    let profile = &config.profiles[index];
    let derivation = |level: Level, node: usize| {
        config.derivations.iter().find(|d| (d.profile, d.level, d.index) == (index, level, node))
    };
    let classes = profile.classes.iter().enumerate().map(|(class, params)| ClassInProfile {
        name: &config.classes[class].name,
        priority: params.priority,
        class: node(derivation(Level::Class, class), params.max_hold),
        flow: node(derivation(Level::Flow, class), params.max_hold),
        max_hold_ns: (params.max_hold != Nanos::MAX).then_some(params.max_hold),
        queue_packets: params.queue_packets,
        queue_bytes: params.queue_bytes,
        on_overflow: if params.drops_when_full { "drop" } else { "backpressure" },
        closed: params.closed,
        segment: segments(config, index, class),
        shaping: ShapingReport::from(&params.shaping),
    });
    let ports = profile.egress.iter().enumerate().map(|(port, params)| PortInProfile {
        name: &config.ports[port].name,
        caps: node(derivation(Level::Port, port), Nanos::MAX),
        inflight_limit_bytes: params.inflight_limit_bytes,
    });
    ProfileReport {
        name: &profile.name,
        lease_ns: profile.needs_lease().then_some(config.control.lease),
        classes: classes.collect(),
        ports: ports.collect(),
    }
}

/// By each port that a class leaves by, what is done in a profile with its frames that are too long.
fn segments(config: &Config, profile: usize, class: usize) -> Vec<(&str, Segment)> {
    let side = config.classes[class].from.peer();
    let leaves_by = config.ports.iter().enumerate().filter(|(_, port)| port.side == side);
    leaves_by
        .map(|(index, port)| (port.name.as_str(), config.segment(profile, class, index)))
        .collect()
}

fn node(derivation: Option<&Derivation>, max_hold: Nanos) -> NodeReport {
    let Some(derivation) = derivation else { return NodeReport::default() };
    NodeReport {
        bits: derivation.bits.as_ref().map(|derived| bucket(derived, max_hold, 8)),
        messages: derivation.messages.as_ref().map(|derived| bucket(derived, max_hold, 1)),
    }
}

fn bucket(derived: &Derived, max_hold: Nanos, per_unit: u64) -> BucketReport {
    let given = if derived.least.slack.is_zero() {
        derived.per_span.to_string()
    } else {
        format!("{}/s x {}", derived.bucket.rate_per_s, derived.least.slack)
    };
    let floor = format!("{} + {given}", derived.largest);
    let arithmetic = match &derived.stated {
        Some(stated) => format!("max({stated}, {floor})"),
        None => floor,
    };
    let Bucket { rate_per_s, slack, .. } = derived.bucket;
    let max_hold_and_slack = max_hold.saturating_add(slack);
    let paced =
        derived.bucket.burst.saturating_add(within(rate_per_s, max_hold_and_slack, per_unit));
    BucketReport {
        rate_per_s,
        bucket: derived.bucket,
        stated_burst: derived.stated_text.clone(),
        effective_burst: derived.bucket.burst_rounded_up(),
        effective_burst_exact: exact(derived.bucket),
        arithmetic,
        paced_before_flush: (max_hold != Nanos::MAX).then_some(paced),
    }
}

fn exact(bucket: Bucket) -> Option<ExactBurst> {
    let exact = ExactBurst { whole: bucket.burst, slack_ns: bucket.slack };
    (!bucket.slack.is_zero()).then_some(exact)
}

fn envelopes(config: &Config) -> Vec<Envelope<'_>> {
    let mut rows = Vec::new();
    for profile in &config.profiles {
        let mut row = |name, level, caps: &Caps| {
            rows.push(Envelope {
                profile: profile.name.as_str(),
                name,
                level,
                rate_bps: caps.bits.map(|bucket| bucket.rate_per_s),
                burst_bytes: caps.bits.map(|bucket| bucket.burst),
                messages_per_s: caps.messages.map(|bucket| bucket.rate_per_s),
                message_burst: caps.messages.map(|bucket| bucket.burst_rounded_up()),
                message_burst_exact: caps.messages.and_then(exact),
            });
        };
        for (class, params) in config.classes.iter().zip(&profile.classes) {
            row(class.name.as_str(), Level::Flow, &params.flow);
            row(class.name.as_str(), Level::Class, &params.class);
        }
        for (port, params) in config.ports.iter().zip(&profile.egress) {
            row(port.name.as_str(), Level::Port, &params.port);
        }
    }
    rows
}
