//! Comparing two arms: which block runs when, and what the differences say. Pure: no block runs here.
//!
//! [`schedule`] is what the senders of every arm do; [`plan`] draws the order of the arms from a seed;
//! [`result`] is what blocks recorded; [`compare`] makes a comparison of the differences of pairs, [`contrast`]
//! one of a KPI; [`holm`] corrects for several figures that gate one verdict, which [`verdict`] gives; [`report`]
//! writes it down.

pub mod compare;
pub mod contrast;
mod direction;
pub mod holm;
pub mod plan;
pub mod report;
pub mod result;
pub mod schedule;
pub mod verdict;
