//! What a tap may cost the core that holds it.
//!
//! Looking at a packet and copying it are priced in *steps* of about a nanosecond. For each step the tap has to
//! have waited [`WAIT_PER_STEP`], so it takes a share of the core that no traffic and no filter raises. What
//! it cannot pay for it leaves alone.

use model::time::Nanos;

/// So long a tap waits for a step of each way that it watches: all of them together take 1/32 of the core.
const WAIT_PER_STEP: Nanos = Nanos(32);
/// So much waiting is saved up: a burst out of quiet is caught whole.
const SAVED_MAX: Nanos = Nanos::from_millis(100);

/// The budget of one way: what is received, sent, or ends.
#[derive(Debug)]
pub(super) struct Budget {
    wait_per_step: u64,
    saved: Nanos,
    at: Option<Nanos>,
}

impl Budget {
    /// That of one of `ways` that are watched.
    pub(super) fn one_of(ways: u64) -> Self {
        Self { wait_per_step: WAIT_PER_STEP.0 * ways.max(1), saved: SAVED_MAX, at: None }
    }

    /// It is `now`.
    pub(super) fn wait(&mut self, now: Nanos) {
        let waited = self.at.map_or(Nanos::ZERO, |at| now.saturating_sub(at));
        self.saved = self.saved.saturating_add(waited).min(SAVED_MAX);
        self.at = Some(now);
    }

    /// Pays for `steps`, or says that it cannot.
    pub(super) fn pay(&mut self, steps: u64) -> bool {
        let price = Nanos(steps.saturating_mul(self.wait_per_step));
        let can_pay = price <= self.saved;
        if can_pay {
            self.saved = self.saved.saturating_sub(price);
        }
        can_pay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a millisecond in which as many as possible are taken, one at a time.
    fn spent(budget: &mut Budget, from: Nanos) -> u64 {
        let times = (0..1_000).map(|us| from.saturating_add(Nanos(1_000 * us)));
        times
            .map(|now| {
                budget.wait(now);
                std::iter::from_fn(|| budget.pay(1).then_some(())).count() as u64
            })
            .sum()
    }

    #[test]
    fn a_share_of_the_time_is_spent_and_what_was_saved_once() {
        for ways in 1..=3 {
            let mut budget = Budget::one_of(ways);
            // 999 us pass in it; what is left of one step is not lost.
            let first = spent(&mut budget, Nanos::from_secs(1));
            assert_eq!(first, (SAVED_MAX.0 + 999_000) / (32 * ways));
            let second = spent(&mut budget, Nanos(1_001_000_000));
            assert!((1_000_000 / (32 * ways)).abs_diff(second) <= 1, "{second}");
            // Any silence saves as much as there is room for.
            budget.wait(Nanos::from_secs(1_000));
            assert!(budget.pay(SAVED_MAX.0 / (32 * ways)) && !budget.pay(1));
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_a_price_without_end_breaks_nothing() {
        let mut budget = Budget::one_of(1);
        budget.wait(Nanos(5));
        budget.wait(Nanos(3));
        assert!(!budget.pay(u64::MAX));
        assert!(budget.pay(SAVED_MAX.0 / 32));
    }
}
