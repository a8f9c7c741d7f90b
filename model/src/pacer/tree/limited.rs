//! Where the tree asks the venue limits, and how flows wait for them.
//!
//! A limit is asked at every release, last of all what could be lifted: after that only buckets, room
//! and turns decide. A flow whose head a limit holds leaves all lists of the tree and waits in the
//! limit's own ([`Waiting`](crate::pacer::waiting)), where no profile, stop word or age finds it,
//! except that what may get no older ends.

use super::place::Lift;
use super::{Next, Pacer};
use crate::drop_reason::DropReason;
use crate::meta::{PacketMeta, flags};
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::{Flow, Place, State};
use crate::pacer::guard::Sent;
use crate::pacer::nodes::Node;
use crate::pacer::waiting::{Rank, Verdict, Wants, Woken};
use crate::profile::Lateness;
use crate::time::Nanos;
use crate::venue_limit::VENUE_LIMITS_MAX;

/// Flows that one call of [`Pacer::next`] sends to wait for a limit, at most.
const PARKED_MAX: usize = 64;

/// What the venue limits say to the head of a flow.
pub(super) enum Passage {
    /// It may go; the first ns at which it could.
    Open(Nanos),
    /// It does not go now; look at another flow.
    Closed,
    /// It has to end.
    Ends,
    /// What becomes of it depends on whether offers that are out come back: nobody else goes before
    /// that is known.
    Unknown,
}

/// How many flows a call may still send to wait.
pub(super) struct Patience(usize);

impl Patience {
    pub const FULL: Self = Self(PARKED_MAX);

    pub const fn is_over(&self) -> bool {
        self.0 == 0
    }

    pub const fn spend(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

fn wants<Q: Fifo>(flows: &[Flow<Q>], flow: u32) -> Wants {
    flows[flow as usize]
        .fifo
        .front()
        .map_or((0, false), |head| (u32::from(head.messages), head.is_exempt()))
}

impl<Q: Fifo> Pacer<Q> {
    /// Asks its path and the venue limits whether the head of `flow`, which is in a list of the tree,
    /// may leave. If not, the flow has been sent to wait.
    #[inline]
    pub(super) fn ask_limits(&mut self, now: Nanos, flow: u32, patience: &mut Patience) -> Passage {
        if !self.asks {
            return Passage::Open(Nanos::ZERO);
        }
        match self.ask_path(flow, patience) {
            Some(passage) => passage,
            None => match self.ask_guard(now, flow, patience) {
                Passage::Open(at) => Passage::Open(at.max(self.path_opened_at(flow))),
                passage => passage,
            },
        }
    }

    fn ask_guard(&mut self, now: Nanos, flow: u32, patience: &mut Patience) -> Passage {
        if !self.guard.is_active() {
            return Passage::Open(Nanos::ZERO);
        }
        let Some(&head) = self.flows[flow as usize].fifo.front() else {
            return Passage::Open(Nanos::ZERO);
        };
        let is_old = self.hold_ends(&head) <= now;
        match self.guard.judge(now, flow, &head, is_old) {
            Verdict::Open(at) => Passage::Open(at),
            Verdict::Ends if self.journal.is_empty() => Passage::Ends,
            Verdict::Ends => Passage::Unknown,
            Verdict::Waits { instance, promise } => {
                let offers = self.journal.len();
                let was_ready = self.flows[flow as usize].state.place() == Place::Ready;
                if offers > 0 && !self.guard.note_sent(Sent { offers, flow, was_ready }) {
                    return Passage::Unknown;
                }
                patience.spend();
                if promise > Nanos::ZERO {
                    self.guard.promise(offers, flow, &head, instance, promise);
                }
                self.take_out(flow);
                let rank = self.rank(flow, &head);
                self.flows[flow as usize].state.set_place(Place::Limited);
                self.guard.waiting.park(&mut self.flows, flow, instance, rank);
                if offers == 0 {
                    self.settle(now, flow);
                }
                Passage::Closed
            }
        }
    }

    /// A flow waits for a limit, whatever becomes of the offers that are out. Only now does it set
    /// timers: one that is recalled leaves none behind.
    fn settle(&mut self, now: Nanos, flow: u32) {
        self.set_limit_timer(now, self.guard.waiting.waits_for(flow));
        self.arm_look(flow);
    }

    /// Whether the limits will let the head of a flow go at any time: they may have become too narrow.
    pub(super) fn may_yet_leave(&mut self, flow: u32) -> bool {
        let head = self.flows[flow as usize].fifo.front();
        head.is_none_or(|head| !self.guard.is_too_much(flow, head))
    }

    /// The head of a flow ends because a limit holds it for too long, or for ever.
    pub(super) fn end_limited(&mut self, now: Nanos, flow: u32) -> Next<Q::Packet> {
        let is_too_much = !self.may_yet_leave(flow);
        self.guard.counters.over_venue_limit += u64::from(is_too_much);
        self.guard.waiting.note_held(flow, now);
        self.end_head(now, flow, DropReason::Stale)
    }

    fn rank(&self, flow: u32, head: &PacketMeta) -> Rank {
        if head.is_exempt() {
            Rank::Exempt
        } else if self.forwards(flow) || self.guard.waiting.is_senior(flow) {
            Rank::Urgent
        } else {
            Rank::Other
        }
    }

    fn forwards(&self, flow: u32) -> bool {
        self.flows[flow as usize].state.has(State::COUNTED) && self.cold[flow as usize].forward > 0
    }

    /// When a packet that is not exempt has waited for `max_hold`.
    fn hold_ends(&self, head: &PacketMeta) -> Nanos {
        let max_hold = self.classes[usize::from(head.class)].params.max_hold;
        if head.is_exempt() || max_hold == Nanos::MAX {
            return Nanos::MAX;
        }
        head.wanted().saturating_add(max_hold)
    }

    /// When the head of a flow that waits for a limit ends, if it is still there then: TCP waits.
    pub(super) fn limited_deadline(&self, head: &PacketMeta) -> Nanos {
        let own = &self.classes[usize::from(head.class)];
        let late = match own.params.shaping.lateness {
            Lateness::Drop if !head.is_exempt() => own.late_at(head),
            _ => Nanos::MAX,
        };
        if head.has(flags::TCP) { late } else { late.min(self.hold_ends(head)) }
    }

    /// The look timer of a flow that waits for a limit has fired.
    pub(super) fn look_at_limited(&mut self, now: Nanos, flow: u32) {
        let Some(&head) = self.flows[flow as usize].fifo.front() else { return };
        let ends_late = matches!(self.lift(now, flow), Some(Lift::End(_)));
        if ends_late || (!head.has(flags::TCP) && self.hold_ends(&head) <= now) {
            self.take_out(flow);
            self.place(now, flow, false);
        } else {
            self.arm_look(flow);
        }
    }

    /// Limits may have room: those that wait for them go back to the tree, as many as there is room
    /// for. After all else that has become due, and in the order of the limits: who goes first does
    /// not depend on when a timer was set.
    #[cold]
    pub(super) fn fire_limits(&mut self, now: Nanos) {
        self.guard.waiting.sort_fired();
        while let Some(instance) = self.guard.waiting.next_fired() {
            self.fire_limit(now, instance);
        }
    }

    fn fire_limit(&mut self, now: Nanos, instance: u32) {
        let mut woken = Woken::default();
        loop {
            let (waiting, limits) = (&mut self.guard.waiting, &mut self.guard.limits);
            let next = waiting.wake(&mut self.flows, now, instance, &mut woken, limits, wants);
            let Some(flow) = next else { break };
            self.flows[flow as usize].state.set_place(Place::Idle);
            self.place(now, flow, false);
            self.arm_look(flow);
        }
        self.set_limit_timer(now, instance);
    }

    /// Sets the timer of a limit for whoever is first there. `now` may be [`Nanos::ZERO`]: the wheel
    /// knows what has passed.
    pub(super) fn set_limit_timer(&mut self, now: Nanos, instance: u32) {
        let (waiting, limits) = (&mut self.guard.waiting, &mut self.guard.limits);
        let flows = &self.flows;
        if let Some(at) = waiting.timer(now, instance, limits, |flow| wants(flows, flow)) {
            self.wheel.insert(self.nodes.number(Node::Limit(instance)), at);
        }
    }

    /// Something changed behind the head of a flow that waits for a limit, or the rules that it was
    /// sent under: it keeps its place.
    pub(super) fn keep_limited(&mut self, flow: u32) {
        if self.forwards(flow) {
            self.guard.waiting.raise(&mut self.flows, flow);
            self.set_limit_timer(Nanos::ZERO, self.guard.waiting.waits_for(flow));
        }
        self.arm_look(flow);
    }

    /// Before the last offer of the journal is taken back: those that it sent to wait come back.
    pub(super) fn recall_limited(&mut self, now: Nanos) {
        while let Some(sent) = self.guard.take_sent(self.journal.len()) {
            let flow = sent.flow;
            if self.flows[flow as usize].state.place() != Place::Limited {
                continue;
            }
            self.take_out(flow);
            self.put_back(now, flow, sent.was_ready);
        }
    }

    /// The offers that sent others to wait, the last of them at `now`, are accepted.
    pub(super) fn settle_limited(&mut self, now: Nanos) {
        for i in 0..self.guard.sent().len() {
            let flow = self.guard.sent()[i].flow;
            if self.flows[flow as usize].state.place() == Place::Limited {
                self.settle(now, flow);
            }
        }
    }

    /// The last departure that the guard knows comes back.
    pub(super) fn undo_guard(&mut self, now: Nanos, flow: u32, meta: &PacketMeta) {
        let mut reopened = [0; VENUE_LIMITS_MAX];
        let mut count = 0;
        self.guard.undo(flow, meta, |instance| {
            if let Some(place) = reopened.get_mut(count) {
                *place = instance;
                count += 1;
            }
        });
        for &instance in &reopened[..count] {
            self.set_limit_timer(now, instance);
        }
    }

    /// A packet of a flow that is being filtered ends; `is_head`: it was the first.
    pub(super) fn end_guarded(&mut self, flow: u32, meta: &PacketMeta, is_head: bool) {
        self.guard.end(flow, meta);
        if is_head && self.flows[flow as usize].state.place() == Place::Limited {
            // Whatever comes next may answer to other limits.
            self.take_out(flow);
        }
    }
}
