//! A running port as the port thread keeps it.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::nic_clock::Reading;

use super::added::AddedDevice;
use super::interface::{interface_link, set_interface_up};
use super::queues::PortGuard;
use super::{ClockSource, DeviceStats, Link, PortError, PortFacts, clocks, failed};
use crate::eal::Errno;

/// Longer than a data core takes from looking at a link to having sent.
const DATA_CORE_TURN: Duration = Duration::from_millis(2);

/// A running port as the port thread keeps it.
///
/// Dropping it stops and closes the device, unless a queue is still out there: then the device is
/// left running for good, because stopping it under a poller is worse. The port thread drops it only
/// after the queues.
pub(crate) struct Started {
    pub(super) id: u16,
    pub(super) facts: PortFacts,
    pub(super) link: Arc<Link>,
    /// The kernel's number of the interface below; another of the same name is another device.
    pub(super) interface: Option<libc::c_int>,
    pub(super) guard: Weak<PortGuard>,
    pub(super) device: ManuallyDrop<AddedDevice>,
}

impl Started {
    pub(crate) const fn facts(&self) -> &PortFacts {
        &self.facts
    }

    pub(crate) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether no queue is left.
    pub(crate) fn is_released(&self) -> bool {
        self.guard.strong_count() == 0
    }

    /// Looks at the link and notes its state. A device that has gone does not come back: what bears its
    /// name then is another one, which this port has no hold of.
    ///
    /// net_af_packet and net_af_xdp of 22.11 say "up" from start to stop: there the kernel is asked.
    pub(crate) fn look_at_link(&self) {
        if self.link.is_removed() {
            return;
        }
        if let Some(interface) = self.device.spec.device.kernel_interface() {
            match interface_link(interface) {
                Ok((index, up)) if self.interface == Some(index) => self.link.note(up),
                Ok(_) | Err(Errno(libc::ENODEV)) => self.link.note_removed(),
                Err(_) => self.link.note(false),
            }
            return;
        }
        let mut link = dpdk_sys::rte_eth_link::default();
        // SAFETY: `id` is a live port; `link` is written.
        let (removed, read) = unsafe {
            let removed = dpdk_sys::rte_eth_dev_is_removed(self.id) == 1;
            (removed, dpdk_sys::rte_eth_link_get_nowait(self.id, &mut link))
        };
        if removed {
            self.link.note_removed();
        } else {
            self.link.note(read == 0 && u32::from(link.link_status()) == dpdk_sys::WP_LINK_UP);
        }
    }

    /// Takes the link down or up, so that the host at the other end sees it.
    pub(crate) fn set_link(&self, up: bool) -> Result<(), PortError> {
        let spec = &self.device.spec;
        if self.link.is_removed() {
            return Err(failed(spec, "the device is gone")(Errno(libc::ENODEV)));
        }
        if !up && self.link.is_up() {
            // The data core stops sending first: see `TxQueue::tx_burst`.
            self.link.note(false);
            std::thread::sleep(DATA_CORE_TURN);
        }
        if let Some(interface) = spec.device.kernel_interface() {
            // The drivers have no such call; the interface has.
            return set_interface_up(interface, up).map_err(failed(spec, "SIOCSIFFLAGS"));
        }
        // SAFETY: `id` is a live port.
        let (done, operation) = unsafe {
            if up {
                (dpdk_sys::rte_eth_dev_set_link_up(self.id), "rte_eth_dev_set_link_up")
            } else {
                (dpdk_sys::rte_eth_dev_set_link_down(self.id), "rte_eth_dev_set_link_down")
            }
        };
        Errno::check(done).map_err(failed(spec, operation))
    }

    /// Reads its clock `source` against the TSC; `None` when it does not answer.
    pub(crate) fn read_clock(&self, source: ClockSource) -> Option<Reading> {
        clocks::read(self.id, source)
    }

    /// What the driver counts.
    pub(crate) fn stats(&self) -> Result<DeviceStats, PortError> {
        let mut s = dpdk_sys::rte_eth_stats::default();
        // SAFETY: `id` is a live port; `s` is written.
        Errno::check(unsafe { dpdk_sys::rte_eth_stats_get(self.id, &mut s) })
            .map_err(failed(&self.device.spec, "rte_eth_stats_get"))?;
        Ok(DeviceStats {
            packets_in: s.ipackets,
            packets_out: s.opackets,
            missed: s.imissed,
            receive_errors: s.ierrors,
            send_errors: s.oerrors,
            no_buffer: s.rx_nombuf,
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.is_released() {
            // SAFETY: dropped once, here; `device` is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.device) }
        }
    }
}
