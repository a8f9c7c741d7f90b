//! Where flows, classes and the port wait, and what wakes them.

use super::*;

impl<Q: Fifo> Pacer<Q> {
    pub(super) fn fire(&mut self, now: Nanos, node: u32) {
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

    pub(super) fn fire_hold(&mut self, now: Nanos, flow: u32) {
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

    pub(super) fn hold_deadline(&self, flow: u32) -> Option<Nanos> {
        let head = self.flows[flow as usize].fifo.front()?;
        let max_hold = self.classes[usize::from(head.class)].params.max_hold;
        (max_hold != Nanos::MAX).then(|| head.wanted().saturating_add(max_hold))
    }

    /// One timer for a flow, at or before its head's deadline: it is not moved when the head leaves,
    /// but looks at the new head when it fires. It is moved when the new head's deadline is earlier
    /// (its wish or its class's `max_hold` may differ). A head that leaves anyway needs none.
    pub(super) fn arm_hold(&mut self, flow: u32) {
        if !matches!(self.flows[flow as usize].place, Place::Express | Place::Lifted)
            && let Some(deadline) = self.hold_deadline(flow)
            && deadline < self.flows[flow as usize].hold_at
        {
            self.flows[flow as usize].hold_at = deadline;
            self.wheel.insert(self.flows.len() as u32 + flow, deadline);
        }
    }

    /// Why the head of a flow may leave without asking a bucket, if it may. Its own wish still holds.
    pub(super) fn express_release(&self, now: Nanos, flow: u32) -> Option<Release> {
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
    pub(super) fn destination(&mut self, now: Nanos, flow: u32) -> (Place, Nanos) {
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
    pub(super) fn place(&mut self, now: Nanos, flow: u32, in_front: bool) {
        let (place, at) = self.destination(now, flow);
        self.put(flow, place, at, in_front);
    }

    pub(super) fn put(&mut self, flow: u32, place: Place, at: Nanos, in_front: bool) {
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
    pub(super) fn take_out(&mut self, flow: u32) {
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
    pub(super) fn reclass(&mut self, now: Nanos, flow: u32, class: u8) {
        let f = &mut self.flows[flow as usize];
        let (old, new) = (&self.classes[usize::from(f.class)], &self.classes[usize::from(class)]);
        if old.params.flow != new.params.flow {
            f.level.rescale(&old.flow_params, &new.flow_params, now);
            f.sched.rescale(&old.flow_params, &new.flow_params, now);
        }
        f.class = class;
        f.word = self.words.of(class, (f.venue != NO_VENUE).then_some(f.venue));
    }

    pub(super) fn set_ready(&mut self, class: usize) {
        let priority = usize::from(self.classes[class].params.priority) % PRIORITIES;
        self.ready[priority] |= 1 << class;
        self.ready_priorities |= 1 << priority;
        // A smaller or more urgent packet may conform before the one the port waits for.
        self.wake_port();
    }

    pub(super) fn clear_ready(&mut self, class: usize) {
        // In whichever it is: the priority of a class changes with the profile.
        self.ready_priorities = 0;
        for (priority, classes) in self.ready.iter_mut().enumerate() {
            *classes &= !(1 << class);
            self.ready_priorities |= u8::from(*classes != 0) << priority;
        }
    }

    pub(super) fn sleep_class(&mut self, class: usize) {
        self.clear_ready(class);
        if std::mem::take(&mut self.classes[class].on_wheel) {
            self.wheel.remove(self.class_node(class));
        }
    }

    pub(super) fn wake_class(&mut self, class: usize) {
        self.sleep_class(class);
        if !self.classes[class].ready.is_empty() {
            self.set_ready(class);
        }
    }

    pub(super) fn wake_port(&mut self) {
        if std::mem::take(&mut self.port_on_wheel) {
            self.wheel.remove(self.port_node());
        }
    }

    pub(super) fn class_node(&self, class: usize) -> u32 {
        (2 * self.flows.len() + class) as u32
    }

    pub(super) fn port_node(&self) -> u32 {
        (2 * self.flows.len() + self.classes.len()) as u32
    }
}
