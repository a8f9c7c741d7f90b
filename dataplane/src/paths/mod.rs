//! Two paths of one pair: what both lanes of the pair have to know, and how a path is probed.
//!
//! The lane towards the venue sends by either path ([`crate::lane`] decides which), the lane back
//! receives from both ([`crate::port::in_turn`]).

mod connections;
mod probe;

pub use connections::{Connections, Sent};
pub use probe::{Probe, ProbeRx, ProbeSpec};
