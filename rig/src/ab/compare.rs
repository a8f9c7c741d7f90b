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
    pub shift: Estimate,
    /// How often chance alone makes a difference as large, in either direction.
    pub p_value: f64,
}

/// An estimate of Hodges and Lehmann.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Where the truth lies with the confidence that was asked for; `None`: too few pairs for it.
    pub interval: Option<(f64, f64)>,
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
    let later = later(plan, blocks)?;
    Ok(Comparison {
        pairs: later.len(),
        shift: shift(&later, &plan.first, confidence),
        p_value: p_value(&later, &plan.first, seed),
    })
}

/// The same without the chance: what the arms differ by.
///
/// # Errors
/// As [`compare`].
pub fn estimate(plan: &Plan, blocks: &[f64], confidence: f64) -> Result<Estimate, CompareError> {
    Ok(shift(&later(plan, blocks)?, &plan.first, confidence))
}

/// The chance of arms that could not be further apart, one being above the other in every pair: none is smaller.
pub fn least_p_value(plan: &Plan) -> f64 {
    let (pairs, of_b) = (plan.first.len(), of_b(&plan.first));
    let all = choices(pairs, of_b);
    if all > ORDERS_MAX {
        return 1.0 / (DRAWS + 1) as f64;
    }
    // The order that was drawn and, where it is one of them, its mirror.
    let as_far = if 2 * of_b == pairs { 2.0 } else { 1.0 };
    as_far / all as f64
}

/// What the second block of each pair has more than the first.
fn later(plan: &Plan, blocks: &[f64]) -> Result<Vec<f64>, CompareError> {
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
    Ok(blocks.chunks_exact(2).map(|pair| pair[1] - pair[0]).collect())
}

fn shift(later: &[f64], first: &[Arm], confidence: f64) -> Estimate {
    let differences: Vec<f64> = later.iter().zip(first).map(signed).collect();
    let walsh = walsh_averages(&differences);
    Estimate { value: median(&walsh), interval: interval(&walsh, later.len(), confidence) }
}

/// B - A.
fn signed((later, first): (&f64, &Arm)) -> f64 {
    if *first == Arm::A { *later } else { -later }
}

fn of_b(first: &[Arm]) -> usize {
    first.iter().filter(|arm| **arm == Arm::B).count()
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
    let sum = |first: &[Arm]| -> f64 { later.iter().zip(first).map(signed).sum() };
    // Sums in another order of additions differ by their last bits.
    let scale: f64 = later.iter().map(|value| value.abs()).sum();
    let observed = sum(first).abs() - scale * 1e-12;
    let of_b = of_b(first);
    let all = choices(first.len(), of_b);
    if all <= ORDERS_MAX {
        return as_far(later, of_b, 0.0, observed) as f64 / all as f64;
    }
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
    (as_far + 1) as f64 / (DRAWS + 1) as f64
}

/// In how many orders of these pairs, `of_b` of which begin with B, the sum is at least `observed` from 0, that
/// of the pairs before them being `sum`.
fn as_far(later: &[f64], of_b: usize, sum: f64, observed: f64) -> u64 {
    let Some((one, rest)) = later.split_first() else { return u64::from(sum.abs() >= observed) };
    let with_a = if of_b <= rest.len() { as_far(rest, of_b, sum + one, observed) } else { 0 };
    let with_b = if of_b > 0 { as_far(rest, of_b - 1, sum - one, observed) } else { 0 };
    with_a + with_b
}

/// In how many ways `of` things out of `all` are chosen.
fn choices(all: usize, of: usize) -> u128 {
    let step = |ways: u128, n: usize| {
        ways.saturating_mul((all - n) as u128).checked_div(n as u128 + 1).unwrap_or(u128::MAX)
    };
    (0..of.min(all - of)).fold(1, step)
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

    /// Of the six orders of 1, 2, 4 and 8 with two of each, two are 9 from 0 or further: 3 - 12 and its mirror.
    #[test]
    fn every_order_counts_once() {
        let later = [1.0, 2.0, 4.0, 8.0];
        let found = [0.0, 1.0, 3.0, 4.0, 9.0, 9.5].map(|observed| as_far(&later, 2, 0.0, observed));
        assert_eq!(found, [6, 6, 6, 4, 2, 0]);
        assert_eq!(as_far(&[1.0; 12], 6, 0.0, 0.0), 924);
        assert_eq!(as_far(&[1.0; 4], 1, 0.0, 2.0), 4);
        assert!(choices(4, 2) == 6 && choices(12, 6) == 924 && choices(20, 10) == 184_756);
        assert!(choices(512, 256) > ORDERS_MAX);
    }

    /// Two pairs, orders AB and BA: the other order that could have been drawn gives the same with the
    /// other sign, so chance makes it always.
    #[test]
    fn the_p_value_worked_out_by_hand() {
        let plan = Plan { seed: 0, first: vec![Arm::A, Arm::B] };
        let found = compare(&plan, &[1.0, 2.0, 2.0, 1.0], 0.95, 1).expect("two pairs");
        assert_eq!((found.p_value, found.shift), (1.0, Estimate { value: 1.0, interval: None }));
        // Of 924 orders only the one that was drawn and its mirror are as far.
        let plan = Plan::draw(5, 12);
        let found = compare(&plan, &blocks(&plan, 3.0, 0.0, || 0.0), 0.95, 1).expect("twelve");
        assert_eq!((found.p_value, least_p_value(&plan)), (2.0 / 924.0, 2.0 / 924.0));
        assert_eq!(found.shift, Estimate { value: 3.0, interval: Some((3.0, 3.0)) });
        let odd = Plan::draw(5, 7);
        let found = compare(&odd, &blocks(&odd, 3.0, 0.0, || 0.0), 0.95, 1).expect("seven");
        assert_eq!((found.p_value, least_p_value(&odd)), (1.0 / 35.0, 1.0 / 35.0));
    }

    #[test]
    fn what_a_block_inherits_favours_neither_arm() {
        let plan = Plan::draw(3, 12);
        let found = compare(&plan, &blocks(&plan, 0.0, 9.0, || 0.0), 0.95, 1).expect("twelve");
        assert_eq!((found.shift.value, found.p_value), (0.0, 1.0));
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
        assert_eq!(compare(&many, &values, 0.95, 1).expect("24").p_value, least_p_value(&many));
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
                let (low, high) = found.shift.interval.expect("twelve pairs");
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
            found_it += u64::from(found.p_value <= 0.05 && found.shift.value > 0.0);
            let (low, high) = found.shift.interval.expect("twelve pairs");
            held += u64::from(low <= 0.6 && 0.6 <= high);
        }
        assert!(found_it >= 280, "{found_it} of {RUNS}");
        assert!(held >= 273, "{held} of {RUNS}");
    }

    /// By what the rounds of a full run are chosen. Where nine pairs in ten show a shift, it is to be found at the
    /// level that Holm gives the first of two figures, 1 % of all together.
    #[test]
    fn twenty_pairs_find_what_nine_in_ten_show() {
        // The difference of two uniform draws lies above -0.553 in nine cases of ten.
        let found = |pairs| {
            let is_found = |seed: &u64| {
                let plan = Plan::draw(*seed, pairs);
                let values = blocks(&plan, 0.553, 0.0, noise(40_000 + seed, false));
                compare(&plan, &values, 0.95, 1).expect("enough pairs").p_value <= 0.005
            };
            (0..200).filter(is_found).count()
        };
        let (twelve, twenty) = (found(12), found(20));
        assert!(twenty >= 190 && twelve <= 170, "{twelve} and {twenty} of 200");
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
