//! Frames and captures for tests: builders that write what a test says and nothing else; and the
//! product's commands as a user runs them.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod captures;
pub mod commands;
pub mod frames;
pub mod rows;
