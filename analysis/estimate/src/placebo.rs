//! Placebos: outcomes that the treatment cannot have changed. Where the arms differ in one, something else
//! differs too, and the headline is not the cost of the treatment.

use serde::Serialize;

use crate::bootstrap::critical;
use crate::compared::Compared;
use crate::effect::{Difference, Settings};

/// Share of false alarms, over all placebos of a headline together.
pub const FALSE_ALARMS: f64 = 0.05;
/// Units of a placebo in each arm below which it says nothing.
const UNITS_MIN: usize = 50;

/// What a placebo says.
#[derive(Clone, Debug, Serialize)]
pub struct Placebo {
    /// Its name.
    pub name: &'static str,
    /// The difference that should not be; absent where it cannot be computed.
    pub estimate: Option<f64>,
    /// In standard errors.
    pub ratio: Option<f64>,
    /// Beyond what chance explains.
    pub fires: bool,
}

/// Runs the placebo `outcomes` on the units of a headline: one value for each unit that they were chosen from.
pub fn placebos(
    compared: &Compared,
    outcomes: &[(&'static str, Vec<Option<f64>>)],
    settings: &Settings,
) -> Vec<Placebo> {
    let level = 1.0 - FALSE_ALARMS / outcomes.len().max(1) as f64;
    let run = |(name, outcome): &(&'static str, Vec<Option<f64>>)| {
        let found = if outcome.iter().all(Option::is_some) {
            let of_kept: Vec<f64> = compared.kept.iter().filter_map(|&i| outcome[i]).collect();
            difference(compared, &of_kept, settings)
        } else {
            // Others than those are matched, where some have no such outcome.
            let with_one = compared.all.with_outcome(outcome);
            let compared = Compared::of(&with_one);
            compared.and_then(|c| difference(&c, &c.cohorts.outcome, settings))
        };
        let ratio = found.and_then(|(difference, _)| {
            let error = difference.standard_error.filter(|error| *error > 0.0)?;
            Some(difference.estimate / error)
        });
        let bound = found.and_then(|(_, clusters)| critical(clusters, level));
        Placebo {
            name,
            estimate: found.map(|(difference, _)| difference.estimate),
            ratio,
            fires: ratio.zip(bound).is_some_and(|(ratio, bound)| ratio.abs() > bound),
        }
    };
    outcomes.iter().map(run).collect()
}

/// The difference of an outcome, and the clusters behind it; `None` of too few units.
fn difference(
    compared: &Compared,
    outcome: &[f64],
    settings: &Settings,
) -> Option<(Difference, usize)> {
    let enough = compared.treated().min(compared.controls()) >= UNITS_MIN;
    let mean = compared.mean_of(outcome, settings).filter(|_| enough)?;
    Some((mean, compared.clusters.count()))
}
