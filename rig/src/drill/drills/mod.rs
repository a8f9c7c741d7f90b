//! The drills, one file each.

mod causality;
mod coalescing_replay;
mod compressed_drain;
mod stall_threshold;

use super::Drill;

/// Every drill, in the order of the playbooks.
pub(super) static ALL: &[&Drill] = &[
    &stall_threshold::DRILL,
    &compressed_drain::DRILL,
    &coalescing_replay::DRILL,
    &causality::DRILL,
];
