//! What `segmentation_burst_factor` was second by second. Over a whole run it says no more than that there was
//! one burst, whenever that was.

use model::kpi::{Block, Histogram};

/// The factors of a core since the start, in millionths: one histogram for each cell of its blocks.
pub(super) struct Factors(pub(super) Vec<Histogram>);

impl Factors {
    /// For blocks like this one.
    pub(super) fn new(block: &Block) -> Self {
        Self(block.cells.iter().map(|_| Histogram::new()).collect())
    }

    /// A whole second of the core is over.
    pub(super) fn see(&mut self, second: &Block) {
        for (factors, cell) in self.0.iter_mut().zip(&second.cells) {
            if let Ok(factor) = cell.bursts.segmentation_burst() {
                factors.record((factor * 1e6).round() as u64);
            }
        }
    }
}
