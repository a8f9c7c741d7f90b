//! Exact points in time: whole nanoseconds and a fraction of one.

use std::cmp::Ordering;
use std::fmt;

/// Nanoseconds in a second: costs are scaled by it so that `units / rate` stays an integer.
pub const NS_PER_S: i128 = 1_000_000_000;

/// A rational number of nanoseconds, `ns + num / den` with `num < den`.
///
/// Two of them compare without overflow: whole parts first, then fractions below one, whose cross
/// products stay below the square of the largest rate.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    ns: i128,
    num: i128,
    den: i128,
}

impl Exact {
    /// `numerator / denominator` nanoseconds; the denominator is positive.
    pub fn ratio(numerator: i128, denominator: i128) -> Self {
        assert!(denominator > 0, "a rate is positive");
        Self {
            ns: numerator.div_euclid(denominator),
            num: numerator.rem_euclid(denominator),
            den: denominator,
        }
    }

    /// A whole number of nanoseconds.
    pub fn whole(ns: u64) -> Self {
        Self { ns: i128::from(ns), num: 0, den: 1 }
    }

    /// The first whole nanosecond that is not before it.
    pub fn ceil_ns(self) -> i128 {
        self.ns + i128::from(self.num > 0)
    }

    /// Whether `t - self < span`, exactly.
    pub fn within(self, t: u64, span: u64) -> bool {
        Self { ns: self.ns + i128::from(span), ..self } > Self::whole(t)
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ns.cmp(&other.ns).then_with(|| (self.num * other.den).cmp(&(other.num * self.den)))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.num == 0 {
            write!(f, "{}", self.ns)
        } else {
            write!(f, "{} {}/{}", self.ns, self.num, self.den)
        }
    }
}
