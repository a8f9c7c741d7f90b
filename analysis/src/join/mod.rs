//! From tables to units: one row for each child order, with what its decision found and what became of it.
//!
//! All of it is SQL on DataFusion, within the memory of [`crate::tables::Limits`]; files of queries beside
//! this one. In this order: [`matching`] finds the wire row of each child and how far apart the clocks
//! are, [`windows`] the KPI window and the regime states that a decision found, [`prices`] fills, markouts
//! and the market before; [`units`] puts them together.

mod matching;
mod prices;
mod units;
mod windows;

use crate::error::Error;
use crate::tables::Source;

pub use matching::{How, NEAREST_NS, ORDERS};
pub use units::{Labels, Units};

/// Joins the tables of `source`.
///
/// # Errors
/// The engine's, or there is no child order.
pub async fn join(source: &Source) -> Result<Units, Error> {
    matching::run(source).await?;
    windows::run(source).await?;
    prices::run(source).await?;
    units::read(source).await
}
