//! Puts a lane together from a checked config and two ports, and checks what only shows once the
//! ports are open.

use std::sync::Arc;

use model::config::{Config, Pair, Port};
use model::inflight::{CompletionSource, InFlight, Setup, SetupError};
use model::kpi::{CompletionFigures, KpiPlan, PortPlan};
use model::meta::{StampSource, wire_len};
use model::pacer::{HaltRule, Pacer, PacerSpec};
use model::sample::DepartureSource;
use model::time::Nanos;

use crate::classify::{Classified, Classifier, Classify};
use crate::eal::Eal;
use crate::flow_hash::{FlowHash, FlowHashError};
use crate::hand_over::{RingError, RingOut, hand_over};
use crate::lane::{Lane, LaneParts};
use crate::mbuf::MbufFifo;
use crate::port::in_turn::InTurn;
use crate::port::{Rx, Tx};
use crate::rx_worker::{FlowRange, Intake, IntakeParts};

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
        let of = |pair: &&Pair| pair.inside == index || pair.venue == index;
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
    let way = Way { config, eal, base, rx_port, tx_port };
    let flows_max = Classifier::flows_needed(config);
    let mut pacer = way.pacer(start, profile, flows_max);
    let name = format!("flows-{rx_port}");
    let classifier = way.classifier(&name, &tx, || pacer.new_flow())?;
    way.lane(profile, pacer, flows_max, classifier, rx, tx, completion)
}

/// One direction of a pair in which other cores receive: the lane of the pacing core, and an intake
/// for each of `receivers`, which are the sources of one receiving core each. They are joined by
/// rings of `ring` packets.
///
/// # Errors
/// See [`AssembleError`].
#[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
pub fn pipeline<R: Rx, T: Tx>(
    config: &Config,
    eal: &Arc<Eal>,
    base: TimeBase,
    start: Nanos,
    profile: usize,
    ring: u32,
    (rx_port, receivers): (usize, Vec<R>),
    (tx_port, tx): (usize, T),
    completion: CompletionSource,
) -> Result<(PipelineLane<T>, Vec<Intake<R>>), AssembleError> {
    let way = Way { config, eal, base, rx_port, tx_port };
    let flows_each = Classifier::flows_needed(config);
    let flows_max = flows_each.checked_mul(receivers.len() as u32).ok_or(AssembleError::Flows)?;
    let mut pacer = way.pacer(start, profile, flows_max);
    let burst = usize::from(config.ports[rx_port].rx_burst);
    let (mut rings, mut intakes) = (Vec::new(), Vec::new());
    for (k, rx) in receivers.into_iter().enumerate() {
        // All flows of the range are in use from here on, as the pacer sees it.
        let first = pacer.new_flow().ok_or(AssembleError::Flows)?;
        for n in 1..flows_each {
            if pacer.new_flow() != Some(first + n) {
                return Err(AssembleError::Flows);
            }
        }
        let mut flows = FlowRange::new(first, flows_each);
        let name = format!("flows-{rx_port}-{k}");
        let classifier = way.classifier(&name, &tx, || flows.take())?;
        let (ring, out) = hand_over(eal, &format!("to-{tx_port}-{k}"), ring, burst)
            .map_err(|source| AssembleError::Ring { port: way.egress().name.clone(), source })?;
        rings.push(out);
        let (tx_port, clock_source) = (tx_port as u8, way.clock_source());
        intakes.push(Intake::new(IntakeParts {
            rx,
            ring,
            classifier,
            flows,
            tx_port,
            clock_source,
        }));
    }
    let rx = InTurn::new(rings);
    let lane = way.lane(profile, pacer, flows_max, Classified, rx, tx, completion)?;
    Ok((lane, intakes))
}

/// The lane of a pacing core that others receive for.
pub type PipelineLane<T> = Lane<InTurn<RingOut>, T, Classified>;

/// One direction between two ports.
struct Way<'a> {
    config: &'a Config,
    eal: &'a Arc<Eal>,
    base: TimeBase,
    rx_port: usize,
    tx_port: usize,
}

impl Way<'_> {
    fn egress(&self) -> &Port {
        &self.config.ports[self.tx_port]
    }

    const fn clock_source(&self) -> StampSource {
        match self.base {
            TimeBase::Tsc => StampSource::Tsc,
            TimeBase::Virtual => StampSource::Virtual,
        }
    }

    fn pacer(&self, start: Nanos, profile: usize, flows_max: u32) -> Pacer<MbufFifo> {
        let (config, tx_port) = (self.config, self.tx_port);
        let spec = PacerSpec {
            slot: config.gateway.slot,
            start,
            flows_max,
            wire_len_max: wire_len(u32::from(self.egress().frame_bytes_max)),
            burst_max: usize::from(config.ports[self.rx_port].rx_burst),
            halt: config.classes.iter().map(HaltRule::of).collect(),
            port: tx_port,
            seed: config.gateway.seed ^ tx_port as u64,
        };
        Pacer::new(&spec, &config.profiles[profile])
    }

    /// A classifier with the table `table`, for what `tx` can send.
    fn classifier(
        &self,
        table: &str,
        tx: &impl Tx,
        new_flow: impl FnMut() -> Option<u32>,
    ) -> Result<Classifier, AssembleError> {
        let (config, egress) = (self.config, self.egress());
        let table = FlowHash::create(self.eal, table, Classifier::keys_needed(config))
            .map_err(|source| AssembleError::FlowTable { port: egress.name.clone(), source })?;
        let frame_bytes_max = u32::from(egress.frame_bytes_max).min(tx.frame_bytes_max());
        Classifier::new(config, self.rx_port, frame_bytes_max, table, new_flow)
            .ok_or(AssembleError::Flows)
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
    fn lane<R: Rx, T: Tx, S: Classify>(
        &self,
        profile: usize,
        pacer: Pacer<MbufFifo>,
        flows_max: u32,
        classifier: S,
        rx: R,
        tx: T,
        completion: CompletionSource,
    ) -> Result<Lane<R, T, S>, AssembleError> {
        let egress = self.egress();
        let inflight = InFlight::new(Setup {
            source: completion,
            limit_bytes: self.config.profiles[profile].egress[self.tx_port].inflight_limit_bytes,
            packets_max: u32::from(egress.tx_descriptors),
            stall_time: egress.stall_time,
            link: egress.link,
        })
        .map_err(|source| AssembleError::InFlight { port: egress.name.clone(), source })?;
        Ok(Lane::new(
            self.config,
            LaneParts {
                rx,
                tx,
                rx_port: self.rx_port as u8,
                tx_port: self.tx_port as u8,
                classifier,
                flows_max,
                pacer,
                inflight,
                departure_source: departure_source(egress, self.base),
                clock_source: self.clock_source(),
                carried_is_gateway_time: self.base == TimeBase::Virtual,
            },
        ))
    }
}
