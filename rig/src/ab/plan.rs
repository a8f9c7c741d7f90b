//! Which arm runs in which block.
//!
//! A pair is one block of each arm, close to each other, so that what drifts over minutes moves both.
//! Half of the pairs begin with the first arm and half with the second, in an order drawn from a seed: what
//! a block inherits from the one before (a warm cache, a queue) then favours neither. The test of
//! [`super::compare`] goes over exactly the orders that could have been drawn.
//!
//! With more arms than two a [round](Rounds) is one block of each, and holds a pair of any two.

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
        Self { seed, first: shuffled(&mut Pcg64Mcg::seed_from_u64(seed), first) }
    }

    /// The arms of all blocks in the order in which they run.
    pub fn blocks(&self) -> impl Iterator<Item = Arm> {
        self.first.iter().flat_map(|first| [*first, first.other()])
    }
}

/// The order of the arms in each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// The seed it was drawn from, to be printed.
    pub seed: u64,
    /// By round: the arms in the order in which they run.
    pub orders: Vec<Vec<usize>>,
}

impl Rounds {
    /// So many rounds of `arms` arms. Against `reference` every other arm comes first in half of the
    /// rounds: orders are drawn until that is so. Rounds can be swapped without breaking it, so which
    /// of the two came first is, for each of these pairs, any choice of half with the same chance:
    /// what [`super::compare`] goes over.
    pub fn draw(seed: u64, arms: usize, reference: usize, rounds: usize) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        loop {
            let mut one = || shuffled(&mut random, (0..arms).collect());
            let drawn = Self { seed, orders: (0..rounds).map(|_| one()).collect() };
            let is_half = |other: usize| {
                let first = drawn.pair(other, reference).first;
                first.iter().filter(|arm| **arm == Arm::B).count() == rounds / 2
            };
            if (0..arms).filter(|other| *other != reference).all(is_half) {
                return drawn;
            }
        }
    }

    /// The pairs of `a` and `b`.
    pub fn pair(&self, a: usize, b: usize) -> Plan {
        let first = |order: &Vec<usize>| {
            let found = order.iter().find(|arm| **arm == a || **arm == b);
            if found == Some(&a) { Arm::A } else { Arm::B }
        };
        Plan { seed: self.seed, first: self.orders.iter().map(first).collect() }
    }
}

/// Fisher and Yates: every order is as likely as any other.
fn shuffled<T>(random: &mut Pcg64Mcg, mut all: Vec<T>) -> Vec<T> {
    for last in (1..all.len()).rev() {
        all.swap(last, below(random, last as u64 + 1) as usize);
    }
    all
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
    fn every_round_has_every_arm_and_the_reference_is_first_in_half() {
        for (arms, rounds) in [(2, 12), (4, 12), (5, 12), (4, 7), (3, 1)] {
            let drawn = Rounds::draw(3, arms, arms - 1, rounds);
            assert_eq!(drawn, Rounds::draw(3, arms, arms - 1, rounds));
            for order in &drawn.orders {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..arms).collect::<Vec<_>>());
            }
            for other in 0..arms - 1 {
                let first = drawn.pair(other, arms - 1).first;
                let of_b = first.iter().filter(|arm| **arm == Arm::B).count();
                assert_eq!(of_b, rounds / 2, "{arms} arms, {rounds} rounds, {other}");
            }
        }
    }

    /// The two orders of 4 rounds that a seed draws for one pair: each choice of half about as often.
    #[test]
    fn which_rounds_the_reference_begins_is_any_half_alike() {
        let mut seen = std::collections::HashMap::new();
        for seed in 0..1_200 {
            let first = Rounds::draw(seed, 3, 2, 4).pair(0, 2).first;
            let key: Vec<bool> = first.iter().map(|arm| *arm == Arm::B).collect();
            *seen.entry(key).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        // 200 each; four deviations of a binomial are 52.
        assert!(seen.values().all(|count| (148..=252).contains(count)), "{seen:?}");
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
