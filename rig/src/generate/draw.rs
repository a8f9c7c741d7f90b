//! Seeded draws, in integers: floating point would not give the same bytes on every machine.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// A source of numbers.
pub(crate) struct Draw(Pcg32);

impl Draw {
    /// Streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Pcg32::new(seed, stream))
    }

    /// Uniform in `0..n`; 0 for `n = 0`. The bias of the multiplication is below `n / 2^32`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `first..=last`; `first` where `last` is below it.
    pub(crate) fn between(&mut self, first: u32, last: u32) -> u32 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// Pareto with exponent 1, cut at `max`, never below `min`: P(X > x) = min / x. Its mean is
    /// `min * (1 + ln(max / min))`.
    pub(crate) fn heavy(&mut self, min: u64, max: u64) -> u64 {
        let u = u128::from(self.0.next_u32()) + 1;
        let x = (u128::from(min) << 32) / u;
        x.min(u128::from(max.max(min))) as u64
    }

    /// Pareto with exponent 2, cut at `max`: P(X > x) = (min / x)^2. Its mean is below `2 * min`.
    pub(crate) fn tailed(&mut self, min: u32, max: u32) -> u32 {
        let root = (u64::from(self.0.next_u32()) + 1).isqrt();
        ((u64::from(min) << 16) / root).min(u64::from(max)) as u32
    }

    /// Fills bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_range_and_have_their_means() {
        let mut draw = Draw::new(1, 1);
        let n = 100_000u64;
        let mut sums = [0u64; 3];
        for _ in 0..n {
            let (uniform, heavy, tailed) =
                (draw.between(5, 60), draw.heavy(5, 200), draw.tailed(48, 1_200));
            assert!((5..=60).contains(&uniform));
            assert!((5..=200).contains(&heavy));
            assert!((48..=1_200).contains(&tailed));
            for (sum, x) in sums.iter_mut().zip([u64::from(uniform), heavy, u64::from(tailed)]) {
                *sum += x;
            }
        }
        // 32.5; 5 (1 + ln 40) = 23.4; 96 - 48^2 / 1200 = 94. Rounding down costs up to one half.
        let means = sums.map(|sum| sum / n);
        assert!((32..=33).contains(&means[0]), "{means:?}");
        assert!((22..=24).contains(&means[1]), "{means:?}");
        assert!((92..=95).contains(&means[2]), "{means:?}");
        assert_eq!(draw.below(0), 0);
    }
}
