//! What leaves: the choice of the next packet and its charge.
//!
//! The questions come in this order, each in one place: does the head end instead ([`Pacer::lift`],
//! and while a change is under way `Pacer::look_again`); venue limits (`Pacer::ask_limits`); flow; class; port; room; the cap of a flush
//! (a class that has spent it is not picked).

use super::journal::{Journal, bits};
use super::limited::{Passage, Patience};
use super::place::Lift;
use super::undo::move_schedule;
use super::{Next, Pacer, Released};
use crate::drop_reason::DropReason;
use crate::meta::PacketMeta;
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::floor;
use crate::pacer::flow::{Place, State};
use crate::pacer::gcra::Answer;
use crate::pacer::nodes::Node;
use crate::pacer::turns::Rule;
use crate::profile::Lateness;
use crate::sample::Release;
use crate::time::Nanos;

/// What each level says to the head of a flow.
pub(super) struct Answers {
    pub flow: Answer,
    pub class: Answer,
    pub port: Answer,
}

/// Why a packet leaves.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub release: Release,
    pub rule: Rule,
    pub eligible: Nanos,
    pub bucket_held: bool,
}

impl<Q: Fifo> Pacer<Q> {
    /// The next packet that may leave at `now` and whose wire bytes are at most `room`; charged at
    /// once, final after [`Pacer::commit`]. Visits each class a few times at most, and one flow of it.
    pub fn next(&mut self, now: Nanos, room: u64) -> Next<Q::Packet> {
        let mut patience = Patience::FULL;
        self.standings.begin(self.journal.len());
        let next = self.next_within(now, room, &mut patience);
        self.standings.end();
        next
    }

    fn next_within(&mut self, now: Nanos, room: u64, patience: &mut Patience) -> Next<Q::Packet> {
        while let Some(flow) = self.express.head().or(self.lifted.head()) {
            if self.sweep.is_active()
                && let Some(ended) = self.look_again(now, flow)
            {
                return ended;
            }
            match self.lift(now, flow) {
                Some(Lift::Go(release)) => match self.ask_limits(now, flow, patience) {
                    Passage::Open(at) => {
                        return self.release_express(now, flow, release, at, room);
                    }
                    Passage::Unknown => return Next::Nothing,
                    Passage::Closed if patience.is_over() => return Next::Nothing,
                    Passage::Closed => {}
                    Passage::Ends => return self.end_limited(now, flow),
                },
                Some(Lift::End(reason)) => return self.end_head(now, flow, reason),
                None => {
                    // Nothing lifts its head any more: back to the tree.
                    self.take_out(flow);
                    self.place(now, flow, false);
                }
            }
        }
        if self.port_on_wheel {
            return Next::Nothing;
        }
        while let Some((class, rule)) = self.turns.pick() {
            let c = &mut self.classes[class];
            let Some(flow) = c.ready.head() else {
                self.clear_ready(class);
                continue;
            };
            // In a lifted group the packet's own class, not the group's, says what lateness means.
            let own = self.flows[flow as usize].fifo.front().map_or(class, |p| p.class.into());
            if (self.sweep.is_active() || self.classes[own].uses(marks::LATENESS))
                && let Some(ended) = self.look_again(now, flow)
            {
                return ended;
            }
            match self.flows[flow as usize].state.place() {
                Place::Ready => {}
                // It goes before all that are ready. No deeper than patience lasts: it leaves, ends
                // or is sent to wait.
                Place::Express | Place::Lifted => return self.next_within(now, room, patience),
                _ => continue,
            }
            let opened_at = match self.ask_limits(now, flow, patience) {
                Passage::Open(at) => at,
                Passage::Unknown => return Next::Nothing,
                Passage::Closed if patience.is_over() => return Next::Nothing,
                Passage::Closed => continue,
                Passage::Ends => return self.end_limited(now, flow),
            };
            let c = &mut self.classes[class];
            let f = &mut self.flows[flow as usize];
            let Some(head) = f.fifo.front() else { return Next::Nothing };
            let (wire_len, messages) = (head.wire_len(), u32::from(head.messages));
            let (wanted, not_before) = (head.wanted(), head.not_before());
            f.begin_turn(self.wire_len_max);
            if !f.may_send(wire_len) {
                f.state.set(State::NEW_TURN, true);
                c.ready.remove(&mut self.flows, flow);
                c.ready.push_back(&mut self.flows, flow);
                continue;
            }
            let priority = c.priority();
            match rule {
                Rule::Turn => {
                    if self.turns.goes_on(class, priority) && c.deficit < wire_len {
                        self.note_class(class);
                        self.turns.end_turn(class, priority);
                        continue;
                    }
                }
                Rule::Reserved => {
                    let at = c.reserved.ask(&c.reserved_params, wire_len, messages).at;
                    if at > now {
                        self.note_class(class);
                        self.turns.clear_reserved(class);
                        self.wheel.insert(self.nodes.number(Node::Reserved(class)), at);
                        continue;
                    }
                }
                Rule::Floor => {
                    let due = c.floor_due(wire_len);
                    if due > now {
                        self.note_class(class);
                        self.classes[class].floor_on_wheel = true;
                        let look = due.min(now.saturating_add(floor::NEXT_LOOK));
                        self.turns.clear_floor_due(class);
                        self.wheel.insert(self.nodes.number(Node::Floor(class)), look);
                        continue;
                    }
                }
            }
            let of_class = c.level.ask(&c.class_params, wire_len, messages);
            if of_class.at > now {
                self.note_class(class);
                self.classes[class].on_wheel = true;
                self.wheel.insert(self.nodes.number(Node::Class(class)), of_class.at);
                self.turns.clear_ready(class, priority);
                continue;
            }
            let of_port = self.port_level.ask(&self.port_params, wire_len, messages);
            if of_port.at > now {
                self.note_port();
                self.port_on_wheel = true;
                self.wheel.insert(self.nodes.number(Node::Port), of_port.at);
                return Next::Nothing;
            }
            if u64::from(wire_len) > room {
                return Next::NoRoom;
            }
            let of_flow = f.level.ask(&c.flow_params, wire_len, messages);
            let buckets_at = of_flow.at.max(of_class.at).max(of_port.at);
            let mut eligible = not_before.max(buckets_at).max(opened_at);
            let bucket_held = buckets_at > wanted;
            if c.uses(marks::WINDOW) {
                eligible = eligible.max(self.opened_at(flow));
            }
            let grant = Grant { release: Release::Governed, rule, eligible, bucket_held };
            let answers = Answers { flow: of_flow, class: of_class, port: of_port };
            return self.take(now, flow, grant, &answers);
        }
        Next::Nothing
    }

    fn release_express(
        &mut self,
        now: Nanos,
        flow: u32,
        release: Release,
        opened_at: Nanos,
        room: u64,
    ) -> Next<Q::Packet> {
        let f = &self.flows[flow as usize];
        let Some(head) = f.fifo.front() else { return Next::Nothing };
        let (wire_len, messages) = (head.wire_len(), u32::from(head.messages));
        if u64::from(wire_len) > room {
            return Next::NoRoom;
        }
        let (wanted, is_exempt) = (head.wanted(), head.is_exempt());
        let eligible = wanted.max(opened_at);
        let f = &mut self.flows[flow as usize];
        let c = &mut self.classes[usize::from(f.class)];
        let answers = Answers {
            flow: f.level.ask(&c.flow_params, wire_len, messages),
            class: c.level.ask(&c.class_params, wire_len, messages),
            port: self.port_level.ask(&self.port_params, wire_len, messages),
        };
        // What waits for a bucket until something lets it go was held by it all the same.
        let buckets_at = answers.flow.at.max(answers.class.at).max(answers.port.at);
        let bucket_held = !is_exempt && buckets_at > wanted && now > wanted;
        let grant = Grant { release, rule: Rule::Turn, eligible, bucket_held };
        let released = self.take(now, flow, grant, &answers);
        // The class that the port waits for may no longer conform after this charge; then the port
        // is another's.
        self.wake_port();
        released
    }

    /// Looks at a head that is about to be offered: a change that has not reached its flow may end
    /// it, or move the flow; so may lateness.
    #[cold]
    fn look_again(&mut self, now: Nanos, flow: u32) -> Option<Next<Q::Packet>> {
        let head = self.flows[flow as usize].fifo.front()?;
        if let Some(reason) = self.ends(head) {
            return Some(self.end_head(now, flow, reason));
        }
        let own = usize::from(head.class);
        let lift = self.lift(now, flow);
        if let Some(Lift::End(reason)) = lift {
            return Some(self.end_head(now, flow, reason));
        }
        let is_sweeping = self.sweep.is_active();
        // Its timer has not fired yet, or knows another profile. What is late in a class that drops
        // must not leave as if it were not.
        let is_lifted = lift.is_some()
            && self.flows[flow as usize].state.place() == Place::Ready
            && (is_sweeping || self.classes[own].params.shaping.lateness == Lateness::Drop);
        if is_lifted || (is_sweeping && self.cold[flow as usize].epoch != self.history.now()) {
            self.take_out(flow);
            self.place(now, flow, false);
            self.arm_look(flow);
        }
        None
    }

    /// The head of a flow ends instead of leaving.
    pub(super) fn end_head(
        &mut self,
        now: Nanos,
        flow: u32,
        reason: DropReason,
    ) -> Next<Q::Packet> {
        self.take_out(flow);
        let f = &mut self.flows[flow as usize];
        let Some(packet) = f.fifo.pop_front() else { return Next::Nothing };
        f.queued -= 1;
        let meta = *Q::meta(&packet);
        if self.guard.is_active() {
            self.guard.end(flow, &meta);
        }
        let f = &mut self.flows[flow as usize];
        if f.state.has(State::COUNTED) {
            self.count_leaving(flow, &meta);
        }
        self.discount(meta.class, meta.wire_len());
        self.place(now, flow, false);
        self.arm_look(flow);
        Next::Ended(packet, reason)
    }

    /// Takes the head of a flow out, charges every level, which has given its answer, and puts the
    /// flow where its new head belongs.
    #[inline]
    fn take(&mut self, now: Nanos, flow: u32, grant: Grant, answers: &Answers) -> Next<Q::Packet> {
        let Grant { release, rule, eligible, bucket_held } = grant;
        let governed = release == Release::Governed;
        // What it changes comes back with it.
        self.standings.begin(self.journal.len() + 1);
        let class = usize::from(self.flows[flow as usize].class);
        if self.classes[class].uses(marks::CLAIMS) {
            self.note_class(class);
        }
        let f = &mut self.flows[flow as usize];
        let c = &mut self.classes[class];
        let Some(mut packet) = f.fifo.pop_front() else { return Next::Nothing };
        let meta = Q::meta(&packet);
        let (own_class, wire_len) = (meta.class, meta.wire_len());
        let priority = c.priority();
        let turn = self.turns.served(priority);
        let mut entry = Journal {
            flow_level: f.level,
            class_level: c.level,
            port_level: self.port_level,
            now,
            waits_since: c.waits_since,
            flow,
            class_deficit: c.deficit,
            sched_moved: 0,
            deficit: f.deficit,
            class: class as u8,
            turn,
            claim: turn,
            rule,
            bits: bits::when(bits::NEW_TURN, f.state.has(State::NEW_TURN))
                | bits::when(bits::BUCKET_HELD, bucket_held)
                | bits::when(bits::LEAVES_MORE, f.queued > 1)
                | bits::when(bits::GOVERNED, governed),
        };
        // Its arrival may have been charged to another class.
        c.set_apart();
        f.level.take(&c.flow_params, &answers.flow, now);
        c.level.take(&c.class_params, &answers.class, now);
        self.port_level.take(&self.port_params, &answers.port, now);
        f.queued -= 1;
        let is_last = f.queued == 0;
        let mut mark_ce = false;
        if governed {
            mark_ce = now.saturating_sub(meta.wanted()) > c.params.shaping.ecn_threshold;
            match rule {
                Rule::Turn => {
                    if !self.turns.goes_on(class, priority) {
                        // What it saved is less than a frame; a turn that was cut short saves no
                        // more than that.
                        let saved = c.deficit.min(self.wire_len_max);
                        c.deficit = saved.saturating_add(c.quantum(self.wire_len_max));
                    }
                    c.deficit = c.deficit.saturating_sub(wire_len);
                    c.waits_since = now;
                }
                Rule::Reserved => c.waits_since = now,
                Rule::Floor => {
                    c.waits_since = floor::served(c.waits_since, c.floor_gap(wire_len), now);
                }
            }
            entry.claim = self.turns.serve(class, priority, rule);
            if c.marks & marks::AT_RELEASE != 0 || own_class != class as u8 {
                self.charge_shaping(now, flow, Q::meta_mut(&mut packet), &mut entry);
            }
        }
        if self.flows[flow as usize].state.has(State::COUNTED) {
            let meta = *Q::meta(&packet);
            entry.bits |= self.count_leaving(flow, &meta);
        }
        if self.guard.concerns(Q::meta(&packet)) {
            self.guard.depart(now, flow, Q::meta(&packet));
        }
        self.follow_up |= entry.bits & bits::FOLLOW_UP != 0;
        self.journal.push(entry);
        self.discount(own_class, wire_len);

        let released =
            Next::Packet(Released { packet, flow, release, eligible, bucket_held, mark_ce });
        if governed && is_last {
            // The usual case. It was first in its class, and neither class nor port waits.
            self.flows[flow as usize].state.set_place(Place::Idle);
            let c = &mut self.classes[class];
            c.ready.remove(&mut self.flows, flow);
            c.ready_flows -= 1;
            if c.ready.is_empty() {
                self.clear_ready(class);
            }
            return released;
        }
        let (place, at) = self.destination(now, flow);
        let f = &mut self.flows[flow as usize];
        if governed && place == Place::Ready {
            f.spend(wire_len);
            // Its turn goes on while the deficit lasts. It ends here, not at the next look, so that
            // the order of flows does not depend on whether somebody looked.
            if f.fifo.front().is_some_and(|head| !f.may_send(head.wire_len())) {
                f.state.set(State::NEW_TURN, true);
                let ready = &mut self.classes[class].ready;
                ready.remove(&mut self.flows, flow);
                ready.push_back(&mut self.flows, flow);
            }
        } else if f.state.place() != place {
            self.take_out(flow);
            self.put(flow, place, at, false);
        }
        released
    }

    /// What a governed packet costs beside the caps.
    fn charge_shaping(
        &mut self,
        now: Nanos,
        flow: u32,
        meta: &mut PacketMeta,
        entry: &mut Journal,
    ) {
        let own = self.shaping(meta.class);
        let late = now > meta.sched.saturating_add(own.late_after);
        let re_anchors = own.lateness == Lateness::ReAnchor && late;
        let opened_at = self.opened_at(flow);
        let f = &mut self.flows[flow as usize];
        let class = usize::from(f.class);
        let c = &mut self.classes[class];
        if c.uses(marks::RESERVED) {
            let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
            entry.bits |= bits::RESERVED;
            self.reserved_before.push(c.reserved);
            c.reserved.charge(&c.reserved_params, now, wire_len, messages);
            // The next head may be a smaller one.
            self.turns.set_reserved(class, c.priority());
        }
        if c.uses(marks::FAN_OUT) {
            c.flushed += 1;
            self.flushed.insert(class);
            if c.flushed >= c.params.shaping.fan_out {
                self.turns.set_spent(class);
            }
        }
        if re_anchors {
            f.level.re_anchor(&c.flow_params, now);
            c.level.re_anchor(&c.class_params, now);
            entry.bits |= bits::RE_ANCHORED;
        }
        // A flow remembers one opening for all that came before its last window. No window held a packet
        // longer than this; what is beyond it is the port's doing and not ours.
        let opened_at = opened_at.min(meta.arrival.saturating_add(c.params.shaping.hold_time));
        if opened_at > meta.sched {
            // A window is open for less than `max_hold`, far below the 4 s of the type.
            entry.sched_moved = u32::try_from((opened_at - meta.sched).0).unwrap_or(u32::MAX);
            move_schedule(meta, i64::from(entry.sched_moved));
        }
    }

    /// When the release window opened in which the head of a flow came.
    fn opened_at(&self, flow: u32) -> Nanos {
        let f = &self.flows[flow as usize];
        let c = &self.classes[usize::from(f.class)];
        let cold = &self.cold[flow as usize];
        if !c.uses(marks::WINDOW) || !f.state.has(State::COUNTED) {
            Nanos::ZERO
        } else if cold.gate_from > 0 {
            cold.opened_at
        } else {
            c.window.opened_at(cold.gate_window)
        }
    }

    /// The head of a flow, already taken out, is counted out. Returns bits for the journal.
    pub(super) fn count_leaving(&mut self, flow: u32, meta: &PacketMeta) -> u16 {
        let (f, cold) = (&mut self.flows[flow as usize], &mut self.cold[flow as usize]);
        let mut bits = bits::COUNTED;
        cold.exempt_queued -= u32::from(meta.is_exempt());
        cold.forward = cold.forward.saturating_sub(1);
        let c = &mut self.classes[usize::from(f.class)];
        if cold.gate_from > 0 {
            cold.gate_from -= 1;
            bits |= bits::AHEAD;
        } else if !meta.is_exempt() && c.uses(marks::WINDOW) && c.window.holds(cold.gate_window) {
            c.window.leave();
            bits |= bits::IN_WINDOW;
        }
        if f.queued == 0 {
            f.state.set(State::COUNTED, false);
        }
        bits
    }
}
