//! The verdict and the report, over made-up runs in which it is known what differs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod made_up;
mod report;
mod statistics;
mod verdict;
