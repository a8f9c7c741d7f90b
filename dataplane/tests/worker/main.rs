//! The worker in virtual time: real lanes, classifier, pacer, in-flight account and stop page, between
//! ports that a test steps. Unless a test says otherwise there is no control thread at all: nobody
//! takes blocks, samples or events.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod ageing;
mod books;
mod canary;
mod coalesce;
mod cores;
mod drain;
mod exempt;
mod frames;
mod halt;
mod hold;
mod in_turn;
mod intent;
mod latency;
mod lease;
mod live;
mod passthrough;
mod ports;
mod reserve;
mod stamps;
mod super_frames;
mod tallies;
mod tcp_rows;
mod watched;
mod world;

/// One core does everything; `tests/pipeline` runs the same tests with two.
const PIPELINE: bool = false;
