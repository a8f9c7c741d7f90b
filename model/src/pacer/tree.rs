//! The tree and its release loop. See the module above for how to call it.

mod apart;
mod change;
mod direct;
mod enter;
mod journal;
mod limited;
mod look;
mod paths;
mod place;
mod release;
mod standing;
mod touch;
mod undo;

use super::arms::Arms;
use super::class::ClassNode;
use super::class_set::ClassSet;
use super::confirmed::Confirmed;
use super::fifo::Fifo;
use super::flow::{Cold, Flow, Place};
use super::gcra::{Level, LevelParams};
use super::guard::{Guard, GuardCounters};
use super::halt::HaltRule;
use super::history::History;
use super::limits::{LimitFigures, LimitsSpec};
use super::list::List;
use super::nodes::Nodes;
use super::paths::Paths;
use super::standings::Standings;
use super::sweep::{Marks, Sweep};
use super::turns::Turns;
use super::wheel::Wheel;
use crate::drop_reason::DropReason;
use crate::profile::{CLASSES_MAX, Caps, Profile, Shaping};
use crate::sample::Release;
use crate::stop::StopWords;
use crate::time::Nanos;
use journal::Journals;
pub use look::FlowLook;
pub use touch::CLASS_LINES;

/// What a pacer is built from.
#[derive(Clone, Debug)]
pub struct PacerSpec {
    /// Wheel slot, a power of two in ns.
    pub slot: Nanos,
    /// Gateway time at construction.
    pub start: Nanos,
    /// Flows it can tell apart.
    pub flows_max: u32,
    /// Wire bytes of the largest frame: the quantum of deficit round robin, so that every turn
    /// sends at least one packet and a turn costs O(1).
    pub wire_len_max: u32,
    /// Most packets between two commits.
    pub burst_max: usize,
    /// What a halt does, by class.
    pub halt: Vec<HaltRule>,
    /// Classes of which a few groups may be governed apart: each has a twin behind the classes.
    pub twins: Vec<u8>,
    /// Index of the egress port in the config.
    pub port: usize,
    /// Seed of the jitter.
    pub seed: u64,
    /// Venue limits, and who answers to which.
    pub limits: LimitsSpec,
    /// Tell duplicates and retransmissions of TCP segments (64 bytes more for each flow).
    pub follows_tcp: bool,
    /// Flows may leave by a second path (a byte more for each flow).
    pub two_paths: bool,
}

/// What happened besides departures, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// A queued flow changed to a class that is served earlier.
    pub flow_lifted: u64,
    /// A packet was kept although its class's budget is spent: alarm.
    pub over_budget: u64,
    /// The class of the last such packet.
    pub over_budget_class: u8,
    /// Departures that a bucket of some level had delayed.
    pub bucket_held: u64,
    /// A due time beyond the horizon was moved to it.
    pub horizon_capped: u64,
}

/// A packet that may leave now.
pub struct Released<P> {
    /// It.
    pub packet: P,
    /// Its flow.
    pub flow: u32,
    /// Why it may leave.
    pub release: Release,
    /// The first whole ns at which it could: own wish, its release window, and every level after all
    /// earlier departures.
    pub eligible: Nanos,
    /// A bucket made it wait beyond its own wish.
    pub bucket_held: bool,
    /// It has waited beyond the ECN threshold of its class: mark it, where it allows that.
    pub mark_ce: bool,
}

/// The answer of [`Pacer::next`].
pub enum Next<P> {
    /// Send this.
    Packet(Released<P>),
    /// This ended instead of leaving; ask again. It is in no queue, and an undo does not know it.
    Ended(P, DropReason),
    /// A packet is due, but not so many bytes may be handed over.
    NoRoom,
    /// Nothing is due.
    Nothing,
}

/// The pacer of one egress port, with all its classes.
pub struct Pacer<Q: Fifo> {
    wheel: Wheel,
    nodes: Nodes,
    flows: Box<[Flow<Q>]>,
    cold: Box<[Cold]>,
    /// Flows that have been given out at some time: `0..flows_made`.
    flows_made: u32,
    flows_used: u32,
    /// Those that were given back.
    free: List,
    /// The classes, then their twins.
    classes: Box<[ClassNode]>,
    arms: Arms,
    turns: Turns,
    port_caps: Caps,
    port_params: LevelParams,
    port_level: Level,
    port_on_wheel: bool,
    /// Flows whose head waits for nobody: exempt, ahead of an exempt one in its group, or drained.
    express: List,
    /// Flows whose head is let off the buckets (passthrough, `max_hold`, late) or ends. Behind
    /// `express`, so that no backlog keeps a cancel waiting while the port is short of room.
    lifted: List,
    journal: Journals,
    guard: Guard,
    /// Where there is a second path.
    paths: Option<Box<Paths>>,
    /// Venue limits, TCP or paths have to be asked before a release.
    asks: bool,
    /// Some entry of the journal leaves something to be done when it is accepted.
    follow_up: bool,
    /// Reserved buckets before they were charged, since the last commit.
    reserved_before: Vec<Level>,
    /// Classes that have released something since the last commit and whose flushes are capped.
    flushed: ClassSet,
    standings: Standings,
    words: StopWords,
    /// Some scope does not run.
    any_word: bool,
    draining: bool,
    /// No word, no drain, no change under way, no path that keeps flows waiting: a packet may go the short way.
    short_way: bool,
    /// Which flows a change has still to reach.
    sweep: Sweep,
    /// Flows that may hold packets.
    marks: Marks,
    history: History,
    /// Some held packet may be one that `words` halts: look, while the sweep goes on.
    halting: bool,
    /// What was too old at this time ends, while the sweep goes on.
    stale_at: Nanos,
    seed: u64,
    /// Jitter offsets drawn.
    draws: u64,
    profile_index: u16,
    confirmed: Confirmed,
    wire_len_max: u32,
    port: usize,
    queued_packets: u32,
    queued_bytes: u64,
    counters: Counters,
}

impl<Q: Fifo> Pacer<Q> {
    /// A pacer under `profile`. All memory is taken here. For each of `flows_max` flows: one cache
    /// line of 64 bytes that a release touches (with a FIFO of two pointers), 64 bytes for arrivals
    /// and rare cases, its two timers on the wheel (24 bytes each),
    /// and 36 bytes for a profile that is not the confirmed one: 212 bytes.
    pub fn new(spec: &PacerSpec, profile: &Profile) -> Self {
        let flows = spec.flows_max as usize;
        let classes = profile.classes.len().min(CLASSES_MAX);
        let arms = Arms::new(classes, &spec.twins, spec.flows_max);
        let class_of_twin = arms.classes().map(usize::from);
        let class_of: Vec<usize> = (0..classes).chain(class_of_twin).collect();
        let nodes_of_classes = class_of.len();
        let egress = profile.egress.get(spec.port).copied().unwrap_or_default();
        let guard = Guard::new(
            &spec.limits.of_nodes(&class_of),
            spec.follows_tcp,
            nodes_of_classes,
            spec.flows_max,
            spec.burst_max,
            spec.start,
            spec.slot,
        );
        let instances = guard.limits.instances() as u32;
        let nodes = Nodes::new(spec.flows_max, nodes_of_classes as u32, instances);
        Self {
            wheel: Wheel::new(nodes.count(), spec.slot, spec.start),
            nodes,
            flows: (0..flows).map(|_| Flow::default()).collect(),
            cold: (0..flows).map(|_| Cold::default()).collect(),
            flows_made: 0,
            flows_used: 0,
            free: List::default(),
            classes: profile
                .nodes(arms.twins())
                .zip(&class_of)
                .map(|(&params, &class)| ClassNode::new(params, spec.halt[class]))
                .collect(),
            turns: Turns::default(),
            port_caps: egress.port,
            port_params: egress.port.into(),
            port_level: Level::default(),
            port_on_wheel: false,
            express: List::default(),
            lifted: List::default(),
            journal: Journals::new(spec.burst_max),
            asks: guard.is_active() || spec.two_paths,
            guard,
            paths: spec.two_paths.then(|| Box::new(Paths::new(spec.flows_max))),
            follow_up: false,
            reserved_before: Vec::with_capacity(spec.burst_max),
            flushed: ClassSet::default(),
            standings: Standings::new(nodes_of_classes, spec.burst_max),
            words: StopWords::default(),
            any_word: false,
            draining: false,
            short_way: true,
            sweep: Sweep::default(),
            marks: Marks::new(spec.flows_max),
            history: History::new(profile, arms.twins()),
            arms,
            halting: false,
            stale_at: Nanos::ZERO,
            seed: spec.seed,
            draws: 0,
            profile_index: profile.index,
            confirmed: Confirmed::new(flows, profile),
            wire_len_max: spec.wire_len_max,
            port: spec.port,
            queued_packets: 0,
            queued_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// A new flow, or `None` when all are taken. One that was given back comes first.
    pub fn new_flow(&mut self) -> Option<u32> {
        let flow = match self.free.head() {
            Some(flow) => {
                self.free.remove(&mut self.flows, flow);
                flow
            }
            None if self.flows_made as usize == self.flows.len() => return None,
            None => {
                self.flows_made += 1;
                self.flows_made - 1
            }
        };
        self.flows_used += 1;
        self.arms.roster().leave(flow);
        self.flows[flow as usize].state.set_place(Place::Idle);
        self.cold[flow as usize].epoch = self.history.now();
        Some(flow)
    }

    /// Gives a flow back, so that [`Pacer::new_flow`] may give it out again. `false`, and nothing has
    /// happened, unless it is as good as new at `now`: it holds nothing, no bucket of it is in use,
    /// and everything that left it is committed.
    pub fn free_flow(&mut self, now: Nanos, flow: u32) -> bool {
        self.carry(flow);
        let Some(f) = self.flows.get_mut(flow as usize) else { return false };
        let c = &self.classes[usize::from(f.class)];
        let cold = &mut self.cold[flow as usize];
        if f.state.place() != Place::Idle
            || f.queued > 0
            || !f.level.is_full(&c.flow_params, now)
            || (f.state.has(super::flow::State::APART) && !cold.sched.is_full(&c.flow_params, now))
            || self.journal.iter().any(|j| j.flow == flow)
            || !self.guard.free_flow(now, flow)
        {
            return false;
        }
        self.wheel.remove(self.nodes.number(super::nodes::Node::Look(flow)));
        if let Some(paths) = &mut self.paths {
            paths.forget(flow);
        }
        *f = Flow::default();
        *cold = Cold::default();
        self.confirmed.forget(flow);
        self.arms.leave(flow);
        self.free.push_back(&mut self.flows, flow);
        self.flows_used -= 1;
        true
    }

    /// Lets time pass: nodes whose time has come move to their parent's ready list. Bounded by the
    /// nodes that fire.
    #[inline]
    pub fn poll(&mut self, now: Nanos) {
        self.wheel.advance(now);
        while let Some(node) = self.wheel.pop_due() {
            self.fire(now, node);
        }
        if self.guard.waiting.any_fired() {
            self.fire_limits(now);
        }
    }

    /// When something may be due without a new arrival. `None` = never.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        if self.is_due() || self.sweep.is_active() { Some(now) } else { self.wheel.next_event() }
    }

    /// Whether a packet waits for nothing but the port, or for the end of a capped flush. (One whose
    /// class or port turns out not to conform counts until [`Pacer::next`] has looked at it.)
    #[inline]
    pub fn is_due(&self) -> bool {
        !self.express.is_empty()
            || !self.lifted.is_empty()
            || (!self.port_on_wheel && self.turns.any())
    }

    /// Packets held.
    pub const fn queued_packets(&self) -> u32 {
        self.queued_packets
    }

    /// Wire bytes held.
    pub const fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Wire bytes held of a class.
    pub fn class_queued_bytes(&self, class: u8) -> u64 {
        self.classes[usize::from(class)].backlog.bytes
    }

    /// Packets held of a class.
    pub fn class_queued_packets(&self, class: u8) -> u32 {
        self.classes[usize::from(class)].backlog.packets
    }

    /// See [`Counters`].
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What venue limits and the record of TCP segments did.
    pub const fn guard_counters(&self) -> GuardCounters {
        self.guard.counters
    }

    /// What became of each venue limit, in the order of [`LimitsSpec::limits`].
    pub fn limit_figures(&self) -> impl Iterator<Item = LimitFigures> {
        self.guard.limits.all_figures()
    }

    /// Flows in use.
    pub const fn flows_used(&self) -> u32 {
        self.flows_used
    }

    /// What a packet that goes takes off the sums. `class` is its own.
    #[inline]
    fn discount(&mut self, class: u8, wire_len: u32) {
        let own = &mut self.classes[usize::from(class)];
        own.backlog.packets -= 1;
        own.backlog.bytes -= u64::from(wire_len);
        self.queued_packets -= 1;
        self.queued_bytes -= u64::from(wire_len);
    }

    /// What a packet that comes adds to them: it is held by `flow`.
    #[inline]
    fn count(&mut self, flow: u32, class: u8, arrival: Nanos, wire_len: u32) {
        self.marks.set(flow);
        let own = &mut self.classes[usize::from(class)];
        own.oldest = if own.backlog.packets == 0 { arrival } else { own.oldest.min(arrival) };
        own.backlog.packets += 1;
        own.backlog.bytes += u64::from(wire_len);
        self.queued_packets += 1;
        self.queued_bytes += u64::from(wire_len);
    }

    fn shaping(&self, class: u8) -> &Shaping {
        &self.classes[usize::from(class)].params.shaping
    }
}
