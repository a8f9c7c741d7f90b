//! The pacer: when does a packet leave? (replaces fq)
//!
//! A tree of nodes, flow -> class -> egress port. The lowest node, a flow, is one ordering group:
//! one FIFO whose head competes. Each level has its own buckets; eligibility is asked at release
//! and charged after it, so every level conforms in every window whatever delayed a packet. A level
//! that does not conform puts *itself* on the [`wheel`] at its next conforming time.
//!
//! Call in this order, once for each turn of the loop:
//! 1. [`Pacer::enqueue`] for each arrival,
//! 2. [`Pacer::poll`]: what time has made due,
//! 3. [`Pacer::next`] until it says there is nothing (or the burst is full),
//! 4. [`Pacer::commit`] for what the port took and [`Pacer::undo`], last first, for what it did not.
//!
//! [`Pacer::next_event`] says when to call again. Nothing in here reads a clock, allocates after
//! construction, or waits.

mod arms;
mod class;
mod class_set;
mod confirmed;
mod fifo;
mod floor;
mod flow;
pub mod gcra;
mod guard;
mod halt;
pub mod held_segments;
mod history;
mod jitter;
pub mod limits;
mod list;
mod nodes;
mod paths;
mod roster;
mod standings;
mod sweep;
mod tree;
mod turns;
mod waiting;
pub mod wheel;
mod window;

pub use fifo::Fifo;
pub use flow::NO_VENUE;
pub use guard::GuardCounters;
pub use halt::HaltRule;
pub use paths::PathChoice;
pub use roster::{Roster, Seat};
pub use tree::{CLASS_LINES, Counters, FlowLook, Next, Pacer, PacerSpec, Released};
