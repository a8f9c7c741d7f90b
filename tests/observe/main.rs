//! `wirepace observe` on a veth pair: what it says under load, whether others say the same, and what a
//! host that forwards adds. Needs root and ip; else the tests say that they are skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agreement;
mod clumps;
mod forwarding;
mod gone;
mod load;
#[path = "../live/sandbox.rs"]
mod sandbox;
mod surfaces;
