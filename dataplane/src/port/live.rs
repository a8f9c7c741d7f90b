//! The receiving side of a live lane: a queue, or a queue behind the bench wrapper.

use model::time::{Cycles, Nanos};

use super::Rx;
use super::bench::BenchRx;
use super::dpdk::RxQueue;
use crate::batch::Batch;

/// See the module. Chosen once at start; one predictable branch for each burst.
pub enum LiveRx {
    /// As it comes.
    Queue(RxQueue),
    /// With a flow mix written into each frame.
    Bench(BenchRx<RxQueue>),
}

impl LiveRx {
    /// What the bench wrapper cost so far, and for how many packets.
    pub const fn bench_cost(&self) -> Option<(Cycles, u64)> {
        match self {
            Self::Queue(_) => None,
            Self::Bench(bench) => Some(bench.cost()),
        }
    }
}

impl Rx for LiveRx {
    #[inline]
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::Queue(queue) => queue.rx_burst(now, into),
            Self::Bench(bench) => bench.rx_burst(now, into),
        }
    }
}
