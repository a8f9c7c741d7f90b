//! Frames and captures for tests: builders that write what a test says and nothing else.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod captures;
pub mod frames;
