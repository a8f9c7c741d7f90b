//! Fewest observations that a KPI is made of: the catalogue names them, and figures below them are absent. Quantile
//! q needs `10 / (1 - q)` besides.

use super::histogram::Quantile;

/// Packets, gaps, bursts or polls of most KPIs.
pub const ROW: u64 = 30;
/// Of a KPI that is made of p95 alone.
pub const OF_P95: u64 = Quantile::P95.n_min();
/// Pairs of acknowledgements.
pub const ACK_PAIRS: u64 = 200;
/// Completions that say how the queue drains.
pub const DRAINS: u64 = 100;
/// Eligible windows of `burst_drain_ratio`.
pub const DRAIN_WINDOWS: u64 = 100;
/// Steps of an oscillation.
pub const STEPS: u64 = 100;
/// TCP segments.
pub const SEGMENTS: u64 = 100;
/// Windows in which a feed was active.
pub const ACTIVE_WINDOWS: u64 = 50;
