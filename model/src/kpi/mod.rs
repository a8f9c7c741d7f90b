//! KPI arithmetic: from times of packets to named figures. Pure: no I/O, no clock, no lock.
//!
//! In the order of use:
//! 1. [`KpiPlan`] says which classes and ports a core has; [`CoreAggregates`] is what the core
//!    updates for every packet (tier 1, exact).
//! 2. Each tick control gets a full [`Block`] by [`CoreAggregates::swap`] and adds it to its own by
//!    [`Block::merge`]. Windows that are still open stay with the core, so none is cut by a tick.
//! 3. [`Sampled`] adds up sample rows (tier 2).
//! 4. [`Report::build`] turns plan, block and samples into named [`Entry`]s; every interface shows
//!    these and nothing else.
//!
//! [`catalogue`] defines every KPI. docs/kpis.md explains them.

mod block;
pub mod catalogue;
mod core;
mod figures;
mod histogram;
pub mod kernel;
mod leaving;
pub mod minimum;
mod open;
mod oscillation;
mod plain;
mod plan;
mod report;
mod sampled;
mod shape;
mod tally;
mod windows;

pub use block::{AdmittedMax, Block, Cell, CoreUse, Count, PortBlock, Totals};
pub use core::{CoreAggregates, Departure, InFlight};
pub use histogram::{Histogram, OVERFLOW, Quantile};
pub use leaving::{Leaving, PlainBurst};
pub use open::FlowKpi;
pub use oscillation::{Oscillation, QueueSteps, STEP};
pub use plan::{
    CANARY, CONTROL, ClassPlan, CompletionFigures, KpiPlan, LimitPlan, PortPlan, URGENT,
};
pub use report::{Basis, Entry, Inputs, Labels, Report, SampleLoss, Sources, Switches, View};
pub use sampled::{
    AckShare, AckShares, AckTotals, CausalityTotals, Coupled, CouplingTotals, Divergence,
    ExactAgainTotals, FeedTotals, LevelTotals, Phase, RunTotals, Sampled, SampledCell, SampledPort,
    Spread, TimingTotals, Urgencies,
};
pub use shape::Shape;
pub use tally::{BelowQueue, Levels, LimitTally, Tallies, Tally};
pub use windows::{BurstTotals, BurstWindows, Burstiness, burst_window};

/// Why a value is absent: the words that stand in JSON beside `null`.
pub mod absent {
    /// No packet of the class ended in the interval.
    pub const NO_PACKETS: &str = "no_packets";
    /// Fewer packets than the quantile or the KPI needs.
    pub const N_TOO_SMALL: &str = "n_too_small";
    /// More than 0.1 % of the due times missed their window.
    pub const LATE_DUE: &str = "late_due";
    /// The quantile lies beyond the range of the histogram.
    pub const BEYOND_RANGE: &str = "beyond_range";
    /// Due times of different sources are in the interval; they are never mixed.
    pub const MIXED_INTENT: &str = "mixed_intent";
    /// No packet said when the sender wanted it out.
    pub const NO_INTENT: &str = "no_intent";
    /// No level has a cap.
    pub const UNLIMITED: &str = "unlimited";
    /// No profile was given, so no cap is known.
    pub const NO_PROFILE: &str = "no_profile";
    /// The port completes inside its send call and has no link model.
    pub const SYNCHRONOUS: &str = "synchronous";
    /// No limit of this kind is configured.
    pub const NO_LIMIT: &str = "no_limit";
    /// More than 0.1 % of the samples were lost.
    pub const SAMPLES_LOST: &str = "samples_lost";
    /// No samples were given.
    pub const NO_SAMPLES: &str = "no_samples";
    /// Rows of single packets are missing: the KPI needs every packet of the class.
    pub const NOT_EVERY_PACKET: &str = "not_every_packet";
    /// No packet said when the strategy decided.
    pub const NO_DECISION: &str = "no_decision";
    /// The class has no cadence.
    pub const NO_CADENCE: &str = "no_cadence";
    /// The kinds of the class's packets are not told apart.
    pub const NO_KIND: &str = "no_kind";
    /// The rate of the port's link is not known.
    pub const NO_LINK_RATE: &str = "no_link_rate";
    /// No class carries a feed of market data.
    pub const NO_FEED: &str = "no_feed";
    /// Arrivals were stamped after something may have bunched them.
    pub const COALESCED_STAMPS: &str = "coalesced_stamps";
    /// Nobody has frozen a baseline yet.
    pub const NO_BASELINE: &str = "no_baseline";
    /// What the figure divides by does not vary.
    pub const NO_VARIATION: &str = "no_variation";
    /// No packet had an urgency above 0.
    pub const NO_URGENCY: &str = "no_urgency";
    /// Nothing waited.
    pub const NO_BACKLOG: &str = "no_backlog";
    /// No profile was switched.
    pub const NO_SWITCH: &str = "no_switch";
    /// The interval has no length, or nothing was measured in it.
    pub const NO_INTERVAL: &str = "no_interval";
    /// The driver of the interface keeps no byte limit (byte_queue_limits).
    pub const NO_BQL: &str = "no_bql";
    /// The kernel counts no stalls of a TX queue: older than 6.9, or `stall_thrs` is 0.
    pub const NO_STALL_DETECTOR: &str = "no_stall_detector";
    /// No socket that was chosen is there.
    pub const NO_SOCKET: &str = "no_socket";
    /// No thread that was chosen is there.
    pub const NO_THREAD: &str = "no_thread";
    /// When the sender handed over is not known: nobody captures where it does.
    pub const NO_DISPATCH: &str = "no_dispatch";
    /// When the sender wanted it out is not known.
    pub const NO_DUE_TIME: &str = "no_due_time";
    /// Nothing on the interface holds packets: no queueing discipline, or `noqueue`.
    pub const NO_QUEUE: &str = "no_queue";
    /// The byte limits show what is in flight when they are looked at, not when bytes completed.
    pub const NO_COMPLETION_TIMES: &str = "no_completion_times";
    /// Nobody reads a hardware counter of cycles on this path.
    pub const NO_CYCLE_COUNTER: &str = "no_cycle_counter";
    /// The kernel does not tell.
    pub const NOT_TOLD: &str = "not_told";
}
