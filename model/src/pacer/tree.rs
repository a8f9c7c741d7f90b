//! The tree and its release loop. See the module above for how to call it.

mod change;
mod direct;
mod place;
mod release;
mod touch;

use super::fifo::Fifo;
use super::flow::{Flow, NO_VENUE, Place};
use super::gcra::{Answer, Level, LevelParams};
use super::halt::HaltRule;
use super::list::List;
use super::wheel::Wheel;
use crate::drop_reason::DropReason;
use crate::meta::{PacketMeta, flags};
use crate::profile::{CLASSES_MAX, Caps, ClassParams, EgressParams, Profile};
use crate::sample::Release;
use crate::stop::{StopWord, StopWords};
use crate::time::Nanos;

/// Priorities 0 (first) to 7.
const PRIORITIES: usize = 8;

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
    /// Index of the egress port in the config.
    pub port: usize,
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
}

/// A packet that may leave now.
pub struct Released<P> {
    /// It.
    pub packet: P,
    /// Its flow.
    pub flow: u32,
    /// Why it may leave.
    pub release: Release,
    /// The first whole ns at which it could: own wish, and every level after all earlier departures.
    pub eligible: Nanos,
    /// A bucket made it wait beyond its own wish.
    pub bucket_held: bool,
}

/// The answer of [`Pacer::next`].
pub enum Next<P> {
    /// Send this.
    Packet(Released<P>),
    /// A packet is due, but not so many bytes may be handed over.
    NoRoom,
    /// Nothing is due.
    Nothing,
}

struct ClassNode {
    params: ClassParams,
    flow_params: LevelParams,
    class_params: LevelParams,
    level: Level,
    sched: Level,
    ready: List,
    on_wheel: bool,
    queued_packets: u32,
    queued_bytes: u64,
    halt: HaltRule,
    /// `level` at the last commit, where the class has released something since.
    level_before: Level,
}

/// What each level says to the head of a flow.
struct Answers {
    flow: Answer,
    class: Answer,
    port: Answer,
}

/// What one release changed, so that it can be taken back.
///
/// The levels of class and port are not in it: they change with every packet, and copying them for
/// each costs more than to charge the accepted ones again on the rare burst that a port cuts short.
#[derive(Clone, Copy)]
struct Journal {
    flow_level: Level,
    now: Nanos,
    flow: u32,
    forward: u32,
    deficit: u32,
    wire_len: u32,
    messages: u16,
    class: u8,
    /// Whose turn its priority had before.
    served: u8,
    new_turn: bool,
    bucket_held: bool,
    /// The flow had more packets.
    leaves_more: bool,
}

/// The pacer of one egress port, with all its classes.
pub struct Pacer<Q: Fifo> {
    wheel: Wheel,
    flows: Box<[Flow<Q>]>,
    flows_used: u32,
    classes: Box<[ClassNode]>,
    /// Classes with ready flows that are not on the wheel, a bit for each class, by priority.
    ready: [u64; PRIORITIES],
    /// Priorities with such classes, a bit for each.
    ready_priorities: u8,
    /// The class that each priority served last.
    served: [u8; PRIORITIES],
    port_caps: Caps,
    port_params: LevelParams,
    port_level: Level,
    port_on_wheel: bool,
    /// Flows whose head waits for nobody: exempt, ahead of an exempt one in its group, or drained.
    express: List,
    /// Flows whose head is let off the buckets: passthrough, `max_hold`. Behind `express`, so that no
    /// backlog keeps a cancel waiting while the port is short of room.
    lifted: List,
    journal: Vec<Journal>,
    /// Classes that have released something since the last commit, a bit for each.
    charged: u64,
    /// `port_level` at the last commit, where `charged` is not empty.
    port_before: Level,
    /// A release was taken back: the levels of classes and port are brought up at the commit.
    rewound: bool,
    words: StopWords,
    /// Some scope does not run.
    any_word: bool,
    draining: bool,
    profile_index: u16,
    wire_len_max: u32,
    port: usize,
    queued_packets: u32,
    queued_bytes: u64,
    counters: Counters,
}

impl<Q: Fifo> Pacer<Q> {
    /// A pacer under `profile`. All memory is taken here: about 170 bytes for each of `flows_max`
    /// flows, their two timers and a FIFO of two pointers included.
    pub fn new(spec: &PacerSpec, profile: &Profile) -> Self {
        let flows = spec.flows_max as usize;
        let classes = profile.classes.len().min(CLASSES_MAX);
        let egress = profile.egress.get(spec.port).copied().unwrap_or_default();
        Self {
            wheel: Wheel::new(2 * flows + classes + 1, spec.slot, spec.start),
            flows: (0..flows).map(|_| Flow::default()).collect(),
            flows_used: 0,
            classes: profile.classes[..classes]
                .iter()
                .zip(&spec.halt)
                .map(|(&params, &halt)| ClassNode {
                    params,
                    flow_params: params.flow.into(),
                    class_params: params.class.into(),
                    level: Level::default(),
                    sched: Level::default(),
                    ready: List::default(),
                    on_wheel: false,
                    queued_packets: 0,
                    queued_bytes: 0,
                    halt,
                    level_before: Level::default(),
                })
                .collect(),
            ready: [0; PRIORITIES],
            ready_priorities: 0,
            served: [0; PRIORITIES],
            port_caps: egress.port,
            port_params: egress.port.into(),
            port_level: Level::default(),
            port_on_wheel: false,
            express: List::default(),
            lifted: List::default(),
            journal: Vec::with_capacity(spec.burst_max),
            charged: 0,
            port_before: Level::default(),
            rewound: false,
            words: StopWords::default(),
            any_word: false,
            draining: false,
            profile_index: profile.index,
            wire_len_max: spec.wire_len_max,
            port: spec.port,
            queued_packets: 0,
            queued_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// A new flow, or `None` when all are taken.
    pub fn new_flow(&mut self) -> Option<u32> {
        let flow = self.flows_used;
        if flow as usize == self.flows.len() {
            return None;
        }
        self.flows_used += 1;
        Some(flow)
    }

    /// Takes a packet in, at the tail of `flow`, and writes its deadline. `meta.class` is its class;
    /// `venue` the index of the venue it goes to, or [`NO_VENUE`].
    ///
    /// # Errors
    /// The packet comes back with the name of its end: `halted`, `profile_closed` or `queue_full`.
    pub fn enqueue(
        &mut self,
        now: Nanos,
        flow: u32,
        venue: u8,
        mut packet: Q::Packet,
    ) -> Result<(), (Q::Packet, DropReason)> {
        let meta = Q::meta(&packet);
        let own_word = self.word(meta.class, venue);
        let own_class = meta.class;
        let class = &mut self.classes[usize::from(own_class)];
        if own_word == StopWord::Halt && class.halt.stops(meta) {
            return Err((packet, DropReason::Halted));
        }
        let wire_len = meta.wire_len();
        let (is_exempt, is_bare) = (meta.is_exempt(), meta.has(flags::BARE));
        if !is_exempt {
            if class.params.closed {
                return Err((packet, DropReason::ProfileClosed));
            }
            if class.queued_packets >= class.params.queue_packets
                || class.queued_bytes + u64::from(wire_len) > class.params.queue_bytes
            {
                if class.params.drops_when_full {
                    return Err((packet, DropReason::QueueFull));
                }
                self.counters.over_budget += 1;
                self.counters.over_budget_class = meta.class;
            }
        }
        class.queued_packets += 1;
        class.queued_bytes += u64::from(wire_len);
        self.queued_packets += 1;
        self.queued_bytes += u64::from(wire_len);

        let f = &mut self.flows[flow as usize];
        if f.queued == 0 {
            if f.class != own_class {
                self.reclass(now, flow, own_class);
            }
            let f = &mut self.flows[flow as usize];
            f.venue = venue;
            f.word = own_word;
        } else if f.class != own_class
            && self.classes[usize::from(own_class)].params.priority
                < self.classes[usize::from(f.class)].params.priority
        {
            self.take_out(flow);
            self.reclass(now, flow, own_class);
            self.place(now, flow, false);
            // A word of its old class may have let it pass without a timer.
            self.arm_hold(flow);
            self.counters.flow_lifted += 1;
        }

        Q::meta_mut(&mut packet).venue = venue;
        self.schedule(flow, Q::meta_mut(&mut packet));
        let f = &mut self.flows[flow as usize];
        f.fifo.push_back(packet);
        f.queued += 1;
        if is_exempt {
            f.exempt_queued += 1;
            if !is_bare {
                // Everything ahead of it in its group goes with it: an exempt packet is never
                // passed around what it may refer to.
                f.forward = f.queued;
            }
        }
        if f.queued == 1 {
            self.place(now, flow, false);
            self.arm_hold(flow);
        } else if f.forward > 0 {
            let (place, at) = self.destination(now, flow);
            if place == Place::Waiting || place != self.flows[flow as usize].place {
                self.take_out(flow);
                self.put(flow, place, at, false);
            }
        }
        Ok(())
    }

    /// Lets time pass: nodes whose time has come move to their parent's ready list. Bounded by the
    /// nodes that fire.
    #[inline]
    pub fn poll(&mut self, now: Nanos) {
        self.wheel.advance(now);
        while let Some(node) = self.wheel.pop_due() {
            self.fire(now, node);
        }
    }

    /// When something may be due without a new arrival. `None` = never.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        if self.is_due() { Some(now) } else { self.wheel.next_event() }
    }

    /// Whether a packet waits for nothing but the port. (One whose class or port turns out not to
    /// conform counts until [`Pacer::next`] has looked at it.)
    pub fn is_due(&self) -> bool {
        !self.express.is_empty()
            || !self.lifted.is_empty()
            || (!self.port_on_wheel && self.ready_priorities != 0)
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
        self.classes[usize::from(class)].queued_bytes
    }

    /// Packets held of a class.
    pub fn class_queued_packets(&self, class: u8) -> u32 {
        self.classes[usize::from(class)].queued_packets
    }

    /// See [`Counters`].
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Flows in use.
    pub const fn flows_used(&self) -> u32 {
        self.flows_used
    }

    fn word(&self, class: u8, venue: u8) -> StopWord {
        self.words.of(class, (venue != NO_VENUE).then_some(venue))
    }

    /// Writes `t_sched`: the deadline if the caps of flow and class were asked at arrival.
    fn schedule(&mut self, flow: u32, meta: &mut PacketMeta) {
        let f = &mut self.flows[flow as usize];
        let c = &mut self.classes[usize::from(f.class)];
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        let of_flow = f.sched.ask(&mut c.flow_params, wire_len, messages);
        let of_class = c.sched.ask(&mut c.class_params, wire_len, messages);
        let at = if meta.is_exempt() {
            meta.wanted()
        } else {
            meta.not_before().max(of_flow.at).max(of_class.at)
        };
        f.sched.take(&mut c.flow_params, &of_flow, at, wire_len, messages);
        c.sched.take(&mut c.class_params, &of_class, at, wire_len, messages);
        meta.sched = at;
        meta.normal_lag_ns =
            if self.profile_index == 0 && meta.jitter_ns == 0 { 0 } else { i32::MIN };
    }

    fn priority(&self, class: u8) -> usize {
        usize::from(self.classes[usize::from(class)].params.priority) % PRIORITIES
    }
}
