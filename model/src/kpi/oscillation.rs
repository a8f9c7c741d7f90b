//! How much a level swings from step to step: the byte limit of a TX queue, and what is in flight.

use std::collections::VecDeque;

use super::histogram::{Histogram, Quantile};
use super::minimum;
use crate::time::Nanos;

/// Length of a step.
pub const STEP: Nanos = Nanos::from_millis(100);
/// So many of the last steps are looked at: 60 s.
const STEPS_MAX: usize = 600;
/// Parts of a unit of the natural logarithm that a histogram counts.
const PARTS: f64 = 1e6;

/// The last steps of one level.
#[derive(Clone, Debug, Default)]
pub struct Oscillation {
    last: Option<u64>,
    /// `abs(ln(level + 1) - ln(level one step ago + 1))`, oldest first.
    swings: VecDeque<f64>,
    changes: u64,
}

impl Oscillation {
    /// The level at the next step.
    pub fn step(&mut self, level: u64) {
        let ln = |level: u64| (level as f64 + 1.0).ln();
        if let Some(last) = self.last.replace(level) {
            if self.swings.len() == STEPS_MAX {
                self.swings.pop_front();
            }
            self.swings.push_back((ln(level) - ln(last)).abs());
            self.changes += u64::from(level != last);
        }
    }

    /// The level was not there at this step: the next one has none before it.
    pub const fn skip(&mut self) {
        self.last = None;
    }

    /// Pairs of steps behind the score.
    pub fn pairs(&self) -> u64 {
        self.swings.len() as u64
    }

    /// How often the level changed since the start.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// p95 of the swings of the last 60 s, off by at most 0.4 %; `None` below 100 pairs.
    pub fn score(&self) -> Option<f64> {
        if self.pairs() < minimum::STEPS {
            return None;
        }
        let mut histogram = Histogram::new();
        self.swings.iter().for_each(|swing| histogram.record((swing * PARTS).round() as u64));
        histogram.value_at(Quantile::P95.rank(histogram.count())).map(|parts| parts as f64 / PARTS)
    }
}

/// Both levels of one TX queue.
#[derive(Clone, Debug, Default)]
pub struct QueueSteps {
    /// Of its byte limit.
    pub limit: Oscillation,
    /// Of the most bytes in flight in each step.
    pub in_flight: Oscillation,
    /// Something has been in flight since the start.
    pub is_used: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 999 and 99 by turns: ln(1,000) - ln(100) = ln 10 = 2.3026 at every step.
    #[test]
    fn a_level_that_hunts() {
        let mut level = Oscillation::default();
        assert_eq!((level.pairs(), level.score()), (0, None));
        for n in 0..100 {
            level.step(if n % 2 == 0 { 999 } else { 99 });
        }
        assert_eq!((level.pairs(), level.changes(), level.score()), (99, 99, None), "99 pairs");
        level.step(999);
        let score = level.score().unwrap();
        assert!((score - 10_f64.ln()).abs() < 0.01, "{score}");
    }

    /// One change in 20 steps is the top 5 %: the 95th of 100 swings is 0, the 96th is not.
    #[test]
    fn rare_changes_do_not_count_and_old_ones_are_forgotten() {
        let mut level = Oscillation::default();
        level.step(0);
        for n in 0..100 {
            level.step(if n < 95 { 0 } else { n });
        }
        assert_eq!((level.score(), level.changes()), (Some(0.0), 5));
        level.step(0);
        assert!(level.score().is_some_and(|score| score > 0.0));
        (0..STEPS_MAX).for_each(|_| level.step(0));
        assert_eq!((level.score(), level.pairs()), (Some(0.0), STEPS_MAX as u64));
        level.skip();
        level.step(1_000_000);
        assert_eq!(level.score(), Some(0.0), "no step before it");
    }
}
