//! Weighted least squares and ridge, by Cholesky.

use nalgebra::{DMatrix, DVector};

/// A design matrix, row by row.
#[derive(Clone, Debug)]
pub struct Design {
    columns: usize,
    cells: Vec<f64>,
}

impl Design {
    /// Without rows.
    pub const fn new(columns: usize) -> Self {
        Self { columns, cells: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = f64>) {
        let before = self.cells.len();
        self.cells.extend(row);
        debug_assert_eq!(self.cells.len(), before + self.columns, "a cell for each column");
    }

    /// Columns.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    /// The row at `index`.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.cells[index * self.columns..(index + 1) * self.columns]
    }

    /// X'WX, of the rows with a weight.
    pub fn gram(&self, weights: &[f64]) -> DMatrix<f64> {
        let p = self.columns;
        let mut gram = DMatrix::zeros(p, p);
        for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let row = self.row(i);
            for j in (0..p).filter(|&j| row[j] != 0.0) {
                let scaled = weight * row[j];
                // The lower triangle, column by column: neighbours in memory.
                let column = &mut gram.as_mut_slice()[j * p + j..(j + 1) * p];
                column.iter_mut().zip(&row[j..]).for_each(|(sum, cell)| *sum += scaled * cell);
            }
        }
        gram.fill_upper_triangle_with_lower_triangle();
        gram
    }

    /// X'Wy.
    pub fn moments(&self, weights: &[f64], y: &[f64]) -> DVector<f64> {
        let mut moments = DVector::zeros(self.columns);
        for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            for (moment, cell) in moments.iter_mut().zip(self.row(i)) {
                *moment += weight * y[i] * cell;
            }
        }
        moments
    }

    /// The product of the row at `index` and `coefficients`.
    pub fn predict(&self, index: usize, coefficients: &[f64]) -> f64 {
        self.row(index).iter().zip(coefficients).map(|(cell, c)| cell * c).sum()
    }
}

/// Ridge: minimises the weighted squares plus `penalty[j] * b[j]^2`. `None` when what is left is singular.
pub fn ridge(design: &Design, weights: &[f64], y: &[f64], penalty: &[f64]) -> Option<Vec<f64>> {
    let mut gram = design.gram(weights);
    for (j, penalty) in penalty.iter().enumerate() {
        gram[(j, j)] += penalty;
    }
    let solution = gram.cholesky()?.solve(&design.moments(weights, y));
    solution.iter().all(|c| c.is_finite()).then(|| solution.iter().copied().collect())
}

/// Steps of the reweighting in [`quantile`]; it settles in about twenty.
const STEPS: usize = 40;

/// The q-quantile of y as a line in the columns, with a ridge: least squares reweighted by the distance
/// (Schlossmacher, 1973). `None` when what is left is singular.
pub fn quantile(design: &Design, y: &[f64], q: f64, penalty: &[f64]) -> Option<Vec<f64>> {
    let mut coefficients = ridge(design, &vec![1.0; y.len()], y, penalty)?;
    for _ in 0..STEPS {
        let residual = |i: usize| y[i] - design.predict(i, &coefficients);
        let spread = (0..y.len()).map(|i| residual(i).abs()).sum::<f64>() / y.len().max(1) as f64;
        // Near the line the distance says nothing; a thousandth of the usual one bounds the weight.
        let nearest = (spread * 1e-3).max(f64::MIN_POSITIVE);
        let weight = |i: usize| {
            let residual = residual(i);
            (if residual > 0.0 { q } else { 1.0 - q }) / residual.abs().max(nearest) * spread
        };
        let weights: Vec<f64> = (0..y.len()).map(weight).collect();
        coefficients = ridge(design, &weights, y, penalty)?;
    }
    Some(coefficients)
}

/// Mean loss of a quantile: q of what is above, 1 - q of what is below.
pub fn pinball(predicted: &[f64], y: &[f64], q: f64) -> f64 {
    let loss = |(p, y): (&f64, &f64)| if y > p { q * (y - p) } else { (1.0 - q) * (p - y) };
    predicted.iter().zip(y).map(loss).sum::<f64>() / y.len().max(1) as f64
}

/// Variance inflation of each column but the first, which is the intercept: 1 / (1 - R2) of the column on
/// all others. `None` for one that the others determine.
pub fn variance_inflation(design: &Design) -> Vec<Option<f64>> {
    let (n, p) = (design.rows() as f64, design.columns());
    let gram = design.gram(&vec![1.0; design.rows()]);
    // Of columns less their means, scaled to 1: the diagonal of the inverse of the correlations.
    let mean = |j: usize| gram[(0, j)] / n;
    let covariance = |j: usize, k: usize| gram[(j, k)] / n - mean(j) * mean(k);
    let mut correlation = DMatrix::zeros(p.saturating_sub(1), p.saturating_sub(1));
    for j in 1..p {
        for k in 1..p {
            let scale = (covariance(j, j) * covariance(k, k)).sqrt();
            correlation[(j - 1, k - 1)] = if scale > 0.0 { covariance(j, k) / scale } else { 0.0 };
        }
    }
    match correlation.cholesky().map(|c| c.inverse()) {
        Some(inverse) => {
            inverse.diagonal().iter().map(|v| (v.is_finite() && *v < 1e8).then_some(*v)).collect()
        }
        None => vec![None; p.saturating_sub(1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (Design, Vec<f64>) {
        let mut design = Design::new(2);
        (0..10).for_each(|x| design.push([1.0, f64::from(x)]));
        (design, (0..10).map(|x| 3.0 + 2.0 * f64::from(x)).collect())
    }

    #[test]
    fn a_line_is_found_and_a_penalty_shrinks_it() {
        let (design, y) = line();
        let exact = ridge(&design, &[1.0; 10], &y, &[0.0, 0.0]).expect("regular");
        assert!((exact[0] - 3.0).abs() < 1e-9 && (exact[1] - 2.0).abs() < 1e-9, "{exact:?}");
        let shrunk = ridge(&design, &[1.0; 10], &y, &[0.0, 82.5]).expect("regular");
        // The centred sum of squares is 82.5: a penalty as large halves the slope.
        assert!((shrunk[1] - 1.0).abs() < 1e-9, "{shrunk:?}");
        assert_eq!(ridge(&design, &[0.0; 10], &y, &[0.0, 0.0]), None);
    }

    #[test]
    fn a_quantile_leaves_its_share_below() {
        let mut design = Design::new(1);
        (0..200).for_each(|_| design.push([1.0]));
        let y: Vec<f64> = (1..=200).map(f64::from).collect();
        let fitted = quantile(&design, &y, 0.9, &[0.0]).expect("regular")[0];
        assert!((fitted - 180.0).abs() < 2.0, "{fitted}");
        // The loss is least at the quantile.
        let loss = |at: f64| pinball(&[at; 200], &y, 0.9);
        assert!(loss(180.0) < loss(160.0) && loss(180.0) < loss(195.0));
    }

    #[test]
    fn inflation_is_one_for_independent_columns_and_large_for_twins() {
        let mut apart = Design::new(3);
        let mut twins = Design::new(3);
        for i in 0..8 {
            let (a, b) = (f64::from(i % 2), f64::from(i / 4));
            apart.push([1.0, a, b]);
            twins.push([1.0, f64::from(i), f64::from(i) + 0.1 * a]);
        }
        let of_apart = variance_inflation(&apart);
        assert!(of_apart.iter().all(|v| (v.expect("known") - 1.0).abs() < 1e-9), "{of_apart:?}");
        assert!(variance_inflation(&twins).iter().all(|v| v.expect("known") > 100.0));
    }
}
