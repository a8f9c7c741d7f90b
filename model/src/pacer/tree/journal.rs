//! What the offers since the last commit changed.

use std::ops::{Deref, DerefMut};

use crate::pacer::gcra::Level;
use crate::pacer::turns::{Rule, Served};
use crate::time::Nanos;

/// Bits of [`Journal::bits`].
pub(super) mod bits {
    /// The turn of the flow had not begun.
    pub const NEW_TURN: u16 = 1;
    /// A bucket had held it.
    pub const BUCKET_HELD: u16 = 1 << 1;
    /// The flow had more packets.
    pub const LEAVES_MORE: u16 = 1 << 2;
    /// Governed.
    pub const GOVERNED: u16 = 1 << 3;
    /// Its flow and class were re-anchored.
    pub const RE_ANCHORED: u16 = 1 << 4;
    /// The flow counts the packets that leave it.
    pub const COUNTED: u16 = 1 << 5;
    /// It came before the release window in which the rest of its flow came.
    pub const AHEAD: u16 = 1 << 6;
    /// It left a release window that was closed.
    pub const IN_WINDOW: u16 = 1 << 7;

    /// A reserved bucket was charged.
    pub const RESERVED: u16 = 1 << 9;

    /// Something is left to be done when it is accepted.
    pub const FOLLOW_UP: u16 = BUCKET_HELD | LEAVES_MORE | RE_ANCHORED;

    /// `bit`, where it applies.
    #[inline]
    pub const fn when(bit: u16, applies: bool) -> u16 {
        if applies { bit } else { 0 }
    }
}

/// What one release changed, so that it can be taken back: the last first.
#[derive(Clone, Copy, Default)]
pub(super) struct Journal {
    pub flow_level: Level,
    pub class_level: Level,
    pub port_level: Level,
    pub now: Nanos,
    /// Since when the class waited.
    pub waits_since: Nanos,
    pub flow: u32,
    pub class_deficit: u32,
    /// How far its release window moved its deadline, ns.
    pub sched_moved: u32,
    pub deficit: u16,
    pub class: u8,
    /// Whose turn its priority had before.
    pub turn: Served,
    /// Whose turn the rule had before, where that is another.
    pub claim: Served,
    pub rule: Rule,
    /// [`bits`].
    pub bits: u16,
}

const _: () = assert!(size_of::<Journal>() <= 136);

/// The entries since the last commit, in the order of the offers. A `Vec` would have each of them put
/// together elsewhere and copied; here it is written where it stays.
pub(super) struct Journals {
    entries: Box<[Journal]>,
    len: usize,
}

impl Journals {
    pub fn new(capacity: usize) -> Self {
        Self { entries: vec![Journal::default(); capacity].into(), len: 0 }
    }

    /// The entry after the last, which becomes one by [`Journals::push_next`]; holds what an earlier one
    /// left there. `None` = full.
    #[inline(always)]
    pub fn next_mut(&mut self) -> Option<&mut Journal> {
        self.entries.get_mut(self.len)
    }

    /// See [`Journals::next_mut`].
    #[inline(always)]
    pub const fn push_next(&mut self) {
        self.len += 1;
    }

    /// Adds an entry; not more than there is room for.
    pub fn push(&mut self, entry: Journal) {
        let next = self.next_mut();
        debug_assert!(next.is_some(), "more than burst_max offers");
        if let Some(next) = next {
            *next = entry;
            self.len += 1;
        }
    }

    pub fn pop(&mut self) -> Option<Journal> {
        self.len = self.len.checked_sub(1)?;
        self.entries.get(self.len).copied()
    }

    pub const fn clear(&mut self) {
        self.len = 0;
    }
}

impl Deref for Journals {
    type Target = [Journal];

    fn deref(&self) -> &[Journal] {
        &self.entries[..self.len]
    }
}

impl DerefMut for Journals {
    fn deref_mut(&mut self) -> &mut [Journal] {
        &mut self.entries[..self.len]
    }
}
