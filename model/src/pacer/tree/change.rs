//! What changes for everything that is queued: profiles, stop words, old age, the end.
//!
//! What a change means for classes and port is done at once. What it means for flows is done in
//! slices, one at the change itself and one for each [`Pacer::sweep`]; a flow that is touched before
//! its slice is brought up to date then, and a head that must not leave is stopped when it would be
//! released. So a change holds from the moment it is made, however many flows there are.

use super::Pacer;
use crate::drop_reason::DropReason;
use crate::meta::{PacketMeta, flags};
use crate::pacer::class::{ClassNode, marks};
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::{Place, State};
use crate::pacer::gcra::LevelParams;
use crate::pacer::nodes::Node;
use crate::pacer::sweep::{SLICE_FLOWS, SLICE_PACKETS, SLICE_WORDS, Step};
use crate::profile::{EgressParams, Profile};
use crate::stop::{StopWord, StopWords};
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// New caps for what is queued and for what comes: buckets keep their TAT, clamped to
    /// `now + B/R` of the new bucket. Call at a burst boundary; goes on in [`Pacer::sweep`].
    ///
    /// The eighth change while the same walk goes on ends the walk first, at once.
    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        if self.history.is_full() {
            (0..self.flows_made).for_each(|flow| self.carry(flow));
            self.history.settle();
        }
        match (self.profile_index, profile.index) {
            (_, 0) => {
                self.confirmed.take(profile);
                self.guard.set_limits(now, &profile.venue_limits);
            }
            (0, _) => self.confirmed.leave(&self.classes),
            _ => {}
        }
        self.profile_index = profile.index;
        self.history.change(now, profile, self.arms.twins());
        let was_apart = self.arms.is_active();
        self.arms.set(profile);
        self.wake_port();
        for class in 0..self.classes.len() {
            let Some(new) = profile.nodes(self.arms.twins()).nth(class) else { break };
            // With its old priority.
            self.sleep_class(class);
            let c = &mut self.classes[class];
            let new_class = LevelParams::from(new.class);
            if new.class != c.params.class {
                c.level.rescale(&c.class_params, &new_class, now);
                c.sched.rescale(&c.class_params, &new_class, now);
            }
            c.class_params = new_class;
            c.flow_params = new.flow.into();
            let old = std::mem::replace(&mut c.params, *new);
            let had_window = c.uses(marks::WINDOW);
            c.shape(&old.shaping, now);
            let (has_window, due) = (c.uses(marks::WINDOW), c.window.due());
            if had_window != has_window || (due.is_some() && c.window.is_full()) {
                self.open_window(now, class, now);
            } else if let Some(due) = due {
                self.wheel.insert(self.nodes.number(Node::Window(class)), due);
            }
            self.wake_class(class);
        }
        self.part_or_join(now, was_apart);
        let egress: EgressParams = profile.egress.get(self.port).copied().unwrap_or_default();
        if egress.port != self.port_caps {
            let new_port = LevelParams::from(egress.port);
            self.port_level.rescale(&self.port_params, &new_port, now);
            self.port_params = new_port;
            self.port_caps = egress.port;
        }
        self.ask_all_again(now);
    }

    /// Another profile is the operator-confirmed one, while one that is not stays in force: what
    /// packets would be due by from now on, in `t_normal`. Its venue limits hold at once.
    pub fn set_confirmed(&mut self, now: Nanos, confirmed: &Profile) {
        self.confirmed.replace(now, confirmed);
        if self.guard.set_limits(now, &confirmed.venue_limits) {
            self.ask_all_again(now);
        }
    }

    /// Every flow is to be put where its head belongs now.
    fn ask_all_again(&mut self, now: Nanos) {
        self.begin_sweep(true);
        if !self.halting && self.stale_at == Nanos::ZERO {
            // Nothing ends by it.
            self.slice(now, &mut |_, _| {});
        }
    }

    /// New stop words. What they halt leaves no more; it ends through `on_drop`, in the order of its
    /// flow, here and in [`Pacer::sweep`], and exempt packets behind it pass.
    pub fn set_words(
        &mut self,
        now: Nanos,
        words: &StopWords,
        mut on_drop: impl FnMut(Q::Packet, DropReason),
    ) {
        self.words = self.arms.extend(words);
        self.any_word = *words != StopWords::default();
        self.halting = [words.all]
            .iter()
            .chain(&words.venues)
            .chain(&words.classes)
            .any(|&word| word == StopWord::Halt);
        self.begin_sweep(true);
        self.slice(now, &mut on_drop);
    }

    /// Ends what is older than its class's `max_hold` as `stale`, here and in [`Pacer::sweep`]:
    /// after a link came back, and before a drain. None of it leaves any more. Exempt packets stay: a
    /// late cancel or RST takes risk off.
    ///
    /// Costs a look at each class where nothing can be so old, and else visits flows that hold packets
    /// only: a port that stalls and recovers again and again calls it as often.
    pub fn end_stale(&mut self, now: Nanos, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        let may_be_stale = |c: &ClassNode| {
            c.backlog.packets > 0
                && c.params.max_hold != Nanos::MAX
                && now > c.oldest.saturating_add(c.params.max_hold)
        };
        if !self.classes.iter().any(may_be_stale) {
            return;
        }
        self.stale_at = now;
        self.begin_sweep(false);
        self.slice(now, &mut on_drop);
    }

    /// Whether a change has still flows to reach: call [`Pacer::sweep`] once for each turn then.
    #[inline]
    pub const fn is_sweeping(&self) -> bool {
        self.sweep.is_active()
    }

    /// Carries the last changes on: the next few hundred flows, or a thousand packets. What they end
    /// goes to `on_drop`.
    pub fn sweep(&mut self, now: Nanos, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        self.slice(now, &mut on_drop);
    }

    /// From now on everything held is released at once, groups with an exempt packet first, each in
    /// its own order. Walks all flows: once, at the end.
    pub fn begin_drain(&mut self, now: Nanos) {
        self.draining = true;
        self.short_way = false;
        for class in 0..self.classes.len() {
            self.wake_class(class);
        }
        for exempt in [true, false] {
            for flow in 0..self.flows_made {
                let holds = self.flows[flow as usize].queued > 0;
                if holds && exempt == (self.cold[flow as usize].exempt_queued > 0) {
                    self.ask_again(now, flow);
                }
            }
        }
    }

    /// Ends everything held as `stopped`. Walks all flows: once, at the end.
    pub fn stop(&mut self, mut on_drop: impl FnMut(Q::Packet, DropReason)) {
        for flow in 0..self.flows_made {
            if self.flows[flow as usize].queued > 0 {
                self.take_out(flow);
                self.retain(flow, |_, _| Some(DropReason::Stopped), &mut on_drop);
            }
        }
    }

    /// Why a held packet must not leave, by what the walk that goes on has not reached yet.
    pub(super) fn ends(&self, meta: &PacketMeta) -> Option<DropReason> {
        if self.halting && self.halts(meta, meta.venue) {
            return Some(DropReason::Halted);
        }
        self.is_stale(meta, self.stale_at)
    }

    /// Whether a packet is older at `now` than its class lets it get.
    pub(super) fn is_stale(&self, meta: &PacketMeta, now: Nanos) -> Option<DropReason> {
        let max_hold = self.classes[usize::from(meta.class)].params.max_hold;
        let is_stale = !meta.is_exempt()
            && max_hold != Nanos::MAX
            && now > meta.wanted().saturating_add(max_hold);
        is_stale.then_some(DropReason::Stale)
    }

    fn begin_sweep(&mut self, all: bool) {
        self.sweep.begin(self.flows_made, all);
        if self.sweep.is_active() {
            self.short_way = false;
        } else {
            self.end_sweep();
        }
    }

    fn end_sweep(&mut self) {
        (self.halting, self.stale_at) = (false, Nanos::ZERO);
        self.guard.is_changed = false;
        self.history.settle();
        self.look_for_short_way();
    }

    fn slice(&mut self, now: Nanos, on_drop: &mut impl FnMut(Q::Packet, DropReason)) {
        if !self.sweep.is_active() {
            return;
        }
        let (mut flows, mut packets, mut words) = (0, 0, 0);
        while flows < SLICE_FLOWS && packets < SLICE_PACKETS && words < SLICE_WORDS {
            let all = self.sweep.visits_all();
            match self.sweep.next(&self.marks) {
                Step::Flow(flow) => {
                    flows += 1;
                    packets += self.visit(now, flow, all, on_drop);
                }
                Step::Empty => words += 1,
                Step::Over => return self.end_sweep(),
            }
            if all && !self.sweep.visits_all() {
                // Whatever else makes the walk go on, words and profiles have reached every flow.
                self.halting = false;
                self.history.settle();
            }
        }
    }

    /// Does to a flow what the changes under way mean for it; `all`: there is a change of words or
    /// profile among them. Returns how many packets were looked at.
    fn visit(
        &mut self,
        now: Nanos,
        flow: u32,
        all: bool,
        on_drop: &mut impl FnMut(Q::Packet, DropReason),
    ) -> u32 {
        self.carry(flow);
        if all {
            self.take_arm(now, flow);
        }
        let queued = self.flows[flow as usize].queued;
        if queued == 0 {
            self.marks.clear(flow);
            return 0;
        }
        let ends = self.halting || self.stale_at != Nanos::ZERO;
        if ends {
            self.retain(flow, Self::ends, on_drop);
        }
        let place = self.flows[flow as usize].state.place();
        let is_changed = all || self.flows[flow as usize].queued < queued;
        // A drain keeps the order in which it began.
        if is_changed && !(self.draining && place == Place::Express) {
            self.ask_again(now, flow);
        }
        if ends { queued } else { 0 }
    }

    /// Puts a flow where its head belongs now.
    fn ask_again(&mut self, now: Nanos, flow: u32) {
        self.cold[flow as usize].look_at = Nanos::MAX;
        self.wheel.remove(self.nodes.number(Node::Look(flow)));
        let is_limited = self.flows[flow as usize].state.place() == Place::Limited;
        if is_limited && !self.guard.is_changed {
            return self.keep_limited(flow);
        }
        if is_limited && self.may_yet_leave(flow) {
            // Its limit may have more room than it had.
            self.set_limit_timer(Nanos::ZERO, self.guard.waiting.waits_for(flow));
            return self.keep_limited(flow);
        }
        self.take_out(flow);
        self.place(now, flow, false);
        self.arm_look(flow);
    }

    /// Ends packets of a flow, in its order.
    pub(super) fn retain(
        &mut self,
        flow: u32,
        ends: impl Fn(&Self, &PacketMeta) -> Option<DropReason>,
        on_drop: &mut impl FnMut(Q::Packet, DropReason),
    ) {
        let class = usize::from(self.flows[flow as usize].class);
        let in_window = self.classes[class].uses(marks::WINDOW)
            && self.classes[class].window.holds(self.cold[flow as usize].gate_window);
        let gate_from = self.cold[flow as usize].gate_from;
        let mut kept = 0;
        self.cold[flow as usize].forward = 0;
        for position in 0..self.flows[flow as usize].queued {
            let Some(packet) = self.flows[flow as usize].fifo.pop_front() else { break };
            let meta = *Q::meta(&packet);
            let Some(reason) = ends(self, &meta) else {
                if self.guard.is_active() {
                    self.guard.rotate(flow, &meta);
                }
                self.flows[flow as usize].fifo.push_back(packet);
                kept += 1;
                if meta.is_exempt() && !meta.has(flags::BARE) {
                    self.cold[flow as usize].forward = kept;
                }
                continue;
            };
            if self.guard.is_active() {
                self.end_guarded(flow, &meta, position == 0);
            }
            self.flows[flow as usize].queued -= 1;
            let cold = &mut self.cold[flow as usize];
            cold.exempt_queued -= u32::from(meta.is_exempt());
            if position < gate_from {
                cold.gate_from -= 1;
            } else if in_window && !meta.is_exempt() {
                self.classes[class].window.leave();
            }
            self.discount(meta.class, meta.wire_len());
            on_drop(packet, reason);
        }
        if kept == 0 {
            self.take_out(flow);
            self.flows[flow as usize].state.set(State::COUNTED, false);
        }
    }
}
