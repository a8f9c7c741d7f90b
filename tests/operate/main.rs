//! What an operator does with a running gateway: a process of its own on devices without a NIC. Bounds
//! on time are wide: whatever else runs may have the CPU.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../live/config.rs"]
#[allow(dead_code, reason = "each test uses its share")]
mod config;
#[path = "../live/gateway.rs"]
#[allow(dead_code, reason = "each test uses its share")]
mod gateway;

mod kill;
mod live_config;
mod look;
mod place;
mod report;
mod signals;
mod surfaces;
