//! Strict priority, in every world: nobody passes a class that is served earlier, waits and conforms.
//!
//! Which head a class offers is its own affair, so a class is held to conform where a packet of any size
//! would, and a slot ago: timers fire at the end of a slot. What a floor lets pass is judged where flows
//! are never without packets (`arbitration`); here it is let pass.

use super::super::case::{MESSAGES_MAX, WIRE_LEN_MAX};
use super::Checker;
use model::stop::StopWords;
use std::collections::BTreeSet;

/// Groups whose head is paced and waits for class and port only, by class and by since when.
#[derive(Default)]
pub(super) struct Ready {
    by_class: Vec<BTreeSet<(u64, u32)>>,
}

impl Ready {
    pub fn new(classes: usize) -> Self {
        Self { by_class: vec![BTreeSet::new(); classes] }
    }

    /// The group stood at `before`, and stands at `now`: its class, and since when it waits.
    pub fn replace(&mut self, flow: u32, before: Option<(usize, u64)>, now: Option<(usize, u64)>) {
        if let Some((class, since)) = before {
            self.by_class[class].remove(&(since, flow));
        }
        if let Some((class, since)) = now {
            self.by_class[class].insert((since, flow));
        }
    }

    fn longest(&self, class: usize) -> Option<(u64, u32)> {
        self.by_class[class].first().copied()
    }
}

impl Checker {
    /// Since when the head of a group waits for class and port only, if it does.
    fn ready_since(&mut self, flow: u32) -> Option<(usize, u64)> {
        let f = &self.flows[flow as usize];
        let head = f.queue.front()?;
        let p = head.meta;
        let is_paced = !p.is_exempt() && f.forward.is_empty() && head.at_once.is_none();
        let conforms = f.level.fits_at(p.wire_len().into(), p.messages.into());
        let since = p.not_before().0.max(conforms).max(f.head_since).max(f.class_since);
        let ready = (is_paced && head.window.is_none()).then_some((f.class, since));
        ready.filter(|_| self.limits.ask(flow, &p).counts == 0)
    }

    /// Keeps `ready` true for a group whose head, buckets or class have changed.
    pub(super) fn note_ready(&mut self, flow: u32) {
        let now = self.ready_since(flow);
        let f = &mut self.flows[flow as usize];
        let before = std::mem::replace(&mut f.ready, now);
        if before != now {
            self.ready.replace(flow, before, now);
        }
    }

    /// A packet of a group of `class` is about to leave because it is its turn.
    pub(super) fn check_priority(&self, now: u64, wake: u64, class: usize, bytes: u64) {
        let until = wake.saturating_sub(self.slot + self.rounding);
        let is_normal = !self.draining && self.words == StopWords::default();
        if !is_normal || self.sweeping || self.changed >= until {
            return;
        }
        let own = self.params(class);
        let node = &self.classes[class];
        let may_pass = own.shaping.flow_floor_bits_per_s > 0
            || (own.shaping.reserved.is_some()
                && node.reserved.fits_at(bytes, 0) <= now + self.rounding);
        if may_pass {
            return;
        }
        for (first, node) in self.classes.iter().enumerate() {
            let theirs = self.params(first);
            // One that may have spent its share of a flush waits for the next.
            if theirs.priority >= own.priority || theirs.shaping.fan_out != u16::MAX {
                continue;
            }
            let conforms = node.level.fits_at(WIRE_LEN_MAX.into(), MESSAGES_MAX.into());
            if let Some((since, group)) = self.ready.longest(first) {
                assert!(
                    since.max(conforms) > until,
                    "class {class} passed group {group} of class {first} at {now}, which waits since \
                     {since} and conforms since {conforms}"
                );
            }
        }
    }
}
