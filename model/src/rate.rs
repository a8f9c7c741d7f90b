//! A rate as an exact fraction: what one unit costs and what drains in a nanosecond, both in whole
//! *parts* of a nanosecond, so that nothing that is counted in parts drifts.
//!
//! A part is `1/R'` ns, where `R'` is the rate without the factors that it shares with 8e9 ns per byte
//! (or 1e9 ns per message): 1 for 50 Mbit/s, 5 for 10 Gbit/s. No division after construction.

/// `1/R` nanoseconds that one byte costs: 8 bits, 1e9 ns per second.
const BYTE_COST: u64 = 8_000_000_000;
/// The same for one message.
const MESSAGE_COST: u64 = 1_000_000_000;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// `R'`: parts in a nanosecond.
    parts: u64,
    /// What one unit costs, in parts.
    unit: u64,
    /// 2^64 / `parts`, rounded down; for one part 2^64 - 1.
    reciprocal: u64,
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Rate {
    /// Nothing costs anything; what stands drains by the nanosecond.
    pub const FREE: Self = Self { parts: 1, unit: 0, reciprocal: u64::MAX };

    const fn new(per_s: u64, unit_cost: u64) -> Self {
        let per_s = if per_s == 0 { 1 } else { per_s };
        let common = gcd(per_s, unit_cost);
        let parts = per_s / common;
        let whole = (1u128 << 64) / parts as u128;
        let reciprocal = if whole > u64::MAX as u128 { u64::MAX } else { whole as u64 };
        Self { parts, unit: unit_cost / common, reciprocal }
    }

    /// Bytes at so many bits per second, 1 to 400e9; 0 counts as 1.
    pub const fn bits(per_s: u64) -> Self {
        Self::new(per_s, BYTE_COST)
    }

    /// Messages per second.
    pub const fn messages(per_s: u64) -> Self {
        Self::new(per_s, MESSAGE_COST)
    }

    /// Whether anything costs anything.
    pub const fn is_free(&self) -> bool {
        self.unit == 0
    }

    /// Parts that drain in a nanosecond.
    #[inline(always)]
    pub const fn parts_per_ns(&self) -> u64 {
        self.parts
    }

    /// What one unit costs, in parts: at most 8e9.
    pub const fn unit_parts(&self) -> u64 {
        self.unit
    }

    /// What `units` cost, in parts: bytes up to 1 GiB.
    #[inline(always)]
    pub const fn cost(&self, units: u32) -> u64 {
        units as u64 * self.unit
    }

    /// Whole nanoseconds in which so many parts drain, and the parts left over.
    #[inline]
    pub const fn whole_ns(&self, held: u64) -> (u64, u64) {
        // The reciprocal is short by at most one, so the estimate is the quotient or one less.
        let ns = ((held as u128 * self.reciprocal as u128) >> 64) as u64;
        let rest = held - ns * self.parts;
        if rest >= self.parts { (ns + 1, rest - self.parts) } else { (ns, rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_as_few_as_the_rate_allows() {
        for (per_s, parts, unit) in
            [(50_000_000, 1, 160), (10_000_000_000, 5, 4), (3, 3, BYTE_COST)]
        {
            let rate = Rate::bits(per_s);
            assert_eq!((rate.parts_per_ns(), rate.unit_parts()), (parts, unit));
        }
    }

    proptest! {
        #[test]
        fn whole_ns_is_the_quotient_and_the_remainder(per_s in 1u64..=400_000_000_000, held: u64) {
            for rate in [Rate::bits(per_s), Rate::messages(per_s), Rate::FREE] {
                let parts = rate.parts_per_ns();
                prop_assert_eq!(rate.whole_ns(held), (held / parts, held % parts));
            }
        }
    }
}
