//! The drills, one file each.

mod causality;
mod coalescing_replay;
mod compressed_drain;
mod containment_failover;
mod pacing_canary;
mod promotion;
mod stall_threshold;
mod stop_words;
mod trial;

use super::Drill;

/// Every drill, in the order of the playbooks.
pub(super) static ALL: &[&Drill] = &[
    &containment_failover::DRILL,
    &pacing_canary::DRILL,
    &stall_threshold::DRILL,
    &compressed_drain::DRILL,
    &coalescing_replay::DRILL,
    &causality::DRILL,
    &stop_words::DRILL,
    &promotion::DRILL,
];
