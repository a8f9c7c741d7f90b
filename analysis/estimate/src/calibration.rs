//! Entropy balancing (Hainmueller, 2012): the weights nearest to given ones under which the controls have
//! the means of the treated.
//!
//! What matching has coarsened or left out still differs a little within cells. The weights of the controls
//! are multiplied by exp(l x) with the l that makes the differences vanish.

use nalgebra::DVector;

use crate::linear::Design;

/// Newton steps before it is given up: no weights can balance what does not overlap.
const STEPS_MAX: usize = 50;
/// Differences of means, in standard deviations, that count as none.
const NEAR: f64 = 1e-7;

/// Weights of the rows of `design` under which their means are `target`, nearest to `weights`. `None` when
/// there are no such weights. Columns should be of unit scale.
pub fn balanced(design: &Design, weights: &[f64], target: &[f64]) -> Option<Vec<f64>> {
    let p = design.columns();
    let mut multipliers = DVector::<f64>::zeros(p);
    let mut current = tilted(design, weights, &multipliers, target)?;
    for _ in 0..STEPS_MAX {
        if current.distance() < NEAR {
            return Some(current.weights);
        }
        let mut hessian = design.gram(&current.weights);
        let mean = &current.gap + DVector::from_column_slice(target);
        hessian -= &mean * mean.transpose();
        // Labels that add up to one make it singular; the ridge picks one of equal solutions.
        for j in 0..p {
            hessian[(j, j)] += 1e-9;
        }
        let step = hessian.cholesky()?.solve(&current.gap);
        // Halve until it is an improvement.
        let mut size = 1.0;
        current = loop {
            let candidate = &multipliers - size * &step;
            match tilted(design, weights, &candidate, target) {
                Some(next) if next.dual < current.dual + 1e-12 => {
                    multipliers = candidate;
                    break next;
                }
                _ if size < 1e-4 => return None,
                _ => size /= 2.0,
            }
        };
    }
    None
}

struct Tilted {
    weights: Vec<f64>,
    gap: DVector<f64>,
    dual: f64,
}

impl Tilted {
    fn distance(&self) -> f64 {
        self.gap.amax()
    }
}

fn tilted(
    design: &Design,
    weights: &[f64],
    multipliers: &DVector<f64>,
    target: &[f64],
) -> Option<Tilted> {
    let exponent = |i: usize| design.predict(i, multipliers.as_slice());
    let rows = || (0..design.rows()).filter(|&i| weights[i] > 0.0);
    let largest = rows().map(exponent).fold(f64::NEG_INFINITY, f64::max);
    let mut tilted = vec![0.0; design.rows()];
    rows().for_each(|i| tilted[i] = weights[i] * (exponent(i) - largest).exp());
    let total: f64 = tilted.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    tilted.iter_mut().for_each(|w| *w /= total);
    let mut gap = DVector::from_iterator(target.len(), target.iter().map(|t| -t));
    for i in rows() {
        gap.iter_mut().zip(design.row(i)).for_each(|(g, cell)| *g += tilted[i] * cell);
    }
    let linear: f64 = multipliers.iter().zip(target).map(|(m, t)| m * t).sum();
    Some(Tilted { weights: tilted, gap, dual: total.ln() + largest - linear })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_become_those_that_are_asked_for() {
        let mut design = Design::new(2);
        for i in 0..50 {
            design.push([f64::from(i) / 25.0, f64::from(i % 3)]);
        }
        let target = [1.3, 0.8];
        let weights = balanced(&design, &[1.0; 50], &target).expect("within reach");
        for (j, wanted) in target.into_iter().enumerate() {
            let mean: f64 = (0..50).map(|i| weights[i] * design.row(i)[j]).sum();
            assert!((mean - wanted).abs() < 1e-6, "{mean}");
        }
        assert!(weights.iter().all(|&w| w > 0.0));
    }

    #[test]
    fn what_does_not_overlap_is_not_balanced() {
        let mut design = Design::new(1);
        (0..20).for_each(|i| design.push([f64::from(i)]));
        assert_eq!(balanced(&design, &[1.0; 20], &[25.0]), None);
        assert_eq!(balanced(&design, &[0.0; 20], &[5.0]), None);
    }
}
