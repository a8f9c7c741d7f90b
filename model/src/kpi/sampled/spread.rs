//! Weighted observations in a histogram that is made when the first one comes: most classes never
//! see most of what a row can carry, and each histogram takes 36 KiB.

use crate::kpi::histogram::Histogram;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    rows: u64,
    histogram: Option<Histogram>,
}

impl Spread {
    /// Counts `value` of one row that stands for `weight` packets.
    pub fn record(&mut self, value: u64, weight: u64) {
        if weight > 0 {
            self.rows += 1;
            self.histogram.get_or_insert_default().record_n(value, weight);
        }
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        if let Some(histogram) = &other.histogram {
            self.rows += other.rows;
            self.histogram.get_or_insert_default().merge(histogram);
        }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        if let Some(histogram) = &mut self.histogram {
            histogram.clear();
        }
    }

    /// How many rows it holds: how much evidence there is.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The histogram, by weight; `None` before the first row.
    pub const fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_ref()
    }
}
