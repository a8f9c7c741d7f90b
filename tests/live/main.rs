//! `wirepace run` on real interfaces: two veth pairs, strategy host -- gateway -- venue host, with
//! net_af_packet and net_af_xdp. Each test makes its own namespaces (see [`sandbox`]); without root
//! or a tool it says so and passes. Bounds on time are wide: these tests share their CPUs with
//! whatever else runs, and a gateway that polls takes one of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bundle;
mod capture;
mod config;
mod control;
mod ends;
mod forwarding;
mod gateway;
mod links;
mod net;
mod operation;
mod paths;
mod sandbox;
mod soak;
mod traffic;
mod walk;
