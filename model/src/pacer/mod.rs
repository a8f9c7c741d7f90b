//! The pacer: when does a packet leave? (replaces fq)

mod fifo;

pub use fifo::Fifo;
