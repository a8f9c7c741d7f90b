//! What a release changed, and how a refused one is taken back.

use super::Pacer;
use super::journal::{Journal, bits};
use super::place::Lift;
use crate::meta::{PacketMeta, flags};
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::{Place, State};
use crate::pacer::turns::Rule;
use crate::sample::Release;
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// The port took the first `accepted` packets since the last commit. What it did not take comes
    /// back by [`Pacer::undo`] *before* this, so that only accepted packets are charged.
    pub fn commit(&mut self, accepted: usize) {
        debug_assert_eq!(self.journal.len(), accepted);
        self.reserved_before.clear();
        if !self.flushed.is_empty() {
            self.end_flush();
        }
        if std::mem::take(&mut self.follow_up) {
            (0..self.journal.len()).for_each(|i| self.follow_up(i));
        }
        if self.guard.is_active() {
            if let Some(last) = self.journal.last() {
                self.settle_limited(last.now);
            }
            self.guard.commit();
        }
        self.standings.commit();
        self.journal.clear();
    }

    /// What an accepted packet leaves to be done, and not at the offer: a refused one leaves no timer
    /// behind.
    fn follow_up(&mut self, entry: usize) {
        let Journal { flow, bits, .. } = self.journal[entry];
        self.counters.bucket_held += u64::from(bits & bits::BUCKET_HELD != 0);
        if bits & bits::RE_ANCHORED != 0 {
            self.re_anchor_schedule(entry);
        }
        if bits & bits::LEAVES_MORE != 0 {
            self.arm_look(flow);
        }
    }

    /// Lets the classes whose flushes are capped go on.
    #[cold]
    fn end_flush(&mut self) {
        while let Some(class) = self.flushed.pop() {
            self.classes[class].flushed = 0;
        }
        self.turns.begin_flush();
        // It may wait for a packet that is not the first any more.
        self.wake_port();
    }

    /// What arrives from now on is measured against a schedule that has given up what was lost.
    #[cold]
    fn re_anchor_schedule(&mut self, entry: usize) {
        let Journal { flow, now, class, .. } = self.journal[entry];
        let c = &mut self.classes[usize::from(class)];
        c.set_apart();
        c.sched.re_anchor(&c.class_params, now);
        self.cold[flow as usize].sched.re_anchor(&c.flow_params, now);
        if self.profile_index != 0 {
            self.confirmed.re_anchor(flow, self.arms.node(class, None), now);
        }
    }

    /// Gives back the last packet that [`Pacer::next`] gave out and that the port did not take:
    /// every queue, turn and bucket is as if it had not been offered. [`Pacer::commit`] must follow.
    pub fn undo(&mut self, now: Nanos, mut packet: Q::Packet) {
        let Some(j) = self.journal.pop() else {
            debug_assert!(false, "undo without a release");
            return;
        };
        self.standings.begin(self.journal.len() + 1);
        if j.sched_moved > 0 {
            move_schedule(Q::meta_mut(&mut packet), -i64::from(j.sched_moved));
        }
        let meta = *Q::meta(&packet);
        if self.guard.is_active() {
            self.recall_limited(now);
            if self.guard.concerns(&meta) {
                self.undo_guard(now, j.flow, &meta);
            }
        }
        self.take_out(j.flow);
        let (f, cold) = (&mut self.flows[j.flow as usize], &mut self.cold[j.flow as usize]);
        if !f.state.has(State::APART) {
            // It came by the short way; its arrival stays on the schedule.
            f.state.set(State::APART, true);
            cold.sched = f.level;
        }
        let c = &mut self.classes[usize::from(j.class)];
        c.set_apart();
        c.level = j.class_level;
        self.port_level = j.port_level;
        if j.bits & bits::RESERVED != 0
            && let Some(before) = self.reserved_before.pop()
        {
            c.reserved = before;
        }
        if f.class == j.class {
            f.level = j.flow_level;
        } else {
            self.undo_class(now, &j);
        }
        let (f, cold) = (&mut self.flows[j.flow as usize], &mut self.cold[j.flow as usize]);
        f.fifo.push_front(packet);
        f.queued += 1;
        f.deficit = j.deficit;
        f.state.set(State::NEW_TURN, j.bits & bits::NEW_TURN != 0);
        if f.state.has(State::COUNTED) || j.bits & bits::COUNTED != 0 {
            f.state.set(State::COUNTED, true);
            cold.exempt_queued += u32::from(meta.is_exempt());
            // As it is now: the exempt packet behind it may have ended since, and another have come.
            let forwards = meta.is_exempt() && !meta.has(flags::BARE);
            if cold.forward > 0 || forwards {
                cold.forward += 1;
            }
            if cold.gate_from > 0 || j.bits & bits::AHEAD != 0 {
                cold.gate_from += 1;
            }
            if j.bits & bits::IN_WINDOW != 0 {
                self.classes[usize::from(f.class)].window.come_back();
            }
        }
        self.count(j.flow, meta.class, meta.arrival, meta.wire_len());
        self.put_back(now, j.flow, j.bits & bits::GOVERNED != 0);
        // One that was admitted directly has no timer yet. Where the flow keeps an accepted packet,
        // its timer is the commit's.
        match self.journal.iter_mut().rev().find(|earlier| earlier.flow == j.flow) {
            Some(earlier) => {
                earlier.bits |= bits::LEAVES_MORE;
                self.follow_up = true;
            }
            None => self.arm_look(j.flow),
        }
        self.restore_standings(now);
        if j.bits & bits::GOVERNED != 0 {
            self.undo_flush(usize::from(j.class));
        }
        let c = &mut self.classes[usize::from(j.class)];
        c.deficit = j.class_deficit;
        c.waits_since = j.waits_since;
        let (class, priority) = (usize::from(j.class), c.priority());
        if j.rule != Rule::Turn {
            self.turns.restore(class, priority, j.rule, j.claim);
        }
        self.turns.restore(class, priority, Rule::Turn, j.turn);
    }

    /// One packet less of this flush is of `class`.
    fn undo_flush(&mut self, class: usize) {
        let c = &mut self.classes[class];
        if !c.uses(marks::FAN_OUT) {
            return;
        }
        c.flushed = c.flushed.saturating_sub(1);
        if c.flushed < c.params.shaping.fan_out {
            self.turns.clear_spent(class);
        }
        if c.flushed == 0 {
            self.flushed.remove(class);
        }
    }

    /// Puts a flow that an offer took out of a list of the tree where its head belongs, in front.
    /// `was_ready`: its head was paced. If only age would lift it now, that is for its timer to tell, as
    /// if nobody had looked meanwhile.
    pub(super) fn put_back(&mut self, now: Nanos, flow: u32, was_ready: bool) {
        let (mut place, at) = self.destination(now, flow);
        let by_age = |lift| match lift {
            Lift::Go(release) => matches!(release, Release::MaxHold | Release::Late),
            Lift::End(_) => true,
        };
        if was_ready && place == Place::Lifted && self.lift(now, flow).is_some_and(by_age) {
            place = Place::Ready;
        }
        self.put(flow, place, at, true);
    }

    /// The flow, in no list, was of another class when it made the offer that comes back: it was empty
    /// when a packet of its class came. So that class has it only if it is served earlier.
    #[cold]
    fn undo_class(&mut self, now: Nanos, j: &Journal) {
        let class = self.flows[j.flow as usize].class;
        let (new, old) = (usize::from(class), usize::from(j.class));
        if self.classes[new].priority() < self.classes[old].priority() {
            let level = &mut self.flows[j.flow as usize].level;
            *level = j.flow_level;
            level.rescale(&self.classes[old].flow_params, &self.classes[new].flow_params, now);
            self.counters.flow_lifted += 1;
            self.standings.lose();
        } else {
            self.reclass(now, j.flow, j.class);
            self.flows[j.flow as usize].level = j.flow_level;
        }
    }
}

/// Moves the deadline of a packet, and with it its distance from the deadline that nothing of ours
/// moved, where that is known.
pub(super) fn move_schedule(meta: &mut PacketMeta, by_ns: i64) {
    meta.sched = Nanos(meta.sched.0.saturating_add_signed(by_ns));
    if meta.normal_lag_ns != i32::MIN {
        let lag = i64::from(meta.normal_lag_ns) + by_ns;
        meta.normal_lag_ns = i32::try_from(lag).unwrap_or(i32::MAX);
    }
}

#[cfg(test)]
mod state;
#[cfg(test)]
mod tests;
