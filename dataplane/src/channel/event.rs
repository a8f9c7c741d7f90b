//! What a worker does at a turn, and what it tells.

use model::time::Nanos;

use crate::clock::{PortClocks, TscModel};

/// What a worker has to act on; see [`WorkerLink::turn`](super::WorkerLink::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`WorkerLink::profile`](super::WorkerLink::profile) is another one now.
    ProfileChanged,
    /// [`WorkerLink::confirmed`](super::WorkerLink::confirmed) is another one now, and not in force.
    ConfirmedChanged,
    /// Use this clock.
    Clock(TscModel),
    /// Use these clocks of the device behind a port of the config.
    PortClocks(u8, PortClocks),
    /// Turns longer than this are stalls.
    StallThreshold(Nanos),
    /// Drain and end.
    Stop,
}

/// What a worker tells control. Times are gateway time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The profile of command `command` is in force.
    ProfileSwitched {
        /// Number of the command.
        command: u64,
        /// Index of the profile now in force.
        index: u16,
        /// Index of the profile that was in force before.
        previous: u16,
        /// Since when.
        at: Nanos,
    },
    /// The confirmed profile of command `command` is taken.
    Confirmed {
        /// Number of the command.
        command: u64,
        /// Of the table that the worker has: [`Profile::fingerprint`](model::profile::Profile::fingerprint).
        fingerprint: u64,
        /// Since when.
        at: Nanos,
    },
    /// [`SETTLE`](super::SETTLE) has passed since the switch of `command`.
    SwitchSettled {
        /// Number of the command.
        command: u64,
        /// The longest that a due packet waited in that time.
        longest_wait: Nanos,
        /// Packets that ended in that time for want of room or time.
        lost: u32,
    },
    /// No one renewed the lease: the worker is back in its confirmed profile.
    LeaseExpired {
        /// Index of the profile that ended.
        profile: u16,
        /// When.
        at: Nanos,
    },
    /// No completion of a TX queue for `stall_time` with bytes in flight.
    TxStall {
        /// Index of the port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// In-flight limit reached, device empty, due packets waiting: the limit is too low.
    Starvation {
        /// Index of the port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// Packets ended for want of buffers.
    PoolAlarm {
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// Packets ended because the ring to the pacing core was full.
    RingFull {
        /// Index of the egress port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// Packets of classes with `allow_drop` ended because the pool is down to its reserve.
    PoolLow {
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// The pool was down to its reserve.
    PoolReserve {
        /// When it was told.
        at: Nanos,
    },
    /// A class that may not drop is past its queue budget.
    Backpressure {
        /// Index of the class in the config.
        class: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// Packets ended because they have more messages than a venue limit ever lets go.
    OverVenueLimit {
        /// Index of the egress port in the config.
        port: u8,
        /// How many since the last such event.
        packets: u32,
        /// When it was told.
        at: Nanos,
    },
    /// Exempt packets waited because a venue limit held packets ahead of them in their group.
    ExemptBehindLimit {
        /// Index of the egress port in the config.
        port: u8,
        /// How many since the last such event.
        packets: u32,
        /// When it was told.
        at: Nanos,
    },
    /// A port's link changed.
    Link {
        /// Index of the port in the config.
        port: u8,
        /// Whether it is up now.
        up: bool,
        /// When it was noticed.
        at: Nanos,
    },
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Not polling yet.
    Starting = 0,
    /// Polling.
    Running = 1,
    /// Told to stop, drains.
    Draining = 2,
    /// Polls no more and never will.
    Ended = 3,
}

impl Phase {
    /// The name in JSON and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }

    pub(super) const fn from_u64(n: u64) -> Self {
        match n {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Draining,
            _ => Self::Ended,
        }
    }
}
