//! Coarsened exact matching (Iacus, King, Porro, 2012).
//!
//! Numbers are cut at their quantiles, labels are kept, and a cell is what agrees in all of them. Only
//! cells with units of both arms stay. A treated unit weighs 1; controls of a cell share its treated
//! weight, so that matched controls look like the treated.

use std::collections::HashMap;

use crate::cohorts::{Cohorts, Role};
use crate::quantile::cuts;

/// Which units are compared, and with what weight.
#[derive(Clone, Debug)]
pub struct Matched {
    /// Weight of each unit; 0 = it has no counterpart.
    pub weights: Vec<f64>,
    /// Share of the treated that have a counterpart.
    pub matched_share: f64,
}

/// Matches `cohorts`. `None` without a treated unit.
pub fn matched(cohorts: &Cohorts) -> Option<Matched> {
    let treated_count = cohorts.treated_count();
    if treated_count == 0 {
        return None;
    }
    let cells = cells(cohorts);
    let mut counts: HashMap<u64, [f64; 2]> = HashMap::new();
    for (cell, &treated) in cells.iter().zip(&cohorts.treated) {
        counts.entry(*cell).or_default()[usize::from(treated)] += 1.0;
    }
    let weight = |(cell, &treated): (&u64, &bool)| match counts[cell] {
        [controls, treatments] if controls > 0.0 && treatments > 0.0 => {
            if treated {
                1.0
            } else {
                treatments / controls
            }
        }
        _ => 0.0,
    };
    let weights: Vec<f64> = cells.iter().zip(&cohorts.treated).map(weight).collect();
    let kept = weights.iter().zip(&cohorts.treated).filter(|&(w, &t)| t && *w > 0.0).count();
    Some(Matched { weights, matched_share: kept as f64 / treated_count as f64 })
}

/// The cell of each unit.
fn cells(cohorts: &Cohorts) -> Vec<u64> {
    let mut cells = vec![0_u64; cohorts.len()];
    // Mixed radix: no two cells share a number.
    let mut append = |radix: u64, digits: &mut dyn Iterator<Item = u64>| {
        cells.iter_mut().zip(digits).for_each(|(cell, digit)| *cell = *cell * radix + digit);
    };
    for factor in cohorts.factors.iter().filter(|factor| factor.role == Role::Exact) {
        let radix = factor.levels.iter().max().map_or(1, |&level| u64::from(level) + 1);
        append(radix, &mut factor.levels.iter().map(|&level| u64::from(level)));
    }
    for covariate in cohorts.covariates.iter().filter(|covariate| covariate.cells > 1) {
        let cuts = cuts(&covariate.values, covariate.cells);
        let digits = covariate.values.iter().map(|&v| cuts.partition_point(|&cut| cut < v) as u64);
        append(covariate.cells as u64, &mut digits.into_iter());
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cohorts::{Covariate, Factor};

    #[test]
    fn controls_of_a_cell_share_the_weight_of_its_treated() {
        // Symbol 0: two treated, one control. Symbol 1: one treated, two controls. Symbol 2: a treated alone.
        let cohorts = Cohorts {
            outcome: vec![0.0; 7],
            treated: vec![true, true, false, true, false, false, true],
            covariates: vec![],
            factors: vec![Factor {
                name: "symbol",
                levels: vec![0, 0, 0, 1, 1, 1, 2],
                role: Role::Exact,
            }],
            cluster: vec![0; 7],
        };
        let matched = matched(&cohorts).expect("treated");
        assert_eq!(matched.weights, [1.0, 1.0, 2.0, 1.0, 0.5, 0.5, 0.0]);
        assert_eq!(matched.matched_share, 0.75);
    }

    #[test]
    fn numbers_are_cut_at_their_quantiles() {
        let cohorts = Cohorts {
            outcome: vec![0.0; 4],
            treated: vec![true, false, true, false],
            covariates: vec![Covariate {
                name: "volatility",
                values: vec![1.0, 2.0, 9.0, 10.0],
                cells: 2,
            }],
            factors: vec![],
            cluster: vec![0; 4],
        };
        let far = Cohorts {
            covariates: vec![Covariate {
                name: "volatility",
                values: vec![1.0, 9.0, 2.0, 10.0],
                cells: 2,
            }],
            ..cohorts.clone()
        };
        assert_eq!(matched(&cohorts).expect("treated").matched_share, 1.0);
        assert_eq!(matched(&far).expect("treated").matched_share, 0.0);
        let none = Cohorts { treated: vec![false; 4], ..cohorts };
        assert!(matched(&none).is_none());
    }
}
