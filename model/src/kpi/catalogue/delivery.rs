//! Playbook 004: what is delivered, and what follows it.

use super::Arm::{Kernel, Observe, Replay, Run};
use super::Place::{InsidePort, Port, VenueClass};
use super::values::{SPREAD, SPREAD_SIGNED};
use super::{Definition, Series};
use crate::kpi::Basis::{Exact, Sampled};
use crate::kpi::minimum;

pub(super) const KPIS: &[Definition] = &[
    Definition {
        name: "delivery_delay_ns",
        unit: "ns",
        place: VenueClass,
        series: &[
            Series { part: Some("market_data"), values: SPREAD_SIGNED },
            Series { part: Some("control"), values: SPREAD_SIGNED },
        ],
        formula: "delivery - ingress; market data and control apart",
        arms: &[Run, Replay, Kernel],
        n_min: 0,
        playbooks: &["004"],
        basis: Sampled,
        advice: "Receive holds are too long, or the core polls too seldom.",
        available: true,
    },
    Definition {
        name: "market_data_distortion_ratio",
        unit: "1",
        place: VenueClass,
        series: &[Series { part: None, values: &["ratio", "delivery_p95_ns", "ingress_p95_ns"] }],
        formula: "p95 of gaps between distinct deliveries / p95 of gaps between distinct arrivals; instants nearer than 1 us, or \
         the stamp error, are one",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::OF_P95,
        playbooks: &["004"],
        basis: Sampled,
        advice: "Delivery stretches time: lower rx hold_frames and hold_time of market-data queues.",
        available: true,
    },
    Definition {
        name: "burst_delivery_concentration",
        unit: "1",
        place: VenueClass,
        series: &[Series {
            part: None,
            values: &["concentration", "excess", "windows", "window_ns"],
        }],
        formula: "burstiness of deliveries; excess = that / burstiness of arrivals",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["004"],
        basis: Exact,
        advice: "As market_data_distortion_ratio.",
        available: true,
    },
    Definition {
        name: "decision_burst_coupling",
        unit: "1",
        place: VenueClass,
        series: &[Series { part: None, values: &["coupling", "ingress", "excess", "lag_windows"] }],
        formula: "max over lags of 0 to 8 windows of 250 us of the correlation of delivered market data and orders handed over; \
         ingress = with arrivals; excess = the difference",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ACTIVE_WINDOWS,
        playbooks: &["004"],
        basis: Sampled,
        advice: "Orders follow the delivery batches: shorten holds, smooth order release.",
        available: true,
    },
    Definition {
        name: "causality_drift",
        unit: "1",
        place: InsidePort,
        series: &[Series { part: None, values: &["drift"] }],
        formula: "control packets whose order with a market-data packet that arrived within 1 ms differs between arrival and \
         delivery / control packets with such a packet",
        arms: &[Run, Replay, Kernel],
        n_min: minimum::ROW,
        playbooks: &["004"],
        basis: Sampled,
        advice: "Feedback and data are reordered: treat signals that need their order as weak until it \
         falls.",
        available: true,
    },
    Definition {
        name: "ingest_gap_ns",
        unit: "ns",
        place: VenueClass,
        series: &[Series { part: None, values: SPREAD }],
        formula: "gaps between deliveries to the application",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["004"],
        basis: Sampled,
        advice: "As market_data_distortion_ratio.",
        available: true,
    },
    Definition {
        name: "rx_burst_packets",
        unit: "packets",
        place: Port,
        series: &[Series { part: None, values: SPREAD }],
        formula: "packets of each poll that received any",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["004"],
        basis: Exact,
        advice: "The core comes too seldom or the feed comes in clumps; compare with arrival stamps.",
        available: true,
    },
];
