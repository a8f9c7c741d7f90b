//! Who waits for which venue limit, and in which order.
//!
//! One queue for each instance of a limit, of three lists: flows with an exempt head, which may use
//! the whole window; those that are to go before others; and the others, in the order in which they
//! came. Each instance has one timer. When it fires, as many flows go back to the tree as there is
//! room for, in that order; there they compete like any other, now as *seniors*: whoever waits does
//! not keep them from going, and if the room went to somebody more urgent they are the first to wait
//! for the next.

use super::limits::{Claim, Limits};
use super::list::{Linked, List};
use crate::time::Nanos;

/// Flows that go back to the tree when one timer fires, at most: a window that empties all at once
/// does not stop the core.
const WAKES_MAX: usize = 64;
/// A senior that finds another of its limits closed, for no longer than this, keeps the room of the
/// others until then: where both are always full, they would never be open at once.
const SENIOR_HOLD_MAX: Nanos = Nanos::from_millis(10);

/// Before whom a flow waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Rank {
    /// Its head is exempt.
    Exempt = 0,
    /// An exempt packet stands behind its head, or it is a senior.
    Urgent = 1,
    /// Anybody else.
    Other = 2,
}

#[derive(Clone, Copy)]
struct Parked {
    /// A venue limit held this flow's departures up to here.
    held_until: Nanos,
    instance: u32,
    rank: Rank,
    is_senior: bool,
}

#[derive(Clone, Copy)]
struct Queue {
    lists: [List; 3],
    /// When its timer fires, [`Nanos::MAX`] = it has none.
    timer: Nanos,
    /// A senior that waits elsewhere has first claim to its room until then.
    promised_until: Nanos,
}

impl Queue {
    const EMPTY: Self =
        Self { lists: [List::EMPTY; 3], timer: Nanos::MAX, promised_until: Nanos::ZERO };

    fn is_empty(&self) -> bool {
        self.lists.iter().all(|list| list.is_empty())
    }
}

/// See the module.
pub(super) struct Waiting {
    flows: Box<[Parked]>,
    queues: Box<[Queue]>,
    /// Instances whose timers have fired in this poll.
    fired: Vec<u32>,
    slot: Nanos,
}

/// What a flow's head asks for while it waits: messages, and whether it is exempt.
pub(super) type Wants = (u32, bool);

impl Waiting {
    /// For so many instances; 24 bytes for each flow, none where there is no limit.
    pub fn new(instances: usize, flows_max: u32, slot: Nanos) -> Self {
        let flows = if instances == 0 { 0 } else { flows_max as usize };
        let nobody =
            Parked { held_until: Nanos::ZERO, instance: 0, rank: Rank::Other, is_senior: false };
        Self {
            flows: vec![nobody; flows].into_boxed_slice(),
            queues: vec![Queue::EMPTY; instances].into_boxed_slice(),
            fired: Vec::with_capacity(instances),
            slot,
        }
    }

    /// Whether a claim that finds room at `instance` has to let others go first.
    pub fn others_first(&self, now: Nanos, instance: u32, exempt: bool) -> bool {
        let queue = &self.queues[instance as usize];
        if exempt {
            return !queue.lists[Rank::Exempt as usize].is_empty();
        }
        now < queue.promised_until || !queue.is_empty()
    }

    pub fn is_senior(&self, flow: u32) -> bool {
        self.flows[flow as usize].is_senior
    }

    pub fn set_senior(&mut self, flow: u32, is_senior: bool) {
        self.flows[flow as usize].is_senior = is_senior;
    }

    /// Until when venue limits held departures of this flow.
    pub fn held_until(&self, flow: u32) -> Nanos {
        self.flows.get(flow as usize).map_or(Nanos::ZERO, |parked| parked.held_until)
    }

    /// What [`Waiting::held_until`] said before.
    pub fn set_held_until(&mut self, flow: u32, at: Nanos) {
        self.flows[flow as usize].held_until = at;
    }

    /// They held one until `at`.
    pub fn note_held(&mut self, flow: u32, at: Nanos) {
        let parked = &mut self.flows[flow as usize];
        parked.held_until = parked.held_until.max(at);
    }

    /// The flow's number is somebody else's from now on.
    pub fn forget(&mut self, flow: u32) {
        if let Some(parked) = self.flows.get_mut(flow as usize) {
            (parked.held_until, parked.is_senior) = (Nanos::ZERO, false);
        }
    }

    /// Who waits for `instance`: with an exempt head, before others, and others.
    #[cfg(test)]
    pub fn lists(&self, instance: u32) -> [List; 3] {
        self.queues[instance as usize].lists
    }

    /// Until when its room is kept for a senior that waits elsewhere.
    #[cfg(test)]
    pub fn promised_until(&self, instance: u32) -> Nanos {
        self.queues[instance as usize].promised_until
    }

    /// Puts a flow that is in no list behind its equals at `instance`.
    pub fn park<T: Linked>(&mut self, all: &mut [T], flow: u32, instance: u32, rank: Rank) {
        let parked = &mut self.flows[flow as usize];
        (parked.instance, parked.rank) = (instance, rank);
        self.queues[instance as usize].lists[rank as usize].push_back(all, flow);
    }

    /// Takes a parked flow out; says where it waited.
    pub fn unpark<T: Linked>(&mut self, all: &mut [T], flow: u32) -> u32 {
        let Parked { instance, rank, .. } = self.flows[flow as usize];
        self.queues[instance as usize].lists[rank as usize].remove(all, flow);
        instance
    }

    /// The instance that a parked flow waits for.
    pub fn waits_for(&self, flow: u32) -> u32 {
        self.flows[flow as usize].instance
    }

    /// An exempt packet came behind the head of a parked flow.
    pub fn raise<T: Linked>(&mut self, all: &mut [T], flow: u32) {
        if self.flows[flow as usize].rank == Rank::Other {
            let instance = self.unpark(all, flow);
            self.park(all, flow, instance, Rank::Urgent);
        }
    }

    /// A senior waits for `at` elsewhere: the room that `instance` has for it is kept. Returns what
    /// [`Waiting::break_promise`] puts back.
    pub fn promise(&mut self, instance: u32, at: Nanos) -> Nanos {
        let until = &mut self.queues[instance as usize].promised_until;
        std::mem::replace(until, (*until).max(at.saturating_add(self.slot)))
    }

    /// It does not wait there after all.
    pub fn break_promise(&mut self, instance: u32, before: Nanos) {
        self.queues[instance as usize].promised_until = before;
    }

    /// When the timer of `instance` has to fire, where that is earlier than it does now; `wants`
    /// says what the head of a flow asks for.
    pub fn timer(
        &mut self,
        now: Nanos,
        instance: u32,
        limits: &mut Limits,
        wants: impl Fn(u32) -> Wants,
    ) -> Option<Nanos> {
        let queue = &mut self.queues[instance as usize];
        let mut opens_at = |flow: u32| {
            let (messages, exempt) = wants(flow);
            limits.instance_opens_at(instance, messages, exempt)
        };
        let [exempt, urgent, other] = queue.lists;
        let of_exempt = exempt.head().map(&mut opens_at);
        let first = urgent.head().or(other.head());
        let of_first = first.map(opens_at).map(|at| at.max(queue.promised_until));
        // What is open already was not taken yet by whom it woke: look again one slot later.
        let at = of_exempt.into_iter().chain(of_first).min()?.max(now.saturating_add(Nanos(1)));
        if at >= queue.timer {
            return None;
        }
        queue.timer = at;
        Some(at)
    }

    /// The timer of `instance` has fired.
    pub fn fired(&mut self, instance: u32) {
        self.queues[instance as usize].timer = Nanos::MAX;
        self.fired.push(instance);
    }

    /// Whether some timer has.
    #[inline]
    pub const fn any_fired(&self) -> bool {
        !self.fired.is_empty()
    }

    /// Orders those whose timers have fired by their numbers.
    pub fn sort_fired(&mut self) {
        self.fired.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// The first of them, which is none of them any more.
    pub fn next_fired(&mut self) -> Option<u32> {
        self.fired.pop()
    }

    /// The next flow for which `instance` has room at `now`, beside those that `woken` counts; it is
    /// a senior from now on, and in no list. `None` = no more.
    pub fn wake<T: Linked>(
        &mut self,
        all: &mut [T],
        now: Nanos,
        instance: u32,
        woken: &mut Woken,
        limits: &mut Limits,
        wants: impl Fn(&[T], u32) -> Wants,
    ) -> Option<u32> {
        if woken.flows == WAKES_MAX {
            return None;
        }
        let queue = &self.queues[instance as usize];
        let [exempt, urgent, other] = queue.lists;
        let promised = now < queue.promised_until;
        let heads = [exempt.head(), urgent.head().or(other.head()).filter(|_| !promised)];
        for flow in heads.into_iter().flatten() {
            let (messages, is_exempt) = wants(all, flow);
            let all_messages = woken.messages.saturating_add(messages);
            if limits.instance_opens_at(instance, all_messages, is_exempt) <= now {
                self.unpark(all, flow);
                self.flows[flow as usize].is_senior = true;
                woken.flows += 1;
                woken.messages = all_messages;
                return Some(flow);
            }
        }
        None
    }
}

/// Whom one firing of a timer has woken.
#[derive(Default)]
pub(super) struct Woken {
    flows: usize,
    messages: u32,
}

/// Where a claim that may not go has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go; the first ns at which it could.
    Open(Nanos),
    /// It waits for this instance; a senior keeps the room of its other limits until `promise`,
    /// [`Nanos::ZERO`] = it does not.
    Waits { instance: u32, promise: Nanos },
    /// It may never go, or was to be gone by now.
    Ends,
}

impl Waiting {
    /// Whether the head of a flow may go at `now`. `is_old`: it has reached its `max_hold`; then it
    /// goes before those who wait, or, unless it is TCP, it ends.
    pub fn judge(
        &mut self,
        now: Nanos,
        limits: &mut Limits,
        claim: &Claim,
        is_old: bool,
        is_tcp: bool,
    ) -> Verdict {
        let opening = limits.ask(claim);
        let Some(instance) = opening.instance else { return Verdict::Open(Nanos::ZERO) };
        let is_senior = self.is_senior(claim.flow);
        if opening.at > now {
            if opening.at == Nanos::MAX || (is_old && !is_tcp) {
                return Verdict::Ends;
            }
            let holds =
                is_senior && !claim.exempt && opening.at <= now.saturating_add(SENIOR_HOLD_MAX);
            let promise = if holds { opening.at } else { Nanos::ZERO };
            return Verdict::Waits { instance, promise };
        }
        let mut first = None;
        if !is_senior && !is_old {
            limits.each_instance(claim, |id| {
                if self.others_first(now, id, claim.exempt) {
                    first = first.or(Some(id));
                }
            });
        }
        first.map_or(Verdict::Open(opening.at), |instance| Verdict::Waits {
            instance,
            promise: Nanos::ZERO,
        })
    }
}
