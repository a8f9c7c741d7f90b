//! What classes were offered, and so the rate that no profile may take from them.

use std::collections::{BTreeMap, VecDeque};

use crate::time::Nanos;

/// How far back it looks, one value a second.
const SECONDS: usize = 600;
/// Fewest seconds that say anything.
const SECONDS_MIN: usize = 10;
/// The floor over the 99th percentile, in percent.
const FLOOR_PERCENT: u64 = 120;

/// Offered rates of the last ten minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Offered {
    classes: BTreeMap<usize, VecDeque<u64>>,
    next: Option<Nanos>,
}

impl Offered {
    pub fn new(classes: impl Iterator<Item = usize>) -> Self {
        Self { classes: classes.map(|class| (class, VecDeque::new())).collect(), next: None }
    }

    /// Takes a value of each class once a second.
    pub fn tick(&mut self, now: Nanos, read: impl Fn(usize) -> Option<u64>) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now.saturating_add(Nanos::from_secs(1)));
        for (class, rates) in &mut self.classes {
            if let Some(rate) = read(*class) {
                if rates.len() == SECONDS {
                    rates.pop_front();
                }
                rates.push_back(rate);
            }
        }
    }

    /// 1.2 times the 99th percentile, bits per second.
    pub fn rate_floor(&self, class: usize) -> Option<u64> {
        let rates = self.classes.get(&class)?;
        if rates.len() < SECONDS_MIN {
            return None;
        }
        let mut sorted: Vec<u64> = rates.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100);
        let p99 = sorted[rank - 1];
        Some(p99.saturating_mul(FLOOR_PERCENT) / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_fifth_above_the_99th_percentile_of_ten_minutes() {
        let mut offered = Offered::new([3].into_iter());
        let mut second = 0;
        let mut put = |offered: &mut Offered, rate: u64| {
            // Ticks in between are not counted.
            for tick in 0..10 {
                offered.tick(Nanos::from_millis(second * 1_000 + tick * 100), |_| Some(rate));
            }
            second += 1;
        };
        (0..9).for_each(|_| put(&mut offered, 1_000));
        assert_eq!(offered.rate_floor(3), None, "nine seconds say nothing");
        (0..91).for_each(|_| put(&mut offered, 1_000));
        put(&mut offered, 50_000);
        // 101 values: the 100th is 1000, 1 of 101 is above.
        assert_eq!(offered.rate_floor(3), Some(1_200));
        put(&mut offered, 40_000);
        put(&mut offered, 40_000);
        // 103 values: rank 102 is 40000.
        assert_eq!(offered.rate_floor(3), Some(48_000));
        (0..600).for_each(|_| put(&mut offered, 10));
        assert_eq!(offered.rate_floor(3), Some(12), "ten minutes later it is forgotten");
        assert_eq!(offered.rate_floor(4), None);
    }
}
