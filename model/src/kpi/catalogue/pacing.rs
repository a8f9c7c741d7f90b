//! Playbook 000: caps and pacing of the send path.

use super::Arm::{Kernel, Observe, Replay, Run};
use super::Place::Class;
use super::values::{DELAY, DELAY_SIGNED, LEVEL, SPREAD};
use super::{Definition, Series};
use crate::kpi::Basis::{Exact, Sampled};
use crate::kpi::minimum;

pub(super) const KPIS: &[Definition] = &[
    Definition {
        name: "dispatch_to_wire_ns",
        unit: "ns",
        place: Class,
        series: &[
            Series { part: Some("total"), values: DELAY_SIGNED },
            Series { part: Some("hold"), values: DELAY },
            Series { part: Some("rest"), values: DELAY_SIGNED },
            Series { part: Some("due_wait"), values: DELAY },
        ],
        formula: "t_wire - t_dispatch; parts: due_wait = max(0, t_due - arrival), hold = t_sched - \
         max(arrival, t_due), rest = total - due_wait - hold",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: 0,
        playbooks: &["000"],
        basis: Exact,
        advice: "See which part rose. hold: a cap is tight (pacing_headroom names the level). rest: the \
         port, the link or a late core (pacer_error_ns, tx_stall_rate, core_busy_ratio).",
        available: true,
    },
    Definition {
        name: "release_error_ns",
        unit: "ns",
        place: Class,
        series: &[
            Series { part: Some("late"), values: SPREAD },
            Series { part: Some("early"), values: SPREAD },
        ],
        formula: "t_wire - t_due; late and early are two series",
        arms: &[Run, Replay, Kernel],
        n_min: 0,
        playbooks: &["000"],
        basis: Exact,
        advice: "Late: as dispatch_to_wire_ns. Early must be empty unless a passthrough or a drain was \
         on.",
        available: true,
    },
    Definition {
        name: "pacer_error_ns",
        unit: "ns",
        place: Class,
        series: &[Series { part: None, values: &["p50", "p95", "p99", "max", "early"] }],
        formula: "t_tx - t_eligible of governed releases; early counts negative ones of any release",
        arms: &[Run, Replay],
        n_min: 0,
        playbooks: &[],
        basis: Exact,
        advice: "The pacer gets its turn late: smaller slot, fewer flows per core, a quieter core. early \
         above 0 is a defect: report it.",
        available: true,
    },
    Definition {
        name: "burstiness_index",
        unit: "1",
        place: Class,
        series: &[Series {
            part: None,
            values: &["bi", "peak_to_mean", "excess", "windows", "window_ns"],
        }],
        formula: "BI = max over windows of N_w / sum of N_w at the wire; peak_to_mean = BI x eligible \
         windows; excess = BI(t_wire) / BI(t_due) of the same packets",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["000"],
        basis: Exact,
        advice: "excess above 1: something between the sender and the wire bunches packets. Tighten burst \
         of the class or its flows; look for stalls.",
        available: true,
    },
    Definition {
        name: "pacing_headroom",
        unit: "1",
        place: Class,
        series: &[Series { part: None, values: &["headroom", "of_flow", "of_class", "of_port"] }],
        formula: "1 - max over levels of admitted rate in 100 ms / cap, 0 to 1; kernel: 1 - pacing_rate / \
         max_pacing_rate",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: 0,
        playbooks: &["000"],
        basis: Exact,
        advice: "Lower is worse. Near 0 the cap shapes the flow, not the strategy: raise the level that \
         binds, or slow the sender.",
        available: true,
    },
    Definition {
        name: "cap_hit_ratio",
        unit: "1",
        place: Class,
        series: &[Series { part: None, values: &["ratio", "urgent", "urgent_n"] }],
        formula: "packets that a bucket held / packets; urgent: the same for urgency of at least 192; kernel: samples of \
         sockets with pacing_rate of at least 0.98 max_pacing_rate / samples",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: minimum::ROW,
        playbooks: &["000"],
        basis: Exact,
        advice: "Caps are too tight for the flow. urgent rising first: give urgent tactics a class of \
         their own.",
        available: true,
    },
    Definition {
        name: "send_queue_bytes",
        unit: "bytes",
        place: Class,
        series: &[Series { part: None, values: LEVEL }],
        formula: "wire bytes of the class accepted and not yet departed, as seen by arriving packets; kernel: sampled bytes \
         not sent by sockets, in the queueing discipline and in the driver, each a part",
        arms: &[Run, Replay, Kernel, Observe],
        n_min: 0,
        playbooks: &["000"],
        basis: Sampled,
        advice: "The sender outruns the caps: heed backpressure, or raise the cap. Growing without bound \
         ends at max_hold.",
        available: true,
    },
];
