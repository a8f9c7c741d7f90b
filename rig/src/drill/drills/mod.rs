//! The drills, one file each.

mod self_excitation;
mod stall_threshold;

use super::Drill;

/// Every drill, in the order of the playbooks.
pub(super) static ALL: &[&Drill] = &[&stall_threshold::DRILL, &self_excitation::DRILL];
