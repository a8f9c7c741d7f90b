//! Quantiles, with weights and without.

/// The q-quantile of `sorted`, weighted: the least value at which the weight up to it reaches q of all.
/// `None` without weight.
pub fn weighted(sorted: impl Iterator<Item = (f64, f64)> + Clone, q: f64) -> Option<f64> {
    let total: f64 = sorted.clone().map(|(_, weight)| weight).sum();
    if total <= 0.0 {
        return None;
    }
    let mut below = 0.0;
    let mut last = None;
    for (value, weight) in sorted {
        if weight > 0.0 {
            below += weight;
            last = Some(value);
            if below >= q * total {
                break;
            }
        }
    }
    last
}

/// The values at which `values` are cut into `cells` cells of about equal size: `cells - 1`, ascending.
pub fn cuts(values: &[f64], cells: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |cell: usize| sorted[(sorted.len() * cell / cells).saturating_sub(1)];
    if sorted.is_empty() { Vec::new() } else { (1..cells).map(at).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_counts_as_so_many_values() {
        let sorted = [(1.0, 1.0), (2.0, 0.0), (3.0, 3.0)];
        assert_eq!(weighted(sorted.into_iter(), 0.25), Some(1.0));
        assert_eq!(weighted(sorted.into_iter(), 0.26), Some(3.0));
        assert_eq!(weighted(sorted.into_iter(), 1.0), Some(3.0));
        assert_eq!(weighted([(1.0, 0.0)].into_iter(), 0.5), None);
    }

    #[test]
    fn cuts_part_into_equal_cells() {
        let values: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(cuts(&values, 3), [3.0, 6.0]);
        assert_eq!(cuts(&[], 3), Vec::<f64>::new());
        assert_eq!(cuts(&[5.0], 3), [5.0, 5.0]);
    }
}
