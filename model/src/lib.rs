//! What wirepace knows, pure: no DPDK, no I/O, no clock, no `unsafe`.
//!
//! Read in the order in which a packet meets the files: [`frame`] names what is in a frame,
//! [`rules`] decides its class, [`meta`] is what travels with it, `pacer` decides when it
//! leaves, [`sample`] is what is remembered of it and `kpi` what is computed from that.
//! [`config`] turns a text into checked values; [`profile`], [`stop`] are the values that cross
//! from control to the data cores; [`regime`] is what control decides by.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as model;

pub mod advice;
pub mod calendar;
pub mod config;
pub mod draw;
pub mod drop_reason;
pub mod frame;
pub mod inflight;
pub mod kind;
pub mod kpi;
pub mod meta;
pub mod nic_clock;
pub mod pacer;
pub mod profile;
pub mod rate;
pub mod regime;
pub mod rules;
pub mod sample;
pub mod stop;
pub mod time;
pub mod timeline;
pub mod venue_limit;
