//! The units that are compared: matched, and with weights of the controls that balance what matching leaves.
//!
//! None of it looks at an outcome, so several outcomes of the same units share it.

use crate::adjusted::adjusted;
use crate::bootstrap::Clusters;
use crate::calibration::balanced;
use crate::cohorts::Cohorts;
use crate::columns::{POWERS, Scales, columns};
use crate::effect::{Difference, Settings};
use crate::linear::Design;
use crate::matching::matched;

/// Matched and balanced units of some cohorts.
pub struct Compared<'a> {
    /// Those that they were chosen from.
    pub all: &'a Cohorts,
    /// Which of them are matched.
    pub kept: Vec<usize>,
    /// The matched alone.
    pub cohorts: Cohorts,
    /// The weight of each: 1 of the treated, of the controls as much in all.
    pub weights: Vec<f64>,
    /// Their clusters.
    pub clusters: Clusters,
    /// Share of the treated that have a counterpart.
    pub matched_share: f64,
    /// Of the covariates of all.
    pub scales: Scales,
    // What the model of the controls reads.
    model: Design,
}

impl<'a> Compared<'a> {
    /// Matches and balances `all`. `None` when no treated unit has a counterpart.
    pub fn of(all: &'a Cohorts) -> Option<Self> {
        let matched = matched(all)?;
        let kept: Vec<usize> = (0..all.len()).filter(|&i| matched.weights[i] > 0.0).collect();
        let cohorts = all.only(&kept);
        let weights: Vec<f64> = kept.iter().map(|&i| matched.weights[i]).collect();
        let treated = cohorts.treated_count();
        if treated == 0 || treated == cohorts.len() {
            return None;
        }
        let scales = Scales::of(all);
        Some(Self {
            all,
            weights: balance_controls(&cohorts, &scales, weights, treated),
            clusters: Clusters::of(&cohorts.cluster),
            matched_share: matched.matched_share,
            model: columns(&cohorts, &Scales::of(&cohorts), POWERS[0], true),
            scales,
            kept,
            cohorts,
        })
    }

    /// Matched units of the treated arm.
    pub fn treated(&self) -> usize {
        self.cohorts.treated_count()
    }

    /// Matched units of the other.
    pub fn controls(&self) -> usize {
        self.cohorts.len() - self.treated()
    }

    /// The difference at the mean.
    pub fn mean(&self, settings: &Settings) -> Option<Difference> {
        self.mean_of(&self.cohorts.outcome, settings)
    }

    /// The difference at the mean of another outcome that all units have.
    pub fn mean_of(&self, outcome: &[f64], settings: &Settings) -> Option<Difference> {
        let Self { cohorts, model, weights, clusters, .. } = self;
        let treated = &cohorts.treated;
        let influenced = adjusted(outcome, treated, model, weights, clusters)
            .or_else(|| clusters.difference_of_means(outcome, weights, treated))?;
        Some(clusters.interval(&influenced, settings))
    }
}

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
        let design = columns(cohorts, scales, *powers, false);
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
