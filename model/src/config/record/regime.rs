//! `[regime]`.

use crate::regime::{Logistic, Machine};
use crate::time::Nanos;

/// The mode of the control loop at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// KPIs and baselines only.
    Observe,
    /// Decides and logs.
    Shadow,
    /// Governs a few ordering groups of the allowed classes; at start in virtual time only.
    Canary,
    /// Governs the allowed classes; at start in virtual time only.
    Active,
}

/// `[regime]`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Regime {
    /// Mode at start.
    pub mode: StartMode,
    /// Length of a tick.
    pub tick: Nanos,
    /// Indices of the classes whose profile automation may change.
    pub allow: Vec<usize>,
    /// A scope without traffic for so long comes down.
    pub absent_release: Nanos,
    /// How long an operator's pin of a state or a profile lasts.
    pub pin: Nanos,
    /// Oldest baselines and calibration that automation goes by.
    pub max_age: Nanos,
    /// File of the frozen baselines, `None` = not kept.
    pub baselines: Option<String>,
    /// Share of its queue budget above which the backlog of a class is past its guard, ppm.
    pub guard_budget_ppm: u32,
    /// Classes of this priority or before it go first then.
    pub guard_priority: u8,
    /// Share of the ordering groups that a canary governs, ppm, at most 10 %.
    pub canary_share_ppm: u32,
    /// Replaces per second that `smooth` leaves to each class of that kind, where it is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn_cap_per_s: Option<u64>,
    /// Length of a block of a switchback.
    pub switchback_block: Nanos,
    /// Sessions that a canary needs before it is promoted.
    pub sessions_min: u32,
    /// Parent orders in each arm.
    pub parents_min: u32,
    /// Trading days.
    pub days_min: u32,
    /// Coefficients of `p_compressed_drain`.
    pub compressed_drain: Option<Logistic>,
    /// The machines that run.
    pub machines: Vec<Machine>,
}
