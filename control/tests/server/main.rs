//! The control thread as its clients see it: real sockets, real time.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod gateway;
mod http;
mod openmetrics;
mod streams;
mod thread;
