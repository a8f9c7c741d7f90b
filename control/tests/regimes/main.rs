//! The regime engine in a controller, in virtual time: from packets on a core to a table on it.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../model/tests/regime/gateway.rs"]
mod gateway;

mod canary;
mod live;
mod modes;
mod told;
mod world;
