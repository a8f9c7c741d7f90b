//! How often the verdict errs, over many made-up runs, and what its parts promise for any numbers.

use proptest::prelude::*;
use rig::ab::compare::compare;
use rig::ab::holm::adjusted;
use rig::ab::plan::{Arm, Plan};
use rig::ab::verdict::{Outcome, Verdict};

use crate::made_up::{KERNEL, Like, World, run};

/// A verdict that says that the arms differ.
fn says_they_differ(world: World) -> bool {
    let outcome = Verdict::of(&run(world)).outcome;
    matches!(outcome, Outcome::Win | Outcome::Traded | Outcome::Loss)
}

fn how_often(runs: u64, world: impl Fn(u64) -> World) -> u64 {
    (0..runs).map(|seed| u64::from(says_they_differ(world(seed)))).sum()
}

/// The kernel against itself, 40 times: at most 2 differ at a level of 1 %.
#[test]
fn forty_runs_of_one_arm_against_itself() {
    assert!(how_often(40, |seed| World::new(100_000 + seed, KERNEL)) <= 2);
}

/// 2,000 times, with quiet and with busy machines, with and without void blocks: 1 % of them are 20, and three
/// deviations more are 33.
#[test]
fn one_arm_against_itself_differs_as_rarely_as_promised() {
    for (noise, void_one_in, rounds) in [(0.1, 0, 12), (0.5, 3, 12), (0.3, 4, 13)] {
        let world =
            |seed| World { noise, void_one_in, rounds, ..World::new(200_000 + seed, KERNEL) };
        let differ = how_often(2_000, world);
        println!("noise {noise}, void {void_one_in}: {differ} of 2,000 differ");
        assert!(differ <= 33, "noise {noise}, void {void_one_in}: {differ} of 2,000");
    }
}

#[test]
fn a_planted_shift_is_found() {
    for like in [
        Like { gap_error_ns: 0.65 * KERNEL.gap_error_ns, ..KERNEL },
        Like { gap_error_ns: 1.6 * KERNEL.gap_error_ns, ..KERNEL },
        Like { excess: 0.65 * KERNEL.excess, ..KERNEL },
    ] {
        let found = how_often(100, |seed| World::new(300_000 + seed, like));
        assert!(found >= 90, "{found} of 100: {like:?}");
    }
}

/// A bound that is passed by twice the noise is not called kept, however good the shape is.
#[test]
fn a_win_is_never_given_for_a_delay_beyond_the_budget() {
    let like = Like { gap_error_ns: 1_000.0, excess: 0.5, delay_p50_ns: 90_000.0, ..KERNEL };
    let wins = (0..200).filter(|seed| Verdict::of(&run(World::new(400_000 + seed, like))).holds());
    assert_eq!(wins.count(), 0);
}

fn plan_and_blocks() -> impl Strategy<Value = (Plan, Vec<f64>)> {
    (any::<u64>(), 1_usize..14).prop_flat_map(|(seed, pairs)| {
        let blocks = proptest::collection::vec(-1e6_f64..1e6, 2 * pairs);
        blocks.prop_map(move |blocks| (Plan::draw(seed, pairs), blocks))
    })
}

proptest! {
    /// What is the same is called the same: the level of all blocks has no part, the scale only scales.
    #[test]
    fn level_and_scale_have_no_part_in_a_comparison(
        (plan, blocks) in plan_and_blocks(), level in -1e3_f64..1e3, scale in 0.01_f64..100.0,
    ) {
        let one = compare(&plan, &blocks, 0.95, 1).unwrap();
        let moved: Vec<f64> = blocks.iter().map(|value| level + scale * value).collect();
        let other = compare(&plan, &moved, 0.95, 1).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * scale * (1.0 + a.abs());
        prop_assert!(near(one.shift.value * scale, other.shift.value), "{one:?} {other:?}");
        prop_assert_eq!(one.shift.interval.is_some(), other.shift.interval.is_some());
        prop_assert!((one.p_value - other.p_value).abs() < 1e-9, "{:?} {:?}", one, other);
    }

    /// The arms with their names exchanged: the shift has the other sign, all else is the same.
    #[test]
    fn a_comparison_has_no_side((plan, blocks) in plan_and_blocks()) {
        let one = compare(&plan, &blocks, 0.95, 1).unwrap();
        let first = plan.first.iter().map(|arm| arm.other()).collect();
        let other = compare(&Plan { first, ..plan }, &blocks, 0.95, 1).unwrap();
        prop_assert!((one.p_value - other.p_value).abs() < 1e-9);
        let (one, other) = (one.shift, other.shift);
        prop_assert!((one.value + other.value).abs() <= 1e-9 * (1.0 + one.value.abs()));
        if let (Some((low, high)), Some((a, b))) = (one.interval, other.interval) {
            prop_assert!((low + b).abs() < 1e-6 && (high + a).abs() < 1e-6);
        }
    }

    /// Something is always as far as what was drawn, and the shift lies in its interval.
    #[test]
    fn a_comparison_is_in_its_own_bounds((plan, blocks) in plan_and_blocks()) {
        let found = compare(&plan, &blocks, 0.95, 1).unwrap();
        prop_assert!(found.p_value > 0.0 && found.p_value <= 1.0);
        if let Some((low, high)) = found.shift.interval {
            prop_assert!(low <= found.shift.value && found.shift.value <= high, "{found:?}");
        }
    }

    /// What B has more in every pair is added to the shift, as it is to the ends of the interval.
    #[test]
    fn a_shift_is_found_to_the_last_part((plan, blocks) in plan_and_blocks(), more in -1e5_f64..1e5) {
        let one = compare(&plan, &blocks, 0.95, 1).unwrap();
        let added = plan.blocks().zip(&blocks).map(|(arm, value)| if arm == Arm::B { value + more } else { *value });
        let other = compare(&plan, &added.collect::<Vec<_>>(), 0.95, 1).unwrap();
        prop_assert!((one.shift.value + more - other.shift.value).abs() < 1e-6);
    }

    /// None below what it was or above 1; their order stays, and the least is n times itself.
    #[test]
    fn holm_makes_no_p_value_smaller(p_values in proptest::collection::vec(0.0_f64..=1.0, 0..12)) {
        let found = adjusted(&p_values);
        let count = p_values.len() as f64;
        for (before, after) in p_values.iter().zip(&found) {
            prop_assert!(after >= before && *after <= 1.0);
        }
        for (n, a) in p_values.iter().enumerate() {
            for (m, b) in p_values.iter().enumerate() {
                prop_assert!(a >= b || found[n] <= found[m]);
            }
        }
        if let Some(least) = p_values.iter().copied().reduce(f64::min) {
            let of_least = found.iter().copied().reduce(f64::min).unwrap();
            prop_assert!((of_least - (least * count).min(1.0)).abs() < 1e-12);
        }
    }

    /// Rejecting below a level rejects none that Bonferroni would keep all the same, and no less than it.
    #[test]
    fn holm_rejects_whatever_bonferroni_does(p_values in proptest::collection::vec(0.0_f64..0.2, 1..8)) {
        let (level, count) = (0.05, p_values.len() as f64);
        for (before, after) in p_values.iter().zip(adjusted(&p_values)) {
            prop_assert!(before * count > level || after <= level);
        }
    }
}
