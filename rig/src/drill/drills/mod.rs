//! The drills, one file each.

mod ack_stress;
mod bound_sensitivity;
mod burst_injection;
mod burst_shape_replay;
mod bursts;
mod causality;
mod coalescing_replay;
mod compressed_drain;
mod containment_failover;
mod offload_ab;
mod pacing_canary;
mod pacing_quantization;
mod phase_lock;
mod promotion;
mod self_excitation;
mod stall_threshold;
mod stop_words;
mod tactic_caps;
mod trial;

use super::Drill;

/// Every drill, in the order of the playbooks.
pub(super) static ALL: &[&Drill] = &[
    &pacing_quantization::DRILL,
    &tactic_caps::DRILL,
    &phase_lock::DRILL,
    &burst_shape_replay::DRILL,
    &offload_ab::DRILL,
    &ack_stress::DRILL,
    &containment_failover::DRILL,
    &burst_injection::DRILL,
    &pacing_canary::DRILL,
    &bound_sensitivity::DRILL,
    &stall_threshold::DRILL,
    &compressed_drain::DRILL,
    &coalescing_replay::DRILL,
    &causality::DRILL,
    &self_excitation::DRILL,
    &stop_words::DRILL,
    &promotion::DRILL,
];
