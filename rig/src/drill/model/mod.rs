//! Models of what distorts departures below and around a gateway.

pub mod acks;
pub mod adaptive_limit;
pub mod router;
pub mod slots;
