//! What a profile moves by itself, judged as if `normal` were in force: `X_at_normal` is X with
//! `t_normal + (t_wire - t_sched)` in place of `t_wire`.

use super::Arm::{Replay, Run};
use super::Place::InsideClass;
use super::values::{DELAY_SIGNED, LEVEL_MEAN, SPREAD, SPREAD_SIGNED};
use super::{Definition, Series};
use crate::kpi::Basis::Sampled;
use crate::kpi::minimum::{DRAIN_WINDOWS, OF_P95, ROW};

macro_rules! at_normal {
    ($($name:literal, $unit:literal, $n_min:expr, $playbooks:expr, $series:expr;)+) => {
        pub(super) const AT_NORMAL: &[Definition] = &[$(Definition {
            name: concat!($name, "_at_normal"),
            unit: $unit,
            place: InsideClass,
            series: $series,
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

/// A KPI of one series.
macro_rules! one {
    ($values:expr) => {
        &[Series { part: None, values: $values }]
    };
}

at_normal! {
    "dispatch_to_wire_ns", "ns", 0, &["000"], &[Series { part: Some("total"), values: DELAY_SIGNED }];
    "release_error_ns", "ns", 0, &["000"], &[
        Series { part: Some("late"), values: SPREAD },
        Series { part: Some("early"), values: SPREAD },
    ];
    "burstiness_index", "1", ROW, &["000"], one!(&["bi", "peak_to_mean", "excess"]);
    "segmentation_burst_factor", "1", ROW, &["001"], one!(&["factor", "envelope"]);
    "wire_serialization_ns", "ns", ROW, &["001"], one!(SPREAD);
    "cadence_phase_error", "1", ROW, &["001"], one!(&["p95", "max", "drift", "coherence"]);
    "burst_bytes", "bytes", ROW, &["001"], one!(SPREAD);
    "decision_to_wire_ns", "ns", 0, &["001", "003"], one!(SPREAD_SIGNED);
    "churn_burst_index", "1", ROW, &["001"], one!(&["excess", "bi", "intent"]);
    "wire_cadence_variability_ns", "ns", ROW, &["002"], one!(&["p50", "p95", "p99", "max", "share_p95"]);
    "not_sent_bytes", "bytes", 0, &["003"], one!(LEVEL_MEAN);
    "flush_compression_index", "1", OF_P95, &["003"], one!(&["index"]);
    "burst_drain_ratio", "1", DRAIN_WINDOWS, &["003"], one!(&["ratio"]);
    "child_join_delay_ns", "ns", OF_P95, &["003"], one!(&["value"]);
    "completion_ratio", "1", 0, &["all"], one!(&["ratio"]);
}
