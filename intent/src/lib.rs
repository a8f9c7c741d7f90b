//! What a strategy meant with a packet: the records that it sends along, and how they are written.
//!
//! A sender fills a [`Record`] and takes one of two ways:
//!
//! - **In band**, for who builds frames himself: [`shim::tag_frame`] puts the record into the frame,
//!   behind the VLAN tags and in front of the EtherType. The gateway takes it out again before the
//!   wire.
//! - **Out of band**, for who writes to a socket: a [`FlowRecord`] says which bytes of which flow the
//!   record is about. It goes over a ring in shared memory ([`ring::Writer`]) or as a datagram to the
//!   gateway's side channel ([`FlowRecord::encode`] is the whole datagram).
//!
//! The other way round, [`advice`] is a page in shared memory in which the gateway says what it
//! advises strategies to do.
//!
//! Every field is optional. What is not stated is what the gateway's own rules say, so an empty
//! record changes nothing. Numbers are in network byte order; times are CLOCK_TAI in ns.
//!
//! Both formats begin with a magic number, a version and their own length, and a reader refuses what
//! it does not know by name ([`DecodeError`]): a later version may be longer or mean other things,
//! and a bit of `flags` that is not listed here is one that this version would misread. Decoding
//! never panics, never allocates and never reads beyond the length of the format.
//!
//! The crate has no dependencies and no `unsafe`. Who maps the ring's file does that himself and
//! hands the words over (`examples/tcp_sender.rs`).
#![forbid(unsafe_code)]

pub mod advice;
mod error;
mod fields;
mod flow;
mod record;
pub mod ring;
pub mod shim;

pub use error::{DecodeError, NoRoom};
pub use flow::{FLOW_RECORD_BYTES, FlowRecord, FlowTuple, Position};
pub use record::{Kind, Record};

/// Version of both formats.
pub const VERSION: u8 = 1;
