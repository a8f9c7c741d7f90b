//! Faults on purpose: a wrapper around any port, and around the clock, for drills and soak tests.
//!
//! [`FaultRx`] loses, duplicates and reorders what arrives; [`FaultTx`] refuses a part of what is
//! offered and withholds completions; [`FaultClock`] steps the time that a worker is given. All of
//! it is drawn from one seed, so the same traffic meets the same faults.
//!
//! Every effect is counted, so that the books close on both sides of the wrapper:
//! - in front: `received = lost + (handed_on - duplicated) + waiting` ([`RxFaults::is_balanced`]).
//!   A lost packet never counts as `packets_in`: it was lost before the gateway had it. A duplicate
//!   counts like any packet;
//! - behind: what was refused stays with its owner, and nothing is lost; what is withheld is only
//!   known later.
//!
//! Nothing here allocates after construction.

mod clock;
mod rx;
mod tx;

pub use clock::FaultClock;
pub use rx::{FaultRx, RxFaults};
pub use tx::{FaultTx, TxFaults};

use model::time::Nanos;

/// How often what goes wrong. Probabilities from 0 to 1; the default is that nothing does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Where the draws begin.
    pub seed: u64,
    /// A packet that arrives is lost.
    pub drop: f64,
    /// A packet that arrives is held back, and others pass it.
    pub reorder: f64,
    /// How many packets pass it at most, 1 to 64.
    pub reorder_window: u32,
    /// How long it is held back at most when no others come.
    pub reorder_hold: Nanos,
    /// A packet that arrives comes twice.
    pub duplicate: f64,
    /// A burst that is offered is taken in part, or not at all.
    pub refuse: f64,
    /// At a burst that is taken, completions stop to be known for up to 64 looks.
    pub withhold_completions: f64,
    /// Time is stepped by so much, forward and back in turn.
    pub clock_step: Nanos,
    /// How often; [`Nanos::ZERO`] = never.
    pub clock_step_every: Nanos,
}

impl From<&model::config::Faults> for Faults {
    fn from(config: &model::config::Faults) -> Self {
        let share = |ppm: u32| f64::from(ppm) / 1e6;
        Self {
            seed: config.seed,
            drop: share(config.drop_ppm),
            reorder: share(config.reorder_ppm),
            duplicate: share(config.duplicate_ppm),
            refuse: share(config.refuse_ppm),
            withhold_completions: share(config.withhold_completions_ppm),
            clock_step: config.clock_step,
            clock_step_every: config.clock_step_every,
            ..Self::default()
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 1,
            drop: 0.0,
            reorder: 0.0,
            reorder_window: 8,
            reorder_hold: Nanos::from_micros(50),
            duplicate: 0.0,
            refuse: 0.0,
            withhold_completions: 0.0,
            clock_step: Nanos::ZERO,
            clock_step_every: Nanos::ZERO,
        }
    }
}

/// Seeded draws: a Weyl sequence through a 64-bit mixer (splitmix64).
#[derive(Clone, Debug)]
struct Draw(u64);

impl Draw {
    /// Streams of one seed are independent of each other.
    const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` - 1.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    fn happens(&mut self, chance: Chance) -> bool {
        chance.0 > 0 && (self.next() >> 1) < chance.0
    }
}

/// A probability as a share of 2^63, worked out once.
#[derive(Clone, Copy, Debug)]
struct Chance(u64);

impl Chance {
    /// Below 0 and no number count as 0, above 1 as 1.
    fn of(p: f64) -> Self {
        // Saturates, and turns no number into 0.
        Self((p * (1_u64 << 63) as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_met() {
        for (p, expected) in [(0.0, 0), (-1.0, 0), (f64::NAN, 0), (1.0, 100_000), (7.0, 100_000)] {
            let (mut draw, chance) = (Draw::new(1, 2), Chance::of(p));
            assert_eq!((0..100_000).filter(|_| draw.happens(chance)).count(), expected, "{p}");
        }
        let (mut draw, chance) = (Draw::new(1, 2), Chance::of(0.01));
        let hits = (0..1_000_000).filter(|_| draw.happens(chance)).count();
        // Five standard deviations of 100.
        assert!((9_500..10_500).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| draw.below(3) < 3));
    }
}
