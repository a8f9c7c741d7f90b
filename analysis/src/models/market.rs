//! What is known of the market and the order before its window: the baseline that the path is added to.

use estimate::linear::Design;

use crate::join::Units;

/// Columns of the baseline, the intercept first.
pub const COLUMNS: usize = 7;

/// The baseline row of a unit; `None` where something is not known.
pub fn row(units: &Units, i: usize) -> Option<[f64; COLUMNS]> {
    let volatility = units.volatility[i]?;
    let urgency = units.urgency[i] / 255.0;
    Some([
        1.0,
        volatility,
        units.half_spread[i]?,
        urgency,
        units.residual[i],
        f64::from(units.passive[i]),
        units.drift[i]?,
    ])
}

/// Means and standard deviations of columns.
#[derive(Clone, Debug)]
pub struct Scale(Vec<(f64, f64)>);

impl Scale {
    /// Of all rows.
    pub fn of(rows: &[Vec<f64>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let n = rows.len().max(1) as f64;
        let scale = |column: usize| {
            let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n;
            let variance = rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / n;
            (mean, variance.sqrt().max(1e-12))
        };
        Self((0..columns).map(scale).collect())
    }

    /// In standard deviations from the mean.
    pub fn scaled(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.0).map(|(v, (mean, deviation))| (v - mean) / deviation).collect()
    }

    /// Standard deviation of a column.
    pub fn deviation(&self, column: usize) -> f64 {
        self.0[column].1
    }

    /// Mean of a column.
    pub fn mean(&self, column: usize) -> f64 {
        self.0[column].0
    }
}

/// A design with an intercept and scaled columns.
pub fn design(rows: &[Vec<f64>], scale: &Scale) -> Design {
    let mut design = Design::new(1 + rows.first().map_or(0, Vec::len));
    rows.iter().for_each(|row| design.push(std::iter::once(1.0).chain(scale.scaled(row))));
    design
}
