//! The drills, one file each.

mod containment_failover;
mod stall_threshold;
mod stop_words;

use super::Drill;

/// Every drill, in the order of the playbooks.
pub(super) static ALL: &[&Drill] =
    &[&containment_failover::DRILL, &stall_threshold::DRILL, &stop_words::DRILL];
