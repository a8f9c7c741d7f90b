//! A port of DPDK: added, configured, started; then one RX and one TX queue that cannot be aliased.
//!
//! `PortBuilder` -> `Port` (configured) -> [`Started`]. All three live on the port thread
//! ([`super::thread`]), which alone adds, stops and closes devices. Only the two queues leave it.
//!
//! Why a port cannot be stopped under a poller: `rte_eth_dev_stop` of 22.11 replaces the burst
//! functions by a plain struct assignment, so a burst at that moment could pair an old function with
//! a new queue. Both queues hold the same guard; when the last of them is dropped, wherever that is,
//! the guard tells the port thread, and only then the port thread stops and closes the device.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dpdk_sys::rte_ring;
use model::time::Nanos;

use super::device::{DeviceSpec, Driver};
use super::kernel_silence::{self, InterfaceError};
pub use super::spec::{DeviceStats, Link, PortError, PortFacts, PortSpec, Reception};
use super::{Rx, Tx};
use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::eal::Errno;
use crate::locks::DeviceLock;
use crate::pool::Pool;

/// Bytes of an Ethernet header: what a frame has beyond the MTU.
const ETHERNET_BYTES: u32 = dpdk_sys::WP_ETHER_HDR_LEN;
/// Bytes of one VLAN tag, which the kernel lets through on top of the MTU.
const VLAN_BYTES: u32 = 4;
/// The frame of a standard MTU, bytes without FCS.
const STANDARD_FRAME_BYTES: u32 = 1514;

/// Buffers in the fill queue of a net_af_xdp port of 22.11 (`ETH_AF_XDP_DFLT_NUM_DESCS`): taken from
/// the pool at queue setup, replaced one by one as packets arrive, and forgotten at close.
const AF_XDP_FILL_BUFFERS: u32 = 2048;

/// Longer than a data core takes from looking at a link to having sent.
const DATA_CORE_TURN: Duration = Duration::from_millis(2);

/// A function's failure as an error of this port.
fn failed(spec: &PortSpec, operation: &'static str) -> impl Fn(Errno) -> PortError + use<> {
    let (port, device) = (spec.name.clone(), spec.device.to_string());
    move |source| PortError::Dpdk { port: port.clone(), device: device.clone(), operation, source }
}

/// A string without NUL bytes (`DeviceSpec::parse` refuses them) for C.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// DPDK's number of the port of a device.
fn port_id(device: &str) -> Result<u16, Errno> {
    let name = c_string(device);
    let mut id = 0;
    // SAFETY: the name lives through the call, `id` is written on success.
    Errno::check(unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) })?;
    Ok(id)
}

/// A device that EAL has. Dropping it stops, closes and removes it, in this order, and lets go of
/// its locks last.
struct AddedDevice {
    spec: PortSpec,
    /// `None` until the ethdev was found.
    id: Option<u16>,
    started: bool,
    /// Buffers that the driver has and will not give back.
    buffers_kept: u32,
    /// We switched the interface to promiscuous; leave it as it was found.
    restore_filter: bool,
    /// Keeps the pool, and with it EAL, until the device has let go of its buffers.
    pool: Pool,
    _locks: Vec<DeviceLock>,
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
    fn discard_strays(&self, id: u16) {
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

/// Adds the device of a port and configures it.
pub(crate) struct PortBuilder {
    device: AddedDevice,
    /// The device's number in DPDK.
    id: u16,
    /// Buffers out of the pool before the device was added.
    buffers_before: u32,
}

impl PortBuilder {
    /// Adds the device; the caller took its locks.
    pub(crate) fn add(
        spec: PortSpec,
        pool: &Pool,
        locks: Vec<DeviceLock>,
    ) -> Result<Self, PortError> {
        check_ranges(&spec)?;
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
                && let Some(queues) = receive_queues(interface).filter(|&queues| queues > 1)
            {
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
        Ok(Self { device, id, buffers_before })
    }

    /// Configures one RX and one TX queue, with what the device offers and nothing else.
    pub(crate) fn configure(mut self) -> Result<Port, PortError> {
        let id = self.id;
        let spec = self.device.spec.clone();
        let mut info = dpdk_sys::rte_eth_dev_info::default();
        // SAFETY: `id` is a live port; `info` is written.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_info_get(id, &mut info) })
            .map_err(failed(&spec, "rte_eth_dev_info_get"))?;
        if info.max_rx_queues == 0 || info.max_tx_queues == 0 {
            return Err(PortError::Queues {
                port: spec.name,
                device: spec.device.to_string(),
                rx: info.max_rx_queues,
                tx: info.max_tx_queues,
            });
        }
        let frame_bytes_max = u32::from(spec.frame_bytes_max);
        let mut conf = dpdk_sys::rte_eth_conf::default();
        // A bit outside the capabilities would be refused. net_pcap stamps without offering it.
        conf.rxmode.offloads = info.rx_offload_capa & dpdk_sys::WP_RX_OFFLOAD_TIMESTAMP;
        if frame_bytes_max > u32::from(self.device.pool.segment_bytes_max()) {
            conf.rxmode.offloads |= info.rx_offload_capa & dpdk_sys::WP_RX_OFFLOAD_SCATTER;
        }
        conf.txmode.offloads = info.tx_offload_capa & dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS;
        if frame_bytes_max > STANDARD_FRAME_BYTES {
            conf.rxmode.mtu = (frame_bytes_max - ETHERNET_BYTES).min(u32::from(info.max_mtu));
        }
        // SAFETY: `id` is a live, stopped port; `conf` lives through the call and is copied.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_configure(id, 1, 1, &conf) })
            .map_err(failed(&spec, "rte_eth_dev_configure"))?;
        let (mut rx, mut tx) = (spec.rx_descriptors, spec.tx_descriptors);
        // SAFETY: `id` is a live port; both numbers are written.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx) })
            .map_err(failed(&spec, "rte_eth_dev_adjust_nb_rx_tx_desc"))?;
        // SAFETY: `id` is a live port.
        let socket = u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(id) })
            .unwrap_or(dpdk_sys::WP_SOCKET_ID_ANY.cast_unsigned());
        // SAFETY: configured with one queue each; null = the driver's defaults with the port's
        // offloads; the pool lives as long as the device.
        unsafe {
            let pool = &self.device.pool;
            let before = pool.in_use();
            let set_up =
                dpdk_sys::rte_eth_rx_queue_setup(id, 0, rx, socket, ptr::null(), pool.raw());
            if spec.device.driver() == Driver::AfXdp {
                // A setup that failed half-way forgets them too.
                let taken = pool.in_use().saturating_sub(before);
                self.device.buffers_kept =
                    if set_up < 0 { taken.min(AF_XDP_FILL_BUFFERS) } else { AF_XDP_FILL_BUFFERS };
            }
            Errno::check(set_up).map_err(failed(&spec, "rte_eth_rx_queue_setup"))?;
            Errno::check(dpdk_sys::rte_eth_tx_queue_setup(id, 0, tx, socket, ptr::null()))
                .map_err(failed(&spec, "rte_eth_tx_queue_setup"))?;
        }
        let reception = receive_every_frame(&spec, id, &mut self.device.restore_filter)?;
        // SAFETY: the driver's name is a static string of the driver.
        let driver_name = unsafe { CStr::from_ptr(info.driver_name) };
        let facts = PortFacts {
            name: spec.name.clone(),
            device: spec.device.to_string(),
            driver: spec.device.driver(),
            driver_name: driver_name.to_string_lossy().into_owned(),
            reception,
            mtu: mtu(&spec, id)?,
            frame_bytes_max: 0,
            // net_pcap writes chains without offering it.
            multi_segs: conf.txmode.offloads & dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS != 0
                || spec.device.driver() == Driver::Pcap,
            rx_descriptors: rx,
            tx_descriptors: tx,
            buffers_taken: 0,
        };
        let frame_bytes_max = device_frame_bytes_max(&spec, &facts, &self.device.pool);
        Ok(Port {
            facts: PortFacts { frame_bytes_max, ..facts },
            device: self.device,
            id,
            buffers_before: self.buffers_before,
        })
    }
}

/// A configured port that does not run yet.
pub(crate) struct Port {
    device: AddedDevice,
    id: u16,
    facts: PortFacts,
    buffers_before: u32,
}

impl Port {
    /// Starts it. `released` is called once, on whatever thread drops the last queue.
    pub(crate) fn start(
        mut self,
        released: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Started, RxQueue, TxQueue), PortError> {
        let spec = &self.device.spec;
        // SAFETY: `id` is a configured, stopped port.
        Errno::check(unsafe { dpdk_sys::rte_eth_dev_start(self.id) })
            .map_err(failed(spec, "rte_eth_dev_start"))?;
        self.device.started = true;
        self.device.discard_strays(self.id);
        self.facts.buffers_taken = self.device.pool.in_use().saturating_sub(self.buffers_before);
        let link = Arc::new(Link::default());
        let guard = Arc::new(PortGuard { released: Box::new(released) });
        let rx = RxQueue {
            port: self.id,
            burst: usize::from(self.device.spec.rx_burst),
            link: Arc::clone(&link),
            guard: Arc::clone(&guard),
            one_thread: PhantomData,
        };
        let tx = TxQueue {
            port: self.id,
            driver: self.facts.driver,
            frame_bytes_max: self.facts.frame_bytes_max,
            multi_segs: self.facts.multi_segs,
            ring: ring_behind(&self.device.spec.device),
            link: Arc::clone(&link),
            guard: Arc::clone(&guard),
            one_thread: PhantomData,
        };
        let started = Started {
            id: self.id,
            facts: self.facts,
            link,
            guard: Arc::downgrade(&guard),
            device: ManuallyDrop::new(self.device),
        };
        started.look_at_link();
        Ok((started, rx, tx))
    }
}

/// A running port as the port thread keeps it.
///
/// Dropping it stops and closes the device, unless a queue is still out there: then the device is
/// left running for good, because stopping it under a poller is worse. The port thread drops it only
/// after the queues.
pub(crate) struct Started {
    id: u16,
    facts: PortFacts,
    link: Arc<Link>,
    guard: Weak<PortGuard>,
    device: ManuallyDrop<AddedDevice>,
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

    /// Looks at the link and notes its state.
    ///
    /// net_af_packet and net_af_xdp of 22.11 say "up" from start to stop: there the kernel is asked.
    pub(crate) fn look_at_link(&self) {
        let up = if let Some(interface) = self.device.spec.device.kernel_interface() {
            kernel_silence::state(interface).is_ok_and(|s| s.up && s.running)
        } else {
            let mut link = dpdk_sys::rte_eth_link::default();
            // SAFETY: `id` is a live port; `link` is written.
            let read = unsafe { dpdk_sys::rte_eth_link_get_nowait(self.id, &mut link) };
            read == 0 && u32::from(link.link_status()) == dpdk_sys::WP_LINK_UP
        };
        self.link.note(up);
    }

    /// Takes the link down or up, so that the host at the other end sees it.
    pub(crate) fn set_link(&self, up: bool) -> Result<(), PortError> {
        let spec = &self.device.spec;
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

/// Held by both queues; tells the port thread when the last one is gone.
struct PortGuard {
    released: Box<dyn Fn() + Send + Sync>,
}

impl Drop for PortGuard {
    fn drop(&mut self) {
        (self.released)();
    }
}

/// The RX queue of a port. One owner; it may move to the thread that polls it.
pub struct RxQueue {
    port: u16,
    burst: usize,
    link: Arc<Link>,
    #[expect(dead_code, reason = "held for its drop")]
    guard: Arc<PortGuard>,
    one_thread: PhantomData<Cell<()>>,
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
            let n = dpdk_sys::wp_rx_burst(self.port, 0, into.tail_ptr(), room as u16);
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
    port: u16,
    driver: Driver,
    frame_bytes_max: u32,
    multi_segs: bool,
    ring: Option<NonNull<rte_ring>>,
    link: Arc<Link>,
    #[expect(dead_code, reason = "held for its drop")]
    guard: Arc<PortGuard>,
    one_thread: PhantomData<Cell<()>>,
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
    fn link_up(&self) -> bool {
        self.link.is_up()
    }
}

fn check_ranges(spec: &PortSpec) -> Result<(), PortError> {
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
fn receive_every_frame(
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
fn device_frame_bytes_max(spec: &PortSpec, facts: &PortFacts, pool: &Pool) -> u32 {
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
fn mtu(spec: &PortSpec, id: u16) -> Result<u16, PortError> {
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

/// The ring behind a net_ring: the driver makes one for each queue and names it so.
fn ring_behind(device: &DeviceSpec) -> Option<NonNull<rte_ring>> {
    if device.driver() != Driver::Ring {
        return None;
    }
    let name = c_string(&format!("ETH_RXTX0_{}", device.name()));
    // SAFETY: EAL is up; the name lives through the call.
    NonNull::new(unsafe { dpdk_sys::rte_ring_lookup(name.as_ptr()) })
}

/// Runs an interface request of the kernel on `name`.
fn interface_request(
    name: &str,
    request: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> Result<libc::ifreq, Errno> {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .map_err(|e| Errno(e.raw_os_error()))?;
    // SAFETY: an ifreq of zeros is valid.
    let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= ifreq.ifr_name.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    fill(&mut ifreq);
    // SAFETY: the requests used here take an ifreq, which lives through the call, as does what
    // `fill` lets it point to.
    if unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut ifreq) } < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
    }
    Ok(ifreq)
}

fn interface_mtu(name: &str) -> Result<u16, Errno> {
    let answer = interface_request(name, libc::SIOCGIFMTU, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFMTU, which writes this field. The loopback interface has
    // 65536.
    Ok(u16::try_from(unsafe { answer.ifr_ifru.ifru_mtu }).unwrap_or(u16::MAX))
}

/// Receive queues of an interface; `None` when its driver does not say.
fn receive_queues(name: &str) -> Option<u32> {
    /// `struct ethtool_channels` of the kernel.
    #[repr(C)]
    #[derive(Default)]
    struct Channels {
        command: u32,
        /// Largest number of RX, TX, other and combined channels.
        largest: [u32; 4],
        rx: u32,
        tx: u32,
        other: u32,
        combined: u32,
    }
    const ETHTOOL_GCHANNELS: u32 = 0x3c;
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    let data = (&raw mut channels).cast();
    interface_request(name, libc::SIOCETHTOOL, |r| r.ifr_ifru.ifru_data = data).ok()?;
    Some(channels.rx + channels.combined)
}

fn set_interface_up(name: &str, up: bool) -> Result<(), Errno> {
    let answer = interface_request(name, libc::SIOCGIFFLAGS, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFFLAGS, which writes this field.
    let flags = unsafe { answer.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    let wanted = if up { flags | bit } else { flags & !bit };
    interface_request(name, libc::SIOCSIFFLAGS, |r| r.ifr_ifru.ifru_flags = wanted)?;
    Ok(())
}
