//! Measures wirepace beside its peers, in one run, interleaved, so that what counts is a ratio and
//! not the machine of the day.
//!
//! Two programs: `bench-queue` (the deadline queue and the buckets against other queues) and
//! `bench-release` (how late packets leave, beside bare spin loops). Each prints a table and writes
//! JSON and SVG. Blocks during which the machine was taken away are named and left out of medians
//! where enough others are left.

pub mod buckets;
pub mod draw;
pub mod machine;
pub mod queue;
pub mod release;
pub mod stats;
pub mod svg;
pub mod workload;
