//! Raw bindings to DPDK 22.11: an allowlist and a small shim (`wp_*`). Safe types are in `dataplane`.
#![no_std]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::pedantic, unnecessary_transmutes)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
