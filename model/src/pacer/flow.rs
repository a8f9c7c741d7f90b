//! The lowest node of the tree: one ordering group, one FIFO whose head competes.

use super::fifo::Fifo;
use super::gcra::Level;
use super::list::{Linked, Links};
use crate::stop::StopWord;
use crate::time::Nanos;

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Empty.
    Idle,
    /// On the wheel, for its own bucket or its head's due time.
    Waiting,
    /// In its class's ready list.
    Ready,
    /// In the port's express list: its head waits for no bucket and for no other flow.
    Express,
    /// In the port's lifted list: its head waits for no bucket.
    Lifted,
}

/// No venue.
pub const NO_VENUE: u8 = u8::MAX;

/// Two cache lines with a FIFO of two pointers.
#[repr(align(64))]
pub(super) struct Flow<Q> {
    pub fifo: Q,
    /// Charged at departure.
    pub level: Level,
    /// Charged at arrival, for `t_sched`.
    pub sched: Level,
    /// When its hold timer on the wheel fires, [`Nanos::MAX`] = it has none.
    pub hold_at: Nanos,
    pub links: Links,
    /// Packets in the FIFO.
    pub queued: u32,
    /// Of those, exempt ones.
    pub exempt_queued: u32,
    /// Packets at the head that are released forward, up to an exempt one.
    pub forward: u32,
    /// Deficit round robin: wire bytes it may still send in this turn.
    pub deficit: u32,
    /// Its turn has not begun.
    pub new_turn: bool,
    pub class: u8,
    pub venue: u8,
    pub place: Place,
    pub word: StopWord,
}

impl<Q: Fifo> Default for Flow<Q> {
    fn default() -> Self {
        Self {
            fifo: Q::default(),
            level: Level::default(),
            sched: Level::default(),
            hold_at: Nanos::MAX,
            links: Links::default(),
            queued: 0,
            exempt_queued: 0,
            forward: 0,
            deficit: 0,
            new_turn: true,
            class: 0,
            venue: NO_VENUE,
            place: Place::Idle,
            word: StopWord::Running,
        }
    }
}

impl<Q> Linked for Flow<Q> {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}
