//! Rows of a timeline that are not packets. A packet's row is a [`crate::sample::Sample`].

use crate::time::Nanos;

/// One decision of a regime machine: a row of the table `regime_log`.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeLogRow {
    /// When, gateway time.
    pub at: Nanos,
    /// What it was decided for: a class, a TX queue, a feed.
    pub scope: String,
    /// The machine.
    pub machine: String,
    /// State that was left.
    pub from: String,
    /// State that was entered; the same where a decision was not to move.
    pub to: String,
    /// Why.
    pub reason: String,
    /// The values that made the decision; `None` = absent.
    pub values: Vec<(String, Option<f64>)>,
}
