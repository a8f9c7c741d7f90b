//! The time of an observer: gateway time, CLOCK_TAI, like that of a gateway.
//!
//! The kernel stamps packets with the wall clock, which is whole seconds behind. Those seconds are read
//! once: a leap second or a step of the wall clock during a run shows in the figures.

use std::time::Duration;

use model::time::Nanos;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

/// Reads the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the wall clock lacks.
    ahead: Nanos,
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

impl Clock {
    /// Reads how far the clocks are apart.
    pub fn start() -> Self {
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let ahead = tai().0.saturating_sub(wall);
        // The two readings lie some ns apart.
        Self { ahead: Nanos::from_secs(ahead / 1_000_000_000) }
    }

    /// Now.
    pub fn now(self) -> Nanos {
        Nanos(nanos(clock_gettime(ClockId::Realtime))).saturating_add(self.ahead)
    }

    /// A time of this clock in UTC.
    pub const fn utc(self, now: Nanos) -> Nanos {
        now.saturating_sub(self.ahead)
    }

    /// A stamp of the wall clock.
    pub const fn of_wall(self, ns: u64) -> Nanos {
        Nanos(ns).saturating_add(self.ahead)
    }

    /// Sleeps until `until`.
    pub fn sleep(self, until: Nanos) {
        std::thread::sleep(Duration::from_nanos(until.saturating_sub(self.now()).0));
    }
}

/// A kernel without CLOCK_TAI has no leap seconds to tell of either.
fn tai() -> Nanos {
    let time = clock_gettime_dynamic(DynamicClockId::Tai);
    time.map_or(Nanos(nanos(clock_gettime(ClockId::Realtime))), |time| Nanos(nanos(time)))
}
