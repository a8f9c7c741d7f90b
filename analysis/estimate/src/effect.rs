//! The effect on the treated: matched, balanced, adjusted for what is left, with an interval by cluster.

use serde::Serialize;

use crate::adjusted::adjusted;
use crate::bootstrap::{Clusters, Method};
use crate::calibration::balanced;
use crate::cohorts::{Cohorts, Role};
use crate::linear::Design;
use crate::matching::matched;
use crate::quantile::{cuts, weighted};

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
    let naive = naive(cohorts)?;
    let matched = matched(cohorts)?;
    let all = cohorts;
    let kept: Vec<usize> = (0..all.len()).filter(|&i| matched.weights[i] > 0.0).collect();
    let cohorts = all.only(&kept);
    let weights: Vec<f64> = kept.iter().map(|&i| matched.weights[i]).collect();
    let treated = cohorts.treated_count();
    let controls = cohorts.len() - treated;
    if treated == 0 || controls == 0 {
        return None;
    }
    let scales = Scales::of(all);
    let weights = balance_controls(&cohorts, &scales, weights, treated);
    let clusters = Clusters::of(&cohorts.cluster);
    let model = design(&cohorts, &Scales::of(&cohorts), POWERS[0], true);
    let mean = adjusted(&cohorts, &model, &weights, &clusters)
        .or_else(|| clusters.difference_of_means(&cohorts.outcome, &weights, &cohorts.treated))?;
    let mean = clusters.interval(&mean, settings);
    let tail = |q: f64| {
        let exceedances = (treated.min(controls) as f64 * (1.0 - q)) as usize;
        (exceedances >= EXCEEDANCES_MIN)
            .then(|| difference_of_quantiles(&cohorts, &weights, q, &clusters, settings))?
    };
    Some(Effect {
        naive,
        mean,
        q95: tail(0.95),
        q99: tail(0.99),
        treated,
        controls,
        matched_share: matched.matched_share,
        clusters: clusters.count(),
        method: clusters.method(),
        balance: balance(all, &kept, &weights, &scales),
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

/// Mean and standard deviation of each covariate, over all units.
struct Scales(Vec<(f64, f64)>);

impl Scales {
    fn of(cohorts: &Cohorts) -> Self {
        let n = cohorts.len() as f64;
        Self(
            cohorts
                .covariates
                .iter()
                .map(|c| {
                    let mean = c.values.iter().sum::<f64>() / n;
                    let variance = c.values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                    (mean, variance.sqrt())
                })
                .collect(),
        )
    }

    fn scaled(&self, covariate: usize, value: f64) -> f64 {
        let (mean, deviation) = self.0[covariate];
        if deviation > 0.0 { (value - mean) / deviation } else { 0.0 }
    }
}

/// Powers of covariates that are balanced, the most first: the cube of one that is matched on holds its
/// tail, where costs that grow faster than it are made. Where there is no overlap for them, fewer have to do.
const POWERS: [[i32; 2]; 3] = [[3, 2], [2, 2], [1, 1]];

/// Control weights under which covariates and labels have the means of the treated; as given where there
/// are none. The treated weigh 1, the controls as much in all.
fn balance_controls(
    cohorts: &Cohorts,
    scales: &Scales,
    weights: Vec<f64>,
    treated: usize,
) -> Vec<f64> {
    let of_controls = of_controls(cohorts, &weights);
    let found = POWERS.iter().find_map(|powers| {
        let design = design(cohorts, scales, *powers, false);
        let mut target = vec![0.0; design.columns()];
        for i in (0..cohorts.len()).filter(|&i| cohorts.treated[i]) {
            target.iter_mut().zip(design.row(i)).for_each(|(t, cell)| *t += cell / treated as f64);
        }
        balanced(&design, &of_controls, &target)
    });
    let Some(found) = found else { return weights };
    let weight = |(w, &t): (f64, &bool)| if t { 1.0 } else { w * treated as f64 };
    found.into_iter().zip(&cohorts.treated).map(weight).collect()
}

/// The weights of the controls; the treated have none.
fn of_controls(cohorts: &Cohorts, weights: &[f64]) -> Vec<f64> {
    weights.iter().zip(&cohorts.treated).map(|(w, &t)| if t { 0.0 } else { *w }).collect()
}

/// What is known of each unit: labels, what grows with a covariate that is matched on, and powers of covariates, up to
/// `powers[0]` of one that is matched on and `powers[1]` of any other. With `steps` also an intercept, and whether it
/// lies beyond each cut of its cells.
fn design(cohorts: &Cohorts, scales: &Scales, powers: [i32; 2], steps: bool) -> Design {
    let levels = levels(cohorts);
    let power = |cells: usize| powers[usize::from(cells < 2)];
    let cells: Vec<Vec<f64>> = cohorts
        .covariates
        .iter()
        .map(|c| if steps { cuts(&c.values, c.cells.max(1)) } else { Vec::new() })
        .collect();
    // Where balance is down to means there is no room for products either.
    let matched: Vec<usize> = (0..cohorts.covariates.len())
        .filter(|&j| cohorts.covariates[j].cells > 1 && powers[0] > 1)
        .collect();
    let grows = |factor: usize| cohorts.factors[factor].role == Role::Growing;
    let products = levels.iter().filter(|(factor, _)| grows(*factor)).count() * matched.len();
    let numbers: usize = cohorts.covariates.iter().map(|c| power(c.cells) as usize).sum();
    let columns = usize::from(steps)
        + levels.len()
        + products
        + numbers
        + cells.iter().map(Vec::len).sum::<usize>();
    let mut design = Design::new(columns);
    for i in 0..cohorts.len() {
        let scaled = |j: usize| scales.scaled(j, cohorts.covariates[j].values[i]);
        let is = |factor: usize, level: u32| f64::from(cohorts.factors[factor].levels[i] == level);
        let labels = levels.iter().map(|&(factor, level)| is(factor, level));
        let growing = levels.iter().filter(|(factor, _)| grows(*factor));
        let products = growing.flat_map(|&(factor, level)| {
            matched.iter().map(move |&j| is(factor, level) * scaled(j))
        });
        let numbers = cohorts.covariates.iter().enumerate().flat_map(|(j, c)| {
            let value = scaled(j);
            (1..=power(c.cells)).map(move |power| value.powi(power))
        });
        let beyond = cohorts
            .covariates
            .iter()
            .zip(&cells)
            .flat_map(|(c, cuts)| cuts.iter().map(move |&cut| f64::from(c.values[i] > cut)));
        let first = std::iter::repeat_n(1.0, usize::from(steps));
        design.push(first.chain(labels).chain(products).chain(numbers).chain(beyond));
    }
    design
}

/// All levels of all factors but the first of each.
fn levels(cohorts: &Cohorts) -> Vec<(usize, u32)> {
    let mut all = Vec::new();
    for (index, factor) in cohorts.factors.iter().enumerate() {
        let mut levels = factor.levels.clone();
        levels.sort_unstable();
        levels.dedup();
        all.extend(levels.into_iter().skip(1).map(|level| (index, level)));
    }
    all
}

/// The difference of the q-quantiles of the weighted arms.
fn difference_of_quantiles(
    cohorts: &Cohorts,
    weights: &[f64],
    q: f64,
    clusters: &Clusters,
    settings: &Settings,
) -> Option<Difference> {
    let mut order: Vec<usize> = (0..cohorts.len()).collect();
    order.sort_by(|&a, &b| cohorts.outcome[a].total_cmp(&cohorts.outcome[b]));
    let [controls, treated]: [Vec<usize>; 2] = [false, true]
        .map(|arm| order.iter().copied().filter(|&i| cohorts.treated[i] == arm).collect());
    let at = |arm: &[usize], times: &[f64]| {
        let values =
            arm.iter().map(|&i| (cohorts.outcome[i], weights[i] * times[clusters.index(i)]));
        weighted(values, q)
    };
    clusters.bootstrap(settings, |times| Some(at(&treated, times)? - at(&controls, times)?))
}

/// Standardised differences before and after, of covariates and of the worst level of each factor.
fn balance(all: &Cohorts, kept: &[usize], weights: &[f64], scales: &Scales) -> Vec<Balance> {
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
