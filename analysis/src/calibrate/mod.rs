//! From what distortions cost to the values by which the gateway calls them so.
//!
//! [`thresholds`] finds, for each figure that machines read, the value from which on it costs money;
//! [`tables`] puts them, and the coefficients of P(compressed drain), into a config.

mod tables;
mod thresholds;

pub use tables::{Change, TableError, calibrated};
pub use thresholds::{Threshold, thresholds};
