//! The clock of a world that is stepped from outside.

use std::cell::Cell;

use dataplane::clock::{Clock as TscClock, TscModel};
use dataplane::worker::Clock;
use model::time::{Cycles, Nanos};

/// Virtual gateway time; cycles are real, for the figures under `host`.
pub struct VirtualClock {
    now: Cell<Nanos>,
    tsc: TscClock,
}

impl VirtualClock {
    /// A clock that stands at `now`.
    pub const fn new(now: Nanos, tsc: TscModel) -> Self {
        Self { now: Cell::new(now), tsc: TscClock::new(tsc) }
    }

    /// Steps it.
    pub fn set(&self, now: Nanos) {
        self.now.set(now);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        self.now.get()
    }

    fn cycles(&self) -> Cycles {
        self.tsc.cycles()
    }

    fn set_model(&mut self, _: TscModel) {}
}
