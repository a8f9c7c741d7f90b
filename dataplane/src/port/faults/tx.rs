//! What is offered is refused in part, and what has left is not known yet.

use std::cell::Cell;

use model::time::Nanos;

use super::{Chance, Draw, Faults};
use crate::batch::Batch;
use crate::mbuf::Mbuf;
use crate::port::Tx;

/// Looks at completions for which they may be withheld.
const WITHHELD_LOOKS_MAX: u64 = 64;

/// What a [`FaultTx`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxFaults {
    /// Packets that the port took.
    pub accepted: u64,
    /// Bursts that were refused in part or whole.
    pub refusals: u64,
    /// Packets in them that were kept from the port; they stay with their owner.
    pub refused: u64,
    /// Times that completions began to be withheld.
    pub withheld: u64,
}

/// A port that takes less than it could and is slow to say what has left. See the module.
pub struct FaultTx<T> {
    inner: T,
    refuse: Chance,
    withhold: Chance,
    draw: Draw,
    offered: Batch,
    done: TxFaults,
    /// Looks for which completions are still withheld.
    looks: Cell<u64>,
    /// Packets known to have left.
    completed: Cell<u64>,
}

impl<T: Tx> FaultTx<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, faults: &Faults) -> Self {
        Self {
            inner,
            refuse: Chance::of(faults.refuse),
            withhold: Chance::of(faults.withhold_completions),
            draw: Draw::new(faults.seed, 2),
            offered: Batch::new(),
            done: TxFaults::default(),
            looks: Cell::new(0),
            completed: Cell::new(0),
        }
    }

    /// What it has done.
    pub const fn faults(&self) -> TxFaults {
        self.done
    }

    /// The port inside.
    pub const fn inner(&self) -> &T {
        &self.inner
    }

    /// Whether this look at completions finds nothing new.
    fn is_withheld(&self) -> bool {
        let looks = self.looks.get();
        self.looks.set(looks.saturating_sub(1));
        looks > 0
    }

    /// Offers the first `n` packets; what the port does not take is in front again afterwards.
    fn offer(&mut self, now: Nanos, n: usize, from: &mut Batch) -> usize {
        from.move_front(n, &mut self.offered);
        let accepted = self.inner.tx_burst(now, &mut self.offered);
        let rest = from.len();
        from.move_front(rest, &mut self.offered);
        let rest = self.offered.len();
        self.offered.move_front(rest, from);
        accepted
    }
}

impl<T: Tx> Tx for FaultTx<T> {
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let accepted = if !from.is_empty() && self.draw.happens(self.refuse) {
            let n = self.draw.below(from.len() as u64) as usize;
            self.done.refusals += 1;
            self.done.refused += (from.len() - n) as u64;
            self.offer(now, n, from)
        } else {
            self.inner.tx_burst(now, from)
        };
        self.done.accepted += accepted as u64;
        if accepted > 0 && self.looks.get() == 0 && self.draw.happens(self.withhold) {
            self.looks.set(1 + self.draw.below(WITHHELD_LOOKS_MAX));
            self.done.withheld += 1;
        }
        accepted
    }

    fn reap(&mut self, now: Nanos) {
        if !self.is_withheld() {
            self.inner.reap(now);
        }
    }

    fn ring_occupancy(&self) -> Option<u32> {
        let below = self.inner.ring_occupancy()?;
        if !self.is_withheld() {
            self.completed.set(self.done.accepted.saturating_sub(u64::from(below)));
        }
        // Bounded by what the account follows: the TX descriptors.
        Some((self.done.accepted - self.completed.get()) as u32)
    }

    fn next_event(&self) -> Option<Nanos> {
        self.inner.next_event()
    }

    fn frame_bytes_max(&self) -> u32 {
        self.inner.frame_bytes_max()
    }

    fn multi_segs(&self) -> bool {
        self.inner.multi_segs()
    }

    fn cuts_frames(&self) -> bool {
        self.inner.cuts_frames()
    }

    fn prepare(&mut self, packet: &mut Mbuf) -> bool {
        self.inner.prepare(packet)
    }

    fn sends_at_time(&self) -> bool {
        self.inner.sends_at_time()
    }

    fn stamps_departures(&self) -> bool {
        self.inner.stamps_departures()
    }

    fn departure_stamp(&mut self) -> Option<u64> {
        self.inner.departure_stamp()
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }
}
