//! What to change: for each cost that is identified and above 0, what its playbook does about it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::outcome::Headline;

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The KPI that asks for it.
    pub kpi: &'static str,
    /// What it costs as it is, bps.
    pub cost_bps: f64,
    /// What to do.
    pub what: &'static str,
}

/// What the gateway has against each.
const WHAT: [(&str, &str); 9] = [
    (
        "QLP",
        "Pace by tactic: a cap for passive and one for urgent orders; let pacing advise or apply anti_burst.",
    ),
    (
        "BTU",
        "Switch TSO and GSO off towards the venue or let the gateway cut (segment), and let segmentation apply smooth.",
    ),
    (
        "BOT",
        "Bound the bytes in flight of the venue port (inflight_limit), and let byte_queue apply smooth and anti_burst.",
    ),
    (
        "CCMD",
        "Write in explicit micro-batches and look into autocorking and TCP_NOTSENT_LOWAT of the senders; let drain apply anti_burst.",
    ),
    (
        "CTE_1",
        "Lower rx-usecs and rx-frames of the feed's queue or take its RX holds off; let delivery apply anti_burst to the orders that follow (widen).",
    ),
    ("CTE_5", "As for CTE_1: part of it still shows after 5 s."),
    ("CTE_30", "As for CTE_1: part of it lasts."),
    (
        "fill_ratio_delta",
        "Passive orders lose their place in bursts: smooth cadence, less replace churn while BURSTING.",
    ),
    (
        "completion_delta",
        "Parents that begin in a compressed drain complete less: reserve for exempt kinds, urgency of those parents, contain earlier.",
    ),
];

/// The dearest first.
pub fn changes(kpis: &BTreeMap<&'static str, Headline>) -> Vec<Change> {
    let mut changes: Vec<Change> = WHAT
        .iter()
        .filter_map(|&(kpi, what)| {
            let headline = kpis.get(kpi).filter(|headline| headline.identified)?;
            let is_cost = headline.mean.ci_low? > 0.0;
            is_cost.then_some(Change { kpi, cost_bps: headline.mean.cost_bps?, what })
        })
        .collect();
    changes.sort_by(|a, b| b.cost_bps.total_cmp(&a.cost_bps));
    changes
}
