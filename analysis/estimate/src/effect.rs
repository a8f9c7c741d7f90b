//! The effect on the treated: matched, balanced, adjusted for what is left, with an interval by cluster.

use serde::Serialize;

use crate::bootstrap::Method;
use crate::cohorts::Cohorts;
use crate::compared::Compared;
use crate::quantile::weighted;

/// How an effect is estimated.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Its draws.
    pub draws: usize,
    /// Confidence of intervals, such as 0.95.
    pub level: f64,
}

/// From `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A difference of the arms, in the unit of the outcome.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Difference {
    /// Treated less matched controls.
    pub estimate: f64,
    /// Of the bootstrap; absent below 8 clusters.
    pub interval: Option<Interval>,
    /// Standard error.
    pub standard_error: Option<f64>,
}

/// How far apart the arms are in a covariate or label, in standard deviations.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Balance {
    /// The covariate or factor.
    pub name: &'static str,
    /// All units.
    pub before: f64,
    /// As weighted.
    pub after: f64,
}

/// What comes out.
#[derive(Clone, Debug, Serialize)]
pub struct Effect {
    /// Difference of plain means.
    pub naive: f64,
    /// At the mean.
    pub mean: Difference,
    /// Where there are at least [`EXCEEDANCES_MIN`] units beyond it in each arm.
    pub q95: Option<Difference>,
    /// Likewise.
    pub q99: Option<Difference>,
    /// Matched units of the treated arm.
    pub treated: usize,
    /// Matched units of the other.
    pub controls: usize,
    /// Share of the treated that have a counterpart.
    pub matched_share: f64,
    /// Clusters among the matched.
    pub clusters: usize,
    /// How the interval was made.
    pub method: Method,
    /// Standardised differences.
    pub balance: Vec<Balance>,
}

impl Effect {
    /// The largest standardised difference that is left.
    pub fn imbalance(&self) -> Option<Balance> {
        self.balance.iter().copied().max_by(|a, b| a.after.abs().total_cmp(&b.after.abs()))
    }
}

/// Units beyond a quantile in each arm, below which it is absent.
pub const EXCEEDANCES_MIN: usize = 50;

/// The effect of being treated on the treated of `cohorts`. `None` when no treated unit has a counterpart.
pub fn effect(cohorts: &Cohorts, settings: &Settings) -> Option<Effect> {
    of_compared(&Compared::of(cohorts)?, settings)
}

/// The effect in units that are matched and balanced already.
pub fn of_compared(compared: &Compared, settings: &Settings) -> Option<Effect> {
    let (treated, controls) = (compared.treated(), compared.controls());
    let tail = |q: f64| {
        let exceedances = (treated.min(controls) as f64 * (1.0 - q)) as usize;
        (exceedances >= EXCEEDANCES_MIN).then(|| difference_of_quantiles(compared, q, settings))?
    };
    Some(Effect {
        naive: naive(compared.all)?,
        mean: compared.mean(settings)?,
        q95: tail(0.95),
        q99: tail(0.99),
        treated,
        controls,
        matched_share: compared.matched_share,
        clusters: compared.clusters.count(),
        method: compared.clusters.method(),
        balance: balance(compared),
    })
}

/// The difference of plain means; `None` when an arm is empty.
fn naive(cohorts: &Cohorts) -> Option<f64> {
    let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
    for (y, &treated) in cohorts.outcome.iter().zip(&cohorts.treated) {
        sums[usize::from(treated)] += y;
        counts[usize::from(treated)] += 1.0;
    }
    (counts[0] > 0.0 && counts[1] > 0.0).then(|| sums[1] / counts[1] - sums[0] / counts[0])
}

/// The difference of the q-quantiles of the weighted arms.
fn difference_of_quantiles(compared: &Compared, q: f64, settings: &Settings) -> Option<Difference> {
    let Compared { cohorts, weights, clusters, .. } = compared;
    let arm = |treated: bool| {
        let of_arm = (0..cohorts.len()).filter(|&i| cohorts.treated[i] == treated);
        let mut arm: Vec<(f64, f64, usize)> =
            of_arm.map(|i| (cohorts.outcome[i], weights[i], clusters.index(i))).collect();
        arm.sort_by(|a, b| a.0.total_cmp(&b.0));
        arm
    };
    let (controls, treated) = (arm(false), arm(true));
    let at = |arm: &[(f64, f64, usize)], times: &[f64]| {
        weighted(arm.iter().map(|&(value, weight, cluster)| (value, weight * times[cluster])), q)
    };
    clusters.bootstrap(settings, |times| Some(at(&treated, times)? - at(&controls, times)?))
}

/// Standardised differences before and after, of covariates and of the worst level of each factor.
fn balance(compared: &Compared) -> Vec<Balance> {
    let Compared { all, kept, weights, scales, .. } = compared;
    let every: Vec<usize> = (0..all.len()).collect();
    let ones = vec![1.0; all.len()];
    let gap = |rows: &[usize], weights: &[f64], value: &dyn Fn(usize) -> f64| {
        let (mut sums, mut totals) = ([0.0; 2], [0.0; 2]);
        for (&i, weight) in rows.iter().zip(weights) {
            sums[usize::from(all.treated[i])] += weight * value(i);
            totals[usize::from(all.treated[i])] += weight;
        }
        sums[1] / totals[1] - sums[0] / totals[0]
    };
    let both = |name, value: &dyn Fn(usize) -> f64| Balance {
        name,
        before: gap(&every, &ones, value),
        after: gap(kept, weights, value),
    };
    let numbers = all.covariates.iter().enumerate();
    let numbers = numbers.map(|(j, c)| both(c.name, &|i| scales.scaled(j, c.values[i])));
    let labels = all.factors.iter().filter_map(|factor| {
        let mut levels = factor.levels.clone();
        levels.sort_unstable();
        levels.dedup();
        let of_level = |level: u32| {
            let share =
                factor.levels.iter().filter(|&&l| l == level).count() as f64 / all.len() as f64;
            let deviation = (share * (1.0 - share)).sqrt().max(f64::MIN_POSITIVE);
            both(factor.name, &|i| f64::from(factor.levels[i] == level) / deviation)
        };
        let worst = |a: &Balance, b: &Balance| a.after.abs().total_cmp(&b.after.abs());
        if levels.len() < 2 { None } else { levels.into_iter().map(of_level).max_by(worst) }
    });
    numbers.chain(labels).collect()
}
