//! What stands around the gateway: captures that go in and come out, and captures made up from a
//! seed to try it on; a gateway in virtual time ([`world`]) that captures are replayed through.
//!
//! [`capture`] reads and writes pcap and pcapng; [`generate`] makes order-entry-like and
//! market-data-like captures, and a set of hostile ones; [`replay`] sends captures through a gateway in
//! virtual time; [`drill`] injects faults into such a world. [`kernel`] reads what Linux says of its own
//! path, [`observe`] makes KPIs of it.

pub mod ab;
pub mod capture;
pub mod drill;
pub mod generate;
pub mod kernel;
pub mod observe;
pub mod replay;
pub mod world;
