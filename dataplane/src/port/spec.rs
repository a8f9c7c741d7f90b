//! The records of a port: what it is made from, what is known of it, what can go wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use model::config::LaunchTime;

use super::device::{DeviceError, DeviceSpec, Driver};
use super::kernel_silence::InterfaceError;
use crate::eal::Errno;
use crate::locks::LockError;
use crate::segment::NoHardware;

/// What a port is made from.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// Its name in the config.
    pub name: String,
    /// Its device.
    pub device: DeviceSpec,
    /// Longest frame it may send, without FCS, bytes. The device may lower it.
    pub frame_bytes_max: u16,
    /// Packets taken by one RX call, 1 to 256.
    pub rx_burst: u16,
    /// RX descriptors; adjusted to what the driver allows.
    pub rx_descriptors: u16,
    /// TX descriptors; adjusted to what the driver allows.
    pub tx_descriptors: u16,
    /// Whether the NIC is told when to send.
    pub launch_time: LaunchTime,
    /// Whether the NIC is asked when it sent.
    pub timesync: bool,
    /// Whether the NIC has to cut super-frames.
    pub cuts_frames: bool,
}

/// What became of a wish for launch times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchState {
    /// Not asked for.
    Off,
    /// The port sends at the times it is given.
    On,
    /// Asked for, and the port cannot: packets leave when they are handed over.
    Missing,
}

impl LaunchState {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Missing => "missing",
        }
    }
}

impl TryFrom<&model::config::Port> for PortSpec {
    type Error = DeviceError;

    fn try_from(port: &model::config::Port) -> Result<Self, DeviceError> {
        Ok(Self {
            name: port.name.clone(),
            device: DeviceSpec::try_from(&port.device)?,
            frame_bytes_max: port.frame_bytes_max,
            rx_burst: port.rx_burst,
            rx_descriptors: port.rx_descriptors,
            tx_descriptors: port.tx_descriptors,
            launch_time: port.launch_time,
            timesync: port.timesync,
            // Classes have a say in it: `assemble::cuts_frames`.
            cuts_frames: false,
        })
    }
}

/// The queues of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// For each RX queue, how many packets one call takes, 1 to 256.
    pub rx_bursts: Vec<u16>,
    /// Some RX queue is for named classes only.
    pub by_class: bool,
    /// TX queues. An egress port is paced by one core, which sends on the first.
    pub tx_queues: u16,
}

impl QueueSpec {
    /// One of each.
    pub fn one(rx_burst: u16) -> Self {
        Self { rx_bursts: vec![rx_burst], by_class: false, tx_queues: 1 }
    }
}

impl From<&model::config::Port> for QueueSpec {
    fn from(port: &model::config::Port) -> Self {
        Self {
            rx_bursts: port.queues.iter().map(|queue| queue.burst).collect(),
            by_class: port.queues.iter().any(|queue| !queue.classes.is_empty()),
            tx_queues: port.tx_queues,
        }
    }
}

/// Why a port was not opened or an operation on it failed.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Another process has the device.
    #[error("port {port}: {source}")]
    Lock {
        /// Name of the port.
        port: String,
        /// Who has it.
        source: LockError,
    },
    /// The kernel interface is absent or down.
    #[error("port {port}: {source}")]
    Interface {
        /// Name of the port.
        port: String,
        /// What is wrong with it.
        source: InterfaceError,
    },
    /// A call into DPDK failed.
    #[error("port {port} ({device}): {operation}: {source}{}", hint(operation))]
    Dpdk {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// The function of DPDK.
        operation: &'static str,
        /// What it said.
        source: Errno,
    },
    /// The device has too few queues.
    #[error(
        "port {port} ({device}): the device has {rx} RX and {tx} TX queues, {rx_wanted} and \
         {tx_wanted} are wanted"
    )]
    Queues {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// RX queues.
        rx: u16,
        /// TX queues.
        tx: u16,
        /// RX queues asked for.
        rx_wanted: u16,
        /// TX queues asked for.
        tx_wanted: u16,
    },
    /// The device cannot spread packets over its queues in the way that the config asks for.
    #[error("port {port} ({device}): {problem}")]
    Steering {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// What it cannot do, and what helps.
        problem: String,
    },
    /// It does not receive frames for other addresses and will not learn to.
    #[error(
        "port {port} ({device}): the driver cannot be switched to {mode}: {source}; a gateway has to \
         receive every frame"
    )]
    Filter {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// `promiscuous` or `allmulticast`.
        mode: &'static str,
        /// What the driver said.
        source: Errno,
    },
    /// A demand for launch times that the device cannot meet.
    #[error(
        "port {port} ({device}): launch_time = \"require\", and the driver {driver} cannot send at a \
         given time (it does not offer SEND_ON_TIMESTAMP): use a port that can (with DPDK 22.11 mlx5 \
         with the devarg tx_pp, e.g. tx_pp=500), or set launch_time = \"prefer\" or \"off\", and \
         packets leave when the pacer hands them over"
    )]
    LaunchTime {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// The driver's own name.
        driver: String,
    },
    /// A demand for segmentation that the device cannot meet.
    #[error("port {port} ({device}, driver {driver}): {source}")]
    Segments {
        /// Name of the port.
        port: String,
        /// Its device.
        device: String,
        /// The driver's own name.
        driver: String,
        /// What it lacks.
        source: NoHardware,
    },
    /// A number out of range.
    #[error("port {port}: {name} = {value}: {allowed} are allowed")]
    Range {
        /// Name of the port.
        port: String,
        /// The number's name.
        name: &'static str,
        /// The number.
        value: u32,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The name is taken.
    #[error("port {port}: another open port has the device {device}")]
    Twice {
        /// Name of the port.
        port: String,
        /// The device.
        device: String,
    },
    /// The port thread has ended.
    #[error("the port thread has ended")]
    ThreadGone,
    /// The port was closed.
    #[error("the port is closed")]
    Closed,
}

/// What helps where DPDK's error number does not.
fn hint(operation: &str) -> &'static str {
    match operation {
        "rte_eal_hotplug_add" => " (DPDK's own lines on stderr say why)",
        "rte_eth_rx_queue_setup" => {
            " (DPDK's own lines on stderr say why: too few buffers in the pool, or for net_af_xdp \
             another program's socket or XDP program on the interface)"
        }
        _ => "",
    }
}

/// How it is known that a port receives every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Promiscuous and, where the driver tells them apart, allmulticast were switched on.
    Promiscuous,
    /// The device has no address filter.
    Unfiltered,
}

impl Reception {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promiscuous => "promiscuous",
            Self::Unfiltered => "unfiltered",
        }
    }
}

/// The link of a port as the port thread last saw it (it looks every 10 ms).
#[derive(Debug, Default)]
pub struct Link {
    up: AtomicBool,
    ups: AtomicU64,
    removed: AtomicBool,
}

impl Link {
    /// Whether it was up.
    #[inline]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// How often it came up, the start included. A change means: down in between.
    #[inline]
    pub fn ups(&self) -> u64 {
        self.ups.load(Ordering::Relaxed)
    }

    /// Whether the device itself has gone: a NIC unplugged, an interface deleted. It is down for good.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Notes that the device has gone.
    pub(crate) fn note_removed(&self) {
        self.note(false);
        self.removed.store(true, Ordering::Relaxed);
    }

    /// Notes what was seen.
    pub(crate) fn note(&self, up: bool) {
        if up && !self.up.swap(up, Ordering::Relaxed) {
            self.ups.fetch_add(1, Ordering::Relaxed);
        } else {
            self.up.store(up, Ordering::Relaxed);
        }
    }
}

/// What is known of an open port once it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Name in the config.
    pub name: String,
    /// What was asked of the driver: `net_af_xdp0,iface=veth1`.
    pub device: String,
    /// Our name of the driver.
    pub driver: Driver,
    /// The driver's own name.
    pub driver_name: String,
    /// How it receives every frame.
    pub reception: Reception,
    /// MTU: of the interface under net_af_packet and net_af_xdp, else what DPDK says; bytes.
    pub mtu: u16,
    /// Longest frame it sends, without FCS, bytes.
    pub frame_bytes_max: u32,
    /// Whether it sends packets of several segments.
    pub multi_segs: bool,
    /// RX descriptors in force.
    pub rx_descriptors: u16,
    /// TX descriptors in force.
    pub tx_descriptors: u16,
    /// Buffers that the driver had taken from the pool when it had started.
    pub buffers_taken: u32,
    /// Whether it sends at the times it is given.
    pub launch_time: LaunchState,
    /// Whether it says when it sent a packet.
    pub timesync: bool,
    /// What its clock is that stamps what arrives, where it can be read.
    pub packet_clock: Option<ClockSource>,
}

/// A clock of a device that can be read, and so be turned into gateway time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// `rte_eth_read_clock`: the clock of its arrival stamps and launch times.
    ReadClock,
    /// `rte_eth_timesync_read_time`: the clock of its departure stamps.
    Timesync,
    /// The kernel's wall clock in microseconds: what libpcap gives for an interface.
    WallClock,
}

impl ClockSource {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadClock => "read_clock",
            Self::Timesync => "timesync",
            Self::WallClock => "wall_clock_us",
        }
    }
}

/// What the driver counts, since the port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets that arrived when no descriptor was free.
    pub missed: u64,
    /// Packets that arrived damaged.
    pub receive_errors: u64,
    /// Packets that the driver took and did not send.
    pub send_errors: u64,
    /// Times that no buffer could be had for a packet.
    pub no_buffer: u64,
}

impl DeviceStats {
    /// Packets that the device lost in either direction.
    pub const fn lost(&self) -> u64 {
        self.missed + self.receive_errors + self.send_errors + self.no_buffer
    }
}
