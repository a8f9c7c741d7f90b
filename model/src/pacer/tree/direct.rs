//! The short way: a packet that nothing holds and that overtakes nobody leaves without having been
//! queued. What it changes is what [`Pacer::enqueue`] and [`Pacer::next`] would have changed.

use super::Pacer;
use super::journal::bits;
use crate::meta::PacketMeta;
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::State;
use crate::pacer::turns::Rule;
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// Whether the packet of `flow` that `meta` describes may leave at once, within `room` wire
    /// bytes; it is charged then, as by [`Pacer::next`], governed, eligible at `now` and held by no
    /// bucket. Else nothing has happened, and it is for [`Pacer::enqueue`].
    ///
    /// It may when the short way [is open](Pacer::is_short_way_open), it wants to leave now, its flow is
    /// empty, and every level conforms, the venue limits among them.
    #[inline]
    pub fn admit(
        &mut self,
        now: Nanos,
        flow: u32,
        venue: u8,
        meta: &mut PacketMeta,
        room: u64,
    ) -> bool {
        self.is_short_way_open()
            && meta.wanted() == now
            && u64::from(meta.wire_len()) <= room
            && self.admit_open(now, flow, venue, meta)
    }

    /// Whether packets may leave without having been queued: nothing that is due waits in the whole
    /// pacer (sch_fq let packets pass others here, and reordered), no stop word is set and no change is
    /// under way. [`Pacer::admit_open`] leaves it as it is.
    #[inline]
    pub fn is_short_way_open(&self) -> bool {
        self.short_way && !self.port_on_wheel && !self.is_due()
    }

    /// [`Pacer::admit`], where the caller has looked at what a burst has in common: the short way is open,
    /// the packet wants to leave at `now`, and there is room for it. It touches one cache line of its flow.
    // Never: within a loop the compiler makes branches of its conditional moves, and where two packets of a
    // burst are of one class they go the other way.
    #[inline(never)]
    pub fn admit_open(&mut self, now: Nanos, flow: u32, venue: u8, meta: &mut PacketMeta) -> bool {
        debug_assert!(self.is_short_way_open() && meta.wanted() == now);
        let class = usize::from(meta.class);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        if f.queued > 0
            || f.class != meta.class
            || c.on_wheel
            || c.marks & marks::QUEUES != 0
            || meta.is_exempt()
            || !c.backlog.has_room(wire_len)
            || meta.jitter_ns != 0
        {
            return false;
        }
        // In place, with what was before in the journal: three levels do not fit into registers.
        let Some(entry) = self.journal.next_mut() else { return false };
        entry.flow_level = f.level;
        entry.class_level = c.level;
        entry.port_level = self.port_level;
        let cost = (wire_len, messages);
        let is_guarded = self.guard.concerns(meta);
        if !f.level.charge_if(&c.flow_params, now, cost, false)
            || !c.level.charge_if(&c.class_params, now, cost, false)
            || !self.port_level.charge_if(&self.port_params, now, cost, true)
            || (is_guarded && !self.guard.admits(now, flow, venue, meta))
        {
            // Some level did not conform, or the guard: nothing has happened.
            f.level = entry.flow_level;
            c.level = entry.class_level;
            self.port_level = entry.port_level;
            return false;
        }
        meta.venue = venue;
        if is_guarded {
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
        (entry.turn, entry.claim) = self.turns.serve_at_once(class, c.priority(), rule);
        (entry.flow, entry.class, entry.rule) = (flow, meta.class, rule);
        (entry.now, entry.waits_since) = (now, now);
        (entry.class_deficit, entry.sched_moved, entry.deficit) = (0, 0, 0);
        entry.bits =
            bits::NEW_TURN | bits::GOVERNED | bits::when(bits::RESERVED, c.uses(marks::RESERVED));
        self.journal.push_next();
        // Under another profile than the confirmed one `t_normal` is a schedule of its own.
        if f.state.has(State::APART) || c.is_apart || self.profile_index != 0 {
            self.schedule_apart(flow, meta);
        } else {
            // The deadline would be `now`, under the confirmed profile too, and what it costs the same.
            meta.sched = now;
            meta.normal_lag_ns = 0;
        }
        true
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
