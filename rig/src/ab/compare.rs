//! From the differences of pairs of blocks to a p-value, a shift and its interval.
//!
//! A block gives one number (the p99 of a figure, say): packets of a burst are not independent, blocks are.
//! The p-value is that of a permutation test over the orders that the plan could have drawn, so it needs
//! nothing of the distribution. The shift is that of Hodges and Lehmann, the median of all means of two
//! differences, with the interval that belongs to it: one wild block moves neither much.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::plan::{Arm, Plan, below};

/// Up to so many orders are all looked at: 20 pairs have 184,756.
const ORDERS_MAX: u128 = 200_000;
/// Beyond, so many are drawn.
const DRAWS: u64 = 100_000;
/// Fewest pairs that an interval is given for.
const PAIRS_MIN: usize = 6;
/// Most pairs: the exact distribution of ranks grows with their square.
const PAIRS_MAX: usize = 512;

/// What two arms differ by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Pairs behind it.
    pub pairs: usize,
    /// B - A.
    pub shift: f64,
    /// Where the true shift lies with the confidence that was asked for; `None`: too few pairs for it.
    pub interval: Option<(f64, f64)>,
    /// How often chance alone makes a difference as large, in either direction.
    pub p_value: f64,
}

/// Why there is no comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// The blocks are not those of the plan.
    #[error("{blocks} blocks for {pairs} pairs")]
    Blocks {
        /// Blocks that were given.
        blocks: usize,
        /// Pairs of the plan.
        pairs: usize,
    },
    /// None at all, or more than are worked out.
    #[error("{0} pairs: 1 to {PAIRS_MAX} are compared")]
    Pairs(usize),
    /// A value is no number.
    #[error("the value of block {0} is not finite")]
    Value(usize),
}

/// Compares the arms by one value of each block, in the order in which the blocks of `plan` ran. Where every
/// order is looked at `seed` has no part.
///
/// # Errors
/// Blocks are missing, or a value is no number.
pub fn compare(
    plan: &Plan,
    blocks: &[f64],
    confidence: f64,
    seed: u64,
) -> Result<Comparison, CompareError> {
    let pairs = plan.first.len();
    if blocks.len() != 2 * pairs {
        return Err(CompareError::Blocks { blocks: blocks.len(), pairs });
    }
    if pairs == 0 || pairs > PAIRS_MAX {
        return Err(CompareError::Pairs(pairs));
    }
    if let Some(index) = blocks.iter().position(|value| !value.is_finite()) {
        return Err(CompareError::Value(index));
    }
    // What the second block of each pair has more than the first.
    let later: Vec<f64> = blocks.chunks_exact(2).map(|pair| pair[1] - pair[0]).collect();
    let signed = |(later, first): (&f64, &Arm)| if *first == Arm::A { *later } else { -later };
    let differences: Vec<f64> = later.iter().zip(&plan.first).map(signed).collect();
    let walsh = walsh_averages(&differences);
    Ok(Comparison {
        pairs,
        shift: median(&walsh),
        interval: interval(&walsh, pairs, confidence),
        p_value: p_value(&later, &plan.first, seed),
    })
}

/// The means of all twos of differences, each with itself too, in order.
fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let mut means: Vec<f64> = differences
        .iter()
        .enumerate()
        .flat_map(|(n, a)| differences[n..].iter().map(move |b| f64::midpoint(*a, *b)))
        .collect();
    means.sort_by(f64::total_cmp);
    means
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted[half];
    }
    f64::midpoint(sorted[half - 1], sorted[half])
}

/// The interval of the signed-rank test: the k-th mean from either end, where k - 1 is the largest rank
/// sum that is as rare as wanted on one side.
fn interval(walsh: &[f64], pairs: usize, confidence: f64) -> Option<(f64, f64)> {
    if pairs < PAIRS_MIN {
        return None;
    }
    let rare = (1.0 - confidence) / 2.0;
    let mut below = 0.0;
    let chances = signed_rank_chances(pairs);
    let k = chances.iter().take_while(|chance| {
        below += **chance;
        below <= rare
    });
    let k = k.count();
    (k > 0).then(|| (walsh[k - 1], walsh[walsh.len() - k]))
}

/// The chance of each sum of positive ranks of so many differences without a shift.
fn signed_rank_chances(pairs: usize) -> Vec<f64> {
    let most = pairs * (pairs + 1) / 2;
    let mut chances = vec![0.0; most + 1];
    chances[0] = 1.0;
    for rank in 1..=pairs {
        // From above: each rank counts once, or not.
        for sum in (0..=most).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    chances
}

/// How many of the orders that could have been drawn give a sum as far from 0 as the one that was.
fn p_value(later: &[f64], first: &[Arm], seed: u64) -> f64 {
    let sum = |first: &[Arm]| -> f64 {
        let signed = |(later, first): (&f64, &Arm)| if *first == Arm::A { *later } else { -later };
        later.iter().zip(first).map(signed).sum()
    };
    // Sums in another order of additions differ by their last bits.
    let scale: f64 = later.iter().map(|value| value.abs()).sum();
    let observed = sum(first).abs() - scale * 1e-12;
    let of_b = first.iter().filter(|arm| **arm == Arm::B).count();
    if choices(first.len(), of_b) > ORDERS_MAX {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut drawn = first.to_vec();
        let mut as_far = 0_u64;
        for _ in 0..DRAWS {
            for last in (1..drawn.len()).rev() {
                drawn.swap(last, below(&mut random, last as u64 + 1) as usize);
            }
            as_far += u64::from(sum(&drawn).abs() >= observed);
        }
        // The order that was drawn is one of them.
        return (as_far + 1) as f64 / (DRAWS + 1) as f64;
    }
    let (mut as_far, mut all) = (0_u64, 0_u64);
    let mut order = vec![Arm::A; first.len()];
    let last = order.len() - of_b;
    order[last..].fill(Arm::B);
    loop {
        all += 1;
        as_far += u64::from(sum(&order).abs() >= observed);
        if !next_order(&mut order) {
            return as_far as f64 / all as f64;
        }
    }
}

/// In how many ways `of` things out of `all` are chosen.
fn choices(all: usize, of: usize) -> u128 {
    let step = |ways: u128, n: usize| {
        ways.saturating_mul((all - n) as u128).checked_div(n as u128 + 1).unwrap_or(u128::MAX)
    };
    (0..of.min(all - of)).fold(1, step)
}

/// The next order with as many of each arm, A before B; false after the last.
fn next_order(order: &mut [Arm]) -> bool {
    // The last A with a B behind it moves one to the right; what follows begins anew.
    let Some(at) = order.windows(2).rposition(|two| two == [Arm::A, Arm::B]) else { return false };
    order.swap(at, at + 1);
    let behind = &mut order[at + 2..];
    let of_b = behind.iter().filter(|arm| **arm == Arm::B).count();
    let begin = behind.len() - of_b;
    behind[..begin].fill(Arm::A);
    behind[begin..].fill(Arm::B);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_pcg::rand_core::Rng;

    /// Blocks of a plan in which B has `shift` more than A, and the second of a pair `order` more.
    fn blocks(plan: &Plan, shift: f64, order: f64, mut noise: impl FnMut() -> f64) -> Vec<f64> {
        let value = |(n, arm): (usize, Arm)| {
            let of_arm = if arm == Arm::B { shift } else { 0.0 };
            100.0 + of_arm + order * (n % 2) as f64 + noise()
        };
        plan.blocks().enumerate().map(value).collect()
    }

    /// Uniform noise, or with `wild` one draw in ten a hundred times as large.
    fn noise(seed: u64, wild: bool) -> impl FnMut() -> f64 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        move || {
            let uniform = random.next_u32() as f64 / f64::from(u32::MAX) - 0.5;
            if wild && random.next_u32() % 10 == 0 { uniform * 100.0 } else { uniform }
        }
    }

    /// Of 1, 2 and 4 the means of two are 1, 1.5, 2, 2.5, 3, 4.
    #[test]
    fn the_shift_worked_out_by_hand() {
        let walsh = walsh_averages(&[4.0, 1.0, 2.0]);
        assert_eq!(walsh, [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]);
        assert_eq!(median(&walsh), 2.25);
    }

    /// The tables of Wilcoxon: of 8 differences a rank sum of 3 or less has the chance 5/256.
    #[test]
    fn chances_of_rank_sums_are_those_of_the_tables() {
        let at_most = |pairs, sum: usize| signed_rank_chances(pairs)[..=sum].iter().sum::<f64>();
        assert!((at_most(8, 3) - 5.0 / 256.0).abs() < 1e-12);
        assert!((at_most(10, 8) - 25.0 / 1024.0).abs() < 1e-12, "0.0244");
        assert!((signed_rank_chances(100).iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // Differences of 1 to 8: at 95 % the fourth mean from either end of 36.
        let walsh = walsh_averages(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(interval(&walsh, 8, 0.95), Some((walsh[3], walsh[32])));
        assert_eq!(interval(&walsh[..15], 5, 0.95), None, "no interval of 95 % from 5");
    }

    #[test]
    fn every_order_comes_once() {
        let mut order = [Arm::A, Arm::A, Arm::B, Arm::B];
        let mut all = vec![order];
        while next_order(&mut order) {
            all.push(order);
        }
        assert_eq!(all.len(), 6);
        all.dedup();
        assert_eq!((all.len(), choices(4, 2), choices(12, 6)), (6, 6, 924));
        assert!(choices(20, 10) == 184_756 && choices(512, 256) > ORDERS_MAX);
    }

    /// Two pairs, orders AB and BA: the other order that could have been drawn gives the same with the
    /// other sign, so chance makes it always.
    #[test]
    fn the_p_value_worked_out_by_hand() {
        let plan = Plan { seed: 0, first: vec![Arm::A, Arm::B] };
        let found = compare(&plan, &[1.0, 2.0, 2.0, 1.0], 0.95, 1).expect("two pairs");
        assert_eq!((found.p_value, found.shift, found.interval), (1.0, 1.0, None));
        // Of 924 orders only the one that was drawn and its mirror are as far.
        let plan = Plan::draw(5, 12);
        let found = compare(&plan, &blocks(&plan, 3.0, 0.0, || 0.0), 0.95, 1).expect("twelve");
        assert_eq!((found.p_value, found.shift), (2.0 / 924.0, 3.0));
        assert_eq!(found.interval, Some((3.0, 3.0)));
    }

    #[test]
    fn what_a_block_inherits_favours_neither_arm() {
        let plan = Plan::draw(3, 12);
        let found = compare(&plan, &blocks(&plan, 0.0, 9.0, || 0.0), 0.95, 1).expect("twelve");
        assert_eq!((found.shift, found.p_value), (0.0, 1.0));
    }

    /// With 24 pairs orders are drawn, and the answer is the same as far as draws tell.
    #[test]
    fn drawn_orders_agree_with_all_of_them() {
        let plan = Plan::draw(11, 20);
        let values = blocks(&plan, 0.2, 0.0, noise(4, false));
        let all = compare(&plan, &values, 0.95, 1).expect("twenty").p_value;
        let later: Vec<f64> = values.chunks_exact(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(choices(20, 10) <= ORDERS_MAX && choices(22, 11) > ORDERS_MAX);
        let mut random = Pcg64Mcg::seed_from_u64(2);
        let mut drawn = plan.first.clone();
        let sum = |first: &[Arm]| -> f64 {
            later.iter().zip(first).map(|(d, f)| if *f == Arm::A { *d } else { -d }).sum()
        };
        let observed = sum(&plan.first).abs();
        let as_far = (0..20_000).filter(|_| {
            (1..20)
                .rev()
                .for_each(|last| drawn.swap(last, below(&mut random, last as u64 + 1) as usize));
            sum(&drawn).abs() >= observed
        });
        let share = as_far.count() as f64 / 20_000.0;
        assert!((share - all).abs() < 0.015, "{share} of draws, {all} of all");
        let many = Plan::draw(11, 24);
        let values = blocks(&many, 5.0, 0.0, noise(4, false));
        assert_eq!(compare(&many, &values, 0.95, 1).expect("24").p_value, 1.0 / 100_001.0);
    }

    /// Two arms that do not differ: at a level of 5 % at most 5 % of the comparisons say that they do, and
    /// the interval holds 0 as often as it says; wild blocks, and what blocks inherit, notwithstanding.
    #[test]
    fn alike_arms_are_called_alike_as_often_as_promised() {
        const RUNS: u64 = 600;
        for (wild, order) in [(false, 0.0), (true, 0.0), (false, 0.3)] {
            let (mut called_different, mut held) = (0, 0);
            for seed in 0..RUNS {
                let plan = Plan::draw(seed, 12);
                let values = blocks(&plan, 0.0, order, noise(1_000 + seed, wild));
                let found = compare(&plan, &values, 0.95, seed).expect("twelve pairs");
                called_different += u64::from(found.p_value <= 0.05);
                let (low, high) = found.interval.expect("twelve pairs");
                held += u64::from(low <= 0.0 && 0.0 <= high);
            }
            // Three deviations of a binomial: 600 x 0.05 = 30, +- 16.
            assert!(called_different <= 46, "wild {wild}, order {order}: {called_different}");
            assert!(held >= 554, "wild {wild}, order {order}: {held}");
        }
    }

    #[test]
    fn a_shift_is_found_and_its_interval_holds_it() {
        const RUNS: u64 = 300;
        let (mut found_it, mut held) = (0, 0);
        for seed in 0..RUNS {
            let plan = Plan::draw(seed, 12);
            let values = blocks(&plan, 0.6, 0.0, noise(9_000 + seed, false));
            let found = compare(&plan, &values, 0.95, seed).expect("twelve pairs");
            found_it += u64::from(found.p_value <= 0.05 && found.shift > 0.0);
            let (low, high) = found.interval.expect("twelve pairs");
            held += u64::from(low <= 0.6 && 0.6 <= high);
        }
        assert!(found_it >= 280, "{found_it} of {RUNS}");
        assert!(held >= 273, "{held} of {RUNS}");
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let plan = Plan::draw(1, 2);
        let blocks = |n| CompareError::Blocks { blocks: n, pairs: 2 };
        assert_eq!(compare(&plan, &[1.0; 3], 0.95, 1), Err(blocks(3)));
        assert_eq!(
            compare(&plan, &[1.0, f64::NAN, 1.0, 1.0], 0.95, 1),
            Err(CompareError::Value(1))
        );
        assert_eq!(compare(&Plan::draw(1, 0), &[], 0.95, 1), Err(CompareError::Pairs(0)));
    }
}
