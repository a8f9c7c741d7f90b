//! The arithmetic from cycles to nanoseconds: pure, and small enough to be copied to every core.

use model::time::{Cycles, Nanos};

/// Bits behind the point of a rate. A TSC of 62.5 MHz and more fits, and after a year without a
/// refresh the rounding of the rate is below 1 ns.
const POINT: u32 = 60;
/// Slowest TSC that [`POINT`] leaves room for.
pub(super) const TSC_HZ_MIN: u64 = 62_500_001;
/// Steering runs so much faster or slower at most: what the kernel allows itself (adjtimex).
const STEERING_PPM_MAX: u128 = 500;
const NS_PER_S: u128 = 1_000_000_000;

/// Gateway time as a function of the TSC: one line, and before it the piece that leads onto it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TscModel {
    /// Start of the leading piece.
    from: Point,
    from_rate: u64,
    /// Start of the line.
    to: Point,
    to_rate: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    tsc: u64,
    ns: u64,
}

impl Point {
    /// The line through this point with `rate`, at `tsc`; before the point too.
    #[inline]
    fn line(self, rate: u64, tsc: u64) -> u64 {
        let span = |cycles: u64| ((u128::from(cycles) * u128::from(rate)) >> POINT) as u64;
        if tsc >= self.tsc {
            self.ns.saturating_add(span(tsc - self.tsc))
        } else {
            self.ns.saturating_sub(span(self.tsc - tsc))
        }
    }
}

impl TscModel {
    /// A TSC of `hz` that reads `tsc` at `time`.
    pub fn new(tsc: Cycles, time: Nanos, hz: u64) -> Self {
        let rate = (NS_PER_S << POINT) / u128::from(hz.max(TSC_HZ_MIN));
        Self::line(Point { tsc: tsc.0, ns: time.0 }, rate as u64)
    }

    /// The line through two readings; `None` when they are too close, or their TSC too slow.
    pub(super) fn through(a: (Cycles, Nanos), b: (Cycles, Nanos)) -> Option<Self> {
        let cycles = u128::from(b.0.0.checked_sub(a.0.0)?);
        let ns = u128::from(b.1.0.checked_sub(a.1.0)?);
        let rate = u64::try_from((ns << POINT).checked_div(cycles)?).ok()?;
        (rate > 0).then(|| Self::line(Point { tsc: b.0.0, ns: b.1.0 }, rate))
    }

    const fn line(point: Point, rate: u64) -> Self {
        Self { from: point, from_rate: rate, to: point, to_rate: rate }
    }

    /// The time at a reading of the TSC.
    #[inline]
    pub fn at(&self, tsc: Cycles) -> Nanos {
        Nanos(if tsc.0 >= self.to.tsc {
            self.to.line(self.to_rate, tsc.0)
        } else {
            // Rounding of the leading piece must not pass the line that follows.
            self.from.line(self.from_rate, tsc.0).min(self.to.ns)
        })
    }

    /// The first reading of the TSC at which it is `time`: the inverse of [`TscModel::at`], one
    /// division.
    #[inline]
    pub fn cycles_at(&self, time: Nanos) -> Cycles {
        let (from, rate) = if time.0 >= self.to.ns {
            (self.to, self.to_rate)
        } else {
            (self.from, self.from_rate)
        };
        let rate = u128::from(rate);
        let cycles = |ns: u64| (u128::from(ns) << POINT).div_ceil(rate);
        let cycles = |ns| u64::try_from(cycles(ns)).unwrap_or(u64::MAX);
        Cycles(if time.0 >= from.ns {
            from.tsc.saturating_add(cycles(time.0 - from.ns))
        } else {
            from.tsc.saturating_sub(cycles(from.ns - time.0))
        })
    }

    /// Frequency of the TSC, Hz.
    pub fn tsc_hz(&self) -> u64 {
        ((NS_PER_S << POINT) / u128::from(self.to_rate)) as u64
    }

    /// The cycles of a span of time, rounded down.
    pub fn cycles_in(&self, span: Nanos) -> Cycles {
        Cycles(((u128::from(span.0) << POINT) / u128::from(self.to_rate)) as u64)
    }

    /// The time that a number of cycles takes, rounded down.
    pub fn time_of(&self, cycles: Cycles) -> Nanos {
        Nanos(((u128::from(cycles.0) * u128::from(self.to_rate)) >> POINT) as u64)
    }

    /// From when on the model is a plain line.
    pub fn steers_until(&self) -> Cycles {
        Cycles(self.to.tsc)
    }

    /// This model up to `tsc`, and from there over to the line of `target` within `slew`, or later
    /// when that would take more than 500 ppm.
    pub(super) fn steered_to(&self, target: Self, tsc: Cycles, slew: Nanos) -> Self {
        let cycles = target.cycles_in(slew).0;
        let from = Point { tsc: tsc.0, ns: self.at(tsc).0 };
        Self::lead(from, target.to, target.to_rate, cycles)
    }

    /// This model for a clock that reads `now` at `tsc`: it joins the line where the model does, if
    /// 500 ppm allow it.
    pub(super) fn joined(&self, tsc: Cycles, now: Nanos) -> Self {
        let from = Point { tsc: tsc.0, ns: now.0 };
        Self::lead(from, self.to, self.to_rate, self.to.tsc.saturating_sub(tsc.0))
    }

    fn lead(from: Point, on_line: Point, rate: u64, cycles: u64) -> Self {
        let apart = u128::from(on_line.line(rate, from.tsc).abs_diff(from.ns));
        if apart == 0 {
            return Self::line(from, rate);
        }
        // `apart` is made good by at most STEERING_PPM_MAX of the time that it takes.
        let ns_least = (apart * 1_000_000).div_ceil(STEERING_PPM_MAX);
        let cycles_least = (ns_least << POINT).div_ceil(u128::from(rate));
        let cycles = u64::try_from(cycles_least).unwrap_or(u64::MAX).max(cycles);
        let end = from.tsc.saturating_add(cycles);
        let to = Point { tsc: end, ns: on_line.line(rate, end) };
        let ns = u128::from(to.ns.saturating_sub(from.ns));
        let from_rate = ((ns << POINT) / u128::from(cycles)) as u64;
        Self { from, from_rate, to, to_rate: rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_500_000_000;

    #[test]
    fn a_cycle_of_2_5_ghz_takes_400_ps() {
        let model = TscModel::new(Cycles(1_000), Nanos(5_000), HZ);
        assert_eq!(model.at(Cycles(1_000)), Nanos(5_000));
        assert_eq!(model.at(Cycles(1_005)), Nanos(5_001), "rounded down at 2 ns less a hair");
        assert_eq!(model.at(Cycles(500)), Nanos(4_801));
        assert_eq!(model.tsc_hz(), HZ);
        assert_eq!(model.cycles_in(Nanos::from_micros(1)), Cycles(2_500));
    }

    #[test]
    fn a_time_and_its_reading_are_inverse() {
        let line = TscModel::new(Cycles(HZ), Nanos(1 << 60), HZ);
        let target = TscModel::new(Cycles(2 * HZ), Nanos((1 << 60) + 1_000_100_000), HZ - 1_000);
        let steered = line.steered_to(target, Cycles(2 * HZ), Nanos::from_secs(1));
        for model in [line, steered] {
            for tsc in (HZ..6 * HZ).step_by(77_777_777) {
                let time = model.at(Cycles(tsc));
                let back = model.cycles_at(time);
                assert!(back.0.abs_diff(tsc) <= 3, "{back:?} for {tsc}");
                assert!(model.at(back).signed_since(time).abs() <= 1);
            }
        }
    }

    #[test]
    fn a_year_without_refresh_costs_less_than_a_nanosecond_of_rounding() {
        let year_s = 366 * 86_400;
        for hz in [TSC_HZ_MIN, 2_893_202_000, 6_000_000_001] {
            let model = TscModel::new(Cycles(0), Nanos(0), hz);
            let off = model.at(Cycles(year_s * hz)).signed_since(Nanos::from_secs(year_s));
            assert!((-1..=0).contains(&off), "{off} ns at {hz} Hz");
        }
    }

    #[test]
    fn steering_ends_on_the_line_when_it_was_told_to() {
        let old = TscModel::new(Cycles(0), Nanos(0), HZ);
        // The reference is 40 us ahead and a little faster.
        let target = TscModel::new(Cycles(HZ), Nanos(1_000_040_000), HZ - 2_500);
        let new = old.steered_to(target, Cycles(HZ), Nanos::from_secs(1));
        assert_eq!(new.at(Cycles(HZ)), old.at(Cycles(HZ)));
        let half = new.at(Cycles(HZ + HZ / 2)).signed_since(target.at(Cycles(HZ + HZ / 2)));
        assert!((-20_001..=-19_999).contains(&half), "{half}");
        for tsc in [2 * HZ, 2 * HZ + 1, 10 * HZ] {
            assert!(new.at(Cycles(tsc)).signed_since(target.at(Cycles(tsc))).abs() <= 1);
        }
    }

    #[test]
    fn steering_takes_longer_rather_than_faster() {
        let old = TscModel::new(Cycles(0), Nanos(0), HZ);
        // 1 ms behind at 500 ppm takes 2 s.
        let target = TscModel::new(Cycles(HZ), Nanos(999_000_000), HZ);
        let new = old.steered_to(target, Cycles(HZ), Nanos::from_millis(1));
        let took = new.time_of(Cycles(new.steers_until().0 - HZ));
        // One nanosecond more or less to make good is 2 us of steering.
        assert!(took.signed_since(Nanos::from_secs(2)).abs() <= 2_001, "{took}");
        let second = new.at(Cycles(2 * HZ)) - new.at(Cycles(HZ));
        assert!(second.signed_since(Nanos(999_500_000)).abs() <= 1, "{second}");
    }

    #[test]
    fn readings_that_give_no_rate_are_refused() {
        let line = |a, b| TscModel::through((Cycles(10), Nanos(10)), (Cycles(a), Nanos(b)));
        assert!(line(10, 20).is_none());
        assert!(line(20, 10).is_none());
        assert!(line(9, 20).is_none());
        assert!(line(20, 9).is_none());
        assert!(line(20, 10_000).is_none(), "slower than any TSC");
        assert_eq!(line(20, 15).map(|m| m.tsc_hz()), Some(2_000_000_000));
    }
}
