//! Where flows, classes and the port wait, and what wakes them.

use super::Pacer;
use crate::drop_reason::DropReason;
use crate::meta::PacketMeta;
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::floor;
use crate::pacer::flow::{NO_VENUE, Place, State};
use crate::pacer::nodes::Node;
use crate::profile::Lateness;
use crate::sample::Release;
use crate::stop::StopWord;
use crate::time::Nanos;

/// So many flows at most a flow that is too old is sorted before.
const SORTED_MOST: usize = 32;

/// What becomes of a head that is not paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lift {
    /// It waits for no bucket.
    Go(Release),
    /// It ends.
    End(DropReason),
}

impl<Q: Fifo> Pacer<Q> {
    pub(super) fn fire(&mut self, now: Nanos, number: u32) {
        match self.nodes.node(number) {
            Node::Flow(flow) => {
                // Taken off the wheel by firing; its time may have moved since, so it is asked again.
                self.flows[flow as usize].state.set_place(Place::Idle);
                self.place(now, flow, false);
            }
            Node::Look(flow) => self.look(now, flow),
            Node::Port => {
                self.port_on_wheel = false;
            }
            Node::Class(class) => {
                self.classes[class].on_wheel = false;
                self.wake_class(class);
            }
            Node::Reserved(class) => {
                let c = &self.classes[class];
                // A profile may have taken the bucket away.
                if c.uses(marks::RESERVED) {
                    self.turns.set_reserved(class, c.priority());
                    // It goes before the packet that the port is kept for.
                    self.wake_port();
                }
            }
            Node::Floor(class) => {
                let c = &mut self.classes[class];
                c.floor_on_wheel = false;
                if c.uses(marks::FLOOR) {
                    self.turns.set_floor_due(class, c.priority());
                    self.wake_port();
                }
            }
            Node::Window(class) => match self.classes[class].window.due() {
                Some(due) if due <= now => self.open_window(now, class, due),
                Some(due) => self.wheel.insert(number, due),
                None => {}
            },
            Node::Limit(instance) => self.guard.waiting.fired(instance),
        }
    }

    /// The look timer of a flow has fired.
    fn look(&mut self, now: Nanos, flow: u32) {
        self.cold[flow as usize].look_at = Nanos::MAX;
        if self.flows[flow as usize].state.place() == Place::Limited {
            return self.look_at_limited(now, flow);
        }
        if matches!(
            self.flows[flow as usize].state.place(),
            Place::Waiting | Place::Ready | Place::Gated
        ) {
            if self.look_deadline(flow).is_some_and(|deadline| deadline <= now) {
                self.take_out(flow);
                self.place(now, flow, false);
            } else {
                self.arm_look(flow);
            }
        }
    }

    /// When the head of a flow has waited so long that it is treated otherwise.
    fn look_deadline(&self, flow: u32) -> Option<Nanos> {
        let head = self.flows[flow as usize].fifo.front()?;
        let at = match self.flows[flow as usize].state.place() {
            Place::Limited => self.limited_deadline(head),
            _ => self.classes[usize::from(head.class)].look_at(head),
        };
        (at != Nanos::MAX).then_some(at)
    }

    /// One timer for a flow, at or before its head's deadline: it is not moved when the head leaves,
    /// but looks at the new head when it fires. It is moved when the new head's deadline is earlier
    /// (its wish or what its class says may differ). A head that leaves anyway needs none.
    pub(super) fn arm_look(&mut self, flow: u32) {
        if !matches!(self.flows[flow as usize].state.place(), Place::Express | Place::Lifted)
            && let Some(deadline) = self.look_deadline(flow)
            && deadline < self.cold[flow as usize].look_at
        {
            self.cold[flow as usize].look_at = deadline;
            self.wheel.insert(self.nodes.number(Node::Look(flow)), deadline);
        }
    }

    /// Why the head of a flow may leave without asking a bucket, or must not leave. Its own wish
    /// still holds.
    pub(super) fn lift(&self, now: Nanos, flow: u32) -> Option<Lift> {
        let f = &self.flows[flow as usize];
        let head = f.fifo.front()?;
        if head.is_exempt() {
            return Some(Lift::Go(Release::Exempt));
        }
        if f.state.has(State::COUNTED) && self.cold[flow as usize].forward > 0 {
            return Some(Lift::Go(Release::Forward));
        }
        if self.draining {
            return Some(Lift::Go(Release::Drain));
        }
        if self.any_word && self.passes(f.class, head) {
            return Some(Lift::Go(Release::Passthrough));
        }
        let own = &self.classes[usize::from(head.class)];
        if own.look_at(head) > now {
            return None;
        }
        let max_hold = own.params.max_hold;
        if max_hold != Nanos::MAX && head.wanted().saturating_add(max_hold) <= now {
            return Some(Lift::Go(Release::MaxHold));
        }
        Some(match own.params.shaping.lateness {
            Lateness::SendNow => Lift::Go(Release::Late),
            _ => Lift::End(DropReason::Late),
        })
    }

    /// Whether a word lets the head of a flow of `class` pass.
    fn passes(&self, class: u8, head: &PacketMeta) -> bool {
        self.words.of(class, (head.venue != NO_VENUE).then_some(head.venue))
            == StopWord::Passthrough
    }

    /// Where the head of a flow belongs; for a flow that has to wait, until when.
    pub(super) fn destination(&mut self, now: Nanos, flow: u32) -> (Place, Nanos) {
        self.carry(flow);
        let lift = self.lift(now, flow);
        let f = &self.flows[flow as usize];
        let Some(head) = f.fifo.front() else { return (Place::Idle, now) };
        let class = usize::from(f.class);
        match lift {
            Some(Lift::End(_)) => (Place::Lifted, now),
            // No rule of ours holds it, but never before its sender wants it out.
            Some(Lift::Go(_)) if head.wanted() > now => (Place::Waiting, head.wanted()),
            Some(Lift::Go(Release::Passthrough | Release::MaxHold | Release::Late)) => {
                (Place::Lifted, now)
            }
            // Passthrough is first in, first out, exempt packets included. A drain keeps the order
            // of groups in which it began.
            Some(Lift::Go(_)) => {
                let in_order = self.any_word && !self.draining && self.passes(f.class, head);
                (if in_order { Place::Lifted } else { Place::Express }, now)
            }
            None if self.is_gated(flow) => (Place::Gated, now),
            None => {
                let params = &mut self.classes[class].flow_params;
                let answer = f.level.ask(params, head.wire_len(), u32::from(head.messages));
                let at = answer.at.max(head.not_before());
                if at > now { (Place::Waiting, at) } else { (Place::Ready, now) }
            }
        }
    }

    /// Whether the head of a flow, a governed one, came in a release window that is still closed.
    fn is_gated(&self, flow: u32) -> bool {
        let f = &self.flows[flow as usize];
        let c = &self.classes[usize::from(f.class)];
        let cold = &self.cold[flow as usize];
        c.uses(marks::WINDOW)
            && f.state.has(State::COUNTED)
            && cold.gate_from == 0
            && c.window.holds(cold.gate_window)
    }

    /// Opens the closed window of a class: it opened at `at`.
    pub(super) fn open_window(&mut self, now: Nanos, class: usize, at: Nanos) {
        self.classes[class].window.open(at);
        self.wheel.remove(self.nodes.number(Node::Window(class)));
        while let Some(flow) = self.classes[class].gated.head() {
            self.take_out(flow);
            self.place(now, flow, false);
        }
    }

    /// Puts a flow that is in no list where its head belongs; `in_front` of its equals when it comes
    /// back from a port that did not take it.
    pub(super) fn place(&mut self, now: Nanos, flow: u32, in_front: bool) {
        let (place, at) = self.destination(now, flow);
        self.put(flow, place, at, in_front);
    }

    /// Puts a flow that is in no list to a place; `at` is until when it waits, or now.
    pub(super) fn put(&mut self, flow: u32, place: Place, at: Nanos, in_front: bool) {
        let f = &mut self.flows[flow as usize];
        debug_assert_eq!(f.state.place(), Place::Idle);
        f.state.set_place(place);
        match place {
            // The last two are done by who asks limits and paths.
            Place::Free | Place::Idle | Place::Limited | Place::Parked => {}
            Place::Waiting => self.wheel.insert(flow, at),
            Place::Express if in_front => self.express.push_front(&mut self.flows, flow),
            Place::Express => self.express.push_back(&mut self.flows, flow),
            Place::Lifted if in_front => self.lifted.push_front(&mut self.flows, flow),
            Place::Lifted => self.put_lifted(flow, at),
            Place::Gated => {
                let class = usize::from(f.class);
                self.classes[class].gated.push_back(&mut self.flows, flow);
            }
            Place::Ready => {
                let class = usize::from(f.class);
                self.note_class(class);
                let f = &mut self.flows[flow as usize];
                let c = &mut self.classes[class];
                if c.ready.is_empty() {
                    c.waits_since = at;
                }
                c.ready_flows += 1;
                if in_front {
                    c.ready.push_front(&mut self.flows, flow);
                } else {
                    f.deficit = 0;
                    f.state.set(State::NEW_TURN, true);
                    c.ready.push_back(&mut self.flows, flow);
                }
                if !c.on_wheel {
                    self.set_ready(class);
                }
            }
        }
    }

    /// Adds a flow to those that are let off the buckets: behind them, but what has become too old
    /// goes before what becomes so later, in whatever order their timers were set.
    fn put_lifted(&mut self, flow: u32, now: Nanos) {
        let mut behind = self.lifted.tail();
        if let Some(age) = self.lifted_for(now, flow) {
            for _ in 0..SORTED_MOST {
                let Some(other) = behind else { break };
                if self.lifted_for(now, other).is_none_or(|its| its <= age) {
                    break;
                }
                behind = self.lifted.before(&mut self.flows, other);
            }
        }
        self.lifted.insert_behind(&mut self.flows, behind, flow);
    }

    /// Since when a head is too old that is lifted for it, and the number of its flow.
    fn lifted_for(&self, now: Nanos, flow: u32) -> Option<(Nanos, u32)> {
        let head = self.flows[flow as usize].fifo.front()?;
        match self.lift(now, flow)? {
            Lift::Go(Release::MaxHold | Release::Late) | Lift::End(_) => {
                Some((self.classes[usize::from(head.class)].look_at(head), flow))
            }
            Lift::Go(_) => None,
        }
    }

    /// Takes a flow out of whatever list it is in.
    pub(super) fn take_out(&mut self, flow: u32) {
        let f = &mut self.flows[flow as usize];
        let class = usize::from(f.class);
        let place = f.state.place();
        match place {
            Place::Free => return,
            Place::Idle => {}
            Place::Waiting => self.wheel.remove(flow),
            Place::Express => self.express.remove(&mut self.flows, flow),
            Place::Lifted => self.lifted.remove(&mut self.flows, flow),
            Place::Gated => self.classes[class].gated.remove(&mut self.flows, flow),
            Place::Limited => {
                let instance = self.guard.waiting.unpark(&mut self.flows, flow);
                // Who is first now may want less, and go before.
                self.set_limit_timer(Nanos::ZERO, instance);
            }
            Place::Parked => {
                if let Some(paths) = &mut self.paths {
                    paths.unpark(&mut self.flows, flow);
                }
            }
            Place::Ready => {
                self.note_class(class);
                let c = &mut self.classes[class];
                c.ready.remove(&mut self.flows, flow);
                c.ready_flows -= 1;
                // Class and port may be waiting for the time of the packet that goes away here;
                // another one may conform before.
                if c.ready.is_empty() {
                    self.sleep_class(class);
                } else if c.on_wheel {
                    self.wake_class(class);
                } else {
                    self.set_ready(class);
                }
                self.wake_port();
            }
        }
        self.flows[flow as usize].state.set_place(Place::Idle);
    }

    /// Carries the buckets of a flow over to the profile in force, where a change has not reached
    /// them yet.
    #[inline]
    pub(super) fn carry(&mut self, flow: u32) {
        if self.sweep.is_active() {
            self.carry_now(flow);
        }
    }

    #[cold]
    fn carry_now(&mut self, flow: u32) {
        let (f, cold) = (&mut self.flows[flow as usize], &mut self.cold[flow as usize]);
        if cold.epoch != self.history.now() {
            self.history.carry(f.class, cold.epoch, &mut [&mut f.level, &mut cold.sched]);
            cold.epoch = self.history.now();
        }
    }

    /// Changes the class of a flow that is in no list; its own buckets go along.
    pub(super) fn reclass(&mut self, now: Nanos, flow: u32, class: u8) {
        self.leave_window(flow);
        let (f, cold) = (&mut self.flows[flow as usize], &mut self.cold[flow as usize]);
        let (old, new) = (&self.classes[usize::from(f.class)], &self.classes[usize::from(class)]);
        if old.params.flow != new.params.flow {
            f.level.rescale(&old.flow_params, &new.flow_params, now);
            cold.sched.rescale(&old.flow_params, &new.flow_params, now);
        }
        f.class = class;
        // What is queued did not come in a window of this class.
        (cold.gate_from, cold.gate_window) = (f.queued, new.window.number());
        cold.opened_at = Nanos::ZERO;
    }

    /// A flow changes to another class: what of it waits in the closed release window of this one
    /// does not count there any more. Walks the flow, for nothing says which of it are exempt.
    fn leave_window(&mut self, flow: u32) {
        let (f, cold) = (&mut self.flows[flow as usize], &self.cold[flow as usize]);
        let c = &mut self.classes[usize::from(f.class)];
        if !f.state.has(State::COUNTED)
            || !c.uses(marks::WINDOW)
            || !c.window.holds(cold.gate_window)
        {
            return;
        }
        for position in 0..f.queued {
            let Some(packet) = f.fifo.pop_front() else { return };
            if position >= cold.gate_from && !Q::meta(&packet).is_exempt() {
                c.window.leave();
            }
            f.fifo.push_back(packet);
        }
    }

    /// A class with ready flows that does not wait for its bucket.
    pub(super) fn set_ready(&mut self, class: usize) {
        let c = &mut self.classes[class];
        // Each time the number of its flows has doubled, so that the look is never late by more than
        // a part of what is owed.
        if c.uses(marks::FLOOR) && (!c.floor_on_wheel || c.ready_flows.is_power_of_two()) {
            let head = c.ready.head().and_then(|flow| self.flows[flow as usize].fifo.front());
            let wire_len = head.map_or(0, PacketMeta::wire_len);
            let look = c.floor_due(wire_len).min(c.waits_since.saturating_add(floor::NEXT_LOOK));
            c.floor_on_wheel = true;
            self.wheel.insert(self.nodes.number(Node::Floor(class)), look);
        }
        self.turns.set_ready(class, c.priority(), c.uses(marks::RESERVED));
        // A smaller or more urgent packet may conform before the one the port waits for.
        self.wake_port();
    }

    /// It has no ready flows any more: its turn is over, and it saves nothing for the next.
    #[inline]
    pub(super) fn clear_ready(&mut self, class: usize) {
        let c = &mut self.classes[class];
        c.deficit = 0;
        let priority = c.priority();
        self.turns.clear_ready(class, priority);
        self.turns.end_turn(class, priority);
    }

    pub(super) fn sleep_class(&mut self, class: usize) {
        self.clear_ready(class);
        self.take_off_wheel(class);
    }

    fn take_off_wheel(&mut self, class: usize) {
        if std::mem::take(&mut self.classes[class].on_wheel) {
            self.wheel.remove(self.nodes.number(Node::Class(class)));
        }
    }

    /// It is asked again, where it has ready flows.
    pub(super) fn wake_class(&mut self, class: usize) {
        self.note_class(class);
        self.take_off_wheel(class);
        if !self.classes[class].ready.is_empty() {
            self.set_ready(class);
        }
    }

    pub(super) fn wake_port(&mut self) {
        if self.port_on_wheel {
            self.note_port();
            self.port_on_wheel = false;
            self.wheel.remove(self.nodes.number(Node::Port));
        }
    }
}
