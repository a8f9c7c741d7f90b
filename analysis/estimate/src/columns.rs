//! What is known of units, as columns: what is balanced, and what the model of the controls reads.

use crate::cohorts::{Cohorts, Role};
use crate::linear::Design;
use crate::quantile::cuts;

/// Mean and standard deviation of each covariate, over all units.
pub struct Scales(Vec<(f64, f64)>);

impl Scales {
    /// Of `cohorts`.
    pub fn of(cohorts: &Cohorts) -> Self {
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

    /// In standard deviations from the mean.
    pub fn scaled(&self, covariate: usize, value: f64) -> f64 {
        let (mean, deviation) = self.0[covariate];
        if deviation > 0.0 { (value - mean) / deviation } else { 0.0 }
    }
}

/// Powers of covariates that are balanced, the most first: the cube of one that is matched on holds its
/// tail, where costs that grow faster than it are made. Where there is no overlap for them, fewer have to do.
pub const POWERS: [[i32; 2]; 3] = [[3, 2], [2, 2], [1, 1]];

/// What is known of each unit: labels, what grows with a covariate that is matched on, and powers of covariates, up to
/// `powers[0]` of one that is matched on and `powers[1]` of any other. With `steps` also an intercept, and whether it
/// lies beyond each cut of its cells.
pub fn columns(cohorts: &Cohorts, scales: &Scales, powers: [i32; 2], steps: bool) -> Design {
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
