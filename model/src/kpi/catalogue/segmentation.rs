//! Playbook 001: what segmentation and acknowledgements make of a schedule.

use super::Arm::{Kernel, Observe, Replay, Run};
use super::Place::{Class, InsideClass, Port};
use super::values::{LEVEL, SPREAD, SPREAD_SIGNED};
use super::{Definition, Series};
use crate::kpi::Basis::{Exact, Sampled};
use crate::kpi::minimum;

pub(super) const KPIS: &[Definition] = &[
    Definition {
        name: "segmentation_burst_factor",
        unit: "1",
        place: InsideClass,
        series: &[Series { part: None, values: &["factor", "envelope", "median_1s", "max_1s"] }],
        formula: "max over windows of bytes at the wire / the same at t_due; envelope = max bytes in a \
         window / (burst + rate x w); median_1s, max_1s = of the values of each second since the start",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["001"],
        basis: Exact,
        advice: "Frames are cut into bursts: cut earlier, release segments apart, tighten the burst of \
         the flow.",
        available: true,
    },
    Definition {
        name: "wire_serialization_ns",
        unit: "ns",
        place: InsideClass,
        series: &[Series { part: None, values: SPREAD }],
        formula: "wire time of the bytes ahead of a packet in its burst; a burst is a run with gaps below \
         1.2 wire times",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["001"],
        basis: Sampled,
        advice: "Packets stand behind others of their burst: lower burst or fan-out per flush, or move \
         bulk to another class.",
        available: true,
    },
    Definition {
        name: "ack_compression_ratio",
        unit: "1",
        place: InsideClass,
        series: &[Series {
            part: None,
            values: &["ratio", "share", "baseline", "in_one_burst", "not_followed"],
        }],
        formula: "share of gaps between acknowledgements of new data below 0.75 of the gap of their data / that share in the \
         class's frozen baseline, at least 0.01",
        arms: &[Run, Kernel, Observe],
        n_min: minimum::ACK_PAIRS,
        playbooks: &["001"],
        basis: Sampled,
        advice: "Feedback arrives in clumps: damp reactions to acknowledgements, look at the receive path \
         and the venue's side.",
        available: true,
    },
    Definition {
        name: "cadence_phase_error",
        unit: "1",
        place: InsideClass,
        series: &[Series { part: None, values: &["p95", "max", "drift", "coherence"] }],
        formula: "p95 of the distance of t_wire and t_due on a circle of one cadence, over the cadence: 0 to 0.5 (0.475 = no \
         relation); drift = circular mean of t_wire - t_due over the cadence, coherence = length of the mean arrow",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["001"],
        basis: Sampled,
        advice: "The flow lost its phase: read release_error_ns beside it, because lags of whole periods \
         read 0.",
        available: true,
    },
    Definition {
        name: "burst_bytes",
        unit: "bytes",
        place: InsideClass,
        series: &[Series { part: None, values: SPREAD }],
        formula: "bytes in each burst, by the burst rule of wire_serialization_ns",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["001"],
        basis: Sampled,
        advice: "As wire_serialization_ns.",
        available: true,
    },
    Definition {
        name: "segments_per_superframe",
        unit: "1",
        place: Class,
        series: &[Series { part: None, values: &["mean", "p99", "max"] }],
        formula: "wire frames made of each frame received",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: 0,
        playbooks: &["001"],
        basis: Exact,
        advice: "The sender's offloads make larger frames: turn them off at the sender or tighten the \
         segmentation posture.",
        available: true,
    },
    Definition {
        name: "tx_queue_occupancy",
        unit: "packets, bytes",
        place: Port,
        series: &[
            Series { part: Some("packets"), values: &["p50", "p95", "max", "share_max"] },
            Series { part: Some("bytes"), values: LEVEL },
            Series { part: Some("queued_for_time"), values: &["last", "max"] },
            Series { part: Some("eligible"), values: &["last", "max"] },
        ],
        formula: "packets and wire bytes below the TX queue at each poll that sent or completed; queued_for_time = \
         bytes whose launch time has not come, eligible = bytes that the NIC may send, last and most",
        arms: &[Run, Kernel, Observe],
        n_min: 0,
        playbooks: &["001"],
        basis: Exact,
        advice: "The device drains slower than it is fed: lower the in-flight limit, so that waiting \
         happens where it can be ordered.",
        available: true,
    },
    Definition {
        name: "drain_interval_jitter_ns",
        unit: "ns/byte",
        place: Port,
        series: &[Series { part: None, values: &["value"] }],
        formula: "p95 - p50 of time since the last completion / bytes completed",
        arms: &[Run, Kernel, Observe],
        n_min: minimum::DRAINS,
        playbooks: &["001"],
        basis: Exact,
        advice: "Completions come unevenly: completion batches, shared links, or a busy device.",
        available: true,
    },
    Definition {
        name: "decision_to_wire_ns",
        unit: "ns",
        place: InsideClass,
        series: &[Series { part: None, values: SPREAD_SIGNED }],
        formula: "t_wire - t_decision; absent where the decision time is not known",
        arms: &[Run, Replay, Kernel],
        n_min: 0,
        playbooks: &["001", "003"],
        basis: Sampled,
        advice: "Compare with dispatch_to_wire_ns: the difference is the strategy's own.",
        available: true,
    },
    Definition {
        name: "wire_to_ack_ns",
        unit: "ns",
        place: InsideClass,
        series: &[Series {
            part: None,
            values: &["p50", "p95", "p99", "max", "slope", "negative"],
        }],
        formula: "first acknowledgement that covers a segment - t_wire, segments sent once only; slope = \
         (p99 - p95) / (p95 - p50)",
        arms: &[Run, Kernel, Observe],
        n_min: minimum::ACK_PAIRS,
        playbooks: &["001"],
        basis: Sampled,
        advice: "Beyond the gateway: the path, or the venue.",
        available: true,
    },
    Definition {
        name: "churn_burst_index",
        unit: "1",
        place: InsideClass,
        series: &[Series { part: None, values: &["excess", "bi", "intent"] }],
        formula: "burstiness_index excess over cancels and replaces; intent = burstiness of their t_dispatch",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["001"],
        basis: Sampled,
        advice: "intent high: the strategy churns in bursts. Only excess high: the path bunches it.",
        available: true,
    },
];
