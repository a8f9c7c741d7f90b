//! IS_cork = a NSQ95 + b FCI + c BDR + d CJD + e NUD: a ridge beside the market, with variance inflation.

use estimate::linear::{ridge, variance_inflation};
use serde::Serialize;

use super::market::{self, Scale, design};
use crate::join::Units;

/// The terms.
const TERMS: [&str; 5] = ["nsq95", "fci", "bdr", "cjd", "nud"];
/// Of the penalty, for each row: shrinks what the data do not tell.
const PENALTY: f64 = 0.01;
/// A term that the others tell as well by so much has no coefficient of its own.
const INFLATION_MAX: f64 = 10.0;

/// A term.
#[derive(Clone, Debug, Serialize)]
pub struct Term {
    /// Its column.
    pub name: &'static str,
    /// bps for one unit.
    pub per_unit_bps: f64,
    /// bps for one standard deviation.
    pub per_deviation_bps: f64,
    /// Variance inflation among the terms; absent where the others determine it.
    pub inflation: Option<f64>,
    /// It has a coefficient of its own.
    pub separate: bool,
}

/// The model.
#[derive(Clone, Debug, Serialize)]
pub struct Cork {
    /// Terms.
    pub terms: Vec<Term>,
    /// Units.
    pub n: usize,
}

/// Fits it. `None` where fewer than ten units for each column have all terms.
pub fn fit(units: &Units) -> Option<Cork> {
    let mut rows = Vec::new();
    let mut y = Vec::new();
    for i in 0..units.len() {
        let terms: Option<Vec<f64>> = TERMS.iter().map(|term| units.feature(term)[i]).collect();
        if let (Some(terms), Some(market), Some(shortfall)) =
            (terms, market::row(units, i), units.shortfall[i])
        {
            rows.push(terms.into_iter().chain(market[1..].iter().copied()).collect::<Vec<f64>>());
            y.push(shortfall);
        }
    }
    let columns = TERMS.len() + market::COLUMNS;
    if y.len() < 10 * columns {
        return None;
    }
    let scale = Scale::of(&rows);
    let all = design(&rows, &scale);
    let weights = vec![1.0; y.len()];
    let mut penalty = vec![PENALTY * y.len() as f64; columns];
    penalty[0] = 0.0;
    let fitted = ridge(&all, &weights, &y, &penalty)?;
    let of_terms: Vec<Vec<f64>> = rows.iter().map(|row| row[..TERMS.len()].to_vec()).collect();
    let inflation = variance_inflation(&design(&of_terms, &Scale::of(&of_terms)));
    let term = |(place, name): (usize, &&'static str)| Term {
        name,
        per_unit_bps: fitted[place + 1] / scale.deviation(place),
        per_deviation_bps: fitted[place + 1],
        inflation: inflation[place],
        separate: inflation[place].is_some_and(|inflation| inflation < INFLATION_MAX),
    };
    Some(Cork { terms: TERMS.iter().enumerate().map(term).collect(), n: y.len() })
}
