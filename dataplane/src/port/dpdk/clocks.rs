//! The clocks of a device, as far as DPDK lets them be read.
//!
//! None of the virtual devices of 22.11 has one; net_pcap on an interface stamps with the kernel's
//! wall clock, which can be read without the device.
#![allow(unsafe_code)]

use model::nic_clock::Reading;

use super::ClockSource;
use crate::clock;
use crate::port::device::{DeviceSpec, Driver};

/// Asks the device to stamp departures; whether it will.
pub(super) fn enable_timesync(id: u16) -> bool {
    // SAFETY: `id` is a live, started port.
    unsafe { dpdk_sys::rte_eth_timesync_enable(id) == 0 }
}

/// Which clock the device's arrival stamps and launch times are in, where it can be read.
pub(super) fn packet_clock(id: u16, device: &DeviceSpec) -> Option<ClockSource> {
    let of_interface = |key| device.values(key).next().is_some();
    if device.driver() == Driver::Pcap {
        // The stamps of a capture file are of another time.
        let live = ["iface", "rx_iface", "rx_iface_in"].into_iter().any(of_interface);
        return live.then_some(ClockSource::WallClock);
    }
    read_clock(id).map(|_| ClockSource::ReadClock)
}

/// Reads a clock against the TSC.
pub(super) fn read(id: u16, source: ClockSource) -> Option<Reading> {
    match source {
        ClockSource::ReadClock => clock::read_beside(|| read_clock(id)),
        ClockSource::Timesync => clock::read_beside(|| timesync_clock(id)),
        ClockSource::WallClock => clock::read_beside(|| Some(clock::wall_clock_us())),
    }
}

/// The stamp of the one marked packet that has left, ns of the timesync clock.
#[inline]
pub(super) fn tx_stamp(id: u16) -> Option<u64> {
    let mut at = dpdk_sys::timespec::default();
    // SAFETY: `id` is a live, started port; `at` is written on success.
    let read = unsafe { dpdk_sys::rte_eth_timesync_read_tx_timestamp(id, &mut at) };
    (read == 0).then(|| nanos(at))
}

fn read_clock(id: u16) -> Option<u64> {
    let mut raw = 0;
    // SAFETY: `id` is a live, started port; `raw` is written on success.
    let read = unsafe { dpdk_sys::rte_eth_read_clock(id, &mut raw) };
    (read == 0).then_some(raw)
}

fn timesync_clock(id: u16) -> Option<u64> {
    let mut at = dpdk_sys::timespec::default();
    // SAFETY: `id` is a live, started port; `at` is written on success.
    let read = unsafe { dpdk_sys::rte_eth_timesync_read_time(id, &mut at) };
    (read == 0).then(|| nanos(at))
}

/// Wraps like a counter where a device's clock stands before 1970.
const fn nanos(at: dpdk_sys::timespec) -> u64 {
    at.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(at.tv_nsec.cast_unsigned())
}
