//! KPIs that need fills: what transport costs in execution. Computed offline.

use super::{Arm, Definition, Place};
use crate::kpi::Basis;

const fn outcome(
    name: &'static str,
    unit: &'static str,
    formula: &'static str,
    playbooks: &'static [&'static str],
    advice: &'static str,
) -> Definition {
    Definition {
        name,
        unit,
        place: Place::Host,
        series: &[],
        formula,
        arms: &[Arm::Analysis],
        n_min: 0,
        playbooks,
        basis: Basis::Exact,
        advice,
        available: false,
    }
}

pub(super) const OUTCOME: &[Definition] = &[
    outcome(
        "queue_loss_proxy",
        "bp",
        "mean fill quality of orders with high dispatch_to_wire and high burstiness, less that of \
         orders with both low",
        &["000"],
        "A fall means that transport costs queue position: look at dispatch_to_wire and burstiness \
         excess of the same classes.",
    ),
    outcome(
        "burst_tax_uplift",
        "bp",
        "shortfall that windows with segmentation bursts add over matched windows without",
        &["001"],
        "Tighten the segmentation posture and the per-flush fan-out of the classes that pay it.",
    ),
    outcome(
        "bql_oscillation_tax",
        "bp",
        "tail shortfall of windows with an oscillating or stalling TX queue, less that of matched \
         stable windows",
        &["002"],
        "Fix the in-flight limit, then look for the stalls behind it.",
    ),
    outcome(
        "compression_conditioned_markout_delta",
        "bp",
        "markout after fills in compressed-drain windows, less that of matched smooth windows",
        &["003"],
        "Cap fan-out per flush; find out why the sender's bytes wait.",
    ),
    outcome(
        "coalescing_tax",
        "bp",
        "markout in windows of high delivery concentration, less that in windows of low, at 1, 5 \
         and 30 s",
        &["004"],
        "Lower receive holds of market-data queues.",
    ),
    outcome(
        "fill_ratio_delta",
        "1",
        "fill ratio of the governed group less that of the control group",
        &["gates"],
        "A fall below the gate rolls the change back.",
    ),
    outcome(
        "completion_delta",
        "1",
        "completed share of parent orders, governed group less control group",
        &["gates"],
        "A fall below the gate rolls the change back.",
    ),
    outcome(
        "expected_branch_cost",
        "bp",
        "sum over branches of probability x mean cost, one model for each playbook",
        &["000", "004"],
        "See which branch became likelier: its transport KPIs say why.",
    ),
    outcome(
        "is_final",
        "bp",
        "baseline shortfall in clean conditions plus the transport overlay",
        &["001"],
        "Compare the overlay, not the sum: the baseline moves with the market.",
    ),
    outcome(
        "is_cork",
        "bp",
        "a x p95 of not_sent_bytes + b x flush_compression_index + c x burst_drain_ratio + d x \
         child_join_delay + e x not_sent_urgency_divergence, coefficients calibrated",
        &["003"],
        "The largest term names the KPI to work on.",
    ),
];
