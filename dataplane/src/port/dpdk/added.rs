//! A device that EAL has, from being added to being removed.
#![allow(unsafe_code)]

use std::ptr;
use std::time::Duration;

use super::{PortSpec, c_string};
use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::locks::DeviceLock;
use crate::pool::Pool;
use crate::port::device::Driver;

/// A device that EAL has. Dropping it stops, closes and removes it, in this order, and lets go of
/// its locks last.
pub(super) struct AddedDevice {
    pub(super) spec: PortSpec,
    /// `None` until the ethdev was found.
    pub(super) id: Option<u16>,
    pub(super) started: bool,
    /// Buffers that the driver has and will not give back.
    pub(super) buffers_kept: u32,
    /// We switched the interface to promiscuous; leave it as it was found.
    pub(super) restore_filter: bool,
    /// Keeps the pool, and with it EAL, until the device has let go of its buffers.
    pub(super) pool: Pool,
    pub(super) _locks: Vec<DeviceLock>,
}

impl AddedDevice {
    /// Takes out of a driver what it would forget at close, as far as it lets us.
    fn take_back_buffers(&self, id: u16) {
        match self.spec.device.driver() {
            Driver::Ring => Self::drain_ring(id),
            // What was sent and has not been seen to be done yet. Ten times a millisecond is long
            // for a completion and short for a shutdown.
            Driver::AfXdp => {
                for _ in 0..10 {
                    // SAFETY: the port is started and no queue of it is left; with no packet
                    // nothing is read through the pointer.
                    unsafe { dpdk_sys::wp_tx_burst(id, 0, ptr::null_mut(), 0) };
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            _ => {}
        }
    }

    /// net_ring of 22.11 forgets what is in its ring.
    fn drain_ring(id: u16) {
        while discard_burst(id) > 0 {}
    }

    /// net_af_packet of 22.11 opens its socket for every interface of the namespace and binds it
    /// to its own only after the receive ring is there. What other interfaces received in between
    /// lies at the head of the ring and must not be forwarded. At most one ring full.
    pub(super) fn discard_strays(&self, id: u16) {
        if self.spec.device.driver() != Driver::AfPacket {
            return;
        }
        let ring = self.spec.device.values("framecnt").last().and_then(|v| v.parse().ok());
        let mut left: usize = ring.unwrap_or(512);
        while left > 0 {
            match discard_burst(id) {
                0 => return,
                n => left = left.saturating_sub(n),
            }
        }
    }
}

/// Receives and frees one burst of a started port that has no queue out; returns its packets.
fn discard_burst(id: u16) -> usize {
    let mut packets = Batch::new();
    // SAFETY: the port is started and only this thread uses it; the empty batch has room for
    // `BATCH_PACKETS_MAX`.
    unsafe {
        let n = dpdk_sys::wp_rx_burst(id, 0, packets.tail_ptr(), BATCH_PACKETS_MAX as u16);
        packets.grow(usize::from(n));
    }
    packets.len()
}

impl Drop for AddedDevice {
    fn drop(&mut self) {
        let (bus, name) = (c_string(self.spec.device.bus()), c_string(self.spec.device.name()));
        // SAFETY: on the port thread, with no queue of this port left (`Started` sees to it), so
        // nothing else uses the device. Close on a started port would fail, hence stop first.
        unsafe {
            if let Some(id) = self.id {
                if self.restore_filter {
                    dpdk_sys::rte_eth_promiscuous_disable(id);
                }
                if self.started {
                    self.take_back_buffers(id);
                    dpdk_sys::rte_eth_dev_stop(id);
                }
                dpdk_sys::rte_eth_dev_close(id);
            }
            dpdk_sys::rte_eal_hotplug_remove(bus.as_ptr(), name.as_ptr());
        }
        self.pool.note_orphans(self.buffers_kept);
    }
}
