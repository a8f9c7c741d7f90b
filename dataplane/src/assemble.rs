//! Puts a lane together from a checked config and two ports, and checks what only shows once the
//! ports are open.

use std::sync::Arc;

use model::config::{Class, Config, Port};
use model::inflight::{CompletionSource, InFlight, Setup, SetupError};
use model::kind::Side;
use model::kpi::{CompletionFigures, KpiPlan, PortPlan};
use model::meta::{StampSource, wire_len};
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::pacer::{HaltRule, Pacer, PacerSpec};
use model::sample::DepartureSource;
use model::time::Nanos;

use crate::classify::Classifier;
use crate::eal::Eal;
use crate::flow_hash::{FlowHash, FlowHashError};
use crate::lane::{Lane, LaneParts};
use crate::port::{Rx, Tx};

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
        tx_descriptors: u32::from(p.tx_descriptors),
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

/// A lane from `rx_port` to `tx_port` that starts at `start` in profile `profile`.
///
/// # Errors
/// See [`AssembleError`].
#[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
pub fn lane<R: Rx, T: Tx>(
    config: &Config,
    eal: &Arc<Eal>,
    base: TimeBase,
    start: Nanos,
    profile: usize,
    (rx_port, rx): (usize, R),
    (tx_port, tx): (usize, T),
    completion: CompletionSource,
) -> Result<Lane<R, T>, AssembleError> {
    let egress = &config.ports[tx_port];
    let profile = &config.profiles[profile];
    let spec = PacerSpec {
        slot: config.gateway.slot,
        start,
        flows_max: Classifier::flows_needed(config),
        wire_len_max: wire_len(u32::from(egress.frame_bytes_max)),
        burst_max: usize::from(config.ports[rx_port].rx_burst),
        halt: config.classes.iter().map(HaltRule::of).collect(),
        port: tx_port,
        seed: config.gateway.seed ^ tx_port as u64,
        limits: limits(config, egress, base),
        follows_tcp: egress.side == Side::Venue && config.classes.iter().any(|c| c.may_carry_tcp),
    };
    let mut pacer = Pacer::new(&spec, profile);
    let table = FlowHash::create(eal, &format!("flows-{rx_port}"), Classifier::keys_needed(config))
        .map_err(|source| AssembleError::FlowTable { port: egress.name.clone(), source })?;
    let frame_bytes_max = u32::from(egress.frame_bytes_max).min(tx.frame_bytes_max());
    let classifier = Classifier::new(config, rx_port, frame_bytes_max, table, || pacer.new_flow())
        .ok_or(AssembleError::Flows)?;
    let inflight = InFlight::new(Setup {
        source: completion,
        limit_bytes: profile.egress[tx_port].inflight_limit_bytes,
        packets_max: u32::from(egress.tx_descriptors),
        stall_time: egress.stall_time,
        link: egress.link,
    })
    .map_err(|source| AssembleError::InFlight { port: egress.name.clone(), source })?;
    Ok(Lane::new(
        config,
        LaneParts {
            rx,
            tx,
            rx_port: rx_port as u8,
            tx_port: tx_port as u8,
            classifier,
            pacer,
            inflight,
            departure_source: departure_source(egress, base),
            clock_source: match base {
                TimeBase::Tsc => StampSource::Tsc,
                TimeBase::Virtual => StampSource::Virtual,
            },
            carried_is_gateway_time: base == TimeBase::Virtual,
        },
    ))
}
