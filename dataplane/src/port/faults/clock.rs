//! Time that is stepped under a worker.

use std::cell::Cell;

use model::time::{Cycles, Nanos};

use super::Faults;
use crate::clock::TscModel;
use crate::worker::Clock;

/// A clock that is stepped forward and back in turn.
///
/// Gateway time never goes back, whatever happens to the system's clock; neither does this one. A
/// step back makes it stand still until real time has caught up.
#[derive(Clone, Debug)]
pub struct FaultClock<C> {
    inner: C,
    step: Nanos,
    every: Nanos,
    ahead: Cell<bool>,
    next: Cell<Nanos>,
    last: Cell<Nanos>,
    steps: Cell<u64>,
}

impl<C: Clock> FaultClock<C> {
    /// Steps `inner` as `faults` says.
    pub fn new(inner: C, faults: &Faults) -> Self {
        let never = faults.clock_step == Nanos::ZERO || faults.clock_step_every == Nanos::ZERO;
        let next =
            if never { Nanos::MAX } else { inner.now().saturating_add(faults.clock_step_every) };
        Self {
            inner,
            step: faults.clock_step,
            every: faults.clock_step_every,
            ahead: Cell::new(false),
            next: Cell::new(next),
            last: Cell::new(Nanos::ZERO),
            steps: Cell::new(0),
        }
    }

    /// Steps so far.
    pub const fn steps(&self) -> u64 {
        self.steps.get()
    }
}

impl<C: Clock> Clock for FaultClock<C> {
    const REAL: bool = C::REAL;

    fn now(&self) -> Nanos {
        let real = self.inner.now();
        if real >= self.next.get() {
            self.next.set(real.saturating_add(self.every));
            self.ahead.set(!self.ahead.get());
            self.steps.set(self.steps.get() + 1);
        }
        let stepped = if self.ahead.get() { real.saturating_add(self.step) } else { real };
        let now = stepped.max(self.last.get());
        self.last.set(now);
        now
    }

    fn cycles(&self) -> Cycles {
        self.inner.cycles()
    }

    fn set_model(&mut self, model: TscModel) {
        self.inner.set_model(model);
    }

    fn tsc_model(&self) -> Option<TscModel> {
        self.inner.tsc_model()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hand(Cell<u64>);

    impl Clock for Hand {
        fn now(&self) -> Nanos {
            Nanos(self.0.get())
        }

        fn cycles(&self) -> Cycles {
            Cycles(self.0.get())
        }

        fn set_model(&mut self, _: TscModel) {}
    }

    #[test]
    fn it_steps_both_ways_and_never_goes_back() {
        let faults = Faults {
            clock_step: Nanos(1_000),
            clock_step_every: Nanos(10_000),
            ..Faults::default()
        };
        let clock = FaultClock::new(Hand(Cell::new(0)), &faults);
        let seen: Vec<u64> = [0, 9_999, 10_000, 15_000, 20_000, 20_500, 21_500, 30_000]
            .into_iter()
            .map(|t| {
                clock.inner.0.set(t);
                clock.now().0
            })
            .collect();
        assert_eq!(seen, [0, 9_999, 11_000, 16_000, 20_000, 20_500, 21_500, 31_000]);
        assert_eq!(clock.steps(), 3);
        clock.inner.0.set(40_000);
        assert_eq!(clock.now().0, 40_000);
        // Stepped forward at 50,000, back at 60,000: what was given out stays.
        for (t, expected) in
            [(50_000, 51_000), (59_999, 60_999), (60_000, 60_999), (61_500, 61_500)]
        {
            clock.inner.0.set(t);
            assert_eq!(clock.now().0, expected);
        }
    }

    #[test]
    fn without_a_step_it_is_the_clock_inside() {
        let clock = FaultClock::new(Hand(Cell::new(0)), &Faults::default());
        for t in [0, 5, 1 << 60] {
            clock.inner.0.set(t);
            assert_eq!(clock.now().0, t);
        }
        assert_eq!(clock.steps(), 0);
    }
}
