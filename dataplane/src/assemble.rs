//! Puts a lane together from a checked config and two ports, and checks what only shows once the
//! ports are open.

mod way;

use std::sync::Arc;

use model::config::{Class, Config, Pair, Port, PortIntent};
use model::inflight::{CompletionSource, SetupError};
use model::kind::Side;
use model::kpi::{CompletionFigures, KpiPlan, PortPlan};
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::sample::DepartureSource;

pub use self::way::{
    Joined, PipelineLane, join, lane, pipeline, second_completion, with_second_path,
};
use crate::acl::AclError;
use crate::classify::Classifier;
use crate::eal::Eal;
use crate::flow_hash::{FlowHash, FlowHashError};
use crate::hand_over::RingError;
use crate::intent::apply::Terms;
use crate::intent::desk::{Desk, DeskParts};
use crate::intent::groups::Groups;
use crate::intent::strip::ShimPolicy;
use crate::pool::{Pool, PoolError};
use crate::segment::{Posture, SegmentStage};

/// Why a lane cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The flow table.
    #[error("port {port}: {source}")]
    FlowTable {
        /// Egress port.
        port: String,
        /// What was said.
        source: FlowHashError,
    },
    /// The rules.
    #[error("rules for what comes from port {port}: {source}")]
    Rules {
        /// Ingress port.
        port: String,
        /// What was said.
        source: AclError,
    },
    /// The account of the TX queue.
    #[error("port {port}: {source}")]
    InFlight {
        /// Egress port.
        port: String,
        /// What was said.
        source: SetupError,
    },
    /// The device does not complete in the way that the config demands.
    #[error(
        "port {port}: completion = \"{demanded}\" is not to be had from this device: allowed are \
         \"auto\", \"synchronous\" or \"{offered}\""
    )]
    Completion {
        /// Egress port.
        port: String,
        /// What the config says.
        demanded: &'static str,
        /// What the device offers.
        offered: &'static str,
    },
    /// An in-flight limit that nothing can enforce.
    #[error(
        "port {port}: inflight_limit needs completions, and this device is done when its send call \
         returns: drop the limit, or give the port a `link` to model them"
    )]
    LimitWithoutCompletions {
        /// Egress port.
        port: String,
    },
    /// The buffers that cutting super-frames takes.
    #[error("port {port}: segment = \"software\": {source}")]
    Segments {
        /// Egress port.
        port: String,
        /// What was said.
        source: PoolError,
    },
    /// A port that cannot cut super-frames is to.
    #[error(
        "port {port}: segment = \"hardware\" needs a device that cuts TCP, and this one does not: say \
         segment = \"software\" or \"refuse\""
    )]
    NoHardware {
        /// Egress port.
        port: String,
    },
    /// The ring between two cores.
    #[error("port {port}: {source}")]
    Ring {
        /// Egress port.
        port: String,
        /// What was said.
        source: RingError,
    },
    /// An egress port is paced by one core, because only one can know what its classes have sent.
    #[error("port {port}: {cores} cores would pace it: a port belongs to exactly one pair")]
    Pacers {
        /// Egress port.
        port: String,
        /// How many pairs name it.
        cores: usize,
    },
    /// What a pipeline has no place for yet; `check` refuses it with file and line.
    #[error(
        "port {port}: {what} has no place in a pipeline: say arrangement = \"run_to_completion\""
    )]
    NotInPipeline {
        /// The port.
        port: String,
        /// What was asked for.
        what: &'static str,
    },
    /// More flows than a lane can have.
    #[error("flows_max is too small for the classes of the config")]
    Flows,
}

/// Which clock a lane lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBase {
    /// Real time.
    Tsc,
    /// Virtual time; stamps of packets are gateway time.
    Virtual,
}

/// What completions the egress device of a lane offers, and what the config makes of it.
///
/// # Errors
/// [`AssembleError::Completion`], [`AssembleError::LimitWithoutCompletions`]: what was demanded is
/// not there, so start is refused.
pub fn completion_source(
    port: &Port,
    offered: CompletionSource,
) -> Result<CompletionSource, AssembleError> {
    let chosen = CompletionSource::choose(port.completion, port.link.is_some(), offered);
    let possible = chosen == offered
        || matches!(chosen, CompletionSource::Synchronous | CompletionSource::LinkModel);
    if !possible {
        return Err(AssembleError::Completion {
            port: port.name.clone(),
            demanded: chosen.name(),
            offered: offered.name(),
        });
    }
    if port.inflight_limit_bytes.is_some() && !chosen.reports() {
        return Err(AssembleError::LimitWithoutCompletions { port: port.name.clone() });
    }
    Ok(chosen)
}

/// Whether every port is paced by exactly one core.
///
/// # Errors
/// [`AssembleError::Pacers`].
pub fn one_pacer_each(config: &Config) -> Result<(), AssembleError> {
    for (index, port) in config.ports.iter().enumerate() {
        let of = |pair: &&Pair| pair.inside == index || pair.venues().any(|venue| venue == index);
        let cores = config.pairs.iter().filter(of).count();
        if cores != 1 {
            return Err(AssembleError::Pacers { port: port.name.clone(), cores });
        }
    }
    Ok(())
}

/// How the KPIs see an egress port.
pub fn port_plan(
    config: &Config,
    port: usize,
    completion: CompletionSource,
    base: TimeBase,
) -> PortPlan {
    let p = &config.ports[port];
    PortPlan {
        index: port as u8,
        name: p.name.clone(),
        side: p.side,
        departure: departure_source(p, base),
        completion: match completion {
            CompletionSource::Synchronous => CompletionFigures::Absent,
            CompletionSource::LinkModel => CompletionFigures::Simulated,
            CompletionSource::RingCount | CompletionSource::RefcountProbe => {
                CompletionFigures::Measured
            }
        },
        stall_time: p.stall_time,
        tx_descriptors: u32::from(p.tx_descriptors),
        link_bits_per_s: p.link.map(|link| link.rate_bps),
    }
}

/// The KPI plan of a core that sends to `ports`, each with its completions.
pub fn kpi_plan(config: &Config, ports: &[(usize, CompletionSource)], base: TimeBase) -> KpiPlan {
    let ports = ports.iter().map(|&(port, source)| port_plan(config, port, source, base));
    KpiPlan::new(config, ports.collect())
}

fn departure_source(port: &Port, base: TimeBase) -> DepartureSource {
    match (port.link, base) {
        (Some(_), _) => DepartureSource::Modelled,
        (None, TimeBase::Tsc) => DepartureSource::Tsc,
        (None, TimeBase::Virtual) => DepartureSource::Virtual,
    }
}

/// Most ordering groups of a lane.
const GROUPS_MAX: u32 = 4_096;

/// Whether packets that come in by `rx_port` may bear intent, with them or out of band.
fn takes_intent(config: &Config, rx_port: usize) -> bool {
    let port = &config.ports[rx_port];
    let by_records = config.intent.udp.is_some() || config.intent.shm.is_some();
    port.side == Side::Inside && (port.intent == PortIntent::Shim || by_records)
}

/// What the lane that receives on `rx_port` makes of intent: `None` where its port takes no shims and
/// the config no records out of band, and on the side of the venue. Records come in once the desk has
/// its [`crate::intent::inlet::Inlet`].
fn desk(config: &Config, eal: &Arc<Eal>, rx_port: usize) -> Result<Option<Desk>, AssembleError> {
    let port = &config.ports[rx_port];
    let shim = match port.intent {
        PortIntent::Off => ShimPolicy::Refuse,
        PortIntent::Shim => ShimPolicy::Strip,
    };
    if !takes_intent(config, rx_port) {
        return Ok(None);
    }
    let groups_max = config.gateway.flows_max.min(GROUPS_MAX);
    let table = FlowHash::create(eal, &format!("groups-{rx_port}"), groups_max)
        .map_err(|source| AssembleError::FlowTable { port: port.name.clone(), source })?;
    Ok(Some(Desk::new(DeskParts {
        shim,
        terms: Terms::of(config),
        groups: Groups::new(table, Classifier::flows_needed(config)),
        first_own_flow: Classifier::shared_flows(config),
        side: None,
    })))
}

/// The posture of each class, and of each twin, on egress port `tx_port`, as loose as any profile lets it be.
fn postures(config: &Config, tx_port: usize) -> Vec<Posture> {
    let profiles = 0..config.profiles.len();
    let loosest =
        |class| profiles.clone().map(|profile| config.segment(profile, class, tx_port)).max();
    config.nodes().map(|class| loosest(class).unwrap_or_default()).collect()
}

/// Whether the device behind port `port` has to cut super-frames: of some class that leaves by it, in
/// some profile. For [`crate::port::dpdk::PortSpec::cuts_frames`].
pub fn cuts_frames(config: &Config, port: usize) -> bool {
    let sent_to = config.ports[port].side;
    let leaves = |class: usize| config.classes[class].from != sent_to;
    let mut of_nodes = config.nodes().zip(postures(config, port));
    of_nodes.any(|(class, posture)| leaves(class) && posture == Posture::Hardware)
}

/// What becomes of super-frames on the way from `rx_port` to `tx_port`, each class as loose as any
/// profile lets it be: what a profile tightens is set with the profile.
fn segment_stage(
    config: &Config,
    pool: &Pool,
    (rx_port, tx_port): (usize, usize),
    frame_bytes_max: u32,
) -> Result<SegmentStage, AssembleError> {
    SegmentStage::new(
        &postures(config, tx_port),
        frame_bytes_max,
        pool,
        &format!("segments-{rx_port}"),
    )
    .map_err(|source| AssembleError::Segments { port: config.ports[tx_port].name.clone(), source })
}

/// The venue limits that hold what is sent to a venue.
///
/// Windows begin full in real time: what a process before this one sent in the last of them is not
/// known. A replay has nothing before it.
fn limits(config: &Config, egress: &Port, base: TimeBase) -> LimitsSpec {
    if egress.side != Side::Venue {
        return LimitsSpec::default();
    }
    let of_class =
        |c: &Class| ClassLimits { participant: c.participant_limit, session: c.session_limit };
    LimitsSpec {
        limits: config.venue_limits.clone(),
        classes: config.classes.iter().map(of_class).collect(),
        start_full: base == TimeBase::Tsc,
    }
}
