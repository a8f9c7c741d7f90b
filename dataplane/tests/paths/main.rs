//! A lane with two paths in virtual time: what moves, when, and what never does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "ports and frames are those of the tests of `worker`")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../worker/frames.rs"]
mod frames;
mod limits;
mod moves;
#[path = "../worker/ports.rs"]
mod ports;
mod refusals;
mod world;
