//! The tests of `tests/worker` with a core that receives and one that paces, stepped in one thread so
//! that virtual time stays exact; and what only a pipeline has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../worker/books.rs"]
mod books;
#[path = "../worker/coalesce.rs"]
mod coalesce;
#[path = "../worker/cores.rs"]
mod cores;
#[path = "../worker/drain.rs"]
mod drain;
#[path = "../worker/exempt.rs"]
mod exempt;
#[path = "../worker/frames.rs"]
mod frames;
#[path = "../worker/halt.rs"]
mod halt;
#[path = "../worker/hold.rs"]
mod hold;
#[path = "../worker/lease.rs"]
mod lease;
#[path = "../worker/live.rs"]
mod live;
#[path = "../worker/passthrough.rs"]
mod passthrough;
#[path = "../worker/ports.rs"]
mod ports;
#[path = "../worker/watched.rs"]
mod watched;
#[path = "../worker/world.rs"]
#[allow(dead_code, reason = "tests of what only one core does use the rest")]
mod world;

mod refused;
mod threads;

const PIPELINE: bool = true;
