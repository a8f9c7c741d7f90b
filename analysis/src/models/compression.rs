//! P(COMPRESSED_DRAIN in one of the next windows), from features up to now: what `[regime.p_compressed_drain]`
//! of the gateway computes. The label looks at future windows only.

use estimate::linear::Design;
use estimate::logistic::{brier, fit as fit_logistic, log_loss, sigmoid};
use estimate::walk::forward;
use serde::Serialize;

use super::history::{History, Window};
use super::market::{Scale, design};
use crate::inputs::{INPUTS, MACHINES};

/// Windows ahead.
pub const HORIZON: usize = 5;
/// Columns of [`INPUTS`] that it is computed of: KPIs of classes, which the gateway can read.
const COLUMNS: [&str; 4] = ["nsq95", "fci", "bdr", "cjd"];
/// Days before the first that is judged.
const DAYS_MIN: usize = 2;

/// How well probabilities fit what came.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Score {
    /// Mean of (p - y)^2; smaller is better.
    pub brier: f64,
    /// Mean of -ln of the probability of what came.
    pub log_loss: f64,
}

/// The model.
#[derive(Clone, Debug, Serialize)]
pub struct Compression {
    /// Windows ahead.
    pub horizon_windows: usize,
    /// Of log odds.
    pub intercept: f64,
    /// As the gateway names them.
    pub inputs: Vec<String>,
    /// In 1 / unit of each.
    pub coefficients: Vec<f64>,
    /// Windows that were judged on days after those learned from.
    pub judged: usize,
    /// Of them with a compressed drain ahead.
    pub base_rate: f64,
    /// On them.
    pub model: Score,
    /// What "the state persists" scores on them: certain of it.
    pub persists: Score,
    /// The same, as sure of it as the days before were right.
    pub persists_as_often: Score,
}

impl Compression {
    /// The probability after a window with these features; `None` where one is absent.
    pub fn probability(&self, features: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        let mut log_odds = self.intercept;
        for (column, coefficient) in COLUMNS.iter().zip(&self.coefficients) {
            log_odds += coefficient * features(column)?;
        }
        Some(sigmoid(log_odds))
    }
}

#[derive(Clone)]
struct Row {
    day: usize,
    features: Vec<f64>,
    now: bool,
    ahead: bool,
}

/// Fits it on all days; scores are those of the walk forward. `None` without two days and both labels.
pub fn fit(history: &History) -> Option<Compression> {
    let rows = rows(history);
    let days = rows.iter().map(|row| row.day + 1).max()?;
    let (mut probabilities, mut labels, mut certain, mut as_often) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (learned, judged) in forward(days, DAYS_MIN) {
        let before: Vec<Row> =
            rows.iter().filter(|row| learned.contains(&row.day)).cloned().collect();
        let Some(model) = Fitted::of(&before) else { continue };
        let rate = |now: bool| {
            let of = || before.iter().filter(|row| row.now == now);
            let ahead = of().filter(|row| row.ahead).count() as f64;
            (ahead + 0.5) / (of().count() as f64 + 1.0)
        };
        let rates = [rate(false), rate(true)];
        for row in rows.iter().filter(|row| row.day == judged) {
            probabilities.push(model.probability(&row.features));
            certain.push(f64::from(row.now));
            as_often.push(rates[usize::from(row.now)]);
            labels.push(row.ahead);
        }
    }
    if labels.is_empty() {
        return None;
    }
    let score = |p: &[f64]| Score { brier: brier(p, &labels), log_loss: log_loss(p, &labels) };
    let model = Fitted::of(&rows)?;
    let (intercept, coefficients) = model.in_units();
    let names = COLUMNS.iter().filter_map(|c| INPUTS.iter().find(|input| input.column == *c));
    Some(Compression {
        horizon_windows: HORIZON,
        intercept,
        inputs: names.map(|input| input.name()).collect(),
        coefficients,
        judged: labels.len(),
        base_rate: labels.iter().filter(|l| **l).count() as f64 / labels.len() as f64,
        model: score(&probabilities),
        persists: score(&certain),
        persists_as_often: score(&as_often),
    })
}

fn rows(history: &History) -> Vec<Row> {
    let drain = MACHINES.iter().position(|machine| machine.name == "drain").unwrap_or_default();
    let compressed = |window: &Window| window.states[drain].map(|state| state >= 2);
    let days = history.days();
    let places: Vec<usize> =
        COLUMNS.iter().filter_map(|c| INPUTS.iter().position(|input| input.column == *c)).collect();
    let mut rows = Vec::new();
    for run in &history.runs {
        let Ok(day) = days.binary_search(&run.day) else { continue };
        for (at, window) in run.windows.iter().enumerate() {
            let Some(ahead) = run.windows.get(at + 1..=at + HORIZON) else { break };
            let features: Option<Vec<f64>> = places.iter().map(|&p| window.features[p]).collect();
            let ahead: Option<Vec<bool>> = ahead.iter().map(compressed).collect();
            if let (Some(features), Some(ahead), Some(now)) = (features, ahead, compressed(window))
            {
                rows.push(Row { day, features, now, ahead: ahead.contains(&true) });
            }
        }
    }
    rows
}

struct Fitted {
    scale: Scale,
    coefficients: Vec<f64>,
}

impl Fitted {
    fn of(rows: &[Row]) -> Option<Self> {
        let features: Vec<Vec<f64>> = rows.iter().map(|row| row.features.clone()).collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.ahead).collect();
        let scale = Scale::of(&features);
        let design: Design = design(&features, &scale);
        Some(Self { coefficients: fit_logistic(&design, &labels, 1.0)?, scale })
    }

    fn probability(&self, features: &[f64]) -> f64 {
        let scaled = self.scale.scaled(features);
        let terms = scaled.iter().zip(&self.coefficients[1..]).map(|(x, c)| x * c);
        sigmoid(self.coefficients[0] + terms.sum::<f64>())
    }

    /// Intercept and coefficients for features that are not scaled.
    fn in_units(&self) -> (f64, Vec<f64>) {
        let of = |(column, c): (usize, &f64)| c / self.scale.deviation(column);
        let coefficients: Vec<f64> = self.coefficients[1..].iter().enumerate().map(of).collect();
        let shift: f64 = coefficients.iter().enumerate().map(|(j, c)| c * self.scale.mean(j)).sum();
        (self.coefficients[0] - shift, coefficients)
    }
}
