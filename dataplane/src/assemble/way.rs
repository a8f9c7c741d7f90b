//! The lanes of one direction between two ports, for either arrangement.

use std::sync::Arc;

use model::config::{Config, Pair, Port, SecondPath};
use model::inflight::{CompletionSource, InFlight, Setup};
use model::kind::Side;
use model::meta::{StampSource, wire_len};
use model::pacer::{HaltRule, Pacer, PacerSpec};
use model::time::Nanos;

use super::{
    AssembleError, TimeBase, cuts_frames, departure_source, desk, limits, postures, segment_stage,
    takes_intent,
};
use crate::acl::Acl;
use crate::classify::{Classified, Classifier, Classify};
use crate::flow_hash::FlowHash;
use crate::hand_over::{RingOut, hand_over};
use crate::lane::{Lane, LaneParts, PathParts};
use crate::mbuf::MbufFifo;
use crate::paths::{Connections, Probe, ProbeRx, ProbeSpec};
use crate::pool::Pool;
use crate::port::in_turn::InTurn;
use crate::port::{Rx, Tx};
use crate::rx_worker::{FlowRange, Intake, IntakeParts};
use crate::segment::{HARDWARE_BYTES_MAX, Posture, SegmentStage};

/// A lane from `rx_port` to `tx_port` that starts at `start` in profile `profile`.
///
/// # Errors
/// See [`AssembleError`].
#[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
pub fn lane<R: Rx, T: Tx>(
    config: &Config,
    pool: &Pool,
    base: TimeBase,
    start: Nanos,
    profile: usize,
    (rx_port, rx): (usize, R),
    (tx_port, tx): (usize, T),
    completion: CompletionSource,
) -> Result<Lane<R, T>, AssembleError> {
    let way = Way { config, pool, base, rx_port, tx_port };
    way.check_hardware(&tx)?;
    let flows_max = Classifier::flows_needed(config);
    let mut pacer = way.pacer(start, profile, flows_max);
    let frame_bytes_max = way.frame_bytes_max(&tx);
    let mut segmenter = segment_stage(config, pool, (rx_port, tx_port), frame_bytes_max)?;
    // It is made for the loosest profile, and starts with this one.
    for (class, params) in config.profiles[profile].classes.iter().enumerate() {
        segmenter.set_most(class, params.shaping.segment_most);
    }
    let frames = (frame_bytes_max, segmenter.is_on());
    let classifier = way.classifier(&rx_port.to_string(), frames, || pacer.new_flow())?;
    let lane = way.lane(profile, pacer, flows_max, (classifier, segmenter), rx, tx, completion)?;
    Ok(match desk(config, pool.eal(), rx_port)? {
        Some(desk) => lane.with_intent(desk),
        None => lane,
    })
}

/// One direction of a pair in which other cores receive: the lane of the pacing core, and an intake
/// for each of `receivers`, which are the sources of one receiving core each. They are joined by
/// rings of `ring` packets.
///
/// # Errors
/// See [`AssembleError`]; intent and super-frames are refused.
#[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
pub fn pipeline<R: Rx, T: Tx>(
    config: &Config,
    pool: &Pool,
    base: TimeBase,
    start: Nanos,
    profile: usize,
    ring: u32,
    (rx_port, receivers): (usize, Vec<R>),
    (tx_port, tx): (usize, T),
    completion: CompletionSource,
) -> Result<(PipelineLane<T>, Vec<Intake<R>>), AssembleError> {
    let way = Way { config, pool, base, rx_port, tx_port };
    way.check_pipeline()?;
    let flows_each = Classifier::flows_needed(config);
    let flows_max = flows_each.checked_mul(receivers.len() as u32).ok_or(AssembleError::Flows)?;
    let mut pacer = way.pacer(start, profile, flows_max);
    let burst = usize::from(config.ports[rx_port].rx_burst);
    let frame_bytes_max = way.frame_bytes_max(&tx);
    // Nothing is cut here: it is the stage of a port that refuses.
    let segmenter = segment_stage(config, pool, (rx_port, tx_port), frame_bytes_max)?;
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
        let name = format!("{rx_port}-{k}");
        let classifier = way.classifier(&name, (frame_bytes_max, false), || flows.take())?;
        let (ring, out) = hand_over(pool.eal(), &format!("to-{tx_port}-{k}"), ring, burst)
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
    let lane = way.lane(profile, pacer, flows_max, (Classified, segmenter), rx, tx, completion)?;
    Ok((lane, intakes))
}

/// The lane of a pacing core that others receive for.
pub type PipelineLane<T> = Lane<InTurn<RingOut>, T, Classified>;

/// One direction between two ports.
struct Way<'a> {
    config: &'a Config,
    pool: &'a Pool,
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

    /// The second path towards the venue, where its pair has one.
    fn second_path(&self) -> Option<SecondPath> {
        let pair = self.config.pairs.iter().find(|pair| pair.venue == self.tx_port);
        pair.and_then(|pair| pair.second_path)
    }

    /// The longest frame that goes on as it is.
    fn frame_bytes_max(&self, tx: &impl Tx) -> u32 {
        u32::from(self.egress().frame_bytes_max).min(tx.frame_bytes_max())
    }

    fn check_hardware(&self, tx: &impl Tx) -> Result<(), AssembleError> {
        if cuts_frames(self.config, self.tx_port) && !tx.cuts_frames() {
            return Err(AssembleError::NoHardware { port: self.egress().name.clone() });
        }
        Ok(())
    }

    /// Intent and cutting stand between classifying and pacing, on one core.
    fn check_pipeline(&self) -> Result<(), AssembleError> {
        let refused = |port: usize, what| {
            let port = self.config.ports[port].name.clone();
            Err(AssembleError::NotInPipeline { port, what })
        };
        if takes_intent(self.config, self.rx_port) {
            return refused(self.rx_port, "intent");
        }
        let sent_to = self.egress().side;
        let leaves = |class: usize| self.config.classes[class].from != sent_to;
        let mut of_nodes = self.config.nodes().zip(postures(self.config, self.tx_port));
        if of_nodes.any(|(class, posture)| leaves(class) && posture != Posture::Refuse) {
            return refused(self.tx_port, "`segment`");
        }
        Ok(())
    }

    fn pacer(&self, start: Nanos, profile: usize, flows_max: u32) -> Pacer<MbufFifo> {
        let (config, egress, tx_port) = (self.config, self.egress(), self.tx_port);
        let spec = PacerSpec {
            slot: config.gateway.slot,
            start,
            flows_max,
            // What a NIC is to cut is paced as one packet.
            wire_len_max: wire_len(match cuts_frames(config, tx_port) {
                true => HARDWARE_BYTES_MAX,
                false => u32::from(egress.frame_bytes_max),
            }),
            burst_max: usize::from(config.ports[self.rx_port].rx_burst),
            halt: config.classes.iter().map(HaltRule::of).collect(),
            twins: config.canaried(),
            port: tx_port,
            seed: config.gateway.seed ^ tx_port as u64,
            limits: limits(config, egress, self.base),
            follows_tcp: egress.side == Side::Venue
                && config.classes.iter().any(|c| c.may_carry_tcp),
            two_paths: self.second_path().is_some(),
        };
        Pacer::new(&spec, &config.profiles[profile])
    }

    /// A classifier for frames of the given length, whether it takes longer ones too; its tables bear
    /// `name`.
    fn classifier(
        &self,
        name: &str,
        frames: (u32, bool),
        new_flow: impl FnMut() -> Option<u32>,
    ) -> Result<Classifier, AssembleError> {
        let (config, eal) = (self.config, self.pool.eal());
        let ingress = &config.ports[self.rx_port];
        let table =
            FlowHash::create(eal, &format!("flows-{name}"), Classifier::keys_needed(config))
                .map_err(|source| AssembleError::FlowTable {
                    port: self.egress().name.clone(),
                    source,
                })?;
        let rules = Acl::compile(eal, &format!("rules-{name}"), &config.rules, ingress.side)
            .map_err(|source| AssembleError::Rules { port: ingress.name.clone(), source })?;
        Classifier::new(config, self.rx_port, frames, table, rules, new_flow)
            .ok_or(AssembleError::Flows)
    }

    /// The account of the TX queue of port `port`.
    fn in_flight(
        &self,
        profile: usize,
        port: usize,
        source: CompletionSource,
    ) -> Result<InFlight, AssembleError> {
        let egress = &self.config.ports[port];
        InFlight::new(Setup {
            source,
            limit_bytes: self.config.profiles[profile].egress[port].inflight_limit_bytes,
            packets_max: u32::from(egress.tx_descriptors),
            stall_time: egress.stall_time,
            link: egress.link,
        })
        .map_err(|source| AssembleError::InFlight { port: egress.name.clone(), source })
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all parts named by their types")]
    fn lane<R: Rx, T: Tx, S: Classify>(
        &self,
        profile: usize,
        pacer: Pacer<MbufFifo>,
        flows_max: u32,
        (classifier, segmenter): (S, SegmentStage),
        rx: R,
        tx: T,
        completion: CompletionSource,
    ) -> Result<Lane<R, T, S>, AssembleError> {
        let egress = self.egress();
        let inflight = self.in_flight(profile, self.tx_port, completion)?;
        Ok(Lane::new(
            self.config,
            self.pool,
            LaneParts {
                rx,
                tx,
                rx_port: self.rx_port as u8,
                tx_port: self.tx_port as u8,
                classifier,
                flows_max,
                segmenter,
                pacer,
                inflight,
                departure_source: departure_source(egress, self.base),
                clock_source: self.clock_source(),
                carried_is_gateway_time: self.base == TimeBase::Virtual,
            },
        ))
    }
}

/// What joins the two paths of a pair, made before its lanes: the receiving sides of the paths, wrapped
/// so that they note answers to probes, and what the lane towards the venue is given of it.
pub struct Joined<R> {
    /// Of the port of the pair and of the second path.
    pub sources: [ProbeRx<R>; 2],
    /// What is known of both paths.
    pub probes: [Arc<Probe>; 2],
    /// What follows connections; for [`crate::worker::Worker::with_connections`].
    pub connections: Connections,
}

/// Joins the receiving sides of the two paths of `pair`; `None` where it has one path only.
pub fn join<R: Rx>(config: &Config, pair: &Pair, sources: [R; 2]) -> Option<Joined<R>> {
    let spec = probe_spec(&pair.second_path?);
    let probes = [Arc::default(), Arc::default()];
    let [first, second] = sources;
    let wrapped = |rx, probe: &Arc<Probe>| ProbeRx::new(rx, spec, Arc::clone(probe));
    Some(Joined {
        sources: [wrapped(first, &probes[0]), wrapped(second, &probes[1])],
        connections: Connections::new(Classifier::flows_needed(config)),
        probes,
    })
}

/// The lane towards the venue of `pair`, which sends by `tx` too from now on.
///
/// # Errors
/// See [`AssembleError`].
pub fn with_second_path<R: Rx, T: Tx>(
    config: &Config,
    pool: &Pool,
    base: TimeBase,
    profile: usize,
    (pair, lane): (&Pair, Lane<R, T>),
    tx: T,
    probes: [Arc<Probe>; 2],
) -> Result<Lane<R, T>, AssembleError> {
    let Some(rules) = pair.second_path else { return Ok(lane) };
    let way = Way { config, pool, base, rx_port: pair.inside, tx_port: rules.venue };
    let source = second_completion(&config.ports[rules.venue]);
    let parts = PathParts {
        tx_port: rules.venue as u8,
        inflight: way.in_flight(profile, rules.venue, source)?,
        probes,
        probe: probe_spec(&rules),
        rules,
        pool: pool.clone(),
        tx,
    };
    Ok(lane.with_second_path(config, profile, parts))
}

/// How completions of the port of a second path are known: modelled, or not at all.
pub const fn second_completion(port: &Port) -> CompletionSource {
    match port.link {
        Some(_) => CompletionSource::LinkModel,
        None => CompletionSource::Synchronous,
    }
}

const fn probe_spec(rules: &SecondPath) -> ProbeSpec {
    ProbeSpec { to: rules.probe_to, from: rules.probe_from, mac: rules.probe_mac }
}
