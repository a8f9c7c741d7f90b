//! Reading the kernel's path: what Linux does with packets between an application and the wire, and
//! what it says of it.
//!
//! Readers of bytes and texts are pure, each with an error for what is cut off or does not fit:
//! [`netlink`], [`tcp_info`], [`inet_diag`], [`qdisc`], [`link`], [`ethtool`], [`ring`], [`files`]. [`capture`]
//! collects frames of an interface, [`own_socket`] stamps of our own sockets, [`namespace`] makes network
//! namespaces. `sys` has every system
//! call that has no safe wrapper, and the only `unsafe` of this crate. docs/kernel-path.md says what is
//! read from where, and what the figures mean.

pub mod bytes;
pub mod capture;
pub mod ethtool;
pub mod files;
pub mod inet_diag;
pub mod link;
pub mod namespace;
pub mod netlink;
pub mod own_socket;
pub mod qdisc;
pub mod ring;
pub(crate) mod sys;
pub mod tcp_info;
