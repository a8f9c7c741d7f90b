//! The receiving side of a live lane.

use model::kpi::Count;
use model::time::{Cycles, Nanos};

use super::Rx;
use super::bench::BenchRx;
use super::dpdk::RxQueue;
use super::hold::HoldRx;
use super::in_turn::InTurn;
use crate::batch::Batch;
use crate::hand_over::Ended;

/// See the module. Chosen once at start; one predictable branch for each burst.
pub enum LiveRx {
    /// As it comes.
    Queue(RxQueue),
    /// With a flow mix written into each frame.
    Bench(BenchRx<RxQueue>),
    /// Held back until several can be delivered together.
    Held(Box<HoldRx<LiveRx>>),
    /// Several queues of one port.
    Several(InTurn<LiveRx>),
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
            Self::Held(hold) => hold.inner().bench(),
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
            Self::Held(hold) => hold.rx_burst(now, into),
            Self::Several(queues) => queues.rx_burst(now, into),
        }
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::Queue(_) | Self::Bench(_) => 0,
            Self::Held(hold) => hold.waiting(),
            Self::Several(queues) => queues.waiting(),
        }
    }

    fn close(&mut self) {
        match self {
            Self::Queue(_) | Self::Bench(_) => {}
            Self::Held(hold) => hold.close(),
            Self::Several(queues) => queues.close(),
        }
    }

    fn is_dry(&self) -> bool {
        match self {
            Self::Queue(_) | Self::Bench(_) => true,
            Self::Held(hold) => hold.is_dry(),
            Self::Several(queues) => queues.is_dry(),
        }
    }

    #[inline]
    fn writes_arrival(&self) -> bool {
        match self {
            Self::Queue(_) | Self::Bench(_) => false,
            Self::Held(_) => true,
            Self::Several(queues) => queues.writes_arrival(),
        }
    }

    #[inline]
    fn take_ended(&mut self, _: impl FnMut(Ended, Count)) {}
}
