//! The in-flight limit (replaces BQL): how many bytes may stand below a TX queue, and what became
//! of them.
//!
//! One [`InFlight`] for each TX queue. In the loop of a data core, in this order:
//!
//! 1. learn completions: [`InFlight::poll`] until it returns `None` (the link model), or
//!    [`InFlight::on_completed`] with what the device gave back (ring count, refcount probe);
//!    `poll` also finds stalls, so it is called for every source;
//! 2. ask [`InFlight::fits`] how many of the due packets may go;
//! 3. after `tx_burst`, [`InFlight::on_accepted`] for each packet that the port took;
//! 4. say with [`InFlight::set_waiting`] whether a due packet did not fit: only so can a limit that
//!    starves the wire be told from a sender that has nothing to send;
//! 5. [`InFlight::take_alert`] for the event ring.
//!
//! The limit is fixed and strict. BQL lets one packet pass it and moves it by itself; here it is
//! never exceeded and only [`InFlight::set_limit`] moves it, so that the same traffic always meets
//! the same limit. What BQL would answer with a higher limit is an [`Alert::Starved`].
//!
//! Where a NIC sends at given times (launch times), what only waits for its time is counted apart:
//! [`InFlight::on_accepted_for`], [`InFlight::room_for_time`]. The in-flight limit is then one of
//! what the NIC may send ([`InFlight::eligible_bytes`]); what was queued for time may pass it when
//! its time comes while the wire is behind, which is counted.
//!
//! [`Serializer`] alone gives departure times on a link of known rate, without completions.

mod alert;
mod figures;
mod ledger;
mod link;
mod serializer;
mod setup;
mod source;
mod timed;

#[cfg(test)]
mod tests;

pub use alert::Alert;
pub use figures::Figures;
pub use ledger::{Completed, InFlight};
pub use serializer::{Serializer, WireTime};
pub use setup::{Setup, SetupError};
pub use source::CompletionSource;

use crate::meta;

/// The smallest limit under which a completion can always come: `completion_batch` largest frames,
/// in wire bytes.
///
/// A device that tells of completions in batches of `completion_batch` packets says nothing while
/// fewer are in flight. Fewer than a batch hold at most `(completion_batch - 1)` largest frames, so
/// from this limit on one more frame always fits and the batch fills up. Below it a full limit can
/// wait for packets that the limit itself keeps out.
///
/// `frame_bytes_max`: the largest frame without FCS, bytes.
pub const fn feasible_floor_bytes(completion_batch: u32, frame_bytes_max: u32) -> u64 {
    let batch = if completion_batch == 0 { 1 } else { completion_batch };
    batch as u64 * meta::wire_len(frame_bytes_max) as u64
}
