//! One direction of a port pair: RX -> classify -> pacer -> TX -> stamp -> sample.
//!
//! [`Lane::receive`] and [`Lane::release`] are the two halves of a turn; the worker calls them for
//! each of its lanes. Both are bounded by one burst and allocate nothing.

mod completions;
mod gate;
pub mod kpi_cost;
mod paths;
mod receive;
mod release;
mod reserve;
mod rows;
pub mod stages;
mod stamps;
mod tallies;
mod tcp;
mod watched;

use std::collections::VecDeque;
use std::sync::Arc;

use model::config::Config;
use model::inflight::{CompletionSource, InFlight};
use model::kind::Side;
use model::kpi::{Block, CoreAggregates, FlowKpi, Leaving};
use model::meta::StampSource;
use model::pacer::{Pacer, Roster};
use model::profile::Profile;
use model::sample::DepartureSource;
use model::stop::StopWords;
use model::time::Nanos;

use self::completions::Completions;
use self::kpi_cost::KpiCost;
use self::paths::Paths;
pub use self::paths::{PathCounters, PathParts};
use self::receive::LaneFlows;
use self::release::Held;
use self::reserve::Reserve;
use self::rows::drop_packet;
use self::stages::Stages;
use self::stamps::Stamps;
use crate::batch::Batch;
use crate::channel::WorkerLink;
use crate::classify::{Classifier, Classify};
use crate::clock::{PortClocks, TscModel};
use crate::intent::desk::Desk;
use crate::mbuf::MbufFifo;
use crate::paths::Connections;
use crate::pool::Pool;
use crate::port::{Rx, Tx};
use crate::sampler::Sampler;
use crate::segment::SegmentStage;

/// What falls due so soon is waited for: about as long as a turn that finds nothing.
pub const IMMINENT: Nanos = Nanos(256);
/// So often a few flows are looked at whether they are idle: a million in 25 s.
const AGE_EVERY: Nanos = Nanos::from_micros(100);
/// So many.
const AGE_FLOWS: u32 = 4;

/// What a lane shares with the other lanes of its core.
pub struct Core<'a> {
    /// Aggregates of every packet.
    pub aggregates: &'a mut CoreAggregates,
    /// The way to control.
    pub link: &'a mut WorkerLink<Block>,
    /// Which packets leave a full sample.
    pub sampler: &'a mut Sampler,
    /// Bytes on their way, where there is a second path.
    pub connections: Option<&'a mut Connections>,
}

/// What a lane is made of.
pub struct LaneParts<R, T, S = Classifier> {
    /// Where packets come from.
    pub rx: R,
    /// Where they go.
    pub tx: T,
    /// Index of the ingress port in the config.
    pub rx_port: u8,
    /// Index of the egress port in the config.
    pub tx_port: u8,
    /// Its classifier.
    pub classifier: S,
    /// Flows that its pacer can tell apart.
    pub flows_max: u32,
    /// What becomes of super-frames.
    pub segmenter: SegmentStage,
    /// Its pacer.
    pub pacer: Pacer<MbufFifo>,
    /// The account of the TX queue.
    pub inflight: InFlight,
    /// How departure times are made.
    pub departure_source: DepartureSource,
    /// What an arrival stamp is where the packet carries none.
    pub clock_source: StampSource,
    /// Stamps that packets carry are gateway time.
    pub carried_is_gateway_time: bool,
}

/// See the module.
pub struct Lane<R, T, S = Classifier> {
    parts: LaneParts<R, T, S>,
    /// What senders say of their packets; none where the ingress port takes no intent.
    intent: Option<Desk>,
    from: Side,
    /// The classes of which a few groups may be governed apart.
    twins: Box<[u8]>,
    flow_kpis: Box<[FlowKpi]>,
    completions: Completions,
    arrivals: Batch,
    departures: Batch,
    leaving: Vec<Leaving>,
    /// What `leaving` does not say of those that have waited or leave a row.
    held: Vec<Held>,
    /// Wire bytes in `leaving` that left as they came.
    direct_bytes: u64,
    /// Packets that were marked by ECN.
    ecn_marked: u64,
    /// A completion was seen in this turn.
    completed: bool,
    tx_burst: usize,
    last_arrival: Nanos,
    stamps_backwards: u64,
    /// Since when a due packet waits for the port.
    blocked_since: Option<Nanos>,
    /// Since when the port has taken nothing at all of what was due.
    stuck_since: Option<Nanos>,
    stuck_told: bool,
    stall_time: Nanos,
    next_look: Nanos,
    link_was_up: bool,
    draining: bool,
    over_budget_seen: u64,
    next_budget_alarm: Nanos,
    flow_idle: Nanos,
    next_age: Nanos,
    stamps: Stamps,
    reserve: Reserve,
    /// The second path, where there is one.
    paths: Option<Box<Paths<T>>>,
    /// For a bench that asks for it.
    stages: Option<Box<Stages>>,
    kpi_cost: Option<Box<KpiCost>>,
}

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// A lane between two ports of `config`, whose packets lie in buffers of `pool`.
    pub fn new(config: &Config, pool: &Pool, parts: LaneParts<R, T, S>) -> Self {
        let flows = parts.flows_max as usize;
        let descriptors = usize::from(config.ports[usize::from(parts.tx_port)].tx_descriptors);
        let completions = match parts.inflight.source() {
            CompletionSource::RingCount => Completions::RingCount,
            CompletionSource::RefcountProbe => {
                Completions::Refcount(VecDeque::with_capacity(descriptors))
            }
            CompletionSource::Synchronous | CompletionSource::LinkModel => Completions::None,
        };
        let tx_burst = usize::from(config.ports[usize::from(parts.rx_port)].rx_burst);
        Self {
            from: config.ports[usize::from(parts.rx_port)].side,
            twins: config.canaried().into(),
            flow_kpis: vec![FlowKpi::default(); flows].into_boxed_slice(),
            completions,
            arrivals: Batch::new(),
            departures: Batch::new(),
            leaving: Vec::with_capacity(tx_burst),
            held: Vec::with_capacity(tx_burst),
            direct_bytes: 0,
            ecn_marked: 0,
            completed: false,
            tx_burst,
            last_arrival: Nanos::ZERO,
            stamps_backwards: 0,
            blocked_since: None,
            stuck_since: None,
            stuck_told: false,
            stall_time: config.ports[usize::from(parts.tx_port)].stall_time,
            next_look: Nanos::ZERO,
            link_was_up: true,
            draining: false,
            over_budget_seen: 0,
            next_budget_alarm: Nanos::ZERO,
            stamps: Stamps::new(&config.ports[usize::from(parts.tx_port)], &parts.tx),
            reserve: Reserve::new(config, pool),
            stages: config.ports[usize::from(parts.rx_port)]
                .bench
                .filter(|bench| bench.stages)
                .map(|_| Box::new(Stages::new())),
            kpi_cost: config.ports[usize::from(parts.rx_port)]
                .bench
                .filter(|bench| bench.kpis_in_turn)
                .map(|_| Box::new(KpiCost::new())),
            intent: None,
            paths: None,
            flow_idle: config.gateway.flow_idle,
            next_age: Nanos::ZERO,
            parts,
        }
    }

    /// Takes intent from now on, before the first packet.
    #[must_use]
    pub fn with_intent(mut self, desk: Desk) -> Self {
        self.intent = Some(desk);
        self
    }

    /// What it does about intent, to give it its inlet.
    pub const fn intent_mut(&mut self) -> Option<&mut Desk> {
        self.intent.as_mut()
    }

    /// What it does about intent, to read counters.
    pub const fn intent(&self) -> Option<&Desk> {
        self.intent.as_ref()
    }

    /// Who is behind each flow of its pacer.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(self.parts.pacer.roster())
    }

    /// When this lane has something to do without anyone calling: its source, its pacer, its port.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let parts = &self.parts;
        let pacer = match self.blocked_since {
            // Due packets wait for the port: time alone does not help them.
            Some(_) if parts.pacer.is_due() => None,
            _ => parts.pacer.next_event(now),
        };
        // The pacer is asked so long ahead.
        let pacer = pacer.map(|at| at.saturating_sub(self.stamps.lead(now)));
        [parts.rx.next_event(), pacer, parts.inflight.next_event(), parts.tx.next_event()]
            .into_iter()
            .chain([self.next_path_event(now)])
            .flatten()
            .min()
    }

    /// When a packet that is held falls due, if that is soon: later than `now`, and within
    /// [`IMMINENT`].
    #[inline]
    pub fn imminent(&self, now: Nanos) -> Option<Nanos> {
        if self.parts.pacer.queued_packets() == 0 {
            return None;
        }
        let ask = now.saturating_add(self.stamps.lead(now));
        let due = self.parts.pacer.next_event(ask)?;
        (due > ask && due - ask <= IMMINENT).then(|| now + (due - ask))
    }

    /// Packets held, those included that another core or an RX hold has and has not delivered.
    pub fn held(&self) -> u32 {
        self.parts.pacer.queued_packets() + self.parts.rx.waiting()
    }

    /// Takes nothing more from the device; [`Lane::receive`] goes on until [`Lane::is_dry`].
    pub fn close_rx(&mut self) {
        self.parts.rx.close();
    }

    /// Whether nothing is left to receive once the source was closed.
    pub fn is_dry(&self) -> bool {
        self.parts.rx.is_dry()
    }

    /// New caps, at a burst boundary.
    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        self.parts.pacer.set_profile(now, profile);
        for (class, params) in profile.nodes(&self.twins).enumerate() {
            self.parts.segmenter.set_most(class, params.shaping.segment_most);
        }
        let off = profile.classes.iter().any(|params| params.shaping.rx_hold_off);
        self.parts.rx.hold_back(!off);
        if let Some(egress) = profile.egress.get(usize::from(self.parts.tx_port)) {
            self.parts.inflight.set_limit(egress.inflight_limit_bytes);
        }
        if let Some(paths) = &mut self.paths {
            paths.set_profile(now, profile);
            if let Some(egress) = profile.egress.get(usize::from(paths.parts.tx_port)) {
                paths.parts.inflight.set_limit(egress.inflight_limit_bytes);
            }
        }
    }

    /// Another profile is the confirmed one, while one that is not stays in force.
    pub fn set_confirmed(&mut self, now: Nanos, confirmed: &Profile) {
        self.parts.pacer.set_confirmed(now, confirmed);
    }

    /// The clocks of the device behind port `port` of the config, at a burst boundary.
    pub fn set_port_clocks(&mut self, port: u8, clocks: PortClocks, tsc: TscModel) {
        if port == self.parts.rx_port {
            self.stamps.set_rx(clocks, tsc);
        }
        if port == self.parts.tx_port {
            self.stamps.set_tx(clocks, tsc);
        }
    }

    /// A new model of gateway time, at a burst boundary.
    pub fn set_tsc_model(&mut self, tsc: TscModel) {
        self.stamps.set_tsc(tsc);
    }

    /// New stop words, at a burst boundary.
    pub fn set_words(&mut self, now: Nanos, words: &StopWords, core: &mut Core<'_>) {
        // A word acts at once, on what is held for a move too.
        self.give_up_holds(now);
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.set_words(now, words, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    /// Shutdown: nothing older than `max_hold` is released, the rest at once.
    pub fn begin_drain(&mut self, now: Nanos, core: &mut Core<'_>) {
        self.draining = true;
        self.give_up_holds(now);
        self.end_stale(now, core);
        self.parts.pacer.begin_drain(now);
    }

    /// Ends what is still held.
    pub fn stop(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.stop(|packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
        if let Some(row) = self.stamps.give_up() {
            core.link.sample(&row);
        }
    }

    /// Where the cycles have gone, in a bench that asks for it.
    pub fn stages(&self) -> Option<&Stages> {
        self.stages.as_deref()
    }

    /// What the KPIs have cost, in a bench that asks for it.
    pub fn kpi_cost(&self) -> Option<&KpiCost> {
        self.kpi_cost.as_deref()
    }

    /// What is still below the TX queue is waited for no longer: references are given back.
    pub fn close(self) -> LaneParts<R, T, S> {
        self.parts
    }

    /// The same, with the port of its second path.
    pub fn close_all(self) -> (LaneParts<R, T, S>, Option<T>) {
        (self.parts, self.paths.map(|paths| paths.parts.tx))
    }

    /// Capture stamps that went backwards and were moved up.
    pub const fn stamps_backwards(&self) -> u64 {
        self.stamps_backwards
    }

    /// Packets that were marked by ECN.
    pub const fn ecn_marked(&self) -> u64 {
        self.ecn_marked
    }

    /// Its parts, to read counters.
    pub const fn parts(&self) -> &LaneParts<R, T, S> {
        &self.parts
    }

    /// Looks at the next few flows and gives back what has been idle and is as good as new. A flow
    /// that comes again is learnt again.
    #[cold]
    fn age(&mut self, now: Nanos) {
        self.next_age = now.saturating_add(AGE_EVERY);
        let (pacer, kpis, intent) = (&mut self.parts.pacer, &mut self.flow_kpis, &mut self.intent);
        let paths = &mut self.paths;
        self.parts.classifier.age(AGE_FLOWS, |flow| {
            // What leaves from a group is noted with the group's flow.
            let of = intent.as_ref().map_or(flow, |desk| desk.flow_of(flow));
            let silent_since = kpis[of as usize].silent_since(now);
            let idle = now.saturating_sub(silent_since) >= self.flow_idle;
            // A 5-tuple that queues in a group is forgotten only when nothing of it waits there.
            let may_go = idle
                && intent
                    .as_mut()
                    .is_none_or(|desk| desk.forget(flow, &LaneFlows { pacer: &mut *pacer, kpis }));
            let given_back = may_go && pacer.free_flow(now, flow);
            if given_back {
                kpis[flow as usize] = FlowKpi::default();
                paths.iter_mut().for_each(|paths| paths.note_freed(flow));
            }
            given_back
        });
        if let Some(desk) = intent {
            desk.give_back(|flow| {
                let given_back = pacer.free_flow(now, flow);
                if given_back {
                    kpis[flow as usize] = FlowKpi::default();
                    paths.iter_mut().for_each(|paths| paths.note_freed(flow));
                }
                given_back
            });
        }
    }

    /// The next slice of a change of words, age or profile.
    #[cold]
    fn sweep(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.sweep(now, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    fn end_stale(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.end_stale(now, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }
}
