//! Where and how far out it costs.

use serde::Serialize;

use crate::join::Units;
use crate::kpi::Contrast;
use crate::outcome::{Design, arms};

/// Orders that each arm of a cell needs.
const CELL_MIN: usize = 20;
/// Quantiles of a tail curve.
const QUANTILES: [f64; 10] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99];
/// Orders beyond a quantile of a curve.
const BEYOND_MIN: f64 = 10.0;

/// A symbol at a venue.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Symbol.
    pub symbol: String,
    /// Venue.
    pub venue: String,
    /// Mean shortfall of distorted orders less that of clean ones, bps; absent where one of them has too few.
    pub difference_bps: Option<f64>,
    /// Distorted and clean orders.
    pub n: [usize; 2],
}

/// A quantile of the shortfall in either arm.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tail {
    /// The quantile.
    pub q: f64,
    /// Of distorted orders, bps.
    pub distorted_bps: Option<f64>,
    /// Of clean ones.
    pub clean_bps: Option<f64>,
}

/// By symbol and venue, in their order.
pub fn cells(units: &Units) -> Vec<Cell> {
    let arms = arms(units, Contrast::Segmentation, Design::Observational);
    let sorted = |names: &[String]| {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|&a, &b| names[a].cmp(&names[b]));
        order
    };
    let venues = units.venue.names.len();
    let mut sums = vec![[[0.0_f64; 2]; 2]; units.symbol.names.len() * venues];
    for (i, (arm, cost)) in arms.iter().zip(&units.shortfall).enumerate() {
        if let (Some(arm), Some(cost)) = (*arm, *cost) {
            let place = units.symbol.of_row[i] as usize * venues + units.venue.of_row[i] as usize;
            let of_arm = &mut sums[place][usize::from(arm)];
            of_arm[0] += cost;
            of_arm[1] += 1.0;
        }
    }
    let mut cells = Vec::new();
    for symbol in sorted(&units.symbol.names) {
        for venue in sorted(&units.venue.names) {
            let [clean, distorted] = sums[symbol * venues + venue];
            let n = [distorted[1] as usize, clean[1] as usize];
            let enough = n.iter().all(|&n| n >= CELL_MIN);
            cells.push(Cell {
                symbol: units.symbol.names[symbol].clone(),
                venue: units.venue.names[venue].clone(),
                difference_bps: enough.then(|| distorted[0] / distorted[1] - clean[0] / clean[1]),
                n,
            });
        }
    }
    cells
}

/// Quantiles of both arms.
pub fn tails(units: &Units) -> Vec<Tail> {
    let arms = arms(units, Contrast::Segmentation, Design::Observational);
    let of_arm = |arm: bool| {
        let mut costs: Vec<f64> = (0..units.len())
            .filter(|&i| arms[i] == Some(arm))
            .filter_map(|i| units.shortfall[i])
            .collect();
        costs.sort_by(f64::total_cmp);
        costs
    };
    let (distorted, clean) = (of_arm(true), of_arm(false));
    let at = |sorted: &[f64], q: f64| {
        let enough = sorted.len() as f64 * (1.0 - q) >= BEYOND_MIN;
        // The lower of two in the middle, as in every quantile of the catalogue.
        let rank = (q * sorted.len() as f64).ceil() as usize;
        enough.then(|| sorted[rank.saturating_sub(1)])
    };
    QUANTILES
        .into_iter()
        .map(|q| Tail { q, distorted_bps: at(&distorted, q), clean_bps: at(&clean, q) })
        .collect()
}
