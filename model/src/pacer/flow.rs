//! The lowest node of the tree: one ordering group, one FIFO whose head competes.
//!
//! In two parts. A release touches [`Flow`] only, one cache line; [`Cold`] holds what arrivals,
//! timers, exempt packets and release windows need.

use super::gcra::Level;
use super::list::{Linked, Links};
use crate::profile::ARMS;
use crate::time::Nanos;

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// Not given out.
    Free = 0,
    /// Empty.
    Idle = 1,
    /// On the wheel, for its own bucket or its head's due time.
    Waiting = 2,
    /// In its class's ready list.
    Ready = 3,
    /// In the port's express list: its head waits for no bucket and for no other flow.
    Express = 4,
    /// In the port's lifted list: its head waits for no bucket, or ends.
    Lifted = 5,
    /// In its class's gated list: its head waits for the release window to open.
    Gated = 6,
    /// In the list of a venue limit that holds its head.
    Limited = 7,
}

/// No venue.
pub const NO_VENUE: u8 = u8::MAX;

/// Place and marks of a flow in one byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct State(u8);

impl State {
    const PLACE: u8 = 7;
    /// Its turn in the class has not begun.
    pub const NEW_TURN: u8 = 1 << 3;
    /// `Cold::sched` is written and may differ from `Flow::level`; else the two are one.
    pub const APART: u8 = 1 << 4;
    /// Something in [`Cold`] counts the packets that leave.
    pub const COUNTED: u8 = 1 << 5;
    /// It is governed apart, in one arm or the other: its packets belong to the twins of their classes.
    const ARMS: [u8; ARMS] = [1 << 6, 1 << 7];

    #[inline]
    pub const fn place(self) -> Place {
        match self.0 & Self::PLACE {
            0 => Place::Free,
            1 => Place::Idle,
            2 => Place::Waiting,
            3 => Place::Ready,
            4 => Place::Express,
            5 => Place::Lifted,
            6 => Place::Gated,
            _ => Place::Limited,
        }
    }

    #[inline]
    pub const fn set_place(&mut self, place: Place) {
        self.0 = self.0 & !Self::PLACE | place as u8;
    }

    #[inline]
    pub const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    /// The arm that it is governed in.
    #[inline]
    pub fn arm(self) -> Option<u8> {
        Self::ARMS.iter().position(|mark| self.has(*mark)).map(|arm| arm as u8)
    }

    pub fn set_arm(&mut self, arm: Option<u8>) {
        for (at, mark) in Self::ARMS.into_iter().enumerate() {
            self.set(mark, arm.is_some_and(|arm| usize::from(arm) == at));
        }
    }

    #[inline]
    pub const fn set(&mut self, mark: u8, on: bool) {
        self.0 = if on { self.0 | mark } else { self.0 & !mark };
    }
}

/// What a release touches: one cache line with a FIFO of two pointers.
#[repr(align(64))]
pub(super) struct Flow<Q> {
    /// Charged at departure.
    pub level: Level,
    pub fifo: Q,
    pub links: Links,
    /// Packets in the FIFO.
    pub queued: u32,
    /// Deficit round robin: wire bytes it may still send in this turn.
    pub deficit: u16,
    pub class: u8,
    pub state: State,
}

const _: () = assert!(size_of::<Flow<[usize; 2]>>() == 64);

impl<Q: Default> Default for Flow<Q> {
    fn default() -> Self {
        let mut state = State(0);
        state.set(State::NEW_TURN, true);
        Self {
            level: Level::default(),
            fifo: Q::default(),
            links: Links::default(),
            queued: 0,
            deficit: 0,
            class: 0,
            state,
        }
    }
}

impl<Q> Flow<Q> {
    /// Whether its turn has so many bytes left.
    #[inline]
    pub fn may_send(&self, wire_len: u32) -> bool {
        // A turn cannot hold more than the type, whatever a capture calls a frame.
        u32::from(self.deficit) >= wire_len.min(u32::from(u16::MAX))
    }

    /// Begins its turn, unless it has begun.
    #[inline]
    pub fn begin_turn(&mut self, quantum: u32) {
        if self.state.has(State::NEW_TURN) {
            let deficit = u32::from(self.deficit).saturating_add(quantum);
            self.deficit = deficit.min(u32::from(u16::MAX)) as u16;
            self.state.set(State::NEW_TURN, false);
        }
    }

    /// Takes a packet off its turn.
    #[inline]
    pub fn spend(&mut self, wire_len: u32) {
        self.deficit = u32::from(self.deficit).saturating_sub(wire_len) as u16;
    }
}

impl<Q> Linked for Flow<Q> {
    #[inline]
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// What a release need not touch.
#[repr(align(64))]
pub(super) struct Cold {
    /// Charged at arrival, for `t_sched`; valid while the flow is [`State::APART`].
    pub sched: Level,
    /// When its look timer on the wheel fires, [`Nanos::MAX`] = it has none.
    pub look_at: Nanos,
    /// When the latest release window opened that packets ahead of `gate_from` belong to.
    pub opened_at: Nanos,
    /// Packets at the head that are released forward, up to an exempt one.
    pub forward: u32,
    /// Exempt packets in the FIFO.
    pub exempt_queued: u32,
    /// Packets at the head that came before the release window `gate_window`.
    pub gate_from: u32,
    /// The window that the other packets came in.
    pub gate_window: u16,
    /// The profile change up to which its buckets are carried over.
    pub epoch: u16,
}

const _: () = assert!(size_of::<Cold>() == 64);

impl Default for Cold {
    fn default() -> Self {
        Self {
            sched: Level::default(),
            look_at: Nanos::MAX,
            opened_at: Nanos::ZERO,
            forward: 0,
            exempt_queued: 0,
            gate_from: 0,
            gate_window: 0,
            epoch: 0,
        }
    }
}
