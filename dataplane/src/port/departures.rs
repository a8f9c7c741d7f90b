//! Departure times from the NIC, for a sample of the packets.
//!
//! A NIC with timesync keeps the time of one packet at a time, so only one packet is ever marked.
//! In the loop of a data core:
//!
//! 1. [`DepartureStamps::take`] once a turn, which looks at most every 2 us: a device's register is
//!    a microsecond away;
//! 2. before `tx_burst`, where [`DepartureStamps::is_free`], mark one sampled packet
//!    ([`crate::mbuf::Mbuf::mark_departure_stamp`]);
//! 3. if the port took it, [`DepartureStamps::wait_for`] with its row, which leaves the lane only
//!    when the stamp has come, or without one after [`PATIENCE`].

use model::sample::{DepartureSource, Sample};
use model::time::Nanos;

use super::Tx;
use crate::clock::StampClock;

/// How long a stamp is waited for. A packet that stands behind a full ring of a 10G port leaves
/// within 1.3 ms.
pub const PATIENCE: Nanos = Nanos::from_millis(2);
/// How often the device is asked.
const LOOK_EVERY: Nanos = Nanos::from_micros(2);

/// The one packet whose stamp is waited for. See the module.
#[derive(Debug, Default)]
pub struct DepartureStamps {
    waiting: Option<Waiting>,
    stamped: u64,
    missed: u64,
}

#[derive(Debug)]
struct Waiting {
    row: Sample,
    t_tx: Nanos,
    next_look: Nanos,
}

impl DepartureStamps {
    /// Whether a packet may be marked.
    #[inline]
    pub const fn is_free(&self) -> bool {
        self.waiting.is_none()
    }

    /// The marked packet was taken by the port at `t_tx`; `row` is what is known of it so far.
    pub fn wait_for(&mut self, row: Sample, t_tx: Nanos) {
        self.waiting = Some(Waiting { row, t_tx, next_look: t_tx });
    }

    /// The row of the packet that was waited for, when there is no more to wait for: with the NIC's
    /// stamp, or as it was where the stamp did not come or cannot be true.
    #[inline]
    pub fn take<T: Tx>(
        &mut self,
        now: Nanos,
        tx: &mut T,
        clock: &mut StampClock,
    ) -> Option<Sample> {
        let waiting = self.waiting.as_mut().filter(|waiting| now >= waiting.next_look)?;
        waiting.next_look = now.saturating_add(LOOK_EVERY);
        let t_tx = waiting.t_tx;
        // What cannot be true is the stamp of a packet that was given up: the right one may come yet.
        let stamp = tx.departure_stamp().and_then(|raw| clock.departure(raw, t_tx, now));
        if stamp.is_some() || now.saturating_sub(t_tx) >= PATIENCE { self.end(stamp) } else { None }
    }

    /// The lane ends: what is still waited for.
    pub fn give_up(&mut self) -> Option<Sample> {
        if self.is_free() { None } else { self.end(None) }
    }

    /// Packets that have the NIC's stamp.
    pub const fn stamped(&self) -> u64 {
        self.stamped
    }

    /// Packets that were marked and have none.
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    #[cold]
    fn end(&mut self, stamp: Option<Nanos>) -> Option<Sample> {
        let mut row = self.waiting.take()?.row;
        if stamp.is_some() {
            self.stamped += 1;
            row.t_wire = stamp;
            row.departure_source = DepartureSource::Nic;
            row.t_delivery = row.t_delivery.and(stamp);
        } else {
            self.missed += 1;
        }
        Some(row)
    }
}
