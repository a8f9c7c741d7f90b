//! The short way: a packet that nothing holds and that overtakes nobody leaves without having been
//! queued. What it changes is what [`Pacer::enqueue`] and [`Pacer::next`] would have changed.

use super::Pacer;
use super::release::Answers;
use super::undo::{Journal, bits};
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
        if self.port_on_wheel || !self.short_way || meta.is_exempt() || self.is_due() {
            return false;
        }
        let class = usize::from(meta.class);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        if f.queued > 0
            || f.class != meta.class
            || c.on_wheel
            || c.params.closed
            || c.marks & marks::QUEUES != 0
            || u64::from(wire_len) > room
            || c.queued_packets >= c.params.queue_packets
            || c.queued_bytes + u64::from(wire_len) > c.params.queue_bytes
            || meta.wanted() != now
            || meta.jitter_ns != 0
            || self.journal.len() == self.journal.capacity()
        {
            return false;
        }
        let answers = Answers {
            flow: f.level.ask(&c.flow_params, wire_len, messages),
            class: c.level.ask(&c.class_params, wire_len, messages),
            port: self.port_level.ask(&self.port_params, wire_len, messages),
        };
        if answers.flow.at.max(answers.class.at).max(answers.port.at) > now {
            return false;
        }
        if self.guard.is_active() {
            if !self.guard.admits(now, flow, venue, meta) {
                return false;
            }
            meta.venue = venue;
            self.guard.admitted(now, flow, meta);
        }
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let as_scheduled = !f.state.has(State::APART) && c.level == c.sched;
        if !as_scheduled {
            self.schedule(flow, meta);
        }
        meta.venue = venue;
        let c = &mut self.classes[class];
        if self.charged == 0 {
            self.port_before = self.port_level;
        }
        if self.charged & 1 << class == 0 {
            self.charged |= 1 << class;
            c.level_before = c.level;
            c.reserved_before = c.reserved;
        }
        let mut rule = Rule::Turn;
        if c.uses(marks::RESERVED) {
            let of_reserved = c.reserved.ask(&c.reserved_params, wire_len, messages);
            if of_reserved.at <= now {
                rule = Rule::Reserved;
            }
            c.reserved.take(&c.reserved_params, &of_reserved, now, wire_len, messages);
        }
        let (turn, claim) = self.serve_at_once(class, rule);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        self.journal.push(Journal {
            flow_level: f.level,
            now,
            waits_since: now,
            flow,
            class_deficit: 0,
            sched_moved: 0,
            len: meta.len,
            deficit: 0,
            messages: meta.messages,
            class: meta.class,
            turn,
            claim,
            rule,
            bits: bits::NEW_TURN | bits::GOVERNED,
        });
        f.level.take(&c.flow_params, &answers.flow, now, wire_len, messages);
        // In hand, because it is stored twice: what was just written in pieces and is read as a whole
        // stalls.
        let mut of_class = c.level;
        of_class.take(&c.class_params, &answers.class, now, wire_len, messages);
        c.level = of_class;
        self.port_level.take(&self.port_params, &answers.port, now, wire_len, messages);
        if as_scheduled {
            // The deadline would have been `now`, and the charge the same.
            c.sched = of_class;
            meta.sched = now;
            meta.normal_lag_ns =
                if self.profile_index == 0 && meta.jitter_ns == 0 { 0 } else { i32::MIN };
        } else if self.cold[flow as usize].sched == f.level {
            f.state.set(State::APART, false);
        }
        true
    }
}
