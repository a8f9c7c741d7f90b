//! Effects that are known, found again.

use estimate::bootstrap::Method;
use estimate::placebo::placebos;
use estimate::{Cohorts, Compared, Covariate, Factor, Role, Settings, effect};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal, StudentT};
use rand_pcg::Pcg64;

const SETTINGS: Settings = Settings { seed: 7, draws: 300, level: 0.95 };

/// `clusters` of 100 units; volatility drives both arm and outcome, in a curve; `cost` is what treatment adds.
fn cohorts(seed: u64, clusters: u32, cost: f64) -> Cohorts {
    let mut random = Pcg64::seed_from_u64(seed);
    let heavy = StudentT::new(4.0).expect("four degrees");
    let (mut volatility, mut symbol, mut cluster) = (vec![], vec![], vec![]);
    let (mut treated, mut outcome) = (vec![], vec![]);
    for label in 0..clusters {
        let shared: f64 = StandardNormal.sample(&mut random);
        for _ in 0..100 {
            let x: f64 = StandardNormal.sample(&mut random);
            let of: u32 = random.random_range(0..4);
            let arm = random.random_bool(1.0 / (1.0 + (0.8 - x).exp()));
            let tail: f64 = heavy.sample(&mut random);
            let base = 2.0 * x + x * x + f64::from(of) + shared + 3.0 * tail;
            volatility.push(x);
            symbol.push(of);
            cluster.push(label);
            treated.push(arm);
            outcome.push(base + if arm { cost * (1.0 + 0.3 * x) } else { 0.0 });
        }
    }
    Cohorts {
        outcome,
        treated,
        covariates: vec![Covariate { name: "volatility", values: volatility, cells: 5 }],
        factors: vec![Factor { name: "symbol", levels: symbol, role: Role::Exact }],
        cluster,
    }
}

#[test]
fn intervals_hold_the_effect_as_often_as_they_say() {
    let (mut held, mut naive_is_wrong) = (0, 0);
    for seed in 0..100 {
        let cohorts = cohorts(seed, 30, 2.0);
        let treated = cohorts.treated.iter().zip(&cohorts.covariates[0].values);
        let truth: f64 =
            treated.filter(|(t, _)| **t).map(|(_, x)| 2.0 * (1.0 + 0.3 * x)).sum::<f64>()
                / cohorts.treated_count() as f64;
        let effect = effect(&cohorts, &SETTINGS).expect("both arms");
        let interval = effect.mean.interval.expect("30 clusters");
        held += u32::from(interval.low <= truth && truth <= interval.high);
        naive_is_wrong += u32::from(effect.naive > interval.high);
        assert!(effect.matched_share > 0.99, "{}", effect.matched_share);
        assert!(effect.imbalance().expect("a covariate").after.abs() < 0.02);
    }
    // 95 of 100; three standard deviations are 6.5.
    assert!((88..=100).contains(&held), "{held}");
    assert_eq!(naive_is_wrong, 100);
}

#[test]
fn fewer_clusters_have_wider_intervals_and_too_few_have_none() {
    let few = effect(&cohorts(1, 7, 2.0), &SETTINGS).expect("both arms");
    assert_eq!((few.method, few.mean.interval), (Method::Absent, None));
    let some = effect(&cohorts(1, 10, 2.0), &SETTINGS).expect("both arms");
    assert_eq!(some.method, Method::WildClusterBootstrap);
    assert!(some.mean.interval.expect("wild").low < some.mean.estimate);
    assert!(some.q95.is_none(), "fewer than 50 beyond it");
}

#[test]
fn wild_intervals_hold_the_effect() {
    let held = (0..60)
        .filter(|&seed| {
            let effect = effect(&cohorts(seed, 12, 0.0), &SETTINGS).expect("both arms");
            let interval = effect.mean.interval.expect("wild");
            interval.low <= 0.0 && 0.0 <= interval.high
        })
        .count();
    assert!(held >= 51, "{held} of 60");
}

#[test]
fn quantiles_shift_with_all_values() {
    // The same cost for everyone moves every quantile by as much.
    let mut cohorts = cohorts(3, 60, 0.0);
    for (y, &treated) in cohorts.outcome.iter_mut().zip(&cohorts.treated) {
        *y += if treated { 4.0 } else { 0.0 };
    }
    let effect = effect(&cohorts, &SETTINGS).expect("both arms");
    let q95 = effect.q95.expect("enough");
    let interval = q95.interval.expect("60 clusters");
    assert!(interval.low < 4.0 && 4.0 < interval.high, "{q95:?}");
    assert!(effect.q99.is_none());
}

#[test]
fn a_placebo_fires_when_something_else_differs() {
    let cohorts = cohorts(5, 30, 0.0);
    let mut random = Pcg64::seed_from_u64(9);
    let noise: Vec<Option<f64>> =
        cohorts.treated.iter().map(|_| Some(StandardNormal.sample(&mut random))).collect();
    let leaning: Vec<Option<f64>> = noise
        .iter()
        .zip(&cohorts.treated)
        .map(|(n, &treated)| n.map(|n| n + if treated { 0.5 } else { 0.0 }))
        .collect();
    let absent = vec![None; cohorts.len()];
    let outcomes = [("quiet", noise), ("leaning", leaning), ("absent", absent)];
    let said = placebos(&Compared::of(&cohorts).expect("both arms"), &outcomes, &SETTINGS);
    assert_eq!(said.iter().map(|p| p.fires).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(said[2].estimate, None);
}

#[test]
fn the_same_seed_gives_the_same_interval() {
    let cohorts = cohorts(2, 25, 1.0);
    let [a, b] = [0, 1].map(|_| effect(&cohorts, &SETTINGS).expect("both arms").mean.interval);
    assert_eq!(a, b);
    let other = effect(&cohorts, &Settings { seed: 8, ..SETTINGS }).expect("both arms");
    assert_ne!(a, other.mean.interval);
}

#[test]
fn an_arm_without_units_has_no_effect() {
    let mut cohorts = cohorts(2, 8, 1.0);
    cohorts.treated.fill(true);
    assert!(effect(&cohorts, &SETTINGS).is_none());
    assert!(effect(&Cohorts::default(), &SETTINGS).is_none());
}
