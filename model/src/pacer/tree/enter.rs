//! What comes in: whether a packet is kept, when it is due, and where it waits.

use super::Pacer;
use crate::drop_reason::DropReason;
use crate::kind::Kind;
use crate::meta::{PacketMeta, flags};
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::{NO_VENUE, Place, State};
use crate::pacer::jitter;
use crate::pacer::nodes::Node;
use crate::pacer::window::Joined;
use crate::stop::StopWord;
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// Takes a packet in, at the tail of `flow`, and writes its deadline. `meta.class` is its class;
    /// `venue` the index of the venue it goes to, or [`NO_VENUE`].
    ///
    /// # Errors
    /// The packet comes back with the name of its end: `halted`, `profile_closed`, `horizon`,
    /// `queue_full`, `duplicate_held`, or `stale` where it has more messages than a venue limit ever
    /// lets go.
    pub fn enqueue(
        &mut self,
        now: Nanos,
        flow: u32,
        venue: u8,
        mut packet: Q::Packet,
    ) -> Result<(), (Q::Packet, DropReason)> {
        let meta = Q::meta(&packet);
        let own_class = meta.class;
        let (arrival, wire_len) = (meta.arrival, meta.wire_len());
        let (is_exempt, is_bare) = (meta.is_exempt(), meta.has(flags::BARE));
        if let Err(reason) = self.refuses(now, meta, venue) {
            return Err((packet, reason));
        }
        if self.guard.is_active()
            && let Err(reason) = self.guard.enter(flow, venue, Q::meta_mut(&mut packet))
        {
            return Err((packet, reason));
        }
        let class = &self.classes[usize::from(own_class)];
        if !is_exempt && !class.backlog.has_room(wire_len) {
            self.counters.over_budget += 1;
            self.counters.over_budget_class = own_class;
        }
        self.count(flow, own_class, arrival, wire_len);

        self.carry(flow);
        let f = &mut self.flows[flow as usize];
        if f.queued == 0 {
            if f.class != own_class {
                self.reclass(now, flow, own_class);
            }
        } else if f.class != own_class
            && self.classes[usize::from(own_class)].params.priority
                < self.classes[usize::from(f.class)].params.priority
        {
            self.counters.flow_lifted += 1;
            if f.state.place() == Place::Limited {
                self.reclass(now, flow, own_class);
            } else {
                self.take_out(flow);
                self.reclass(now, flow, own_class);
                self.place(now, flow, false);
            }
            // A word of its old class may have let it pass without a timer.
            self.arm_look(flow);
        }

        let meta = Q::meta_mut(&mut packet);
        meta.venue = venue;
        let of_flow = &self.classes[usize::from(self.flows[flow as usize].class)];
        let (own_marks, marks) = (self.classes[usize::from(own_class)].marks, of_flow.marks);
        if (own_marks | marks) & marks::AT_ENTRY != 0 {
            self.shape_at_entry(now, flow, meta);
        }
        if self.guard.is_active() {
            self.guard.entered(flow, meta);
        }
        self.schedule(flow, meta);
        let f = &mut self.flows[flow as usize];
        f.fifo.push_back(packet);
        f.queued += 1;
        let queued = f.queued;
        if is_exempt {
            f.state.set(State::COUNTED, true);
            let cold = &mut self.cold[flow as usize];
            cold.exempt_queued += 1;
            if !is_bare {
                // Everything ahead of it in its group goes with it: an exempt packet is never
                // passed around what it may refer to.
                cold.forward = queued;
            }
        }
        if queued == 1 {
            self.place(now, flow, false);
            self.arm_look(flow);
        } else if f.state.place() == Place::Limited {
            self.keep_limited(flow);
        } else if f.state.has(State::COUNTED) && self.cold[flow as usize].forward > 0 {
            let (place, at) = self.destination(now, flow);
            if place == Place::Waiting || place != self.flows[flow as usize].state.place() {
                self.take_out(flow);
                self.put(flow, place, at, false);
            }
        }
        Ok(())
    }

    /// Why a packet must not be taken in.
    fn refuses(&self, now: Nanos, meta: &PacketMeta, venue: u8) -> Result<(), DropReason> {
        let class = &self.classes[usize::from(meta.class)];
        if self.any_word && self.halts(meta, venue) {
            return Err(DropReason::Halted);
        }
        if meta.is_exempt() {
            return Ok(());
        }
        if class.uses(marks::CLOSED) {
            return Err(DropReason::ProfileClosed);
        }
        let shaping = &class.params.shaping;
        if class.uses(marks::HORIZON)
            && shaping.horizon_drops
            && meta.due > now.saturating_add(shaping.horizon)
        {
            return Err(DropReason::Horizon);
        }
        if class.params.drops_when_full && !class.backlog.has_room(meta.wire_len()) {
            return Err(DropReason::QueueFull);
        }
        Ok(())
    }

    /// Whether the words stop a packet towards `venue`.
    pub(super) fn halts(&self, meta: &PacketMeta, venue: u8) -> bool {
        self.words.of(meta.class, (venue != NO_VENUE).then_some(venue)) == StopWord::Halt
            && self.classes[usize::from(meta.class)].halt.stops(meta)
    }

    /// Horizon, jitter and release window of a packet that joins `flow`.
    fn shape_at_entry(&mut self, now: Nanos, flow: u32, meta: &mut PacketMeta) {
        let shaping = *self.shaping(meta.class);
        let horizon = now.saturating_add(shaping.horizon);
        if meta.due > horizon {
            meta.due = horizon;
            self.counters.horizon_capped += 1;
        }
        if meta.is_exempt() {
            return;
        }
        // Nothing may change the distance between the messages of a session that is not understood.
        if shaping.jitter_max > Nanos::ZERO && meta.kind() != Kind::Mixed {
            meta.jitter_ns = jitter::draw(self.seed, flow, self.draws, shaping.jitter_max);
            self.draws += 1;
        }
        let f = &mut self.flows[flow as usize];
        let class = usize::from(f.class);
        if !self.classes[class].uses(marks::WINDOW) {
            return;
        }
        if let Some(due) = self.classes[class].window.due()
            && due <= now
        {
            // Its timer is only rounded up to a slot.
            self.open_window(now, class, due);
        }
        let (f, cold) = (&mut self.flows[flow as usize], &mut self.cold[flow as usize]);
        let window = &mut self.classes[class].window;
        if f.queued == 0 {
            (cold.gate_from, cold.gate_window) = (0, window.number());
            cold.opened_at = Nanos::ZERO;
        } else if cold.gate_window != window.number() {
            if f.queued > cold.gate_from && f.state.has(State::COUNTED) {
                cold.opened_at = window.opened_at(cold.gate_window);
            }
            (cold.gate_from, cold.gate_window) = (f.queued, window.number());
        }
        f.state.set(State::COUNTED, true);
        match window.join(now) {
            Joined::Waits => {}
            Joined::Began(opens) => {
                self.wheel.insert(self.nodes.number(Node::Window(class)), opens);
            }
            Joined::Full => self.open_window(now, class, now),
        }
    }

    /// Writes `t_sched`: the deadline if the caps of flow and class were asked at arrival.
    pub(super) fn schedule(&mut self, flow: u32, meta: &mut PacketMeta) {
        let (f, cold) = (&mut self.flows[flow as usize], &mut self.cold[flow as usize]);
        if !f.state.has(State::APART) {
            f.state.set(State::APART, true);
            cold.sched = f.level;
        }
        let c = &mut self.classes[usize::from(f.class)];
        c.set_apart();
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        let of_flow = cold.sched.ask(&c.flow_params, wire_len, messages);
        let of_class = c.sched.ask(&c.class_params, wire_len, messages);
        let at = if meta.is_exempt() {
            meta.wanted()
        } else {
            meta.not_before().max(of_flow.at).max(of_class.at)
        };
        let owed = cold.sched;
        cold.sched.take(&c.flow_params, &of_flow, at);
        c.sched.take(&c.class_params, &of_class, at);
        if self.normal.is_active() {
            let (class, owed) = (usize::from(f.class), (owed, &c.flow_params));
            let normal = self.normal.schedule(flow, class, owed, meta);
            let lag = i128::from(at.0) - i128::from(normal.0);
            meta.sched = at;
            // The least number means that it is not known.
            meta.normal_lag_ns = lag.clamp(i128::from(-i32::MAX), i128::from(i32::MAX)) as i32;
            return;
        }
        self.write_schedule(meta, at);
    }

    #[inline(always)]
    pub(super) fn write_schedule(&self, meta: &mut PacketMeta, at: Nanos) {
        meta.sched = at;
        meta.normal_lag_ns =
            if self.profile_index == 0 && meta.jitter_ns == 0 { 0 } else { i32::MIN };
    }
}
