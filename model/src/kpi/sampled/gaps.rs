//! Gaps between distinct instants.

use super::spread::Spread;
use crate::time::Nanos;

/// Instants nearer than this are one.
const RESOLUTION_NS: u64 = 1_000;

/// The instant that is going on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gaps {
    /// When it began.
    began: Option<u64>,
}

impl Gaps {
    /// Something happened at `at`, not before what was told last. What is nearer than 1 us, or than the
    /// stamp's error, to the **beginning** of the instant that is going on belongs to it: counted from
    /// its neighbour instead, a steady fast feed would be one instant for ever.
    pub fn record(&mut self, at: Nanos, error_ns: u32, gaps: &mut Spread) {
        match self.began {
            Some(began) if at.0.saturating_sub(began) < RESOLUTION_NS.max(u64::from(error_ns)) => {}
            Some(began) => {
                gaps.record(at.0 - began, 1);
                self.began = Some(at.0);
            }
            None => self.began = Some(at.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 999 are one, 1,000 begins the next, 1,900 belongs to it, 5,000 is 4,000 later.
    #[test]
    fn near_instants_are_one() {
        let (mut gaps, mut spread) = (Gaps::default(), Spread::default());
        for at in [0, 999, 1_000, 1_900, 5_000] {
            gaps.record(Nanos(at), 0, &mut spread);
        }
        let histogram = spread.histogram().unwrap();
        assert_eq!((histogram.count(), histogram.sum()), (2, 1_000 + 4_000));
        // With an error of 10 us the next is not distinct.
        gaps.record(Nanos(14_999), 10_000, &mut spread);
        assert_eq!(spread.rows(), 2);
    }
}
