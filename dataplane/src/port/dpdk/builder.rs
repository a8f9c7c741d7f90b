//! From a spec to a running port: added, configured, started.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use super::added::AddedDevice;
use super::interface::{interface_link, receive_queues};
use super::limits::{
    ETHERNET_BYTES, check_ranges, device_frame_bytes_max, mtu, receive_every_frame,
};
use super::queues::{PortGuard, RxQueue, TxQueue, ring_behind};
use super::started::Started;
use super::steering::{Steering, steering};
use super::{
    ClockSource, LaunchState, LaunchTime, Link, PortError, PortFacts, PortSpec, QueueSpec,
    c_string, clocks,
};
use super::{failed, port_id};
use crate::eal::Errno;
use crate::locks::DeviceLock;
use crate::pool::Pool;
use crate::port::device::Driver;
use crate::port::kernel_silence::{self, InterfaceError};
use crate::segment::{HARDWARE_OFFLOADS, check_hardware};

/// The frame of a standard MTU, bytes without FCS.
const STANDARD_FRAME_BYTES: u32 = 1514;

/// Buffers in the fill queue of a net_af_xdp port of 22.11 (`ETH_AF_XDP_DFLT_NUM_DESCS`): taken from
/// the pool at queue setup, replaced one by one as packets arrive, and forgotten at close.
const AF_XDP_FILL_BUFFERS: u32 = 2048;

/// Adds the device of a port and configures it.
pub(crate) struct PortBuilder {
    device: AddedDevice,
    /// The device's number in DPDK.
    id: u16,
    queues: QueueSpec,
    /// Buffers out of the pool before the device was added.
    buffers_before: u32,
}

impl PortBuilder {
    /// Adds the device; the caller took its locks.
    pub(crate) fn add(
        spec: PortSpec,
        queues: QueueSpec,
        pool: &Pool,
        locks: Vec<DeviceLock>,
    ) -> Result<Self, PortError> {
        check_ranges(&spec, &queues)?;
        let mut was_promiscuous = false;
        if let Some(interface) = spec.device.kernel_interface() {
            let bad = |source| PortError::Interface { port: spec.name.clone(), source };
            let state = kernel_silence::state(interface).map_err(bad)?;
            if !state.up {
                return Err(bad(InterfaceError::Down(interface.to_owned())));
            }
            was_promiscuous = state.promiscuous;
            if spec.device.driver() == Driver::AfXdp
                && spec.device.values("start_queue").next().is_none()
                && let Some(kernel) = receive_queues(interface)
                    .filter(|&kernel| kernel > queues.rx_bursts.len() as u32)
            {
                let queues = kernel;
                return Err(bad(InterfaceError::Queues { name: interface.to_owned(), queues }));
            }
        }
        // For EAL, adding a device that is there is a success; it must not be configured, and removed
        // on failure, a second time.
        if port_id(spec.device.name()).is_ok() {
            let device = spec.device.name().to_owned();
            return Err(PortError::Twice { port: spec.name, device });
        }
        let buffers_before = pool.in_use();
        let (bus, name) = (c_string(spec.device.bus()), c_string(spec.device.name()));
        let arguments = c_string(spec.device.arguments());
        // SAFETY: EAL is up (the pool holds it); the three strings live through the call.
        let added = unsafe {
            dpdk_sys::rte_eal_hotplug_add(bus.as_ptr(), name.as_ptr(), arguments.as_ptr())
        };
        Errno::check(added).map_err(failed(&spec, "rte_eal_hotplug_add"))?;
        let mut device = AddedDevice {
            spec,
            id: None,
            started: false,
            rx_queues: queues.rx_bursts.len() as u16,
            buffers_kept: 0,
            restore_filter: false,
            pool: pool.clone(),
            _locks: locks,
        };
        let id = port_id(device.spec.device.name())
            .map_err(failed(&device.spec, "rte_eth_dev_get_port_by_name"))?;
        device.id = Some(id);
        device.restore_filter =
            device.spec.device.driver().is_kernel_interface() && !was_promiscuous;
        Ok(Self { device, id, queues, buffers_before })
    }

    /// Configures the queues, with what the device offers and nothing else.
    pub(crate) fn configure(mut self) -> Result<Port, PortError> {
        let id = self.id;
        let spec = self.device.spec.clone();
        let mut info = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: `id` is a live port; `info` is written.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_info_get(id, &mut info) })
            .map_err(failed(&spec, "rte_eth_dev_info_get"))?;
        let (rx_queues, tx_queues) = (self.device.rx_queues, self.queues.tx_queues);
        if info.max_rx_queues < rx_queues || info.max_tx_queues < tx_queues {
            return Err(PortError::Queues {
                port: spec.name,
                device: spec.device.to_string(),
                rx: info.max_rx_queues,
                tx: info.max_tx_queues,
                rx_wanted: rx_queues,
                tx_wanted: tx_queues,
            });
        }
        let frame_bytes_max = u32::from(spec.frame_bytes_max);
        let mut conf = dpdk_sys::rte_eth_conf::default();
        // A bit outside the capabilities would be refused. net_pcap stamps without offering it.
        conf.rxmode.offloads = info.rx_offload_capa & dpdk_sys::WP_RX_OFFLOAD_TIMESTAMP;
        if frame_bytes_max > u32::from(self.device.pool.segment_bytes_max()) {
            conf.rxmode.offloads |= info.rx_offload_capa & dpdk_sys::WP_RX_OFFLOAD_SCATTER;
        }
        if let Steering::Rss(flows) = steering(&spec, &self.queues, &info)? {
            conf.rxmode.mq_mode = dpdk_sys::WP_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = flows;
        }
        conf.txmode.offloads = info.tx_offload_capa & dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS;
        if spec.cuts_frames {
            check_hardware(info.tx_offload_capa).map_err(|source| PortError::Segments {
                port: spec.name.clone(),
                device: spec.device.to_string(),
                driver: driver_name(&info),
                source,
            })?;
            conf.txmode.offloads |= HARDWARE_OFFLOADS;
        }
        let launch_time = launch_state(&spec, &info)?;
        if launch_time == LaunchState::On {
            conf.txmode.offloads |= dpdk_sys::WP_TX_OFFLOAD_SEND_ON_TIMESTAMP;
        }
        if frame_bytes_max > STANDARD_FRAME_BYTES {
            conf.rxmode.mtu = (frame_bytes_max - ETHERNET_BYTES).min(u32::from(info.max_mtu));
        }
        // SAFETY: `id` is a live, stopped port; `conf` lives through the call and is copied.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_configure(id, rx_queues, tx_queues, &conf) })
            .map_err(failed(&spec, "rte_eth_dev_configure"))?;
        let (mut rx, mut tx) = (spec.rx_descriptors, spec.tx_descriptors);
        // SAFETY: `id` is a live port; both numbers are written.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx) })
            .map_err(failed(&spec, "rte_eth_dev_adjust_nb_rx_tx_desc"))?;
        // SAFETY: `id` is a live port.
        let socket = u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(id) })
            .unwrap_or(dpdk_sys::WP_SOCKET_ID_ANY.cast_unsigned());
        // SAFETY: configured with so many queues; null = the driver's defaults with the port's
        // offloads; the pool lives as long as the device.
        unsafe {
            let pool = &self.device.pool;
            for queue in 0..rx_queues {
                let before = pool.in_use();
                let set_up = dpdk_sys::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    rx,
                    socket,
                    ptr::null(),
                    pool.raw(),
                );
                if spec.device.driver() == Driver::AfXdp {
                    // A setup that failed half-way forgets them too.
                    let taken = pool.in_use().saturating_sub(before);
                    self.device.buffers_kept += if set_up < 0 {
                        taken.min(AF_XDP_FILL_BUFFERS)
                    } else {
                        AF_XDP_FILL_BUFFERS
                    };
                }
                Errno::check(set_up).map_err(failed(&spec, "rte_eth_rx_queue_setup"))?;
            }
            for queue in 0..tx_queues {
                Errno::check(dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx, socket, ptr::null()))
                    .map_err(failed(&spec, "rte_eth_tx_queue_setup"))?;
            }
        }
        let reception = receive_every_frame(&spec, id, &mut self.device.restore_filter)?;
        let facts = PortFacts {
            name: spec.name.clone(),
            device: spec.device.to_string(),
            driver: spec.device.driver(),
            driver_name: driver_name(&info),
            reception,
            mtu: mtu(&spec, id)?,
            frame_bytes_max: 0,
            // net_pcap writes chains without offering it.
            multi_segs: conf.txmode.offloads & dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS != 0
                || spec.device.driver() == Driver::Pcap,
            rx_descriptors: rx,
            tx_descriptors: tx,
            buffers_taken: 0,
            launch_time,
            timesync: false,
            packet_clock: None,
        };
        let frame_bytes_max = device_frame_bytes_max(&spec, &facts, &self.device.pool);
        Ok(Port {
            facts: PortFacts { frame_bytes_max, ..facts },
            device: self.device,
            id,
            queues: self.queues,
            buffers_before: self.buffers_before,
        })
    }
}

/// Whether the port will be told when to send; an error where it must and cannot.
fn launch_state(
    spec: &PortSpec,
    info: &dpdk_sys::rte_eth_dev_info,
) -> Result<LaunchState, PortError> {
    let can = info.tx_offload_capa & dpdk_sys::WP_TX_OFFLOAD_SEND_ON_TIMESTAMP != 0;
    match (spec.launch_time, can) {
        (LaunchTime::Off, _) => Ok(LaunchState::Off),
        (_, true) => Ok(LaunchState::On),
        (LaunchTime::Prefer, false) => Ok(LaunchState::Missing),
        (LaunchTime::Require, false) => Err(PortError::LaunchTime {
            port: spec.name.clone(),
            device: spec.device.to_string(),
            driver: driver_name(info),
        }),
    }
}

fn driver_name(info: &dpdk_sys::rte_eth_dev_info) -> String {
    // SAFETY: the driver's name is a static string of the driver.
    unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
}

/// A configured port that does not run yet.
pub(crate) struct Port {
    device: AddedDevice,
    id: u16,
    facts: PortFacts,
    queues: QueueSpec,
    buffers_before: u32,
}

impl Port {
    /// Starts it; RX queues in the order of their index. `released` is called once, on whatever thread
    /// drops the last queue.
    pub(crate) fn start(
        mut self,
        released: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Started, Vec<RxQueue>, TxQueue), PortError> {
        let spec = &self.device.spec;
        // SAFETY: `id` is a configured, stopped port.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_start(self.id) })
            .map_err(failed(spec, "rte_eth_dev_start"))?;
        let spec_wants_timesync = spec.timesync;
        self.device.started = true;
        self.device.discard_strays(self.id);
        self.facts.timesync = spec_wants_timesync && clocks::enable_timesync(self.id);
        // Drivers without the one call stamp arrivals with the clock of the other (ice).
        let timesync = self.facts.timesync.then_some(ClockSource::Timesync);
        self.facts.packet_clock =
            clocks::packet_clock(self.id, &self.device.spec.device).or(timesync);
        self.facts.buffers_taken = self.device.pool.in_use().saturating_sub(self.buffers_before);
        let link = Arc::new(Link::default());
        let guard = Arc::new(PortGuard { released: Box::new(released) });
        let bursts = self.queues.rx_bursts.iter().enumerate();
        let rx = bursts
            .map(|(queue, &burst)| RxQueue {
                port: self.id,
                queue: queue as u16,
                burst: usize::from(burst),
                link: Arc::clone(&link),
                guard: Arc::clone(&guard),
                one_thread: PhantomData,
            })
            .collect();
        let tx = TxQueue {
            port: self.id,
            driver: self.facts.driver,
            frame_bytes_max: self.facts.frame_bytes_max,
            multi_segs: self.facts.multi_segs,
            cuts_frames: self.device.spec.cuts_frames,
            launch_time: self.facts.launch_time == LaunchState::On,
            timesync: self.facts.timesync,
            ring: ring_behind(&self.device.spec.device),
            link: Arc::clone(&link),
            guard: Arc::clone(&guard),
            one_thread: PhantomData,
        };
        let interface = self.device.spec.device.kernel_interface();
        let started = Started {
            id: self.id,
            facts: self.facts,
            link,
            interface: interface.and_then(|name| Some(interface_link(name).ok()?.0)),
            guard: Arc::downgrade(&guard),
            device: ManuallyDrop::new(self.device),
        };
        started.look_at_link();
        Ok((started, rx, tx))
    }
}
