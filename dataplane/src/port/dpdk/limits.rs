//! What a device can do and what it may be asked for: ranges, filters, frame sizes.
#![allow(unsafe_code)]

use super::interface::interface_mtu;
use super::{PortError, PortFacts, PortSpec, Reception, failed};
use crate::batch::BATCH_PACKETS_MAX;
use crate::eal::Errno;
use crate::pool::Pool;
use crate::port::device::Driver;

/// Bytes of an Ethernet header: what a frame has beyond the MTU.
pub(super) const ETHERNET_BYTES: u32 = dpdk_sys::WP_ETHER_HDR_LEN;
/// Bytes of one VLAN tag, which the kernel lets through on top of the MTU.
const VLAN_BYTES: u32 = 4;

pub(super) fn check_ranges(spec: &PortSpec) -> Result<(), PortError> {
    let range = |name, value: u16, allowed, ok: bool| {
        if ok {
            return Ok(());
        }
        Err(PortError::Range { port: spec.name.clone(), name, value: u32::from(value), allowed })
    };
    let burst = spec.rx_burst;
    range("rx_burst", burst, "1 to 256", (1..=BATCH_PACKETS_MAX).contains(&usize::from(burst)))?;
    let frame = spec.frame_bytes_max;
    range("frame_max", frame, "60 to 65535 bytes", frame >= 60)?;
    range("rx_descriptors", spec.rx_descriptors, "1 to 65535", spec.rx_descriptors > 0)?;
    range("tx_descriptors", spec.tx_descriptors, "1 to 65535", spec.tx_descriptors > 0)
}

/// Switches address filters off, or refuses.
pub(super) fn receive_every_frame(
    spec: &PortSpec,
    id: u16,
    restore: &mut bool,
) -> Result<Reception, PortError> {
    let driver = spec.device.driver();
    if driver.has_no_address_filter() {
        return Ok(Reception::Unfiltered);
    }
    // SAFETY: `id` is a live port.
    let promiscuous = Errno::check(unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) });
    // SAFETY: as above.
    let allmulticast = Errno::check(unsafe { dpdk_sys::rte_eth_allmulticast_enable(id) });
    *restore &= promiscuous.is_ok();
    for (mode, result) in [("promiscuous", promiscuous), ("allmulticast", allmulticast)] {
        let Err(source) = result else { continue };
        // A promiscuous kernel interface receives every multicast too, and the drivers have no
        // second switch.
        if source.is_unsupported() && driver.is_kernel_interface() && mode == "allmulticast" {
            continue;
        }
        let (port, device) = (spec.name.clone(), spec.device.to_string());
        return Err(PortError::Filter { port, device, mode, source });
    }
    Ok(Reception::Promiscuous)
}

/// The longest frame that the device really sends, bytes without FCS.
pub(super) fn device_frame_bytes_max(spec: &PortSpec, facts: &PortFacts, pool: &Pool) -> u32 {
    let wanted = u32::from(spec.frame_bytes_max);
    let interface = u32::from(facts.mtu) + ETHERNET_BYTES + VLAN_BYTES;
    match facts.driver {
        Driver::AfPacket => {
            // 22.11 drops a longer frame and counts it as sent. A slot of `framesz` begins with a
            // TPACKET2_HDRLEN of 52 bytes, of which the 20 of the address are not there on TX.
            const SLOT_HEADER_BYTES: u32 = 32;
            let slot = spec.device.values("framesz").last().and_then(|v| v.parse().ok());
            let slot: u32 = slot.unwrap_or(2048);
            wanted.min(interface).min(slot.saturating_sub(SLOT_HEADER_BYTES))
        }
        // 22.11 copies without looking at the room: one buffer of the pool is what there is.
        Driver::AfXdp => wanted.min(interface).min(u32::from(pool.segment_bytes_max())),
        Driver::Tap => wanted.min(interface),
        Driver::Pci => wanted.min(u32::from(facts.mtu) + ETHERNET_BYTES + 2 * VLAN_BYTES),
        Driver::Null | Driver::Pcap | Driver::Ring | Driver::Memif | Driver::Vhost => wanted,
    }
}

/// The MTU that holds on the port.
pub(super) fn mtu(spec: &PortSpec, id: u16) -> Result<u16, PortError> {
    if let Some(interface) = spec.device.kernel_interface() {
        // The drivers say 1500 whatever the interface has.
        return interface_mtu(interface).map_err(failed(spec, "SIOCGIFMTU"));
    }
    let mut mtu = 0;
    // SAFETY: `id` is a live port; `mtu` is written.
    Errno::check(unsafe { dpdk_sys::rte_eth_dev_get_mtu(id, &mut mtu) })
        .map_err(failed(spec, "rte_eth_dev_get_mtu"))?;
    Ok(mtu)
}
