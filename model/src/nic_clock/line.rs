//! The line itself: small, copied to every core, two multiplications for each stamp.

use crate::time::Cycles;

/// Bits behind the point of a rate: rounding costs less than a cycle in 10^10 ticks, and a tick may
/// take up to 2^28 cycles.
pub(super) const POINT: u32 = 36;
const PPB: u128 = 1_000_000_000;

/// A device's clock as a function of the TSC around an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicModel {
    /// Counter and TSC at the anchor.
    pub(super) raw: u64,
    pub(super) tsc: u64,
    /// Cycles in a tick, [`POINT`] bits behind the point; above 0.
    pub(super) rate: u64,
    /// Width of the counter, 32 to 64.
    pub(super) bits: u32,
    /// Bound of the error at the anchor, cycles.
    pub(super) error: u64,
    /// What it grows by away from the anchor, parts per billion.
    pub(super) spread_ppb: u64,
    pub(super) good_until: u64,
}

impl NicModel {
    /// The TSC at which the counter read `raw`: the instant next to the anchor, within half of the
    /// counter's period.
    #[inline]
    pub fn cycles_at(&self, raw: u64) -> Cycles {
        let unused = 64 - self.bits;
        // Sign-extended from the counter's width: a stamp may be older than the anchor.
        let ticks = (raw.wrapping_sub(self.raw) << unused).cast_signed() >> unused;
        let cycles = (i128::from(ticks) * i128::from(self.rate)) >> POINT;
        let cycles = i64::try_from(cycles).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX });
        Cycles(self.tsc.saturating_add_signed(cycles))
    }

    /// What the counter reads at `tsc`, rounded up: a launch time is never early by the rounding.
    #[inline]
    pub fn raw_at(&self, tsc: Cycles) -> u64 {
        let cycles = i128::from(tsc.0) - i128::from(self.tsc);
        let ticks = -((-(cycles << POINT)).div_euclid(i128::from(self.rate)));
        // Truncated on purpose: the counter wraps.
        let raw = self.raw.wrapping_add(ticks as u64);
        if self.bits == 64 { raw } else { raw & ((1 << self.bits) - 1) }
    }

    /// Bound of the error of [`NicModel::cycles_at`] for a stamp of about `tsc`.
    ///
    /// It holds while the device's rate against the TSC stays within the drift that was seen, at
    /// least 1 ppm.
    pub fn error_at(&self, tsc: Cycles) -> Cycles {
        let away = u128::from(tsc.0.abs_diff(self.tsc));
        let grown = (away * u128::from(self.spread_ppb)).div_ceil(PPB);
        Cycles(u64::try_from(grown).unwrap_or(u64::MAX).saturating_add(self.error))
    }

    /// Whether the last reading is young enough at `tsc`.
    #[inline]
    pub const fn is_good_at(&self, tsc: Cycles) -> bool {
        tsc.0 <= self.good_until
    }

    /// The last TSC at which [`NicModel::is_good_at`] holds.
    pub const fn good_until(&self) -> Cycles {
        Cycles(self.good_until)
    }

    /// Ticks of the device in a second of a TSC of `tsc_hz`.
    pub fn ticks_per_s(&self, tsc_hz: u64) -> f64 {
        tsc_hz as f64 * (1_u64 << POINT) as f64 / self.rate as f64
    }

    /// Width of the counter in bits; 64 until a wrap has shown another one.
    pub const fn bits(&self) -> u32 {
        self.bits
    }
}
