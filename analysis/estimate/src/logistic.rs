//! Logistic regression with a ridge, by Newton's method.

use crate::linear::Design;

/// Newton steps; it converges in fewer than ten unless classes are separable, where the ridge ends it.
const STEPS_MAX: usize = 40;

/// Coefficients by which `1 / (1 + exp(-x b))` fits `labels` best, less `penalty` times the squares of all
/// but the first. `None` when both labels do not occur.
pub fn fit(design: &Design, labels: &[bool], penalty: f64) -> Option<Vec<f64>> {
    if labels.iter().all(|&label| label) || !labels.iter().any(|&label| label) {
        return None;
    }
    let p = design.columns();
    let mut coefficients = vec![0.0; p];
    for _ in 0..STEPS_MAX {
        let probabilities: Vec<f64> =
            (0..design.rows()).map(|i| sigmoid(design.predict(i, &coefficients))).collect();
        let weights: Vec<f64> = probabilities.iter().map(|p| (p * (1.0 - p)).max(1e-9)).collect();
        let mut hessian = design.gram(&weights);
        let errors: Vec<f64> =
            labels.iter().zip(&probabilities).map(|(&y, p)| f64::from(y) - p).collect();
        let mut gradient = design.moments(&vec![1.0; design.rows()], &errors);
        for j in 1..p {
            hessian[(j, j)] += penalty;
            gradient[j] -= penalty * coefficients[j];
        }
        hessian[(0, 0)] += 1e-9;
        let step = hessian.cholesky()?.solve(&gradient);
        coefficients.iter_mut().zip(step.iter()).for_each(|(c, s)| *c += s.clamp(-5.0, 5.0));
        if step.amax() < 1e-8 {
            break;
        }
    }
    coefficients.iter().all(|c| c.is_finite()).then_some(coefficients)
}

/// 1 / (1 + exp(-x)).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Mean of (p - y)^2.
pub fn brier(probabilities: &[f64], labels: &[bool]) -> f64 {
    let squares = probabilities.iter().zip(labels).map(|(p, &y)| (p - f64::from(y)).powi(2));
    squares.sum::<f64>() / labels.len().max(1) as f64
}

/// Mean of -ln of the probability of what came; probabilities are kept a millionth from 0 and 1.
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> f64 {
    let loss = |(&p, &y): (&f64, &bool)| {
        let p = p.clamp(1e-6, 1.0 - 1e-6);
        -(if y { p } else { 1.0 - p }).ln()
    };
    probabilities.iter().zip(labels).map(loss).sum::<f64>() / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_two_groups_is_fitted_exactly() {
        // 1 of 4 in one group, 3 of 4 in the other: log odds -ln 3 and ln 3.
        let mut design = Design::new(2);
        let mut labels = Vec::new();
        for i in 0..8 {
            design.push([1.0, f64::from(i / 4)]);
            labels.push(if i < 4 { i == 0 } else { i != 4 });
        }
        let fitted = fit(&design, &labels, 0.0).expect("both labels");
        let ln3 = 3.0_f64.ln();
        assert!(
            (fitted[0] + ln3).abs() < 1e-6 && (fitted[1] - 2.0 * ln3).abs() < 1e-6,
            "{fitted:?}"
        );
        assert_eq!(fit(&design, &[true; 8], 0.0), None);
    }

    #[test]
    fn separable_labels_end_at_the_ridge() {
        let mut design = Design::new(2);
        (0..10).for_each(|i| design.push([1.0, f64::from(i)]));
        let labels: Vec<bool> = (0..10).map(|i| i > 4).collect();
        let fitted = fit(&design, &labels, 0.1).expect("both labels");
        assert!(fitted[1] > 0.0 && fitted[1] < 20.0, "{fitted:?}");
    }

    #[test]
    fn scores_are_their_formulas() {
        assert_eq!(brier(&[0.5, 1.0], &[true, true]), 0.125);
        assert!((log_loss(&[0.5, 0.5], &[true, false]) - 2.0_f64.ln()).abs() < 1e-12);
    }
}
