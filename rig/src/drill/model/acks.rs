//! A TCP peer.
