//! The tree and its release loop. See the module above for how to call it.

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

    /// The next packet that may leave at `now` and whose wire bytes are at most `room`; charged at
    /// once, final after [`Pacer::commit`]. Visits each class at most once and one flow of it.
    pub fn next(&mut self, now: Nanos, room: u64) -> Next<Q::Packet> {
        while let Some(flow) = self.express.head().or(self.lifted.head()) {
            if let Some(release) = self.express_release(now, flow) {
                return self.release_express(now, flow, release, room);
            }
            // Nothing lifts its head any more: back to the tree.
            self.take_out(flow);
            self.place(now, flow, false);
        }
        if self.port_on_wheel {
            return Next::Nothing;
        }
        while let Some(class) = self.pick_class() {
            let c = &mut self.classes[class];
            let Some(flow) = c.ready.head() else {
                self.clear_ready(class);
                continue;
            };
            let f = &mut self.flows[flow as usize];
            let Some(head) = f.fifo.front() else {
                c.ready.remove(&mut self.flows, flow);
                continue;
            };
            let (wire_len, messages) = (head.wire_len(), u32::from(head.messages));
            if f.new_turn {
                f.deficit = f.deficit.saturating_add(self.wire_len_max);
                f.new_turn = false;
            }
            if f.deficit < wire_len {
                f.new_turn = true;
                c.ready.remove(&mut self.flows, flow);
                c.ready.push_back(&mut self.flows, flow);
                continue;
            }
            let of_class = c.level.ask(&mut c.class_params, wire_len, messages);
            if of_class.at > now {
                c.on_wheel = true;
                self.wheel.insert(self.class_node(class), of_class.at);
                self.clear_ready(class);
                continue;
            }
            let of_port = self.port_level.ask(&mut self.port_params, wire_len, messages);
            if of_port.at > now {
                self.port_on_wheel = true;
                self.wheel.insert(self.port_node(), of_port.at);
                return Next::Nothing;
            }
            if u64::from(wire_len) > room {
                return Next::NoRoom;
            }
            let of_flow = f.level.ask(&mut c.flow_params, wire_len, messages);
            let buckets_at = of_flow.at.max(of_class.at).max(of_port.at);
            let eligible = head.not_before().max(buckets_at);
            let bucket_held = buckets_at > head.wanted();
            let answers = Answers { flow: of_flow, class: of_class, port: of_port };
            return self.take(now, flow, Release::Governed, eligible, bucket_held, &answers);
        }
        Next::Nothing
    }

    /// The port took the first `accepted` packets since the last commit. What it did not take comes
    /// back by [`Pacer::undo`] *before* this, so that only accepted packets are charged.
    pub fn commit(&mut self, accepted: usize) {
        debug_assert_eq!(self.journal.len(), accepted);
        if std::mem::take(&mut self.rewound) {
            self.recharge();
        }
        self.charged = 0;
        for i in 0..self.journal.len() {
            let Journal { flow, bucket_held, leaves_more, .. } = self.journal[i];
            self.counters.bucket_held += u64::from(bucket_held);
            // Not at the offer: a refused one leaves no timer behind.
            if leaves_more {
                self.arm_hold(flow);
            }
        }
        self.journal.clear();
    }

    /// Charges classes and port for what is in the journal, and nothing else, since the last commit.
    #[cold]
    fn recharge(&mut self) {
        let mut charged = self.charged;
        while charged != 0 {
            let c = &mut self.classes[charged.trailing_zeros() as usize];
            c.level = c.level_before;
            charged &= charged - 1;
        }
        self.port_level = self.port_before;
        for j in &self.journal {
            let (wire_len, messages) = (j.wire_len, u32::from(j.messages));
            let c = &mut self.classes[usize::from(j.class)];
            c.level.charge(&mut c.class_params, j.now, wire_len, messages);
            self.port_level.charge(&mut self.port_params, j.now, wire_len, messages);
        }
    }

    /// Gives back the last packet that [`Pacer::next`] gave out and that the port did not take:
    /// every queue and turn is as if it had not been offered, and after the [`Pacer::commit`] that
    /// must follow every bucket is, too.
    pub fn undo(&mut self, now: Nanos, packet: Q::Packet) {
        let Some(j) = self.journal.pop() else {
            debug_assert!(false, "undo without a release");
            return;
        };
        let meta = *Q::meta(&packet);
        self.take_out(j.flow);
        let f = &mut self.flows[j.flow as usize];
        f.fifo.push_front(packet);
        f.queued += 1;
        f.exempt_queued += u32::from(meta.is_exempt());
        f.forward = j.forward;
        f.deficit = j.deficit;
        f.new_turn = j.new_turn;
        f.level = j.flow_level;
        let own = &mut self.classes[usize::from(meta.class)];
        own.queued_packets += 1;
        own.queued_bytes += u64::from(meta.wire_len());
        self.queued_packets += 1;
        self.queued_bytes += u64::from(meta.wire_len());
        self.rewound = true;
        let priority = self.priority(j.class);
        self.served[priority] = j.served;
        self.wake_class(usize::from(j.class));
        self.wake_port();
        self.place(now, j.flow, true);
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

    /// New caps for what is queued and for what comes: buckets keep their TAT, clamped to
    /// `now + B/R` of the new bucket. Walks all flows: call at a burst boundary.
    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        self.profile_index = profile.index;
        let changed = std::array::from_fn::<_, CLASSES_MAX, _>(|class| {
            let (old, new) = (self.classes.get(class)?, profile.classes.get(class)?);
            (new.flow != old.params.flow).then(|| LevelParams::from(new.flow))
        });
        for f in &mut self.flows[..self.flows_used as usize] {
            if let Some(new) = &changed[usize::from(f.class)] {
                let old = &self.classes[usize::from(f.class)].flow_params;
                f.level.rescale(old, new, now);
                f.sched.rescale(old, new, now);
            }
        }
        for (class, new) in self.classes.iter_mut().zip(&profile.classes) {
            let new_class = LevelParams::from(new.class);
            if new.class != class.params.class {
                class.level.rescale(&class.class_params, &new_class, now);
                class.sched.rescale(&class.class_params, &new_class, now);
            }
            class.class_params = new_class;
            class.flow_params = new.flow.into();
            class.params = *new;
        }
        let egress: EgressParams = profile.egress.get(self.port).copied().unwrap_or_default();
        if egress.port != self.port_caps {
            let new_port = LevelParams::from(egress.port);
            self.port_level.rescale(&self.port_params, &new_port, now);
            self.port_params = new_port;
            self.port_caps = egress.port;
        }
        self.replace_all(now);
    }

    /// New stop words. What they halt ends through `on_drop`, in the order of its flow; exempt
    /// packets behind it then pass. Walks all flows.
    pub fn set_words(
        &mut self,
        now: Nanos,
        words: &StopWords,
        mut on_drop: impl FnMut(Q::Packet, DropReason),
    ) {
        self.words = *words;
        for flow in 0..self.flows_used {
            let f = &mut self.flows[flow as usize];
            if f.queued == 0 {
                continue;
            }
            f.word = words.of(f.class, (f.venue != NO_VENUE).then_some(f.venue));
            let halts: [HaltRule; CLASSES_MAX] = std::array::from_fn(|class| {
                self.classes.get(class).map_or(HaltRule::NONE, |c| c.halt)
            });
            // A flow may hold packets of several classes and venues (DSCP; a full flow table).
            self.retain(
                flow,
                |meta| {
                    let venue = (meta.venue != NO_VENUE).then_some(meta.venue);
                    words.of(meta.class, venue) == StopWord::Halt
                        && halts[usize::from(meta.class)].stops(meta)
                },
                |packet| on_drop(packet, DropReason::Halted),
            );
        }
        self.replace_all(now);
    }

    /// Ends what is older than its class's `max_hold` as `stale`: after a link came back, and before
    /// a drain. Exempt packets stay: a late cancel or RST takes risk off. Walks all flows.
    pub fn end_stale(&mut self, now: Nanos, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        let max_hold: [Nanos; CLASSES_MAX] = std::array::from_fn(|class| {
            self.classes.get(class).map_or(Nanos::MAX, |c| c.params.max_hold)
        });
        for flow in 0..self.flows_used {
            self.retain(
                flow,
                |meta| {
                    let max_hold = max_hold[usize::from(meta.class)];
                    !meta.is_exempt() && now > meta.wanted().saturating_add(max_hold)
                },
                |packet| on_drop(packet, DropReason::Stale),
            );
        }
        self.replace_all(now);
    }

    /// From now on everything held is released at once, groups with an exempt packet first, each in
    /// its own order.
    pub fn begin_drain(&mut self, now: Nanos) {
        self.draining = true;
        self.replace_all(now);
    }

    /// Ends everything held as `stopped`.
    pub fn stop(&mut self, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        for flow in 0..self.flows_used {
            self.take_out(flow);
            self.retain(flow, |_| true, |packet| on_drop(packet, DropReason::Stopped));
        }
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

    fn fire(&mut self, now: Nanos, node: u32) {
        let flows = self.flows.len() as u32;
        if node < flows {
            // Taken off the wheel by firing; its time may have moved since, so it is asked again.
            self.flows[node as usize].place = Place::Idle;
            self.place(now, node, false);
        } else if node < 2 * flows {
            self.fire_hold(now, node - flows);
        } else if node == self.port_node() {
            self.port_on_wheel = false;
        } else {
            self.wake_class((node - 2 * flows) as usize);
        }
    }

    fn fire_hold(&mut self, now: Nanos, flow: u32) {
        let f = &mut self.flows[flow as usize];
        f.hold_at = Nanos::MAX;
        if matches!(f.place, Place::Waiting | Place::Ready) {
            if self.hold_deadline(flow).is_some_and(|deadline| deadline <= now) {
                self.take_out(flow);
                self.place(now, flow, false);
            } else {
                self.arm_hold(flow);
            }
        }
    }

    fn hold_deadline(&self, flow: u32) -> Option<Nanos> {
        let head = self.flows[flow as usize].fifo.front()?;
        let max_hold = self.classes[usize::from(head.class)].params.max_hold;
        (max_hold != Nanos::MAX).then(|| head.wanted().saturating_add(max_hold))
    }

    /// One timer for a flow, at or before its head's deadline: it is not moved when the head leaves,
    /// but looks at the new head when it fires. It is moved when the new head's deadline is earlier
    /// (its wish or its class's `max_hold` may differ). A head that leaves anyway needs none.
    fn arm_hold(&mut self, flow: u32) {
        if !matches!(self.flows[flow as usize].place, Place::Express | Place::Lifted)
            && let Some(deadline) = self.hold_deadline(flow)
            && deadline < self.flows[flow as usize].hold_at
        {
            self.flows[flow as usize].hold_at = deadline;
            self.wheel.insert(self.flows.len() as u32 + flow, deadline);
        }
    }

    /// Why the head of a flow may leave without asking a bucket, if it may. Its own wish still holds.
    fn express_release(&self, now: Nanos, flow: u32) -> Option<Release> {
        let f = &self.flows[flow as usize];
        let head = f.fifo.front()?;
        if head.is_exempt() {
            Some(Release::Exempt)
        } else if f.forward > 0 {
            Some(Release::Forward)
        } else if self.draining {
            Some(Release::Drain)
        } else if f.word == StopWord::Passthrough {
            Some(Release::Passthrough)
        } else if self.hold_deadline(flow).is_some_and(|deadline| deadline <= now) {
            Some(Release::MaxHold)
        } else {
            None
        }
    }

    /// Where the head of a flow belongs; for a flow that has to wait, until when.
    fn destination(&mut self, now: Nanos, flow: u32) -> (Place, Nanos) {
        let express = self.express_release(now, flow);
        let in_order = !self.draining && self.flows[flow as usize].word == StopWord::Passthrough;
        let f = &mut self.flows[flow as usize];
        let Some(head) = f.fifo.front() else { return (Place::Idle, now) };
        if let Some(release) = express {
            // No rule of ours holds it, but never before its sender wants it out.
            let wanted = head.wanted();
            let place = match release {
                Release::Passthrough | Release::MaxHold => Place::Lifted,
                // Passthrough is first in, first out, exempt packets included.
                _ if in_order => Place::Lifted,
                // A drain keeps the order of groups in which it began.
                _ => Place::Express,
            };
            return if wanted > now { (Place::Waiting, wanted) } else { (place, now) };
        }
        let params = &mut self.classes[usize::from(f.class)].flow_params;
        let answer = f.level.ask(params, head.wire_len(), u32::from(head.messages));
        let at = answer.at.max(head.not_before());
        if at > now { (Place::Waiting, at) } else { (Place::Ready, now) }
    }

    /// Puts a flow that is in no list where its head belongs; `in_front` of its equals when it comes
    /// back from a port that did not take it.
    fn place(&mut self, now: Nanos, flow: u32, in_front: bool) {
        let (place, at) = self.destination(now, flow);
        self.put(flow, place, at, in_front);
    }

    fn put(&mut self, flow: u32, place: Place, at: Nanos, in_front: bool) {
        let f = &mut self.flows[flow as usize];
        debug_assert_eq!(f.place, Place::Idle);
        f.place = place;
        match place {
            Place::Idle => {}
            Place::Waiting => self.wheel.insert(flow, at),
            Place::Express if in_front => self.express.push_front(&mut self.flows, flow),
            Place::Express => self.express.push_back(&mut self.flows, flow),
            Place::Lifted if in_front => self.lifted.push_front(&mut self.flows, flow),
            Place::Lifted => self.lifted.push_back(&mut self.flows, flow),
            Place::Ready => {
                let class = usize::from(f.class);
                let c = &mut self.classes[class];
                if in_front {
                    c.ready.push_front(&mut self.flows, flow);
                } else {
                    f.deficit = 0;
                    f.new_turn = true;
                    c.ready.push_back(&mut self.flows, flow);
                }
                if !c.on_wheel {
                    self.set_ready(class);
                }
            }
        }
    }

    /// Takes a flow out of whatever list it is in.
    fn take_out(&mut self, flow: u32) {
        let f = &mut self.flows[flow as usize];
        match std::mem::replace(&mut f.place, Place::Idle) {
            Place::Idle => {}
            Place::Waiting => self.wheel.remove(flow),
            Place::Express => self.express.remove(&mut self.flows, flow),
            Place::Lifted => self.lifted.remove(&mut self.flows, flow),
            Place::Ready => {
                let class = usize::from(f.class);
                self.classes[class].ready.remove(&mut self.flows, flow);
                // Class and port may be waiting for the time of the packet that goes away here;
                // another one may conform before.
                if self.classes[class].ready.is_empty() {
                    self.sleep_class(class);
                } else if self.classes[class].on_wheel {
                    self.wake_class(class);
                }
                self.wake_port();
            }
        }
    }

    /// Changes the class of a flow that is in no list; its own buckets go along.
    fn reclass(&mut self, now: Nanos, flow: u32, class: u8) {
        let f = &mut self.flows[flow as usize];
        let (old, new) = (&self.classes[usize::from(f.class)], &self.classes[usize::from(class)]);
        if old.params.flow != new.params.flow {
            f.level.rescale(&old.flow_params, &new.flow_params, now);
            f.sched.rescale(&old.flow_params, &new.flow_params, now);
        }
        f.class = class;
        f.word = self.words.of(class, (f.venue != NO_VENUE).then_some(f.venue));
    }

    fn release_express(
        &mut self,
        now: Nanos,
        flow: u32,
        release: Release,
        room: u64,
    ) -> Next<Q::Packet> {
        let f = &self.flows[flow as usize];
        let Some(head) = f.fifo.front() else { return Next::Nothing };
        let (wire_len, messages) = (head.wire_len(), u32::from(head.messages));
        if u64::from(wire_len) > room {
            return Next::NoRoom;
        }
        let eligible = head.wanted();
        // The class that the port waits for may no longer conform after this charge; then the port
        // is another's.
        self.wake_port();
        let f = &mut self.flows[flow as usize];
        let c = &mut self.classes[usize::from(f.class)];
        let answers = Answers {
            flow: f.level.ask(&mut c.flow_params, wire_len, messages),
            class: c.level.ask(&mut c.class_params, wire_len, messages),
            port: self.port_level.ask(&mut self.port_params, wire_len, messages),
        };
        self.take(now, flow, release, eligible, false, &answers)
    }

    /// Takes the head of a flow out, charges every level, which has given its answer, and puts the
    /// flow where its new head belongs.
    #[inline]
    fn take(
        &mut self,
        now: Nanos,
        flow: u32,
        release: Release,
        eligible: Nanos,
        bucket_held: bool,
        answers: &Answers,
    ) -> Next<Q::Packet> {
        let f = &mut self.flows[flow as usize];
        let class = usize::from(f.class);
        let c = &mut self.classes[class];
        debug_assert!(self.journal.len() < self.journal.capacity(), "more than burst_max offers");
        let turn = &mut self.served[usize::from(c.params.priority) % PRIORITIES];
        let Some(packet) = f.fifo.pop_front() else { return Next::Nothing };
        let meta = Q::meta(&packet);
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        self.journal.push(Journal {
            flow_level: f.level,
            now,
            flow,
            forward: f.forward,
            deficit: f.deficit,
            wire_len,
            messages: meta.messages,
            class: class as u8,
            served: *turn,
            new_turn: f.new_turn,
            bucket_held,
            leaves_more: f.queued > 1,
        });
        if release == Release::Governed {
            *turn = class as u8;
        }
        if self.charged == 0 {
            self.port_before = self.port_level;
        }
        if self.charged & (1 << class) == 0 {
            self.charged |= 1 << class;
            c.level_before = c.level;
        }
        f.level.take(&mut c.flow_params, &answers.flow, now, wire_len, messages);
        c.level.take(&mut c.class_params, &answers.class, now, wire_len, messages);
        self.port_level.take(&mut self.port_params, &answers.port, now, wire_len, messages);
        f.queued -= 1;
        f.exempt_queued -= u32::from(meta.is_exempt());
        f.forward = f.forward.saturating_sub(1);
        let own = &mut self.classes[usize::from(meta.class)];
        own.queued_packets -= 1;
        own.queued_bytes -= u64::from(wire_len);
        self.queued_packets -= 1;
        self.queued_bytes -= u64::from(wire_len);

        let released = Next::Packet(Released { packet, flow, release, eligible, bucket_held });
        if release == Release::Governed && self.flows[flow as usize].queued == 0 {
            // The usual case. It was first in its class, and neither class nor port waits.
            self.flows[flow as usize].place = Place::Idle;
            let c = &mut self.classes[class];
            c.ready.remove(&mut self.flows, flow);
            if c.ready.is_empty() {
                self.clear_ready(class);
            }
            return released;
        }
        let (place, at) = self.destination(now, flow);
        let f = &mut self.flows[flow as usize];
        if release == Release::Governed && place == Place::Ready {
            f.deficit -= wire_len;
            // Its turn goes on while the deficit lasts. It ends here, not at the next look, so that
            // the order of flows does not depend on whether somebody looked.
            if f.fifo.front().is_some_and(|head| head.wire_len() > f.deficit) {
                f.new_turn = true;
                let ready = &mut self.classes[class].ready;
                ready.remove(&mut self.flows, flow);
                ready.push_back(&mut self.flows, flow);
            }
        } else if f.place != place {
            self.take_out(flow);
            self.put(flow, place, at, false);
        }
        released
    }

    /// Filters a flow in its order.
    fn retain(
        &mut self,
        flow: u32,
        mut ends: impl FnMut(&PacketMeta) -> bool,
        mut on_drop: impl FnMut(Q::Packet),
    ) {
        let f = &mut self.flows[flow as usize];
        let queued = f.queued;
        let mut kept = 0;
        f.forward = 0;
        for _ in 0..queued {
            let Some(packet) = f.fifo.pop_front() else { break };
            let meta = *Q::meta(&packet);
            if ends(&meta) {
                let own = &mut self.classes[usize::from(meta.class)];
                own.queued_packets -= 1;
                own.queued_bytes -= u64::from(meta.wire_len());
                self.queued_packets -= 1;
                self.queued_bytes -= u64::from(meta.wire_len());
                f.queued -= 1;
                f.exempt_queued -= u32::from(meta.is_exempt());
                on_drop(packet);
            } else {
                f.fifo.push_back(packet);
                kept += 1;
                if meta.is_exempt() && !meta.has(flags::BARE) {
                    f.forward = kept;
                }
            }
        }
        if f.queued == 0 {
            self.take_out(flow);
        }
    }

    /// Asks every flow, class and the port again: caps or words have changed.
    fn replace_all(&mut self, now: Nanos) {
        self.wake_port();
        for class in 0..self.classes.len() {
            self.wake_class(class);
        }
        // A drain lets groups that hold an exempt packet go first.
        let passes: &[Option<bool>] =
            if self.draining { &[Some(true), Some(false)] } else { &[None] };
        for pass in passes {
            for flow in 0..self.flows_used {
                let f = &mut self.flows[flow as usize];
                if f.queued == 0 || pass.is_some_and(|exempt| exempt != (f.exempt_queued > 0)) {
                    continue;
                }
                f.hold_at = Nanos::MAX;
                self.take_out(flow);
                self.wheel.remove(self.flows.len() as u32 + flow);
                self.place(now, flow, false);
                self.arm_hold(flow);
            }
        }
    }

    fn pick_class(&self) -> Option<usize> {
        let priority = self.ready_priorities.trailing_zeros() as usize;
        let classes = self.ready.get(priority)?;
        // Take turns: the first class after the one served last, cyclically.
        let after =
            classes & (!0u64).checked_shl(u32::from(self.served[priority]) + 1).unwrap_or(0);
        Some(if after != 0 { after } else { *classes }.trailing_zeros() as usize)
    }

    fn set_ready(&mut self, class: usize) {
        let priority = usize::from(self.classes[class].params.priority) % PRIORITIES;
        self.ready[priority] |= 1 << class;
        self.ready_priorities |= 1 << priority;
        // A smaller or more urgent packet may conform before the one the port waits for.
        self.wake_port();
    }

    fn clear_ready(&mut self, class: usize) {
        // In whichever it is: the priority of a class changes with the profile.
        self.ready_priorities = 0;
        for (priority, classes) in self.ready.iter_mut().enumerate() {
            *classes &= !(1 << class);
            self.ready_priorities |= u8::from(*classes != 0) << priority;
        }
    }

    fn sleep_class(&mut self, class: usize) {
        self.clear_ready(class);
        if std::mem::take(&mut self.classes[class].on_wheel) {
            self.wheel.remove(self.class_node(class));
        }
    }

    fn wake_class(&mut self, class: usize) {
        self.sleep_class(class);
        if !self.classes[class].ready.is_empty() {
            self.set_ready(class);
        }
    }

    fn wake_port(&mut self) {
        if std::mem::take(&mut self.port_on_wheel) {
            self.wheel.remove(self.port_node());
        }
    }

    fn priority(&self, class: u8) -> usize {
        usize::from(self.classes[usize::from(class)].params.priority) % PRIORITIES
    }

    fn class_node(&self, class: usize) -> u32 {
        (2 * self.flows.len() + class) as u32
    }

    fn port_node(&self) -> u32 {
        (2 * self.flows.len() + self.classes.len()) as u32
    }
}
