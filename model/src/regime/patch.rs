//! The three profiles that states ask for, as whole tables: a `[[profile]]` of that name where the
//! config has one, else made from the operator-confirmed table by the rules below. Each is at least
//! as tight as that in every field.
//!
//! | profile | what is made of `normal` |
//! |---|---|
//! | `smooth` | bursts of flows and classes as short as their rate allows; super-frames are cut here; a row of every packet; replaces limited to `churn_cap`, where that is enforced |
//! | `anti_burst` | jitter within what the bursts forgive, release windows, 4 packets a flush; what is exempt goes before priority; receive holds off |
//! | `contain` | a quarter of the in-flight limit, never below what it takes to send; a quarter of the queue budgets; the second path, where there is one |

use super::table::Posture;
use crate::config::{Class, Config, Derived, Level};
use crate::inflight::feasible_floor_bytes;
use crate::kind::{Kind, Side};
use crate::meta::wire_len;
use crate::profile::{Bucket, Caps, ClassParams, Profile, Segment};
use crate::time::Nanos;

/// Longest jitter: a tenth of the shortest window that shows bursts.
const JITTER_MAX: Nanos = Nanos::from_micros(25);
/// Less than this breaks no resonance.
const JITTER_MIN: Nanos = Nanos::from_micros(1);
/// A release window opens for so many packets ...
const HOLD_FRAMES: u16 = 4;
/// ... or so long after the first: less than a window that shows bursts.
const HOLD_TIME: Nanos = Nanos::from_micros(100);
/// Most packets of a class in one flush.
const FAN_OUT: u16 = 4;
/// Part of the in-flight limit and of the queue budgets that containment leaves.
const CONTAINED: u64 = 4;
/// Share of a port's rate that exempt kinds get ahead of priority: one in so many.
const EXEMPT_SHARE: u64 = 10;

/// What the tables are made and held to: largest packets of a class at one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Largest {
    /// Wire bytes of its largest frame.
    pub bytes: u64,
    /// Messages of its fullest packet.
    pub messages: u64,
}

/// The profiles that states ask for.
#[derive(Clone, Debug)]
pub struct Patches {
    tables: [Profile; 3],
    /// Of each class.
    pub(super) largest: Vec<Largest>,
    pub(super) slot: Nanos,
    /// Replaces are limited by `smooth`.
    pub(super) caps_churn: bool,
}

impl Patches {
    /// From a checked config.
    pub fn new(config: &Config) -> Self {
        let largest = (0..config.classes.len()).map(|class| largest(config, class)).collect();
        let named = |posture: Posture| {
            config.profiles.iter().skip(1).find(|profile| profile.name == posture.name()).cloned()
        };
        let mut tables = Posture::ACTING.map(|posture| {
            named(posture).unwrap_or_else(|| match posture {
                Posture::Smooth => smooth(config),
                Posture::AntiBurst => anti_burst(config),
                Posture::Contain => contain(config),
                Posture::Normal => config.profiles[0].clone(),
            })
        });
        // What no `[[profile]]` can say: nothing from the venue is shaped by one, nor what is looked at.
        for (table, posture) in tables.iter_mut().zip(Posture::ACTING) {
            for (class, params) in config.classes.iter().zip(&mut table.classes) {
                params.shaping.rx_hold_off = posture == Posture::AntiBurst && is_feed(class);
                params.shaping.rows_in_full =
                    posture == Posture::Smooth && class.from == Side::Inside;
            }
        }
        let caps_churn = config.regime.churn_cap_per_s.is_some();
        Self { tables, largest, slot: config.gateway.slot, caps_churn }
    }

    /// The table of a profile; none for `normal`, which changes nothing.
    pub fn table(&self, posture: Posture) -> Option<&Profile> {
        let at = Posture::ACTING.iter().position(|acting| *acting == posture)?;
        Some(&self.tables[at])
    }
}

/// Every profile that an operator may put in force, each at its index: those of the config, then the
/// built-in ones that the file has no table for.
pub fn selectable(config: &Config) -> Vec<Profile> {
    let mut all = config.profiles.clone();
    for mut table in Patches::new(config).tables {
        match all.iter_mut().skip(1).find(|profile| profile.name == table.name) {
            Some(of_file) => of_file.classes = table.classes,
            None => {
                table.index = u16::try_from(all.len()).unwrap_or(u16::MAX);
                all.push(table);
            }
        }
    }
    all
}

/// What the built-in profiles change: the fields that [`Patches::without`] knows.
pub const FIELDS: [&str; 14] = [
    "second_path",
    "flow_burst",
    "burst",
    "queue_packets",
    "queue_bytes",
    "reserved",
    "jitter",
    "hold_frames",
    "hold_time",
    "fan_out",
    "segment",
    "rx_hold",
    "telemetry",
    "inflight_limit",
];

impl Patches {
    /// Leaves `field` of a profile as `normal` has it: a drill that needs the action must fail then.
    /// `false` where no profile changes such a field.
    #[must_use]
    pub fn without(&mut self, posture: Posture, field: &str, normal: &Profile) -> bool {
        let Some(at) = Posture::ACTING.iter().position(|acting| *acting == posture) else {
            return false;
        };
        let table = &mut self.tables[at];
        for (mine, normal) in table.classes.iter_mut().zip(&normal.classes) {
            put_back(mine, normal, field);
        }
        if field == "inflight_limit" {
            for (mine, normal) in table.egress.iter_mut().zip(&normal.egress) {
                mine.inflight_limit_bytes = normal.inflight_limit_bytes;
            }
        }
        FIELDS.contains(&field)
    }
}

fn put_back(mine: &mut ClassParams, normal: &ClassParams, field: &str) {
    let bursts = |mine: &mut Caps, normal: &Caps| {
        let pairs = [(&mut mine.bits, normal.bits), (&mut mine.messages, normal.messages)];
        for (mine, normal) in pairs {
            if let (Some(mine), Some(normal)) = (mine, normal) {
                mine.deepen_to(&normal);
            }
        }
    };
    let (shaping, of_normal) = (&mut mine.shaping, &normal.shaping);
    match field {
        "second_path" => mine.second_path = normal.second_path,
        "flow_burst" => bursts(&mut mine.flow, &normal.flow),
        "burst" => bursts(&mut mine.class, &normal.class),
        "queue_packets" => mine.queue_packets = normal.queue_packets,
        "queue_bytes" => mine.queue_bytes = normal.queue_bytes,
        "reserved" => shaping.reserved = of_normal.reserved,
        "jitter" => shaping.jitter_max = of_normal.jitter_max,
        "hold_frames" => shaping.hold_frames = of_normal.hold_frames,
        "hold_time" => shaping.hold_time = of_normal.hold_time,
        "fan_out" => shaping.fan_out = of_normal.fan_out,
        "segment" => shaping.segment_most = of_normal.segment_most,
        "rx_hold" => shaping.rx_hold_off = of_normal.rx_hold_off,
        "telemetry" => shaping.rows_in_full = of_normal.rows_in_full,
        _ => {}
    }
}

/// Only such classes may be held back on their way in.
fn is_feed(class: &Class) -> bool {
    class.kind == Kind::MarketData && class.from == Side::Venue
}

fn largest(config: &Config, class: usize) -> Largest {
    let from = config.classes[class].from;
    let leaves_by = config.ports.iter().filter(|port| port.side == from.peer());
    let frame = leaves_by.map(|port| port.frame_bytes_max).max().unwrap_or(1514);
    Largest {
        bytes: u64::from(wire_len(u32::from(frame))),
        messages: u64::from(config.classes[class].messages_per_segment.unwrap_or(1)),
    }
}

/// `normal`, with what `change` does to each class from inside.
fn made(config: &Config, posture: Posture, change: impl Fn(usize, &mut ClassParams)) -> Profile {
    let mut profile = config.profiles[0].clone();
    posture.name().clone_into(&mut profile.name);
    let inside = config.classes.iter().zip(&mut profile.classes).enumerate();
    for (index, (_, params)) in inside.filter(|(_, (class, _))| class.from == Side::Inside) {
        change(index, params);
    }
    profile
}

fn smooth(config: &Config) -> Profile {
    made(config, Posture::Smooth, |class, params| {
        let derived = |level: Level| {
            let mut rows = config.derivations.iter();
            rows.find(|row| row.profile == 0 && row.level == level && row.index == class)
        };
        for (level, caps) in [(Level::Flow, &mut params.flow), (Level::Class, &mut params.class)] {
            let Some(row) = derived(level) else { continue };
            shorten(&mut caps.bits, row.bits.as_ref());
            shorten(&mut caps.messages, row.messages.as_ref());
        }
        params.shaping.segment_most = params.shaping.segment_most.min(Segment::Software);
        if let Some(rate_per_s) = config.regime.churn_cap_per_s
            && counts_replaces(&config.classes[class])
        {
            let burst = largest(config, class).messages;
            let cap = Bucket::new(rate_per_s, burst);
            let slower = params.class.messages.is_none_or(|own| rate_per_s < own.rate_per_s);
            params.class.messages = if slower { Some(cap) } else { params.class.messages };
        }
    })
}

/// Whether every packet of the class is so many replaces. Cancels are never limited.
fn counts_replaces(class: &Class) -> bool {
    class.kind == Kind::Replace && (class.messages_per_segment.is_some() || !class.may_carry_tcp)
}

/// As short as the rate allows: one largest packet and what the rate gives in a slot.
fn shorten(bucket: &mut Option<Bucket>, derived: Option<&Derived>) {
    if let (Some(bucket), Some(derived)) = (bucket, derived)
        && derived.least.depth() < bucket.depth()
    {
        bucket.deepen_to(&derived.least);
    }
}

fn anti_burst(config: &Config) -> Profile {
    let ports = config.ports.iter().zip(&config.profiles[0].egress);
    let venue = ports.filter(|(port, _)| port.side == Side::Venue);
    let rates = venue.filter_map(|(_, egress)| egress.port.bits);
    let port_rate = rates.map(|bucket| bucket.rate_per_s).min();
    made(config, Posture::AntiBurst, |index, params| {
        let class = &config.classes[index];
        if class.kind.is_exempt() {
            let ahead = port_rate.map(|rate| rate / EXEMPT_SHARE).filter(|rate| *rate > 0);
            let burst = largest(config, index).bytes.saturating_mul(u64::from(FAN_OUT));
            let reserve = ahead.map(|rate_per_s| Bucket::new(rate_per_s, burst));
            params.shaping.reserved = params.shaping.reserved.or(reserve);
            return;
        }
        if class.kind == Kind::Mixed {
            return;
        }
        let shaping = &mut params.shaping;
        shaping.fan_out = shaping.fan_out.min(FAN_OUT);
        // What the sender allows to be added, and what leaves room for the rest of its hold.
        let most = params.max_hold.0 / 4;
        let most = class.latency_budget.map_or(most, |budget| most.min(budget.0 / 2));
        let most = class.cadence.map_or(most, |cadence| most.min(cadence.0 / 4));
        if shaping.hold_frames == 1 && most > 0 {
            shaping.hold_frames = HOLD_FRAMES;
            shaping.hold_time = Nanos(most.min(HOLD_TIME.0));
        }
        let forgiven = forgiven(&params.flow, &params.class, largest(config, index).bytes);
        let jitter = Nanos(most.min(forgiven.0)).min(JITTER_MAX);
        if !class.legs && jitter >= JITTER_MIN {
            shaping.jitter_max = shaping.jitter_max.max(jitter);
        }
    })
}

/// Lateness that costs no rate: `(B - L) / R` of the tightest bucket.
pub(super) fn forgiven(flow: &Caps, class: &Caps, largest_bytes: u64) -> Nanos {
    let slack = |bucket: Bucket| {
        let bits = u128::from(bucket.burst.saturating_sub(largest_bytes)) * 8;
        let ns = bits * 1_000_000_000 / u128::from(bucket.rate_per_s.max(1));
        Nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    };
    [flow.bits, class.bits].into_iter().flatten().map(slack).min().unwrap_or(Nanos::MAX)
}

fn contain(config: &Config) -> Profile {
    let mut profile = made(config, Posture::Contain, |class, params| {
        let largest = largest(config, class).bytes;
        params.queue_packets = (params.queue_packets / CONTAINED as u32).max(1);
        params.queue_bytes = (params.queue_bytes / CONTAINED).max(largest);
        params.second_path = config.pairs.iter().any(|pair| pair.second_path.is_some());
    });
    let venue = config.ports.iter().zip(&mut profile.egress);
    for (port, egress) in venue.filter(|(port, _)| port.side == Side::Venue) {
        let batch = port.link.map_or(1, |link| link.completion_batch);
        let floor = feasible_floor_bytes(batch, u32::from(port.frame_bytes_max));
        let limit = egress.inflight_limit_bytes.map(|limit| (limit / CONTAINED).max(floor));
        egress.inflight_limit_bytes = limit;
    }
    profile
}
