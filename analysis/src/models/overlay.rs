//! IS_final = IS_baseline + what the path adds: LOS, TSR, SBF, WST95, ACR, CPE, and urgency x P(compressed
//! drain). Heads at the mean and at q95, each scored on later days against the baseline alone.

use estimate::linear::{pinball, quantile, ridge};
use estimate::walk::forward;
use serde::Serialize;

use super::compression::Compression;
use super::market::{self, Scale, design};
use crate::join::Units;

/// Columns of windows.
const PATH: [&str; 6] = ["los", "tsr", "sbf", "wst95", "acr", "cpe"];
/// Of the penalty, for each row.
const PENALTY: f64 = 0.01;
/// Days before the first that is judged.
const DAYS_MIN: usize = 2;
/// The tail.
const TAIL: f64 = 0.95;

/// One head.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// bps for one standard deviation of each column, in the order of `columns`.
    pub per_deviation_bps: Vec<f64>,
    /// Loss on later days with the overlay: mean square, or pinball.
    pub loss: f64,
    /// Without it.
    pub baseline_loss: f64,
}

/// The model.
#[derive(Clone, Debug, Serialize)]
pub struct Overlay {
    /// What the path is told by.
    pub columns: Vec<&'static str>,
    /// At the mean.
    pub mean: Head,
    /// At q95.
    pub q95: Head,
    /// Units.
    pub n: usize,
    /// Units on days that were judged.
    pub judged: usize,
}

struct Row {
    day: usize,
    path: Vec<f64>,
    market: Vec<f64>,
    shortfall: f64,
}

/// Fits both heads. `None` without the features, or without enough days.
pub fn fit(units: &Units, compression: &Compression) -> Option<Overlay> {
    let rows = rows(units, compression);
    if rows.len() < 10 * (market::COLUMNS + PATH.len() + 3) {
        return None;
    }
    let mean =
        |design: &_, y: &[f64], penalty: &[f64]| ridge(design, &vec![1.0; y.len()], y, penalty);
    let tail = |design: &_, y: &[f64], penalty: &[f64]| quantile(design, y, TAIL, penalty);
    let squares = |p: &[f64], y: &[f64]| {
        p.iter().zip(y).map(|(p, y)| (p - y).powi(2)).sum::<f64>() / y.len().max(1) as f64
    };
    let (mean, judged) = head(&rows, mean, squares)?;
    let (q95, _) = head(&rows, tail, |p, y| pinball(p, y, TAIL))?;
    let columns =
        PATH.into_iter().chain(["p_compressed_drain", "urgency_x_p_compressed_drain"]).collect();
    Some(Overlay { columns, mean, q95, n: rows.len(), judged })
}

fn rows(units: &Units, compression: &Compression) -> Vec<Row> {
    let mut days = units.day.clone();
    days.sort_unstable();
    days.dedup();
    let row = |i: usize| {
        let p = compression.probability(|column| units.feature(column)[i])?;
        let path: Option<Vec<f64>> = PATH.iter().map(|column| units.feature(column)[i]).collect();
        let mut path = path?;
        path.extend([p, units.urgency[i] / 255.0 * p]);
        Some(Row {
            day: days.binary_search(&units.day[i]).ok()?,
            path,
            market: market::row(units, i)?[1..].to_vec(),
            shortfall: units.shortfall[i]?,
        })
    };
    (0..units.len()).filter_map(row).collect()
}

/// Fits on all rows; the losses are those of the walk forward.
fn head(
    rows: &[Row],
    fit: impl Fn(&estimate::linear::Design, &[f64], &[f64]) -> Option<Vec<f64>>,
    loss: impl Fn(&[f64], &[f64]) -> f64,
) -> Option<(Head, usize)> {
    let with_path = |row: &Row| row.path.iter().chain(&row.market).copied().collect::<Vec<f64>>();
    let market_only = |row: &Row| row.market.clone();
    let fitted = |rows: &[&Row], columns: &dyn Fn(&Row) -> Vec<f64>| {
        let features: Vec<Vec<f64>> = rows.iter().map(|row| columns(row)).collect();
        let y: Vec<f64> = rows.iter().map(|row| row.shortfall).collect();
        let scale = Scale::of(&features);
        let design = design(&features, &scale);
        let mut penalty = vec![PENALTY * y.len() as f64; design.columns()];
        penalty[0] = 0.0;
        Some((fit(&design, &y, &penalty)?, scale))
    };
    let predict = |(model, scale): &(Vec<f64>, Scale), row: Vec<f64>| {
        model[0] + scale.scaled(&row).iter().zip(&model[1..]).map(|(x, c)| x * c).sum::<f64>()
    };
    let days = rows.iter().map(|row| row.day + 1).max()?;
    let (mut with, mut without, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for (learned, judged) in forward(days, DAYS_MIN) {
        let before: Vec<&Row> = rows.iter().filter(|row| learned.contains(&row.day)).collect();
        let overlay = fitted(&before, &with_path)?;
        let baseline = fitted(&before, &market_only)?;
        for row in rows.iter().filter(|row| row.day == judged) {
            with.push(predict(&overlay, with_path(row)));
            without.push(predict(&baseline, market_only(row)));
            y.push(row.shortfall);
        }
    }
    if y.is_empty() {
        return None;
    }
    let all: Vec<&Row> = rows.iter().collect();
    let (model, _) = fitted(&all, &with_path)?;
    let head = Head {
        per_deviation_bps: model[1..=PATH.len() + 2].to_vec(),
        loss: loss(&with, &y),
        baseline_loss: loss(&without, &y),
    };
    Some((head, y.len()))
}
