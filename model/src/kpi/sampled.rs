//! Figures from sample rows (tier 2): each row stands for `weight` packets.

use super::histogram::Histogram;
use super::plan::KpiPlan;
use crate::sample::Sample;

/// What is added up of the rows of one core.
#[derive(Clone, Debug)]
pub struct Sampled {
    cells: Vec<SampledCell>,
    unplanned: u64,
}

/// Rows of one class towards one egress port.
#[derive(Clone, Debug)]
pub struct SampledCell {
    /// Position of the port in [`KpiPlan::ports`].
    pub port: usize,
    /// Class number.
    pub class: usize,
    /// Rows: how much evidence there is.
    pub rows: u64,
    /// Wire bytes of the class that waited when the packet arrived, by weight.
    pub backlog_bytes: Histogram,
}

impl Sampled {
    /// Nothing yet, for the classes and ports of `plan`.
    pub fn new(plan: &KpiPlan) -> Self {
        let cell =
            |(port, class)| SampledCell { port, class, rows: 0, backlog_bytes: Histogram::new() };
        Self { cells: plan.cells().map(cell).collect(), unplanned: 0 }
    }

    /// Adds one row. A row of weight 0 stands for nothing and is left out.
    pub fn add(&mut self, plan: &KpiPlan, row: &Sample) {
        let class = usize::from(row.class);
        let of_row = |cell: &&mut SampledCell| {
            cell.class == class && plan.ports[cell.port].index == row.port
        };
        match self.cells.iter_mut().find(of_row) {
            Some(cell) if row.weight > 0 => {
                cell.rows += 1;
                cell.backlog_bytes.record_n(row.backlog_bytes, u64::from(row.weight));
            }
            Some(_) => {}
            None => self.unplanned += 1,
        }
    }

    /// Adds what `other` holds, made for the same plan.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            mine.rows += theirs.rows;
            mine.backlog_bytes.merge(&theirs.backlog_bytes);
        }
        self.unplanned += other.unplanned;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for cell in &mut self.cells {
            cell.rows = 0;
            cell.backlog_bytes.clear();
        }
        self.unplanned = 0;
    }

    /// One for each pair of port and class that packets can have.
    pub fn cells(&self) -> &[SampledCell] {
        &self.cells
    }

    /// Rows of a pair of port and class that the plan does not have. Must stay 0.
    pub const fn unplanned(&self) -> u64 {
        self.unplanned
    }
}
