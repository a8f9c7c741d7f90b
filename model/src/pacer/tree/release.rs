//! What leaves: the choice of the next packet, its charge, and how a refused one is taken back.

use super::*;

impl<Q: Fifo> Pacer<Q> {
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
    pub(super) fn recharge(&mut self) {
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
        // One that was admitted directly has no timer yet.
        self.arm_hold(j.flow);
    }

    pub(super) fn release_express(
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
    pub(super) fn take(
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

    pub(super) fn pick_class(&self) -> Option<usize> {
        let priority = self.ready_priorities.trailing_zeros() as usize;
        let classes = self.ready.get(priority)?;
        // Take turns: the first class after the one served last, cyclically.
        let after =
            classes & (!0u64).checked_shl(u32::from(self.served[priority]) + 1).unwrap_or(0);
        Some(if after != 0 { after } else { *classes }.trailing_zeros() as usize)
    }
}
