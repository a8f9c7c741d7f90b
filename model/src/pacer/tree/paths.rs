//! Where the tree asks whether the path of a flow is open, and how flows wait for theirs.
//!
//! Without a second path nothing of this is asked.

use super::Pacer;
use super::limited::{Passage, Patience};
use crate::drop_reason::DropReason;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::{Place, State};
use crate::pacer::paths::PathChoice;
use crate::time::Nanos;

/// Flows that one call lets go on, at most.
const WOKEN_MAX: usize = 64;

impl<Q: Fifo> Pacer<Q> {
    /// Asks whether the head of `flow`, which is in a list of the tree, may use its path; if not, the
    /// flow has been sent to wait.
    pub(super) fn ask_path(&mut self, flow: u32, patience: &mut Patience) -> Option<Passage> {
        let paths = self.paths.as_mut()?;
        if !paths.stops(flow) {
            return None;
        }
        let cold = &self.cold[flow as usize];
        let counted = self.flows[flow as usize].state.has(State::COUNTED);
        if paths.is_held(flow) && counted && cold.exempt_queued > 0 {
            // A cancel does not wait for a move: the flow stays where it is.
            paths.hold(flow, false);
            self.look_for_short_way();
            return self.ask_path(flow, patience);
        }
        if !self.journal.is_empty() {
            // What the port refuses must find its flow as it was.
            return Some(Passage::Unknown);
        }
        patience.spend();
        self.take_out(flow);
        self.flows[flow as usize].state.set_place(Place::Parked);
        if let Some(paths) = &mut self.paths {
            paths.park(&mut self.flows, flow);
        }
        Some(Passage::Closed)
    }

    /// When the path of a flow last let it go on.
    pub(super) fn path_opened_at(&self, flow: u32) -> Nanos {
        self.paths.as_ref().map_or(Nanos::ZERO, |paths| paths.opened_at(flow))
    }

    pub(super) fn look_for_short_way(&mut self) {
        self.short_way = !self.any_word
            && !self.draining
            && !self.sweep.is_active()
            && self.paths.as_ref().is_none_or(|paths| paths.are_free());
    }

    /// Which path a flow leaves by.
    pub fn path_of(&self, flow: u32) -> PathChoice {
        self.paths.as_ref().map_or(PathChoice::First, |paths| paths.of(flow))
    }

    /// A path takes nothing for now, or packets again. What waits for it goes on by
    /// [`Pacer::wake_path`].
    pub fn set_path_closed(&mut self, path: PathChoice, closed: bool) {
        if let Some(paths) = &mut self.paths
            && paths.set_closed(path, closed)
        {
            self.look_for_short_way();
        }
    }

    /// Whether flows wait for `path`.
    pub fn waits_for_path(&self, path: PathChoice) -> bool {
        self.paths.as_ref().is_some_and(|paths| paths.first_parked(path).is_some())
    }

    /// Looks at flows that wait for `path`, a bounded number, those first that have waited longest.
    /// `is_open`: they go on; else they wait on, behind the others. `ends_stale`: the path has taken
    /// nothing for long, so what is older than its `max_hold` ends as `stale`, as in
    /// [`Pacer::end_stale`]. Between bursts only.
    pub fn wake_path(
        &mut self,
        now: Nanos,
        path: PathChoice,
        (is_open, ends_stale): (bool, bool),
        mut on_drop: impl FnMut(Q::Packet, DropReason),
    ) {
        for _ in 0..WOKEN_MAX {
            let Some(flow) = self.paths.as_ref().and_then(|paths| paths.first_parked(path)) else {
                return;
            };
            self.take_out(flow);
            if ends_stale {
                let stale = |pacer: &Self, meta: &_| pacer.is_stale(meta, now);
                self.retain(flow, stale, &mut on_drop);
            }
            if self.flows[flow as usize].queued == 0 {
                continue;
            }
            if is_open {
                if let Some(paths) = &mut self.paths {
                    paths.open(flow, now);
                }
                self.place(now, flow, false);
                self.arm_look(flow);
            } else if let Some(paths) = &mut self.paths {
                self.flows[flow as usize].state.set_place(Place::Parked);
                paths.park(&mut self.flows, flow);
            }
        }
    }

    /// Nothing of `flow` leaves until [`Pacer::set_path`], unless an exempt packet comes or waits. The
    /// caller sees to it that nobody waits beyond `max_hold`.
    pub fn hold(&mut self, flow: u32) {
        let Some(paths) = &mut self.paths else { return };
        if self.cold[flow as usize].exempt_queued > 0 {
            return;
        }
        paths.hold(flow, true);
        self.short_way = false;
    }

    /// Whether a flow is held: an exempt packet ends a hold by itself.
    pub fn is_held(&self, flow: u32) -> bool {
        self.paths.as_ref().is_some_and(|paths| paths.is_held(flow))
    }

    /// A flow, held or not, leaves by `path` from now on. Between bursts only.
    pub fn set_path(&mut self, now: Nanos, flow: u32, path: PathChoice) {
        let is_parked = self.flows[flow as usize].state.place() == Place::Parked;
        if is_parked {
            self.take_out(flow);
        }
        let Some(paths) = &mut self.paths else { return };
        paths.hold(flow, false);
        paths.choose(flow, path);
        if is_parked {
            paths.open(flow, now);
            self.place(now, flow, false);
            self.arm_look(flow);
        }
        self.look_for_short_way();
    }

    /// The wish of the packet that has waited longest in a flow, and whether an exempt one waits.
    pub fn waiting_since(&self, flow: u32) -> (Option<Nanos>, bool) {
        let f = &self.flows[flow as usize];
        let exempt = f.state.has(State::COUNTED) && self.cold[flow as usize].exempt_queued > 0;
        (f.fifo.front().map(|head| head.wanted()), exempt)
    }

    /// The class of a flow, and the longest that a packet of it may wait.
    pub fn flow_terms(&self, flow: u32) -> (u8, Nanos) {
        let class = self.flows[flow as usize].class;
        (class, self.classes[usize::from(class)].params.max_hold)
    }

    /// Flows that have been given out at some time, those given back included.
    pub const fn flows_made(&self) -> u32 {
        self.flows_made
    }
}
