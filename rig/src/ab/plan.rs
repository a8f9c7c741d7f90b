//! Which arm runs in which block.
//!
//! A pair is one block of each arm, one right after the other, so that what drifts over minutes moves both.
//! Half of the pairs begin with the first arm and half with the second, in an order drawn from a seed: what
//! a block inherits from the one before (a warm cache, a queue) then favours neither. The test of
//! [`super::compare`] goes over exactly the orders that could have been drawn.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// One of the two arms that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// What is compared with.
    A,
    /// What is compared.
    B,
}

impl Arm {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The arm with which each pair begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed it was drawn from, to be printed.
    pub seed: u64,
    /// By pair.
    pub first: Vec<Arm>,
}

impl Plan {
    /// So many pairs, half of them in each order; one more begins with A where the number is odd.
    pub fn draw(seed: u64, pairs: usize) -> Self {
        let half = pairs / 2;
        let mut first = vec![Arm::A; pairs];
        first[..half].fill(Arm::B);
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        // Fisher and Yates: every order is as likely as any other.
        for last in (1..pairs).rev() {
            first.swap(last, below(&mut random, last as u64 + 1) as usize);
        }
        Self { seed, first }
    }

    /// The arms of all blocks in the order in which they run.
    pub fn blocks(&self) -> impl Iterator<Item = Arm> {
        self.first.iter().flat_map(|first| [*first, first.other()])
    }
}

/// A number below `end`, each as likely as any other.
pub(super) fn below(random: &mut Pcg64Mcg, end: u64) -> u64 {
    // Draws that would favour small numbers are drawn again.
    let most = u64::MAX - u64::MAX % end;
    loop {
        let drawn = random.next_u64();
        if drawn < most {
            return drawn % end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_pairs_begin_with_each_arm_and_every_pair_has_both() {
        for pairs in [0, 1, 2, 12, 13] {
            let plan = Plan::draw(7, pairs);
            let of_a = plan.first.iter().filter(|arm| **arm == Arm::A).count();
            assert_eq!((plan.first.len(), of_a), (pairs, pairs.div_ceil(2)));
            let blocks: Vec<_> = plan.blocks().collect();
            assert!(blocks.chunks(2).all(|pair| pair[0] != pair[1]), "{blocks:?}");
        }
    }

    #[test]
    fn a_seed_is_one_order_and_seeds_differ() {
        assert_eq!(Plan::draw(7, 12), Plan::draw(7, 12));
        let orders: Vec<_> = (0..100).map(|seed| Plan::draw(seed, 12).first).collect();
        let mut distinct = orders.clone();
        distinct.sort_by_key(|order| order.iter().map(|arm| *arm == Arm::B).collect::<Vec<_>>());
        distinct.dedup();
        assert!(distinct.len() > 80, "{} of 924", distinct.len());
        // Each pair begins with B in about half of the seeds.
        for pair in 0..12 {
            let of_b = orders.iter().filter(|order| order[pair] == Arm::B).count();
            assert!((25..=75).contains(&of_b), "pair {pair}: {of_b}");
        }
    }
}
