//! The floor share: how long a class with ready flows may be passed over.
//!
//! Every ready flow of a class is owed `F` bits per second ahead of strict priority. A class with `n`
//! ready flows is owed `n x F`, and its own round robin shares that out: so one time for each class
//! is enough, and no flow carries a floor of its own.

use crate::time::Nanos;

/// What a class was owed for longer than this and did not get is forgiven: while the port is shut
/// floors must not add up to a storm.
const CREDIT: Nanos = Nanos::from_millis(5);
/// A class that waits is looked at so often at least, since more of its flows may have become ready.
pub(super) const NEXT_LOOK: Nanos = Nanos::from_millis(1);

/// The time after which a packet of `wire_len` bytes is owed to a class of `flows` ready flows with a
/// floor of `bits_per_s` each, not 0: `8 L / (n F)`, rounded down.
pub(super) fn gap(wire_len: u32, flows: u32, bits_per_s: u64) -> Nanos {
    // A frame is below 2^17 bytes: the product stays below 2^50.
    let owed = bits_per_s.saturating_mul(u64::from(flows.max(1))).max(1);
    Nanos(u64::from(wire_len) * 8_000_000_000 / owed)
}

/// Since when a class waits, once a packet that cost `gap` has left because the floor was due.
pub(super) fn served(since: Nanos, gap: Nanos, now: Nanos) -> Nanos {
    since.saturating_add(gap).max(now.saturating_sub(CREDIT)).min(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_every_84_ms_at_8_kbit_s() {
        // 84 wire bytes = 672 bits at 8,000 bits/s.
        assert_eq!(gap(84, 1, 8_000), Nanos::from_millis(84));
        assert_eq!(gap(84, 1_000, 8_000), Nanos::from_micros(84));
        assert_eq!(gap(84, 0, 8_000), Nanos::from_millis(84));
    }

    #[test]
    fn what_is_late_is_made_up_but_not_without_end() {
        let gap = Nanos::from_micros(84);
        // Served 16 us late: the next one is due 84 us after the time at which it should have left.
        assert_eq!(served(Nanos(0), gap, Nanos(100_000)), Nanos(84_000));
        assert_eq!(served(Nanos(0), gap, Nanos::from_secs(10)), Nanos(9_995_000_000));
        assert_eq!(served(Nanos(100), gap, Nanos(200)), Nanos(200));
    }
}
