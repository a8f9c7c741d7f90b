//! What has to be alike before outcomes are compared: the market and the order, as they were known before
//! the KPI window began, and what the other mechanisms did in it. Where several distort at once, because
//! something drives them all, the cost of one would be counted for another.

use estimate::{Cohorts, Covariate, Factor};

use crate::join::Units;
use crate::kpi::{Contrast, Outcome};

/// A covariate that is missing in a larger share of the units is not used at all.
const MISSING_MAX: f64 = 0.2;

/// Cohorts of chosen units, and how they were made.
pub struct Chosen {
    /// Outcome and arm of each.
    pub cohorts: Cohorts,
    /// The unit behind each row.
    pub rows: Vec<usize>,
    /// Covariates that too many units lack.
    pub left_out: Vec<&'static str>,
}

/// Cohorts of the units with an arm, an outcome and all covariates.
pub fn chosen(
    units: &Units,
    outcome: Outcome,
    contrast: Contrast,
    arms: &[Option<bool>],
    outcomes: &[Option<f64>],
    arms_are_periods: bool,
) -> Chosen {
    let candidates: Vec<usize> =
        (0..units.len()).filter(|&i| arms[i].is_some() && outcomes[i].is_some()).collect();
    let ln = |values: &[Option<f64>]| -> Vec<Option<f64>> {
        values.iter().map(|v| v.filter(|v| *v > 0.0).map(f64::ln)).collect()
    };
    let known = |values: &[f64]| -> Vec<Option<f64>> { values.iter().copied().map(Some).collect() };
    let seconds: Vec<f64> =
        units.t_decision.iter().map(|t| t.rem_euclid(86_400_000_000_000) as f64 / 1e9).collect();
    let mut columns = vec![
        ("volatility", ln(&units.volatility), 5),
        ("spread", ln(&units.half_spread), 0),
        ("volume", ln(&units.volume), 0),
        ("participation", ln(&units.participation), 0),
        ("urgency", known(&units.urgency), 3),
        ("residual", known(&units.residual), 0),
        ("time", known(&seconds), 2),
    ];
    // How far the price had run already is part of a shortfall, and was there before.
    if matches!(outcome, Outcome::Shortfall) {
        columns.push(("drift", units.drift.clone(), 0));
    }
    if contrast != Contrast::SlowAndBursty {
        columns.push(("pacing", ln(units.feature("d2w")), 0));
    }
    if contrast != Contrast::Delivery {
        columns.push(("delivery", ln(units.feature("bdc")), 0));
    }
    let mut left_out = Vec::new();
    columns.retain(|(name, values, _)| {
        let missing = candidates.iter().filter(|&&i| values[i].is_none()).count();
        let use_it = missing as f64 <= MISSING_MAX * candidates.len() as f64;
        if !use_it {
            left_out.push(*name);
        }
        use_it
    });
    let rows: Vec<usize> = candidates
        .into_iter()
        .filter(|&i| columns.iter().all(|(_, values, _)| values[i].is_some()))
        .collect();
    let covariate = |(name, values, cells): (&'static str, Vec<Option<f64>>, usize)| Covariate {
        name,
        values: rows.iter().filter_map(|&i| values[i]).collect(),
        cells,
    };
    let factor = |name, levels: &[u32], exact| Factor {
        name,
        levels: rows.iter().map(|&i| levels[i]).collect(),
        exact,
    };
    let passive: Vec<u32> = units.passive.iter().map(|&passive| u32::from(passive)).collect();
    let mut factors = vec![
        factor("symbol", &units.symbol.of_row, true),
        factor("passive", &passive, true),
        factor("tactic", &units.tactic.of_row, true),
        factor("class", &units.class.of_row, true),
        factor("venue", &units.venue.of_row, false),
        factor("host", &units.gateway.of_row, false),
    ];
    for machine in ["segmentation", "byte_queue", "drain"] {
        if machine != contrast.machine() {
            factors.push(factor(machine, &units.states_of(machine).of_row, false));
        }
    }
    // Where arms are periods, what is in force is what tells them apart.
    if !arms_are_periods {
        factors.push(factor("mode and profile", &units.regime_in_force.of_row, true));
    }
    let cohorts = Cohorts {
        outcome: rows.iter().filter_map(|&i| outcomes[i]).collect(),
        treated: rows.iter().filter_map(|&i| arms[i]).collect(),
        covariates: columns.into_iter().map(covariate).collect(),
        factors,
        cluster: rows.iter().map(|&i| units.host_day.of_row[i]).collect(),
    };
    Chosen { cohorts, rows, left_out }
}
