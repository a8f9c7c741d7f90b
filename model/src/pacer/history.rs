//! Flow caps by profile change, so that a change need not touch every flow at once: the buckets of a
//! flow are carried over when somebody next touches it, step by step through the changes it missed.

use super::gcra::{Level, LevelParams};
use crate::profile::{CLASSES_MAX, Caps, Profile};
use crate::time::Nanos;

/// Changes that are remembered.
const REMEMBERED: u16 = 8;

struct Epoch {
    began: Nanos,
    caps: [Caps; CLASSES_MAX],
}

/// See the module.
pub(super) struct History {
    epochs: Box<[Epoch]>,
    now: u16,
    /// Changes since every flow was carried over.
    open: u16,
}

impl History {
    /// The first profile.
    pub fn new(profile: &Profile, twins: &[u8]) -> Self {
        let none = || Epoch { began: Nanos::ZERO, caps: [Caps::default(); CLASSES_MAX] };
        let mut this = Self { epochs: (0..REMEMBERED).map(|_| none()).collect(), now: 0, open: 0 };
        this.write(Nanos::ZERO, profile, twins);
        this
    }

    /// The change that is in force.
    #[inline]
    pub const fn now(&self) -> u16 {
        self.now
    }

    /// Whether every flow must be carried over before another change is noted.
    pub const fn is_full(&self) -> bool {
        self.open + 1 == REMEMBERED
    }

    /// Every flow is carried over.
    pub const fn settle(&mut self) {
        self.open = 0;
    }

    /// A new profile. Not while [`History::is_full`].
    pub fn change(&mut self, now: Nanos, profile: &Profile, twins: &[u8]) {
        self.now = self.now.wrapping_add(1);
        self.open += 1;
        self.write(now, profile, twins);
    }

    fn write(&mut self, began: Nanos, profile: &Profile, twins: &[u8]) {
        let epoch = &mut self.epochs[usize::from(self.now % REMEMBERED)];
        epoch.began = began;
        for (caps, class) in epoch.caps.iter_mut().zip(profile.nodes(twins)) {
            *caps = class.flow;
        }
    }

    /// Carries the levels of a flow of `class` from change `from` to the one in force, each at the
    /// time of its change: the result is what it would be if every flow had been touched then.
    pub fn carry(&self, class: u8, mut from: u16, levels: &mut [&mut Level]) {
        while from != self.now {
            let next = from.wrapping_add(1);
            let epoch = |n: u16| &self.epochs[usize::from(n % REMEMBERED)];
            let (old, new) = (epoch(from), epoch(next));
            let (before, after) = (old.caps[usize::from(class)], new.caps[usize::from(class)]);
            if before != after {
                let (before, after) = (LevelParams::from(before), LevelParams::from(after));
                levels.iter_mut().for_each(|l| l.rescale(&before, &after, new.began));
            }
            from = next;
        }
    }
}
