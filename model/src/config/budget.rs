//! The proof that the pool cannot run dry while every class keeps within its queue budget.
//!
//! A packet buffer is in the pool, in a descriptor ring, in the hands of a core (one burst received
//! and one about to be sent for each queue), parked in a core's cache, or held by the pacer for a
//! class. The proof adds up the most that each place may hold.

use std::fmt;

use super::error::{At, Findings};
use super::{Dpdk, Pair, Port};
use crate::profile::ClassParams;

/// Buffers behind a net_af_xdp port: its fill and completion rings of 2048 each, whatever the
/// descriptors are (DPDK 22.11).
const AF_XDP_BUFFERS: u64 = 4096;
/// Slots of the ring behind a net_ring port (DPDK 22.11).
const NET_RING_BUFFERS: u64 = 1024;
/// Largest cache of a core, 512, times 1.5: what may stay parked in it (DPDK 22.11).
const CORE_CACHE_BUFFERS: u64 = 512 * 3 / 2;
/// Bursts on the way for each RX queue and each TX queue: one received and one about to be sent.
const BURSTS_PER_QUEUE: u64 = 2;

/// The buffers that may be out of the pool at once.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Budget {
    /// Packets that all classes may hold, on all cores.
    pub class_queues: u64,
    /// Slots of rings behind net_ring ports, and of rings between cores.
    pub rings: u64,
    /// RX and TX descriptors; 4096 at least for a net_af_xdp port.
    pub descriptors: u64,
    /// Bursts in the hands of the cores, and what an RX queue holds back.
    pub bursts: u64,
    /// Buffers parked in the caches of the data cores.
    pub core_caches: u64,
    /// Buffers that are kept free.
    pub reserve: u64,
    /// Buffers of the pool.
    pub mbufs: u64,
}

impl Budget {
    /// The budget of a gateway whose classes hold what `normal` lets them; no profile allows more.
    pub fn of(ports: &[Port], pairs: &[Pair], normal: &[ClassParams], dpdk: &Dpdk) -> Self {
        let pacing = pairs.len() as u64;
        let receiving: u64 = pairs.iter().map(|pair| pair.rx_cores.len() as u64).sum();
        let for_each_port = |count: fn(&Port) -> u64| ports.iter().map(count).sum::<u64>();
        // A core that receives hands over by one ring for each of the two directions.
        let between_cores: u64 =
            pairs.iter().map(|p| 2 * u64::from(p.ring) * p.rx_cores.len() as u64).sum();
        Self {
            class_queues: pacing * normal.iter().map(|c| u64::from(c.queue_packets)).sum::<u64>(),
            rings: between_cores
                + for_each_port(|port| {
                    if port.device.is_vdev_of("net_ring") { NET_RING_BUFFERS } else { 0 }
                }),
            descriptors: for_each_port(|port| {
                let (rx, tx) = (u64::from(port.rx_queues), u64::from(port.tx_queues));
                let own = rx * u64::from(port.rx_descriptors) + tx * u64::from(port.tx_descriptors);
                if port.device.is_vdev_of("net_af_xdp") {
                    own.max(rx.max(tx) * AF_XDP_BUFFERS)
                } else {
                    own
                }
            }),
            bursts: for_each_port(|port| {
                let tx = u64::from(port.tx_queues) * u64::from(port.rx_burst);
                let rx: u64 =
                    port.queues.iter().map(|q| u64::from(q.burst.max(q.hold_frames))).sum();
                BURSTS_PER_QUEUE * (rx + tx)
            }),
            core_caches: (pacing + receiving) * CORE_CACHE_BUFFERS,
            reserve: u64::from(dpdk.pool_reserve),
            mbufs: u64::from(dpdk.mbufs),
        }
    }

    /// Buffers that may be out of the pool at once, and those that are kept free.
    pub fn needed(&self) -> u64 {
        let out =
            self.class_queues + self.rings + self.descriptors + self.bursts + self.core_caches;
        out + self.reserve
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "class queues {} + rings {} + descriptors {} + bursts {} + core caches {} + \
             reserve {} = {} of {} mbufs",
            self.class_queues,
            self.rings,
            self.descriptors,
            self.bursts,
            self.core_caches,
            self.reserve,
            self.needed(),
            self.mbufs
        )
    }
}

pub(super) fn refuse_beyond_pool(findings: &Findings, at: At, budget: &Budget) {
    if budget.needed() > budget.mbufs {
        let allowed = format!("mbufs = {} or more, or smaller queues", budget.needed());
        findings.error(at, format!("the pool may run dry: {budget}"), allowed);
    }
}
