//! What a profile moves by itself, judged as if `normal` were in force: `X_at_normal` is X with
//! `t_normal + (t_wire - t_sched)` in place of `t_wire`.

use super::Arm::{Replay, Run};
use super::Definition;
use crate::kpi::Basis::Sampled;

macro_rules! at_normal {
    ($($name:literal, $unit:literal, $n_min:literal, $playbooks:expr;)+) => {
        pub(super) const AT_NORMAL: &[Definition] = &[$(Definition {
            name: concat!($name, "_at_normal"),
            unit: $unit,
            formula: concat!(
                $name,
                " with t_normal + (t_wire - t_sched) in place of t_wire: without what the profile in force delays \
                 on purpose beyond the operator-confirmed caps; under normal the same"
            ),
            arms: &[Run, Replay],
            n_min: $n_min,
            playbooks: $playbooks,
            basis: Sampled,
            advice: concat!("As ", $name, ": this is what its regime judges, so that a profile is not the cause of \
                its own verdict."),
            available: true,
        }),+];
    };
}

at_normal! {
    "dispatch_to_wire_ns", "ns", 0, &["000"];
    "release_error_ns", "ns", 0, &["000"];
    "burstiness_index", "1", 30, &["000"];
    "segmentation_burst_factor", "1", 30, &["001"];
    "wire_serialization_ns", "ns", 30, &["001"];
    "cadence_phase_error", "1", 30, &["001"];
    "burst_bytes", "bytes", 30, &["001"];
    "decision_to_wire_ns", "ns", 0, &["001", "003"];
    "churn_burst_index", "1", 30, &["001"];
    "wire_cadence_variability_ns", "ns", 30, &["002"];
    "not_sent_bytes", "bytes", 0, &["003"];
    "flush_compression_index", "1", 30, &["003"];
    "burst_drain_ratio", "1", 100, &["003"];
    "child_join_delay_ns", "ns", 0, &["003"];
    "completion_ratio", "1", 0, &["all"];
}
