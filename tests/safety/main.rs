//! Safety on live order flow, from outside: the program itself under load, its commands, its signals,
//! its death. Needs no privileges but for what says so when it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../dataplane/tests/common/mod.rs"]
mod common;

mod commands;
mod control_frozen;
mod environment;
mod gateway;
mod live;
mod permissions;
mod restart;
mod service;
