//! Walk-forward: each day is judged by a model of the days before it, and of no other.

use std::ops::Range;

/// The days to learn from and the day to judge, for each day after the first `learn_min`.
pub fn forward(days: usize, learn_min: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
    (learn_min.max(1)..days).map(|day| (0..day, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_day_is_judged_by_its_future() {
        let steps: Vec<_> = forward(4, 2).collect();
        assert_eq!(steps, [(0..2, 2), (0..3, 3)]);
        assert_eq!(forward(1, 0).count(), 0);
    }
}
