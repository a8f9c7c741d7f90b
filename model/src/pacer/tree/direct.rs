//! The short way: a packet that nothing holds and that overtakes nobody leaves without having been
//! queued. What it changes is what [`Pacer::enqueue`] and [`Pacer::next`] would have changed.

use super::Pacer;
use super::undo::{Journal, bits};
use crate::meta::PacketMeta;
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::State;
use crate::pacer::turns::{Rule, Served};
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// Whether the packet of `flow` that `meta` describes may leave at once, within `room` wire
    /// bytes; it is charged then, as by [`Pacer::next`], governed, eligible at `now` and held by no
    /// bucket. Else nothing has happened, and it is for [`Pacer::enqueue`].
    ///
    /// It may when nothing that is due waits in the whole pacer (sch_fq let packets pass others here,
    /// and reordered), its flow is empty, no stop word is set, no change is under way, and every
    /// level conforms, the venue limits among them. It touches one cache line of its flow.
    #[inline]
    pub fn admit(
        &mut self,
        now: Nanos,
        flow: u32,
        venue: u8,
        meta: &mut PacketMeta,
        room: u64,
    ) -> bool {
        if !self.short_way || self.port_on_wheel || meta.is_exempt() || self.is_due() {
            return false;
        }
        let class = usize::from(meta.class);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        if f.queued > 0
            || f.class != meta.class
            || c.on_wheel
            || c.marks & marks::QUEUES != 0
            || !c.backlog.has_room(wire_len)
            || u64::from(wire_len) > room
            || meta.wanted() != now
            || meta.jitter_ns != 0
            || self.journal.len() == self.journal.capacity()
        {
            return false;
        }
        // In place, with what was before in the journal: three levels do not fit into registers.
        self.journal.push(Journal {
            flow_level: f.level,
            class_level: c.level,
            port_level: self.port_level,
            now,
            waits_since: now,
            flow,
            class_deficit: 0,
            sched_moved: 0,
            deficit: 0,
            class: meta.class,
            turn: Served::default(),
            claim: Served::default(),
            rule: Rule::Turn,
            bits: bits::NEW_TURN | bits::GOVERNED,
        });
        let cost = (wire_len, messages);
        if !f.level.charge_if(&c.flow_params, now, cost, false)
            || !c.level.charge_if(&c.class_params, now, cost, false)
            || !self.port_level.charge_if(&self.port_params, now, cost, true)
            || (self.guard.concerns(meta) && !self.guard.admits(now, flow, venue, meta))
        {
            self.refuse(flow, class);
            return false;
        }
        meta.venue = venue;
        if self.guard.concerns(meta) {
            self.guard.admitted(now, flow, meta);
        }
        let mut rule = Rule::Turn;
        if c.uses(marks::RESERVED) {
            if c.reserved.ask(&c.reserved_params, wire_len, messages).at <= now {
                rule = Rule::Reserved;
            }
            self.reserved_before.push(c.reserved);
            c.reserved.charge(&c.reserved_params, now, wire_len, messages);
        }
        let (turn, claim) = self.turns.serve_at_once(class, c.priority(), rule);
        let is_apart = f.state.has(State::APART) || c.is_apart;
        if let Some(entry) = self.journal.last_mut() {
            (entry.turn, entry.claim, entry.rule) = (turn, claim, rule);
            entry.bits |= bits::when(bits::RESERVED, c.uses(marks::RESERVED));
        }
        if is_apart || self.normal.is_active() {
            self.schedule_apart(flow, meta);
        } else {
            // The deadline would be `now`, and what it costs the same.
            self.write_schedule(meta, now);
        }
        true
    }

    /// Some level did not conform, or the guard: nothing has happened.
    #[cold]
    fn refuse(&mut self, flow: u32, class: usize) {
        if let Some(entry) = self.journal.pop() {
            self.flows[flow as usize].level = entry.flow_level;
            self.classes[class].level = entry.class_level;
            self.port_level = entry.port_level;
        }
    }

    /// The deadline of a packet that is charged already, where arrivals and departures of its flow or
    /// class were not charged alike so far.
    #[cold]
    fn schedule_apart(&mut self, flow: u32, meta: &mut PacketMeta) {
        let class = usize::from(meta.class);
        let Some(before) = self.journal.last() else { return };
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let charged = (f.level, c.level);
        (f.level, c.level) = (before.flow_level, before.class_level);
        self.schedule(flow, meta);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        (f.level, c.level) = charged;
        f.state.set(State::APART, self.cold[flow as usize].sched != f.level);
        c.is_apart = c.sched != c.level;
    }
}
