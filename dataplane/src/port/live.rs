//! The two sides of a live lane: a queue as it is, or behind wrappers for benches and drills.

use model::time::{Cycles, Nanos};

use super::bench::BenchRx;
use super::dpdk::{RxQueue, TxQueue};
use super::faults::{FaultRx, FaultTx};
use super::{Rx, Tx};
use crate::batch::Batch;
use crate::mbuf::Mbuf;

/// The receiving side. Chosen once at start; one predictable branch for each burst.
pub enum LiveRx {
    /// As it comes.
    Queue(RxQueue),
    /// With a flow mix written into each frame.
    Bench(BenchRx<RxQueue>),
    /// Either of them with faults.
    Faults(Box<FaultRx<LiveRx>>),
}

impl LiveRx {
    /// What the bench wrapper cost so far, and for how many packets.
    pub fn bench_cost(&self) -> Option<(Cycles, u64)> {
        match self {
            Self::Queue(_) => None,
            Self::Bench(bench) => Some(bench.cost()),
            Self::Faults(faults) => faults.inner().bench_cost(),
        }
    }
}

impl Rx for LiveRx {
    #[inline]
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::Queue(queue) => queue.rx_burst(now, into),
            Self::Bench(bench) => bench.rx_burst(now, into),
            Self::Faults(faults) => faults.rx_burst(now, into),
        }
    }
}

/// The sending side.
pub enum LiveTx {
    /// As it is.
    Queue(TxQueue),
    /// With faults.
    Faults(Box<FaultTx<TxQueue>>),
}

impl LiveTx {
    /// The queue itself.
    #[inline]
    pub const fn queue(&self) -> &TxQueue {
        match self {
            Self::Queue(queue) => queue,
            Self::Faults(faults) => faults.inner(),
        }
    }
}

impl Tx for LiveTx {
    #[inline]
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        match self {
            Self::Queue(queue) => queue.tx_burst(now, from),
            Self::Faults(faults) => faults.tx_burst(now, from),
        }
    }

    #[inline]
    fn reap(&mut self, now: Nanos) {
        match self {
            Self::Queue(queue) => queue.reap(now),
            Self::Faults(faults) => faults.reap(now),
        }
    }

    #[inline]
    fn ring_occupancy(&self) -> Option<u32> {
        match self {
            Self::Queue(queue) => queue.ring_occupancy(),
            Self::Faults(faults) => faults.ring_occupancy(),
        }
    }

    #[inline]
    fn frame_bytes_max(&self) -> u32 {
        self.queue().frame_bytes_max()
    }

    #[inline]
    fn multi_segs(&self) -> bool {
        self.queue().multi_segs()
    }

    #[inline]
    fn cuts_frames(&self) -> bool {
        self.queue().cuts_frames()
    }

    #[inline]
    fn prepare(&mut self, packet: &mut Mbuf) -> bool {
        match self {
            Self::Queue(queue) => queue.prepare(packet),
            Self::Faults(faults) => faults.prepare(packet),
        }
    }

    #[inline]
    fn sends_at_time(&self) -> bool {
        self.queue().sends_at_time()
    }

    #[inline]
    fn stamps_departures(&self) -> bool {
        self.queue().stamps_departures()
    }

    #[inline]
    fn departure_stamp(&mut self) -> Option<u64> {
        match self {
            Self::Queue(queue) => queue.departure_stamp(),
            Self::Faults(faults) => faults.departure_stamp(),
        }
    }

    #[inline]
    fn link_up(&self) -> bool {
        self.queue().link_up()
    }
}
