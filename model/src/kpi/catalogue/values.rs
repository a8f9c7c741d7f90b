//! Names of values that several KPIs have.

use crate::drop_reason::DropReason;

/// Of what has a distribution.
pub(super) const SPREAD: &[&str] = &["p50", "p95", "p99", "max"];
/// The same, with a count of what was below 0.
pub(super) const SPREAD_SIGNED: &[&str] = &["p50", "p95", "p99", "max", "negative"];
/// Of what every packet has.
pub(super) const DELAY: &[&str] = &["p50", "p95", "p99", "p999", "max"];
/// The same, with a count of what was below 0.
pub(super) const DELAY_SIGNED: &[&str] = &["p50", "p95", "p99", "p999", "max", "negative"];
/// Of a level.
pub(super) const LEVEL: &[&str] = &["p50", "p95", "max"];

/// The same, with its mean over time.
pub(super) const LEVEL_MEAN: &[&str] = &["p50", "p95", "max", "mean"];

/// All that were dropped, and those of each reason.
pub(super) const DROPS: [&str; DropReason::COUNT + 1] = {
    let mut names = ["packets"; DropReason::COUNT + 1];
    let mut at = 0;
    while at < DropReason::COUNT {
        names[at + 1] = DropReason::ALL[at].name();
        at += 1;
    }
    names
};
