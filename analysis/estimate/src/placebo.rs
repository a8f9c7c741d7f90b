//! Placebos: outcomes that the treatment cannot have changed. Where the arms differ in one, something else
//! differs too, and the headline is not the cost of the treatment.

use serde::Serialize;

use crate::bootstrap::critical;
use crate::cohorts::Cohorts;
use crate::effect::{Settings, effect};

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

/// Runs the placebo `outcomes` on the units of a headline.
pub fn placebos(
    cohorts: &Cohorts,
    outcomes: &[(&'static str, Vec<Option<f64>>)],
    settings: &Settings,
) -> Vec<Placebo> {
    let level = 1.0 - FALSE_ALARMS / outcomes.len().max(1) as f64;
    let run = |(name, outcome): &(&'static str, Vec<Option<f64>>)| {
        let effect = effect(&cohorts.with_outcome(outcome), settings)
            .filter(|effect| effect.treated >= UNITS_MIN && effect.controls >= UNITS_MIN);
        let ratio = effect.as_ref().and_then(|effect| {
            let error = effect.mean.standard_error.filter(|error| *error > 0.0)?;
            Some(effect.mean.estimate / error)
        });
        let bound = effect.as_ref().and_then(|effect| critical(effect.clusters, level));
        Placebo {
            name,
            estimate: effect.map(|effect| effect.mean.estimate),
            ratio,
            fires: ratio.zip(bound).is_some_and(|(ratio, bound)| ratio.abs() > bound),
        }
    };
    outcomes.iter().map(run).collect()
}
