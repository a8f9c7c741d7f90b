//! Holm's correction: with several figures that could each give a verdict, one of them is more likely to
//! do so by chance.

/// The p-values as they hold together, in the order given: each is at least as large as before, and to
/// reject those below a level keeps the chance of any false rejection below it (Holm, 1979).
pub fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut so_far = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        // A figure cannot be rejected before one with a smaller p-value.
        so_far = so_far.max(p_values[index] * left).min(1.0);
        adjusted[index] = so_far;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0.01 x 4, 0.013 x 3, 0.014 x 2, 0.19 x 1, none below the one before.
    #[test]
    fn worked_out_by_hand() {
        let found = adjusted(&[0.014, 0.01, 0.19, 0.013]);
        for (found, expected) in found.iter().zip([0.04, 0.04, 0.19, 0.04]) {
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
        assert_eq!(adjusted(&[0.02]), [0.02]);
        assert_eq!(adjusted(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(adjusted(&[]).is_empty());
    }
}
