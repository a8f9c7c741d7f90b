//! Bursts on a link: runs of packets of a class with next to no gap between them.

use super::spread::Spread;
use crate::time::Nanos;

/// A gap of less than 12/10 of a wire time goes on with the burst.
const GAP_TENTHS: u128 = 12;
/// Bits of a byte, ns of a second: wire time in ns = bytes x this / rate.
const BIT_NS: u128 = 8_000_000_000;

/// The burst that is going on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runs {
    /// When its last packet left, and that packet's wire bytes.
    last: Option<(Nanos, u32)>,
    /// Wire bytes of it so far.
    bytes: u64,
}

/// What is added up of bursts.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
    /// Wire time of the bytes ahead of each packet in its burst, ns.
    pub ahead_ns: Spread,
    /// Wire bytes of each burst that is over.
    pub bytes: Spread,
}

impl Runs {
    /// A packet of `wire_bytes` left at `wire` on a link of `bits_per_s`, not before the last one.
    pub fn record(
        &mut self,
        bits_per_s: u64,
        wire: Nanos,
        wire_bytes: u32,
        totals: &mut RunTotals,
    ) {
        let rate = u128::from(bits_per_s.max(1));
        let goes_on = self.last.is_some_and(|(last, bytes)| {
            let gap = u128::from(wire.saturating_sub(last).0);
            gap * rate * 10 < GAP_TENTHS * u128::from(bytes) * BIT_NS
        });
        if !goes_on {
            self.end(totals);
        }
        let ahead = u128::from(self.bytes) * BIT_NS / rate;
        totals.ahead_ns.record(u64::try_from(ahead).unwrap_or(u64::MAX), 1);
        self.bytes += u64::from(wire_bytes);
        self.last = Some((wire, wire_bytes));
    }

    /// The burst that is going on is over.
    pub fn end(&mut self, totals: &mut RunTotals) {
        if self.last.take().is_some() {
            totals.bytes.record(std::mem::take(&mut self.bytes), 1);
        }
    }
}

impl RunTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.ahead_ns.merge(&other.ahead_ns);
        self.bytes.merge(&other.bytes);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ahead_ns.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 wire bytes on 8 Gbit/s take 1,000 ns: a gap below 1,200 goes on. Packets at 0, 1,000, 2,199
    /// and 3,399: gaps 1,000, 1,199, 1,200. Three packets, then one; ahead 0, 1,000, 2,000 and 0 ns.
    #[test]
    fn a_gap_of_six_fifths_of_a_wire_time_ends_a_burst() {
        let (mut runs, mut totals) = (Runs::default(), RunTotals::default());
        for at in [0, 1_000, 2_199, 3_399] {
            runs.record(8_000_000_000, Nanos(at), 1_000, &mut totals);
        }
        assert_eq!(totals.bytes.rows(), 1, "the last one is not over");
        runs.end(&mut totals);
        runs.end(&mut totals);
        let ahead = totals.ahead_ns.histogram().unwrap();
        assert_eq!((ahead.count(), ahead.sum(), ahead.max()), (4, 3_000, Some(2_000)));
        let bytes = totals.bytes.histogram().unwrap();
        assert_eq!((bytes.count(), bytes.min(), bytes.max()), (2, Some(1_000), Some(3_000)));
    }
}
