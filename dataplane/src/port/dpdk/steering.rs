//! Who spreads packets over the RX queues of a port.
//!
//! A flow must stay on one queue, or its order is lost between two cores.

use dpdk_sys::rte_eth_dev_info;

use super::{PortError, PortSpec, QueueSpec};
use crate::port::device::Driver;

/// How packets come to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steering {
    /// There is one queue, or whoever fills the queues steers: the kernel under net_af_packet,
    /// net_af_xdp and net_tap, the peer of a net_memif or net_vhost, the program that writes into
    /// the rings or files under net_ring and net_pcap. What net_null makes up has no flows.
    None,
    /// The device hashes these kinds of flows (bits of DPDK's `RTE_ETH_RSS_*`).
    Rss(u64),
}

/// How the queues of a port are to be filled.
pub(super) fn steering(
    spec: &PortSpec,
    queues: &QueueSpec,
    info: &rte_eth_dev_info,
) -> Result<Steering, PortError> {
    let refuse = |problem: String| {
        let (port, device) = (spec.name.clone(), spec.device.to_string());
        Err(PortError::Steering { port, device, problem })
    };
    let (driver, count) = (spec.device.driver(), queues.rx_bursts.len());
    // What arrives on a queue that nobody reads is lost.
    if let Some((argument, made)) = spec.device.queue_argument()
        && made != count.to_string()
    {
        return refuse(format!("rx_queues = {count} and {argument} = {made}: they must be equal"));
    }
    if queues.by_class && matches!(driver, Driver::Pci | Driver::AfPacket | Driver::Tap) {
        return refuse(
            "nothing steers classes to its queues, so a queue with `classes` would get others as \
             well: leave `classes` out, or use net_af_xdp with rules of the kernel (ethtool -N)"
                .to_owned(),
        );
    }
    if count == 1 || driver != Driver::Pci {
        return Ok(Steering::None);
    }
    match info.flow_type_rss_offloads & dpdk_sys::WP_ETH_RSS_FLOWS {
        0 => refuse(
            "the device cannot spread flows over RX queues (no RSS): rx_queues = 1".to_owned(),
        ),
        flows => Ok(Steering::Rss(flows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::device::DeviceSpec;
    use crate::port::dpdk::LaunchTime;

    fn answer(device: &str, queues: usize, by_class: bool, rss: u64) -> Result<Steering, String> {
        let spec = PortSpec {
            name: "p".to_owned(),
            device: DeviceSpec::parse(device).unwrap(),
            frame_bytes_max: 1514,
            rx_burst: 32,
            rx_descriptors: 512,
            tx_descriptors: 512,
            launch_time: LaunchTime::Off,
            timesync: false,
            cuts_frames: false,
        };
        let queues = QueueSpec { rx_bursts: vec![32; queues], by_class, tx_queues: 1 };
        let info = rte_eth_dev_info { flow_type_rss_offloads: rss, ..Default::default() };
        steering(&spec, &queues, &info).map_err(|error| error.to_string())
    }

    #[test]
    fn several_queues_need_somebody_who_keeps_a_flow_on_one() {
        let all = dpdk_sys::WP_ETH_RSS_FLOWS;
        assert_eq!(answer("0000:01:00.0", 1, false, 0), Ok(Steering::None));
        assert_eq!(answer("0000:01:00.0", 4, false, u64::MAX), Ok(Steering::Rss(all)));
        let refused = answer("0000:01:00.0", 4, false, 0).unwrap_err();
        assert!(refused.contains("p (0000:01:00.0)") && refused.contains("rx_queues = 1"));
        for device in ["net_af_packet0,iface=x,qpairs=4", "net_af_xdp0,iface=x,queue_count=4"] {
            assert_eq!(answer(device, 4, false, 0), Ok(Steering::None), "{device}");
        }
    }

    #[test]
    fn a_queue_that_nobody_reads_is_refused() {
        for (device, queues) in [
            ("net_af_packet0,iface=x,qpairs=2", 1),
            ("net_af_packet0,iface=x", 2),
            ("net_af_xdp0,iface=x,queue_count=4", 2),
            ("net_vhost0,iface=x,queues=2", 1),
        ] {
            let refused = answer(device, queues, false, 0).unwrap_err();
            assert!(refused.contains("they must be equal"), "{refused}");
        }
    }

    #[test]
    fn a_queue_for_classes_needs_somebody_who_knows_them() {
        for device in ["0000:01:00.0", "net_af_packet0,iface=x,qpairs=2"] {
            let refused = answer(device, 2, true, u64::MAX).unwrap_err();
            assert!(refused.contains("classes"), "{refused}");
        }
        for device in ["net_af_xdp0,iface=x,queue_count=2", "net_ring0"] {
            assert_eq!(answer(device, 2, true, 0), Ok(Steering::None), "{device}");
        }
    }
}
