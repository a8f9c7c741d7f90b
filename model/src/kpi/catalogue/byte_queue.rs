//! Playbook 002: the limit below the TX queue.

use super::Arm::{Kernel, Observe, Replay, Run};
use super::Place::{Class, Port};
use super::values::LEVEL;
use super::{Definition, Series};
use crate::kpi::Basis::Exact;
use crate::kpi::minimum;

pub(super) const KPIS: &[Definition] = &[
    Definition {
        name: "byte_queue_utilization",
        unit: "1",
        place: Port,
        series: &[Series { part: None, values: LEVEL }],
        formula: "wire bytes in flight / max(limit, 1) of each TX queue",
        arms: &[Run, Kernel, Observe],
        n_min: 0,
        playbooks: &["002"],
        basis: Exact,
        advice: "Close to 1 for long: the limit holds the queue; see starvation_rate before raising it.",
        available: true,
    },
    Definition {
        name: "limit_oscillation_score",
        unit: "1",
        place: Port,
        series: &[
            Series { part: Some("limit"), values: &["score", "changes"] },
            Series { part: Some("in_flight"), values: &["inflight_oscillation"] },
        ],
        formula: "p95 over 60 s of abs(ln(limit + 1) - ln(limit 100 ms ago + 1)), changes = how often it changed; \
         inflight_oscillation = the same over the peak in flight of each step",
        arms: &[Run, Kernel, Observe],
        n_min: minimum::STEPS,
        playbooks: &["002"],
        basis: Exact,
        advice: "A limit that hunts makes the wire hunt: fix it.",
        available: true,
    },
    Definition {
        name: "tx_stall_rate",
        unit: "1/s",
        place: Port,
        series: &[Series { part: None, values: &["rate", "starvation_rate", "stall_time_ns"] }],
        formula: "times without a completion for stall_time with bytes in flight, per second; \
         starvation_rate = limit reached while the ring had drained; stall_time_ns = the threshold",
        arms: &[Run, Kernel, Observe],
        n_min: 0,
        playbooks: &["002"],
        basis: Exact,
        advice: "Stalls: look at the device and its link. Starvations: the limit is below what completion \
         batches need; raise it.",
        available: true,
    },
    Definition {
        name: "wire_cadence_variability_ns",
        unit: "ns",
        place: Class,
        series: &[Series { part: None, values: &["p50", "p95", "p99", "max", "share_p95"] }],
        formula: "abs(gap at the wire - gap of due times) in a flow, where the due gap is at most 4 \
         cadences (10 ms without); share_p95 = p95 / cadence",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["002"],
        basis: Exact,
        advice: "The wire does not keep the sender's rhythm: see hold in dispatch_to_wire_ns, then stalls \
         and pacer_error_ns.",
        available: true,
    },
];
