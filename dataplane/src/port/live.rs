//! The two sides of a live lane: queues as they are, held back, or behind wrappers for benches and
//! drills.

use model::kpi::Count;
use model::time::{Cycles, Nanos};

use super::bench::BenchRx;
use super::dpdk::{RxQueue, TxQueue};
use super::faults::{FaultRx, FaultTx};
use super::hold::HoldRx;
use super::in_turn::InTurn;
use super::{Rx, Tx};
use crate::batch::Batch;
use crate::hand_over::Ended;
use crate::mbuf::Mbuf;
use crate::paths::ProbeRx;

/// The receiving side. Chosen once at start; one predictable branch for each burst.
pub enum LiveRx {
    /// As it comes.
    Queue(RxQueue),
    /// With a flow mix written into each frame.
    Bench(BenchRx<RxQueue>),
    /// Either of them with faults.
    Faults(Box<FaultRx<LiveRx>>),
    /// Held back until several can be delivered together.
    Held(Box<HoldRx<LiveRx>>),
    /// Several queues of one port, or of both paths of a pair.
    Several(InTurn<LiveRx>),
    /// One of two paths: answers to probes are noted.
    Path(Box<ProbeRx<LiveRx>>),
}

impl LiveRx {
    /// The queues of one port that one core polls, at least one.
    pub fn of(mut queues: Vec<Self>) -> Self {
        match queues.pop() {
            Some(only) if queues.is_empty() => only,
            last => {
                queues.extend(last);
                Self::Several(InTurn::new(queues))
            }
        }
    }

    /// What bench wrappers cost so far, and for how many packets.
    pub fn bench_cost(&self) -> Option<(Cycles, u64)> {
        self.bench().map(|bench| bench.cost()).reduce(|a, b| (Cycles(a.0.0 + b.0.0), a.1 + b.1))
    }

    /// Flows in the mix of the bench wrappers; those of one port have the same.
    pub fn bench_flows(&self) -> Option<u32> {
        self.bench().map(|bench| bench.flows()).max()
    }

    fn bench(&self) -> Box<dyn Iterator<Item = &BenchRx<RxQueue>> + '_> {
        match self {
            Self::Queue(_) => Box::new(std::iter::empty()),
            Self::Bench(bench) => Box::new(std::iter::once(bench)),
            Self::Faults(faults) => faults.inner().bench(),
            Self::Held(hold) => hold.inner().bench(),
            Self::Path(path) => path.inner().bench(),
            Self::Several(queues) => Box::new(queues.sources().iter().flat_map(Self::bench)),
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
            Self::Held(hold) => hold.rx_burst(now, into),
            Self::Several(queues) => queues.rx_burst(now, into),
            Self::Path(path) => path.rx_burst(now, into),
        }
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::Queue(_) | Self::Bench(_) => 0,
            Self::Faults(faults) => faults.waiting(),
            Self::Held(hold) => hold.waiting(),
            Self::Several(queues) => queues.waiting(),
            Self::Path(path) => path.waiting(),
        }
    }

    fn hold_back(&mut self, may: bool) {
        match self {
            Self::Queue(_) | Self::Bench(_) => {}
            Self::Faults(faults) => faults.hold_back(may),
            Self::Held(hold) => hold.hold_back(may),
            Self::Several(queues) => queues.hold_back(may),
            Self::Path(path) => path.hold_back(may),
        }
    }

    fn close(&mut self) {
        match self {
            Self::Queue(_) | Self::Bench(_) => {}
            Self::Faults(faults) => faults.close(),
            Self::Held(hold) => hold.close(),
            Self::Several(queues) => queues.close(),
            Self::Path(path) => path.close(),
        }
    }

    fn is_dry(&self) -> bool {
        match self {
            Self::Queue(_) | Self::Bench(_) => true,
            Self::Faults(faults) => faults.is_dry(),
            Self::Held(hold) => hold.is_dry(),
            Self::Several(queues) => queues.is_dry(),
            Self::Path(path) => path.is_dry(),
        }
    }

    #[inline]
    fn writes_arrival(&self) -> bool {
        match self {
            Self::Queue(_) | Self::Bench(_) => false,
            Self::Faults(faults) => faults.writes_arrival(),
            Self::Held(_) => true,
            Self::Several(queues) => queues.writes_arrival(),
            Self::Path(path) => path.writes_arrival(),
        }
    }

    // Nobody else receives for a queue of a device.
    #[inline]
    fn take_ended(&mut self, _: impl FnMut(Ended, Count)) {}
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
