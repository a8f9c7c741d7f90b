//! Parents by branch, after playbook 004: TIMELY, BURST-SYNC, LATE-RECOVERY.

use std::collections::BTreeMap;

use estimate::chain::{expected_cost, rising};
use serde::Serialize;

use crate::join::Units;
use crate::outcome::thirds;

/// Share of a parent that is still open at its last child in a late recovery.
const OPEN_MIN: f64 = 0.5;
/// Share of its children that were decided in bursts of delivery in a burst-sync.
const BURSTS_MIN: f64 = 0.5;

/// The rule, as it is applied.
pub const RULE: &str = "LATE-RECOVERY: some child was decided in a window whose burst_delivery_concentration.excess \
    is in the top third, and at the last child, which is aggressive, at least half of the target was open. Else \
    BURST-SYNC: at least half of the children were decided in such windows. Else TIMELY.";

/// A branch.
#[derive(Clone, Debug, Serialize)]
pub struct Branch {
    /// Its name.
    pub name: &'static str,
    /// Parents.
    pub parents: u64,
    /// Of all.
    pub share: f64,
    /// Mean shortfall of the parents, bps: as it was, nothing is matched.
    pub cost_bps: Option<f64>,
}

/// All branches.
#[derive(Clone, Debug, Serialize)]
pub struct Branches {
    /// How a parent is assigned.
    pub rule: &'static str,
    /// TIMELY, BURST-SYNC, LATE-RECOVERY.
    pub branches: Vec<Branch>,
    /// E\[C\], bps.
    pub expected_cost_bps: Option<f64>,
    /// C_T < C_B < C_L.
    pub costs_rise: Option<bool>,
}

#[derive(Default)]
struct Parent {
    children: u32,
    in_bursts: u32,
    last: (i64, usize),
}

/// Assigns each parent.
pub fn branches(units: &Units) -> Branches {
    let bursts = thirds(units.feature("bdc"));
    let mut parents: BTreeMap<i64, Parent> = BTreeMap::new();
    for (i, burst) in bursts.iter().enumerate() {
        let parent = parents.entry(units.parent[i]).or_default();
        parent.children += 1;
        parent.in_bursts += u32::from(*burst == Some(true));
        parent.last = parent.last.max((units.t_decision[i], i));
    }
    let mut counts = [0_u64; 3];
    let mut costs = [(0.0, 0_u64); 3];
    for parent in parents.values() {
        let last = parent.last.1;
        let is_late =
            parent.in_bursts > 0 && !units.passive[last] && units.residual[last] >= OPEN_MIN;
        let in_bursts = f64::from(parent.in_bursts) >= BURSTS_MIN * f64::from(parent.children);
        let branch = if is_late { 2 } else { usize::from(in_bursts) };
        counts[branch] += 1;
        if let Some(cost) = shortfall(units, last) {
            costs[branch].0 += cost;
            costs[branch].1 += 1;
        }
    }
    let costs = costs.map(|(total, n)| (n > 0).then(|| total / n as f64));
    let all: u64 = counts.iter().sum();
    let branches = ["TIMELY", "BURST-SYNC", "LATE-RECOVERY"]
        .into_iter()
        .zip(counts)
        .zip(costs)
        .map(|((name, parents), cost_bps)| Branch {
            name,
            parents,
            share: parents as f64 / all.max(1) as f64,
            cost_bps,
        })
        .collect();
    Branches {
        rule: RULE,
        branches,
        expected_cost_bps: expected_cost(&counts, &costs),
        costs_rise: rising(&costs),
    }
}

/// Shortfall of the parent of a unit over its whole target.
fn shortfall(units: &Units, i: usize) -> Option<f64> {
    let completion = units.completion[i];
    let paid = if completion > 0.0 { completion * units.parent_paid[i]? } else { 0.0 };
    let open = if completion < 1.0 { (1.0 - completion) * units.parent_at_end[i]? } else { 0.0 };
    Some(paid + open)
}
