//! The one reader of clocks.
//!
//! Gateway time is CLOCK_TAI in nanoseconds, made from the TSC by a linear model. Control owns the
//! [`Calibrator`]: [`Calibrator::start`] once, [`Calibrator::refresh`] every second or so. Each
//! thread that needs the time has a [`Clock`] of its own and reads it with [`Clock::now`], without
//! a syscall. A refreshed [`TscModel`] is a value: it goes to the worker as a command, and the
//! worker applies it between two bursts with [`Clock::set_model`].
//!
//! Workers that apply a model at different moments agree again where its steering ends, and differ
//! until then by at most 500 ppm of the time between these moments.
//!
//! Time never goes back and never jumps: a new model begins where the old one stands and closes the
//! difference by running up to 500 ppm faster or slower. When the system's clock is stepped (by
//! hand, or when a daemon sets the TAI offset) gateway time does not follow; it keeps its own epoch
//! and goes on at the right rate, and [`Refresh::stepped`] says so.
//!
//! CLOCK_TAI is UTC plus the kernel's TAI offset, 37 s since 2017. Where no daemon (chrony with
//! leap seconds, ptp4l, ntpd) has set that offset it is 0, and gateway time then equals UTC:
//! [`Quality::tai_offset_s`] tells which.

mod beside;
mod calibrate;
mod stamps;
pub(crate) mod tsc;
mod tsc_model;

use std::cell::Cell;

use model::time::{Cycles, Nanos};

pub use beside::{read_beside, wall_clock_us};
pub use calibrate::{BASELINE_MIN, Calibrator, ClockError, Quality, Refresh};
pub use stamps::{PortClocks, StampClock};
pub use tsc::has_invariant_tsc;
pub use tsc_model::TscModel;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("wirepace reads time from the TSC of x86-64");

/// Gateway time for one thread.
///
/// It is `Send` and not `Sync`: it remembers the last reading, so that time does not go back for a
/// thread that the kernel moves between CPUs whose TSCs differ by some cycles.
#[derive(Clone, Debug)]
pub struct Clock {
    model: TscModel,
    last: Cell<Nanos>,
}

impl Clock {
    /// A clock that follows `model`.
    pub const fn new(model: TscModel) -> Self {
        Self { model, last: Cell::new(Nanos::ZERO) }
    }

    /// The time: one `rdtsc`, one multiplication.
    #[inline]
    pub fn now(&self) -> Nanos {
        self.at(self.cycles())
    }

    /// The TSC of this CPU.
    ///
    /// The read is not ordered against the instructions around it (some 10 ns either way).
    #[inline]
    pub fn cycles(&self) -> Cycles {
        tsc::read()
    }

    /// The time at a reading of the TSC, and never before one that was given out already. For a
    /// reading of long ago ask the model: `clock.model().at(tsc)`.
    #[inline]
    pub fn at(&self, tsc: Cycles) -> Nanos {
        let now = self.model.at(tsc).max(self.last.get());
        self.last.set(now);
        now
    }

    /// Follows `model` from now on, without a jump. For a burst boundary: costs a division.
    pub fn set_model(&mut self, model: TscModel) {
        self.switch(model, tsc::read());
    }

    fn switch(&mut self, model: TscModel, at: Cycles) {
        let now = self.at(at);
        self.model = model.joined(at, now);
    }

    /// The model in force.
    pub const fn model(&self) -> TscModel {
        self.model
    }

    /// Frequency of the TSC in Hz, as the model in force has it.
    pub fn tsc_hz(&self) -> u64 {
        self.model.tsc_hz()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn follows_the_kernels_clock() {
        let (calibrator, model) = Calibrator::start(BASELINE_MIN).unwrap();
        let clock = Clock::new(model);
        let reference = calibrate::read_reference();
        let error = clock.model().at(reference.tsc).signed_since(reference.time);
        let bound =
            i64::try_from(calibrator.quality().error.0 + calibrator.bound(reference).0).unwrap();
        // Beside the bound of the readings: 500 ppm of rate error over the second it took at most.
        assert!(error.abs() <= bound + 500_000, "{error} ns off, readings bound {bound}");
        let mut last = clock.now();
        for _ in 0..100_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        let after = calibrate::read_reference();
        assert!(clock.model().at(after.tsc) >= last);
    }

    #[test]
    fn a_refresh_of_a_live_clock_is_followed() {
        let (mut calibrator, model) = Calibrator::start(BASELINE_MIN).unwrap();
        let mut clock = Clock::new(model);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let before = clock.now();
            let refresh = calibrator.refresh(Nanos::from_millis(10));
            clock.set_model(refresh.model);
            assert!(clock.now() >= before);
            assert!(!refresh.stepped, "{refresh:?}");
            assert!(refresh.offset_ns.abs() < 1_000_000, "{refresh:?}");
        }
    }

    proptest! {
        #[test]
        fn never_goes_back_or_jumps_over_any_change_of_model(
            hz in 800_000_000u64..6_000_000_000,
            steps in prop::collection::vec(
                (
                    0u64..1_000_000_000, // cycles to the next reading
                    prop::option::weighted(0.3, (-50_000_000i64..50_000_000, -400i64..400, 0u64..3_000_000_000u64)),
                    0u64..50_000_000,    // cycles between making and applying a model
                ),
                1..60,
            ),
        ) {
            let mut tsc = 1 << 40;
            let mut clock = Clock::new(TscModel::new(Cycles(tsc), Nanos(1 << 60), hz));
            let mut last = (tsc, clock.at(Cycles(tsc)));
            for (cycles, change, delay) in steps {
                if let Some((offset, ppm, slew)) = change {
                    // Control saw the reference `offset` ns away, at a rate of its own.
                    let seen = clock.model().at(Cycles(tsc));
                    let reference = Nanos(seen.0.checked_add_signed(offset).unwrap());
                    let rate = hz.checked_add_signed(hz as i64 / 1_000_000 * ppm).unwrap();
                    let target = TscModel::new(Cycles(tsc), reference, rate);
                    let model = clock.model().steered_to(target, Cycles(tsc), Nanos(slew));
                    tsc += delay;
                    clock.switch(model, Cycles(tsc));
                    prop_assert!(clock.model().at(Cycles(tsc)).signed_since(clock.at(Cycles(tsc))).abs() <= 1);
                }
                tsc += cycles;
                let now = clock.at(Cycles(tsc));
                prop_assert!(now >= last.1);
                // 500 ppm of steering beside 400 ppm of rate.
                let nominal = (u128::from(tsc - last.0) * 1_000_000_000 / u128::from(hz)) as i64;
                let took = now.signed_since(last.1);
                prop_assert!((took - nominal).abs() <= nominal / 1_000 + 2, "{took} for {nominal}");
                last = (tsc, now);
            }
        }
    }
}
