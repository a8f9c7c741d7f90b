//! What the sender meant with a packet, and how far it is believed.
//!
//! In the order in which a packet meets it: [`strip`] takes the in-band record out of the frame;
//! where there is none, [`side_table`] looks for an out-of-band record that came through an
//! [`inlet`]: the ring in shared memory ([`shm`]) or the side channel ([`udp`]). [`apply`] turns the
//! record into changes of the packet's metadata, within what its sender may say, and [`groups`] into
//! the flow that it queues in. [`desk`] is all of it for one lane. Nothing here allocates, waits or calls into the kernel on a data core.
//!
//! Formats: the `intent` crate. Rules in words: docs/intent.md.

pub mod apply;
pub mod desk;
pub mod groups;
pub mod inlet;
pub mod shm;
pub mod side_table;
pub mod strip;
pub mod udp;
