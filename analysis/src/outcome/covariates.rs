//! What has to be alike before outcomes are compared: the market and the order, as they were known before
//! the KPI window began, and what the other mechanisms did in it. Where several distort at once, because
//! something drives them all, the cost of one would be counted for another.

use estimate::{Cohorts, Covariate, Factor, Role};

use super::arms::{Design, contrasted};
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
    design: Design,
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
    let factor = |name, levels: &[u32], role| Factor {
        name,
        levels: rows.iter().map(|&i| levels[i]).collect(),
        role,
    };
    let passive: Vec<u32> = units.passive.iter().map(|&passive| u32::from(passive)).collect();
    let mut factors = vec![
        factor("symbol", &units.symbol.of_row, Role::Exact),
        factor("passive", &passive, Role::Exact),
        factor("tactic", &units.tactic.of_row, Role::Exact),
        factor("class", &units.class.of_row, Role::Exact),
        factor("venue", &units.venue.of_row, Role::Own),
        factor("host", &units.gateway.of_row, Role::Own),
    ];
    // Where it was drawn or chosen who is governed, what is in force is what tells the arms apart, and whatever else
    // the path did meanwhile is part of what governing changes.
    if design == Design::Observational {
        for other in Contrast::ALL.into_iter().filter(|other| *other != contrast) {
            let arm = |arm: &Option<bool>| arm.map_or(2, u32::from);
            let levels: Vec<u32> = contrasted(units, other).iter().map(arm).collect();
            factors.push(factor(other.machine(), &levels, Role::Growing));
        }
        factors.push(factor("mode and profile", &units.regime_in_force.of_row, Role::Exact));
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
