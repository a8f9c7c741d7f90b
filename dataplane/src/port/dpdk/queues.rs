//! The queues of a port, the only part of it that leaves the port thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys::rte_ring;
use model::time::Nanos;

use super::{Link, c_string, clocks};
use crate::batch::Batch;
use crate::mbuf::Mbuf;
use crate::port::device::{DeviceSpec, Driver};
use crate::port::{Rx, Tx};

/// Held by every queue; tells the port thread when the last one is gone.
pub(super) struct PortGuard {
    pub(super) released: Box<dyn Fn() + Send + Sync>,
}

impl Drop for PortGuard {
    fn drop(&mut self) {
        (self.released)();
    }
}

/// An RX queue of a port. One owner; it may move to the thread that polls it.
pub struct RxQueue {
    pub(super) port: u16,
    /// Its index.
    pub(super) queue: u16,
    pub(super) burst: usize,
    pub(super) link: Arc<Link>,
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) guard: Arc<PortGuard>,
    pub(super) one_thread: PhantomData<Cell<()>>,
}

impl RxQueue {
    /// Packets taken by one call at most.
    pub const fn burst(&self) -> usize {
        self.burst
    }

    /// The link of the port.
    pub const fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Rx for RxQueue {
    #[inline]
    fn rx_burst(&mut self, _now: Nanos, into: &mut Batch) -> usize {
        let room = into.room().min(self.burst);
        if room == 0 {
            return 0;
        }
        // SAFETY: the guard keeps the port started; the queue index is one that was set up and this
        // is its only owner; the tail has `room` entries (at most 256), and the driver gives up the
        // packets that it writes there.
        unsafe {
            let n = dpdk_sys::wp_rx_burst(self.port, self.queue, into.tail_ptr(), room as u16);
            let n = usize::from(n);
            into.grow(n);
            n
        }
    }

    #[inline]
    fn link_up(&self) -> bool {
        self.link.is_up()
    }
}

/// The TX queue of a port. One owner; it may move to the thread that sends on it.
pub struct TxQueue {
    pub(super) port: u16,
    pub(super) driver: Driver,
    pub(super) frame_bytes_max: u32,
    pub(super) multi_segs: bool,
    pub(super) cuts_frames: bool,
    pub(super) launch_time: bool,
    pub(super) timesync: bool,
    pub(super) ring: Option<NonNull<rte_ring>>,
    pub(super) link: Arc<Link>,
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) guard: Arc<PortGuard>,
    pub(super) one_thread: PhantomData<Cell<()>>,
}

// SAFETY: `ring` is only read (its two positions, which DPDK writes atomically), on any thread; it
// lives as long as the device, which the guard keeps.
unsafe impl Send for TxQueue {}

impl TxQueue {
    /// The driver.
    pub const fn driver(&self) -> Driver {
        self.driver
    }

    /// The link of the port.
    pub const fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Tx for TxQueue {
    /// Packets in the ring behind a net_ring, sent and not yet received; `None` elsewhere.
    #[inline]
    fn ring_occupancy(&self) -> Option<u32> {
        // SAFETY: the ring lives as long as the device, which the guard keeps.
        self.ring.map(|ring| unsafe { dpdk_sys::wp_ring_count(ring.as_ptr()) })
    }

    #[inline]
    fn tx_burst(&mut self, _now: Nanos, from: &mut Batch) -> usize {
        // With the interface down, net_af_packet and net_af_xdp of 22.11 take packets into their ring
        // and send them, however old, when it is up again.
        if from.is_empty() || self.driver.is_kernel_interface() && !self.link.is_up() {
            return 0;
        }
        if self.driver.loops_back() {
            for packet in &mut *from {
                packet.clear_rx_stamp_flag();
                packet.clear_departure_marks();
            }
        }
        // SAFETY: the guard keeps the port started; the queue index is one that was set up and this
        // is its only owner; the batch owns its `len` (at most 256) packets, and the driver takes
        // over the first `n` of them.
        unsafe {
            let n = dpdk_sys::wp_tx_burst(self.port, 0, from.front_ptr(), from.len() as u16);
            let n = usize::from(n);
            from.forget_front(n);
            n
        }
    }

    /// An empty burst: net_af_xdp then looks at its completion queue.
    #[inline]
    fn reap(&mut self, _now: Nanos) {
        if self.driver == Driver::AfXdp {
            // SAFETY: as in `tx_burst`; with no packet nothing is read through the pointer.
            unsafe { dpdk_sys::wp_tx_burst(self.port, 0, ptr::null_mut(), 0) };
        }
    }

    #[inline]
    fn frame_bytes_max(&self) -> u32 {
        self.frame_bytes_max
    }

    #[inline]
    fn multi_segs(&self) -> bool {
        self.multi_segs
    }

    #[inline]
    fn cuts_frames(&self) -> bool {
        self.cuts_frames
    }

    #[inline]
    fn prepare(&mut self, packet: &mut Mbuf) -> bool {
        if !self.cuts_frames {
            return false;
        }
        let one = std::ptr::from_mut(packet).cast::<*mut dpdk_sys::rte_mbuf>();
        // SAFETY: the guard keeps the port started; the queue index is one that was set up and this
        // is its only owner; an `Mbuf` is exactly a pointer to a packet (`repr(transparent)`), which
        // is live, owned and stays so: the driver reads it and writes into it.
        unsafe { dpdk_sys::wp_tx_prepare(self.port, 0, one, 1) == 1 }
    }

    #[inline]
    fn sends_at_time(&self) -> bool {
        self.launch_time
    }

    #[inline]
    fn stamps_departures(&self) -> bool {
        self.timesync
    }

    #[inline]
    fn departure_stamp(&mut self) -> Option<u64> {
        if self.timesync { clocks::tx_stamp(self.port) } else { None }
    }

    #[inline]
    fn link_up(&self) -> bool {
        self.link.is_up()
    }
}

/// The ring behind a net_ring: the driver makes one for each queue and names it so.
pub(super) fn ring_behind(device: &DeviceSpec) -> Option<NonNull<rte_ring>> {
    if device.driver() != Driver::Ring {
        return None;
    }
    let name = c_string(&format!("ETH_RXTX0_{}", device.name()));
    // SAFETY: EAL is up; the name lives through the call.
    NonNull::new(unsafe { dpdk_sys::rte_ring_lookup(name.as_ptr()) })
}
