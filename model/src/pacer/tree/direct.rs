//! The short way: a packet that nothing holds and that overtakes nobody leaves without having been
//! queued. What it changes is what [`Pacer::enqueue`] and [`Pacer::next`] would have changed.

use super::{Answers, Journal, PRIORITIES, Pacer};
use crate::meta::PacketMeta;
use crate::pacer::fifo::Fifo;
use crate::stop::StopWord;
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// Whether the packet of `flow` that `meta` describes may leave at once; it is charged then, as
    /// by [`Pacer::next`], governed, eligible at `now` and held by no bucket. Else nothing has
    /// happened, and it is for [`Pacer::enqueue`].
    ///
    /// It may when nothing that is due waits in the whole pacer (sch_fq let packets pass others here,
    /// and reordered), its flow is empty, no stop word is set, and every level conforms.
    #[inline]
    pub fn admit(&mut self, now: Nanos, flow: u32, venue: u8, meta: &mut PacketMeta) -> bool {
        if self.port_on_wheel || self.is_due() || self.draining || self.any_word || meta.is_exempt()
        {
            return false;
        }
        let class = usize::from(meta.class);
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        if f.queued > 0
            || f.class != meta.class
            || c.on_wheel
            || c.params.closed
            || c.queued_packets >= c.params.queue_packets
            || c.queued_bytes + u64::from(wire_len) > c.params.queue_bytes
            || meta.wanted() != now
            || meta.jitter_ns != 0
            || self.journal.len() == self.journal.capacity()
        {
            return false;
        }
        let answers = Answers {
            flow: f.level.ask(&mut c.flow_params, wire_len, messages),
            class: c.level.ask(&mut c.class_params, wire_len, messages),
            port: self.port_level.ask(&mut self.port_params, wire_len, messages),
        };
        if answers.flow.at.max(answers.class.at).max(answers.port.at) > now {
            return false;
        }
        let as_scheduled = f.level == f.sched && c.level == c.sched;
        if !as_scheduled {
            self.schedule(flow, meta);
        }
        let (f, c) = (&mut self.flows[flow as usize], &mut self.classes[class]);
        meta.venue = venue;
        f.venue = venue;
        f.word = StopWord::Running;
        let turn = &mut self.served[usize::from(c.params.priority) % PRIORITIES];
        self.journal.push(Journal {
            flow_level: f.level,
            now,
            flow,
            forward: 0,
            deficit: 0,
            wire_len,
            messages: meta.messages,
            class: meta.class,
            served: *turn,
            new_turn: true,
            bucket_held: false,
            leaves_more: false,
        });
        *turn = meta.class;
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
        if as_scheduled {
            // The deadline would have been `now`, and the charge the same.
            (f.sched, c.sched) = (f.level, c.level);
            meta.sched = now;
            meta.normal_lag_ns =
                if self.profile_index == 0 && meta.jitter_ns == 0 { 0 } else { i32::MIN };
        }
        true
    }
}
