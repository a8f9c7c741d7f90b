//! The mean of the treated less what a model of the weighted controls expects of them.
//!
//! What a cluster contributes is told by leaving it out and fitting the model again (the jackknife).
//! Residuals would not do: where few controls carry much weight the model runs through them, and what they
//! leave is far smaller than the error that they make.

use nalgebra::{DMatrix, DVector};

use crate::bootstrap::Clusters;
use crate::linear::Design;

/// An estimate, and what each cluster adds to its error.
#[derive(Clone, Debug, PartialEq)]
pub struct Influenced {
    /// Treated less controls.
    pub estimate: f64,
    /// One for each cluster; their squares add up to the variance.
    pub influences: Vec<f64>,
}

/// The adjusted difference of an outcome under a model of the columns of `design`, fitted to the controls by
/// `weights`. `None` where the model is singular or an arm is empty.
pub fn adjusted(
    outcome: &[f64],
    treated: &[bool],
    design: &Design,
    weights: &[f64],
    clusters: &Clusters,
) -> Option<Influenced> {
    // Next to nothing: what labels determine twice has a solution all the same.
    let penalty = 1e-6 * outcome.len() as f64;
    let of = |units: &mut dyn Iterator<Item = usize>| {
        let mut sums = Sums::new(design.columns());
        units.for_each(|i| sums.add(design.row(i), outcome[i], treated[i], weights[i]));
        sums
    };
    let all = of(&mut (0..outcome.len()));
    let estimate = all.difference(penalty)?;
    let share = 1.0 - 1.0 / clusters.count() as f64;
    let influence = |members: &Vec<usize>| {
        let rest = all.without(&of(&mut members.iter().copied())).difference(penalty);
        // Without the cluster there is no estimate: it makes all of it.
        share * (estimate - rest.unwrap_or_default())
    };
    Some(Influenced { estimate, influences: clusters.members().iter().map(influence).collect() })
}

/// What an estimate needs to know of some units.
struct Sums {
    /// X'WX and X'Wy of the controls.
    gram: DMatrix<f64>,
    moments: DVector<f64>,
    /// Of the treated: columns, outcome, count.
    columns: DVector<f64>,
    outcome: f64,
    treated: f64,
}

impl Sums {
    fn new(p: usize) -> Self {
        Self {
            gram: DMatrix::zeros(p, p),
            moments: DVector::zeros(p),
            columns: DVector::zeros(p),
            outcome: 0.0,
            treated: 0.0,
        }
    }

    fn add(&mut self, row: &[f64], outcome: f64, treated: bool, weight: f64) {
        if treated {
            self.columns.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
            self.outcome += outcome;
            self.treated += 1.0;
            return;
        }
        for (j, cell) in row.iter().enumerate().filter(|(_, cell)| **cell != 0.0) {
            let scaled = weight * cell;
            self.moments[j] += scaled * outcome;
            // The lower triangle, which is all that is read.
            row[j..]
                .iter()
                .zip(&mut self.gram.column_mut(j).as_mut_slice()[j..])
                .for_each(|(other, sum)| *sum += scaled * other);
        }
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            gram: &self.gram - &other.gram,
            moments: &self.moments - &other.moments,
            columns: &self.columns - &other.columns,
            outcome: self.outcome - other.outcome,
            treated: self.treated - other.treated,
        }
    }

    fn difference(&self, penalty: f64) -> Option<f64> {
        let mut gram = self.gram.clone();
        (0..gram.nrows()).for_each(|j| gram[(j, j)] += penalty);
        let model = gram.cholesky()?.solve(&self.moments);
        let difference = (self.outcome - self.columns.dot(&model)) / self.treated;
        difference.is_finite().then_some(difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units of their own cluster each: outcome, column, treated.
    fn of(units: &[(f64, f64, bool)]) -> Influenced {
        let outcome: Vec<f64> = units.iter().map(|unit| unit.0).collect();
        let treated: Vec<bool> = units.iter().map(|unit| unit.2).collect();
        let mut design = Design::new(2);
        units.iter().for_each(|unit| design.push([1.0, unit.1]));
        let clusters = Clusters::of(&(0..units.len() as u32).collect::<Vec<_>>());
        let ones = vec![1.0; units.len()];
        adjusted(&outcome, &treated, &design, &ones, &clusters).expect("both arms")
    }

    #[test]
    fn influences_are_what_leaving_out_changes() {
        let found = of(&[(0.0, 0.0, false), (2.0, 0.0, false), (5.0, 0.0, true), (7.0, 0.0, true)]);
        assert!((found.estimate - 5.0).abs() < 1e-4, "{found:?}");
        // Without the first it is 6 - 2, without the last 5 - 1; a quarter less than the change.
        let expected = [0.75, -0.75, -0.75, 0.75];
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-4;
        assert!(found.influences.iter().zip(expected).all(near), "{found:?}");
    }

    #[test]
    fn a_control_that_the_model_runs_through_weighs_as_much_as_it_tells() {
        let alike = [(0.0, 0.0, false), (0.2, 0.0, false), (-0.2, 0.0, false)];
        let lone = [(9.0, 1.0, false), (10.0, 1.0, true), (10.0, 1.0, true)];
        let found = of(&[alike, lone].concat());
        assert!((found.estimate - 1.0).abs() < 1e-3, "{found:?}");
        // Its residual is 0, and all that is known of the treated without a cost rests on it.
        assert!(found.influences[3].abs() > 5.0, "{found:?}");
    }
}
