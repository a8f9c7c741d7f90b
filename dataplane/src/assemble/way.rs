//! The lanes of one direction between two ports, for either arrangement.

use model::config::{Config, Port};
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
use crate::lane::{Lane, LaneParts};
use crate::mbuf::MbufFifo;
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
        let of_classes = postures(self.config, self.tx_port);
        if (0..of_classes.len()).any(|at| leaves(at) && of_classes[at] != Posture::Refuse) {
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
            port: tx_port,
            seed: config.gateway.seed ^ tx_port as u64,
            limits: limits(config, egress, self.base),
            follows_tcp: egress.side == Side::Venue
                && config.classes.iter().any(|c| c.may_carry_tcp),
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
