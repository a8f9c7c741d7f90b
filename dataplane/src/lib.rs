//! Everything that happens per packet, on ports.

pub mod channel;
