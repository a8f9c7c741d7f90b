//! The TSC against CLOCK_TAI: who keeps the model true.

use std::time::Duration;

use model::time::{Cycles, Nanos};
use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

use super::tsc::{self, has_invariant_tsc};
use super::tsc_model::{TSC_HZ_MIN, TscModel};

/// Least time between the two readings that a start takes its rate from. With readings good to
/// 50 ns the rate is then good to 1 ppm.
pub const BASELINE_MIN: Nanos = Nanos::from_millis(100);
/// Bracketed reads for one reading; the narrowest counts. On a quiet core a few are enough, after
/// an interrupt or a preemption the next ones make it good.
const TRIES: u32 = 32;
/// Readings that the rate is taken over: refreshed every second, it follows the kernel's own
/// steering within some seconds and is good to some ppb.
const READINGS: usize = 8;
/// Further off than this the reference was stepped and did not drift: 500 ppm, the most that a
/// kernel steers, take 20 s for it.
const STEP: Nanos = Nanos::from_millis(10);

/// Why there is no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The two readings give no rate.
    #[error(
        "the TSC cannot be calibrated: {cycles} cycles passed in {ns} ns of CLOCK_TAI; was the \
         system's clock stepped just now, or is the TSC slower than 62.5 MHz?"
    )]
    NoRate {
        /// Cycles between the readings.
        cycles: i64,
        /// Time between the readings, ns.
        ns: i64,
    },
}

/// One reading of both clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) tsc: Cycles,
    pub(super) time: Nanos,
    /// The instant is known so well: half of the bracket.
    pub(super) error: Cycles,
}

/// How good the time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Frequency of the TSC, Hz.
    pub tsc_hz: u64,
    /// The CPU promises a constant rate.
    pub invariant_tsc: bool,
    /// Bound of the last reading of CLOCK_TAI: the model is no better than this.
    pub error: Nanos,
    /// Bound of the rate, parts per billion, from the bounds of the readings it was taken from.
    pub rate_error_ppb: u64,
    /// CLOCK_TAI less UTC, whole seconds; 0 = nobody set it, and gateway time equals UTC.
    pub tai_offset_s: i64,
    /// Steps of the system's clock that gateway time did not follow.
    pub steps: u64,
    /// Sum of these steps: CLOCK_TAI less gateway time, ns.
    pub stepped_ns: i64,
}

/// The result of a refresh.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    /// The model for [`super::Clock::set_model`].
    pub model: TscModel,
    /// CLOCK_TAI less the old model, ns.
    pub offset_ns: i64,
    /// The system's clock was stepped by that offset: the model does not follow it.
    pub stepped: bool,
}

/// Keeps a [`TscModel`] true to CLOCK_TAI. Control owns it.
#[derive(Clone, Debug)]
pub struct Calibrator {
    model: TscModel,
    /// Latest readings, oldest first, in gateway time (steps taken out).
    readings: Vec<Reading>,
    /// What gateway time leaves out of CLOCK_TAI, ns.
    stepped_ns: i64,
    steps: u64,
}

impl Calibrator {
    /// Takes two readings `baseline` apart (at least [`BASELINE_MIN`]) and makes the first model of
    /// them. Sleeps in between.
    ///
    /// # Errors
    /// [`ClockError::NoRate`].
    pub fn start(baseline: Nanos) -> Result<(Self, TscModel), ClockError> {
        let first = read_reference();
        std::thread::sleep(Duration::from_nanos(baseline.max(BASELINE_MIN).0));
        let this = Self::from_readings(first, read_reference())?;
        let model = this.model;
        Ok((this, model))
    }

    fn from_readings(a: Reading, b: Reading) -> Result<Self, ClockError> {
        let model = TscModel::through((a.tsc, a.time), (b.tsc, b.time))
            .filter(|model| model.tsc_hz() >= TSC_HZ_MIN)
            .ok_or(ClockError::NoRate {
                cycles: b.tsc.0.wrapping_sub(a.tsc.0).cast_signed(),
                ns: b.time.signed_since(a.time),
            })?;
        Ok(Self { model, readings: vec![a, b], stepped_ns: 0, steps: 0 })
    }

    /// Reads CLOCK_TAI and makes the next model, which runs onto it within `slew` (longer where
    /// that would take more than 500 ppm). For every second or so; sooner than 10 ms after the last
    /// one the rate stays as it is.
    pub fn refresh(&mut self, slew: Nanos) -> Refresh {
        self.refresh_with(read_reference(), slew)
    }

    fn refresh_with(&mut self, read: Reading, slew: Nanos) -> Refresh {
        let expected = self.model.at(read.tsc);
        let time = Nanos(read.time.0.saturating_add_signed(self.stepped_ns.saturating_neg()));
        let offset_ns = time.signed_since(expected);
        let stepped = offset_ns.unsigned_abs() > STEP.0;
        let here = if stepped {
            self.steps += 1;
            self.stepped_ns = self.stepped_ns.saturating_add(offset_ns);
            // Across a step the readings give no rate: keep the old one, and begin again here.
            self.readings.clear();
            Reading { time: expected, ..read }
        } else {
            Reading { time, ..read }
        };
        if self.readings.len() == READINGS {
            self.readings.remove(0);
        }
        self.readings.push(here);
        let point = (here.tsc, here.time);
        let oldest = self.readings[0];
        let target = TscModel::through((oldest.tsc, oldest.time), point)
            .filter(|_| here.time.saturating_sub(oldest.time) >= Nanos::from_millis(10))
            .unwrap_or_else(|| TscModel::new(here.tsc, here.time, self.model.tsc_hz()));
        self.model = self.model.steered_to(target, here.tsc, slew);
        Refresh { model: self.model, offset_ns, stepped }
    }

    /// The model of the last refresh.
    pub const fn model(&self) -> TscModel {
        self.model
    }

    /// How good the time is now.
    pub fn quality(&self) -> Quality {
        let (oldest, latest) = (self.readings[0], self.readings[self.readings.len() - 1]);
        let over = latest.time.saturating_sub(oldest.time).0.max(1);
        let errors = self.bound(oldest) + self.bound(latest);
        let ppb = u128::from(errors.0) * 1_000_000_000 / u128::from(over);
        Quality {
            tsc_hz: self.model.tsc_hz(),
            invariant_tsc: has_invariant_tsc(),
            error: self.bound(latest),
            rate_error_ppb: u64::try_from(ppb).unwrap_or(u64::MAX),
            tai_offset_s: tai_offset_s(),
            steps: self.steps,
            stepped_ns: self.stepped_ns,
        }
    }

    /// The error of a reading in ns; both clocks tick in whole units, hence the 1.
    pub(super) fn bound(&self, reading: Reading) -> Nanos {
        self.model.time_of(reading.error) + Nanos(1)
    }
}

/// The narrowest of some reads of CLOCK_TAI between two reads of the TSC.
pub(super) fn read_reference() -> Reading {
    let read = || {
        let before = tsc::read_ordered().0;
        let time = tai();
        let width = tsc::read_ordered().0.saturating_sub(before);
        (width, before, time)
    };
    let best = (1..TRIES).fold(read(), |best, _| {
        let next = read();
        if next.0 < best.0 { next } else { best }
    });
    let (width, before, time) = best;
    Reading { tsc: Cycles(before + width / 2), time, error: Cycles(width.div_ceil(2)) }
}

fn tai() -> Nanos {
    // Never fails for a clock that Linux has had since 3.10; 0 gives no rate and so refuses a start.
    clock_gettime_dynamic(DynamicClockId::Tai).map_or(Nanos::ZERO, nanos)
}

fn nanos(t: rustix::time::Timespec) -> Nanos {
    let s = u64::try_from(t.tv_sec).unwrap_or(0);
    Nanos(s.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec.cast_unsigned()))
}

fn tai_offset_s() -> i64 {
    let utc = nanos(clock_gettime(ClockId::Realtime));
    (tai().signed_since(utc) + 500_000_000).div_euclid(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: i64 = 3_000_000_000;

    /// A reference whose TSC runs at 3 GHz, steered by `ppb`, and stepped by `step_ns`.
    fn read(at_ms: i64, ppb: i64, step_ns: i64) -> Reading {
        let ns = 1_700_000_000_000_000_000 + at_ms * 1_000_000 + at_ms * ppb / 1_000 + step_ns;
        let tsc = Cycles((HZ / 1_000 * at_ms + 77).cast_unsigned());
        Reading { tsc, time: Nanos(ns.cast_unsigned()), error: Cycles(58) }
    }

    fn started() -> Calibrator {
        Calibrator::from_readings(read(0, 0, 0), read(100, 0, 0)).unwrap()
    }

    #[test]
    fn a_start_finds_rate_and_time() {
        let calibrator = started();
        assert_eq!(calibrator.model().tsc_hz(), 3_000_000_000);
        let ahead = read(60_000, 0, 0);
        assert!(calibrator.model().at(ahead.tsc).signed_since(ahead.time).abs() <= 1);
        let quality = calibrator.quality();
        assert_eq!((quality.error, quality.rate_error_ppb), (Nanos(20), 400));
    }

    #[test]
    fn drift_is_followed_until_it_is_gone() {
        let mut calibrator = started();
        let slew = Nanos::from_millis(500);
        // The kernel now runs 10 ppm fast: 10 us a second, were it not followed.
        let offsets: Vec<i64> = (1..30)
            .map(|s| {
                let refresh = calibrator.refresh_with(read(s * 1_000, 10_000, 0), slew);
                assert!(!refresh.stepped);
                refresh.offset_ns
            })
            .collect();
        assert!(offsets[0] > 9_000, "{offsets:?}");
        assert!(offsets[20..].iter().all(|o| o.abs() <= 5), "{offsets:?}");
        let hz = calibrator.model().tsc_hz();
        assert!(hz.abs_diff(2_999_970_000) < 10, "{hz}");
    }

    #[test]
    fn a_step_is_told_and_not_followed() {
        let mut calibrator = started();
        let slew = Nanos::from_millis(500);
        let tai_offset = 37_000_000_000;
        calibrator.refresh_with(read(1_000, 0, 0), slew);
        let refresh = calibrator.refresh_with(read(2_000, 0, tai_offset), slew);
        assert!(refresh.stepped);
        assert!((refresh.offset_ns - tai_offset).abs() <= 2, "{refresh:?}");
        for s in 3..20 {
            let refresh = calibrator.refresh_with(read(s * 1_000, 0, tai_offset), slew);
            assert!(!refresh.stepped && refresh.offset_ns.abs() <= 2, "{refresh:?}");
        }
        // 11 s ahead on a rate that was taken over 7 s in whole nanoseconds.
        let here = read(30_000, 0, 0);
        assert!(calibrator.model().at(here.tsc).signed_since(here.time).abs() <= 5);
        let quality = calibrator.quality();
        assert_eq!(quality.steps, 1);
        assert!((quality.stepped_ns - tai_offset).abs() <= 2);
        // Back again: the same, to the other side.
        assert!(calibrator.refresh_with(read(31_000, 0, 0), slew).stepped);
        assert!(calibrator.quality().stepped_ns.abs() <= 4);
    }

    #[test]
    fn two_refreshes_at_once_keep_the_rate() {
        let mut calibrator = started();
        for _ in 0..20 {
            calibrator.refresh_with(read(101, 0, 0), Nanos::ZERO);
        }
        assert!(calibrator.model().tsc_hz().abs_diff(3_000_000_000) <= 1);
    }

    #[test]
    fn readings_without_a_rate_are_refused() {
        let stepped_back = Calibrator::from_readings(read(0, 0, 0), read(100, 0, -200_000_000));
        let refused = stepped_back.unwrap_err();
        assert_eq!(refused, ClockError::NoRate { cycles: 300_000_000, ns: -100_000_000 });
        let slow = Calibrator::from_readings(read(0, 0, 0), read(100, 0, 10_000_000_000));
        assert!(slow.is_err());
    }

    #[test]
    fn the_kernels_clock_is_read_within_a_microsecond() {
        let calibrator = started();
        let best = (0..100).map(|_| calibrator.bound(read_reference())).min().unwrap();
        assert!(best < Nanos::from_micros(1), "{best}");
    }
}
