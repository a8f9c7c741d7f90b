//! Readers of what the kernel says: on bytes that a kernel gave (`recorded`), on bytes laid out as other
//! kernels give them (`built`), on bytes that nobody should give (`hostile`), and on this kernel (`live`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod built;
mod hostile;
mod live;
mod reads;
mod recorded;
#[path = "../../../tests/live/sandbox.rs"]
mod sandbox;
