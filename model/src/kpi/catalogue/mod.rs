//! Every KPI as data: what it is, how it is computed, and what to do when it moves the wrong way.
//!
//! `wirepace kpis` prints [`all`]. A KPI with `available = false` is defined, so that its name and
//! its formula are settled, but this version does not compute it.

mod at_normal;
mod outcome;
mod transport;

use super::report::Basis;

/// Where a KPI is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// A live run of the gateway.
    Run,
    /// A replay in virtual time.
    Replay,
    /// The kernel arm of an A/B comparison.
    Kernel,
    /// Observation of a production host.
    Observe,
    /// Offline, from timelines and fills.
    Analysis,
}

impl Arm {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Replay => "replay",
            Self::Kernel => "kernel",
            Self::Observe => "observe",
            Self::Analysis => "analysis",
        }
    }
}

/// The definition of one KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name in JSON and in metrics.
    pub name: &'static str,
    /// Unit of its values; `1` = a ratio or an index.
    pub unit: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Where it is defined.
    pub arms: &'static [Arm],
    /// Fewest observations that carry it. Quantile q needs `10 / (1 - q)` besides.
    pub n_min: u64,
    /// Playbooks that ask for it: `000` pacing, `001` segmentation, `002` byte queue limits, `003`
    /// autocorking, `004` receive coalescing; else `gates`, `safety`, `all`; empty = engineering.
    pub playbooks: &'static [&'static str],
    /// From every packet, or from samples.
    pub basis: Basis,
    /// What to do when it rises (or falls, where lower is worse).
    pub advice: &'static str,
    /// This version computes it, in every arm that `arms` names and that this version has.
    pub available: bool,
}

/// Every definition: transport KPIs in the order of the catalogue, the same at `normal`, then outcome KPIs.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    transport::TRANSPORT.iter().chain(at_normal::AT_NORMAL).chain(outcome::OUTCOME)
}

/// The definition of `name`.
pub fn find(name: &str) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name)
}

/// The whole catalogue, for `wirepace kpis --json`.
pub fn json() -> serde_json::Value {
    all()
        .map(|definition| {
            let arms: Vec<_> = definition.arms.iter().map(|arm| arm.name()).collect();
            serde_json::json!({
                "name": definition.name,
                "unit": definition.unit,
                "formula": definition.formula,
                "where": arms,
                "n_min": definition.n_min,
                "playbooks": definition.playbooks,
                "basis": definition.basis.name(),
                "advice": definition.advice,
                "available": definition.available,
            })
        })
        .collect()
}
