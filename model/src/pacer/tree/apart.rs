//! Groups that are governed apart: who they are, and how they come and go.
//!
//! Class and twins share what the class may send: a profile that parts them gives each its own caps, and
//! together they never let out more than the class did. When they part, the twins have saved nothing; when
//! they join, the class owes what all of them do, and the twins are shut until the walk over all flows has
//! brought their flows back.

use std::sync::Arc;

use super::Pacer;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::Place;
use crate::pacer::roster::{Roster, Seat};
use crate::time::Nanos;

/// Longer than any walk over all flows takes.
const SHUT: Nanos = Nanos::from_secs(1);

impl<Q: Fifo> Pacer<Q> {
    /// As [`Pacer::new_flow`], for an ordering group of its own.
    pub fn new_group(&mut self, seat: Seat) -> Option<u32> {
        let flow = self.new_flow()?;
        self.arms.roster().take(flow, seat);
        self.arms.seat(flow);
        Some(flow)
    }

    /// `flow` is no group of its own any more: what belongs to it queues elsewhere.
    pub fn leave_group(&mut self, flow: u32) {
        self.arms.leave(flow);
    }

    /// Who is behind each flow; empty where no class has a twin.
    pub const fn roster(&self) -> &Arc<Roster> {
        self.arms.roster()
    }

    /// Whether some groups are governed apart: then ask [`Pacer::class_in_arm`] for each packet.
    #[inline(always)]
    pub const fn is_parted(&self) -> bool {
        self.arms.is_active()
    }

    /// The class that a packet of `class` on `flow` belongs to: its own, or a twin of it.
    #[inline]
    pub fn class_in_arm(&self, flow: u32, class: u8) -> u8 {
        self.arms.node(class, self.arms.arm_of(flow))
    }

    /// After a change of profile: what class and twin owe.
    pub(super) fn part_or_join(&mut self, now: Nanos, was_apart: bool) {
        let is_apart = self.arms.is_active();
        let first = self.classes.len() - self.arms.classes().count();
        let (classes, twins) = self.classes.split_at_mut(first);
        for (class, twin) in self.arms.classes().zip(twins) {
            let class = &mut classes[usize::from(class)];
            if is_apart && !was_apart {
                for level in [&mut twin.level, &mut twin.sched] {
                    *level = Default::default();
                    level.re_anchor(&twin.class_params, now);
                }
            }
            if !is_apart {
                if was_apart {
                    class.level.join(&class.class_params, &twin.level);
                    class.sched.join(&class.class_params, &twin.sched);
                }
                twin.level.shut(&twin.class_params, now.saturating_add(SHUT));
                twin.sched = twin.level;
            }
        }
    }

    /// Brings a flow into the arm that it belongs to.
    pub(super) fn take_arm(&mut self, now: Nanos, flow: u32) {
        let arm = self.arms.seat(flow);
        let f = &self.flows[flow as usize];
        let to = self.arms.node(f.class, arm);
        // An empty flow changes with its next packet.
        if f.queued == 0 || f.class == to {
            return;
        }
        if f.state.place() == Place::Limited {
            return self.reclass(now, flow, to);
        }
        self.take_out(flow);
        self.reclass(now, flow, to);
        self.place(now, flow, false);
        self.arm_look(flow);
    }
}
