//! Comparing two arms: which block runs when, and what the differences say. Pure: no block runs here.
//!
//! [`schedule`] is what the senders of every arm do; [`plan`] draws the order of the arms from a seed;
//! [`result`] is what blocks recorded; [`compare`] makes a comparison of the differences of pairs; [`holm`]
//! corrects for several figures that gate one verdict.

pub mod compare;
pub mod holm;
pub mod plan;
pub mod result;
pub mod schedule;
