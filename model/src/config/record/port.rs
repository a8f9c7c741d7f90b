//! `[[port]]` and `[[pair]]`.

use std::net::Ipv4Addr;

use crate::kind::Side;
use crate::profile::Segment;
use crate::time::Nanos;

/// What a port is made of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Device {
    /// The capture given to `replay`; only with `clock = "virtual"`.
    Capture,
    /// A PCI address, as EAL's device list takes it, with devargs.
    Pci(String),
    /// A vdev, as `--vdev` takes it, such as `net_af_xdp0,iface=veth1`.
    Vdev(String),
}

/// How the bytes below a TX queue are known to have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// The best way that the device offers.
    Auto,
    /// The device is done when `tx_burst` returns.
    Synchronous,
    /// Occupancy of the ring behind net_ring.
    RingCount,
    /// An extra reference on each mbuf, given back by the device.
    RefcountProbe,
}

/// A modelled link behind a TX queue: the only source of completions in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LinkModel {
    /// Bits per second.
    pub rate_bps: u64,
    /// Packets per completion.
    pub completion_batch: u32,
    /// A smaller batch completes so long after its first packet left the wire.
    pub completion_delay: Nanos,
}

/// A seeded flow mix written into each received frame, to price the pipeline on net_null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BenchFlows {
    /// Flows in the mix, 1 to 1,048,576.
    pub flows: u32,
    /// Frame length, bytes, 60 to 1514.
    pub frame_bytes: u16,
    /// `false`: the core of this port counts packets and measures nothing, to price the KPIs.
    pub kpis: bool,
    /// `true`: the core measures for some milliseconds, then not for as long, and so on, and says what either
    /// costs.
    pub kpis_in_turn: bool,
    /// `true`: the lane that receives here says where its cycles go, stage by stage.
    pub stages: bool,
}

/// One `[[port]]`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its side.
    pub side: Side,
    /// Its device.
    pub device: Device,
    /// Largest frame it may send, without FCS, bytes.
    pub frame_bytes_max: u16,
    /// Packets taken by one RX call, 1 to 256.
    pub rx_burst: u16,
    /// RX descriptors.
    pub rx_descriptors: u16,
    /// TX descriptors.
    pub tx_descriptors: u16,
    /// `completion`.
    pub completion: Completion,
    /// `link`, `completion_batch`, `completion_delay`.
    pub link: Option<LinkModel>,
    /// In-flight limit, strict: never exceeded.
    pub inflight_limit_bytes: Option<u64>,
    /// No completion for so long with bytes in flight is a stall.
    pub stall_time: Nanos,
    /// Whether fragments from this port are forwarded: by default from the venue only.
    pub forward_fragments: bool,
    /// What it does as egress with a frame that is longer than it may send.
    pub segment: Segment,
    /// Whether packets from here may carry an intent shim.
    pub intent: PortIntent,
    /// Whether its NIC is told when to send.
    pub launch_time: LaunchTime,
    /// So long before its departure a packet is handed to a NIC that is told when to send.
    pub launch_lead: Nanos,
    /// Whether departures are stamped by the NIC where it can (IEEE 1588 timesync).
    pub timesync: bool,
    /// RX queues, 1 to 64.
    pub rx_queues: u16,
    /// TX queues, 1 to 64.
    pub tx_queues: u16,
    /// One for each RX queue, by its index.
    pub queues: Vec<RxQueue>,
    /// `[port.faults]`.
    pub faults: Option<Faults>,
    /// `[port.bench]`.
    pub bench: Option<BenchFlows>,
}

/// Whether packets from a port may carry an intent shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortIntent {
    /// A shim ends as `intent_refused`.
    Off,
    /// A shim is read and stripped.
    Shim,
}

/// Whether a NIC is told when to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchTime {
    /// Never.
    Off,
    /// Where it can; otherwise it is sent at once when it is due.
    Prefer,
    /// The start is refused where it cannot.
    Require,
}

/// How packets are taken from one RX queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RxQueue {
    /// Packets taken by one call, 1 to 256.
    pub burst: u16,
    /// Delivery begins when so many packets wait; 1 = at once.
    pub hold_frames: u16,
    /// Delivery begins so long after the first of them came.
    pub hold_time: Nanos,
    /// Classes that are steered here; empty = whatever no other queue names.
    pub classes: Vec<u8>,
}

/// Faults that a wrapper around a port's queues brings about, for drills. Shares are in parts per
/// million of the packets, or of the calls of `tx_burst` for `refuse_ppm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Received packets that are lost.
    pub drop_ppm: u32,
    /// Received packets that change places with the next one.
    pub reorder_ppm: u32,
    /// Received packets that come twice.
    pub duplicate_ppm: u32,
    /// Calls of `tx_burst` that take nothing.
    pub refuse_ppm: u32,
    /// Sent packets whose completion is withheld.
    pub withhold_completions_ppm: u32,
    /// The clock of the core steps by so much, forward and back in turn, `clock_step_every` so
    /// often; zero = never.
    pub clock_step: Nanos,
    /// Time between two steps; zero where there are none.
    pub clock_step_every: Nanos,
}

/// One `[[pair]]`: an inside port and a venue port forwarded to each other by one core.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Pair {
    /// Index of the inside port.
    pub inside: usize,
    /// Index of the venue port.
    pub venue: usize,
    /// CPU of the core that paces both ports.
    pub core: CoreChoice,
    /// Which cores receive.
    pub arrangement: Arrangement,
    /// CPUs of the cores that receive; empty unless the arrangement is a pipeline.
    pub rx_cores: Vec<usize>,
    /// Packets that a ring between two cores holds, a power of two.
    pub ring: u32,
    /// Copy a link-down of one port to the other.
    pub link_follow: bool,
    /// `[pair.second_path]`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_path: Option<SecondPath>,
}

/// `[pair.second_path]`: another venue port that reaches the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SecondPath {
    /// Index of its venue port.
    pub venue: usize,
    /// How long what left by one path may still be under way there.
    pub path_drain: Nanos,
    /// Whether `mixed` sessions may move.
    pub allow_session_move: bool,
    /// A flow that moved stays so long at least.
    pub dwell: Nanos,
    /// Answers ARP on both paths.
    pub probe_to: Ipv4Addr,
    /// The address that asks.
    pub probe_from: Ipv4Addr,
    /// Its hardware address.
    pub probe_mac: [u8; 6],
}

impl Pair {
    /// Indices of its venue ports: one, or two.
    pub fn venues(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.venue), self.second_path.map(|second| second.venue)].into_iter().flatten()
    }
}

/// The CPU of a data core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreChoice {
    /// Chosen at start from the machine's topology; in virtual time the one thread.
    Auto,
    /// This one.
    Cpu(usize),
}

impl CoreChoice {
    /// The CPU, where the config names one.
    pub const fn cpu(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Cpu(cpu) => Some(cpu),
        }
    }
}

/// Which cores receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// The core that paces receives as well.
    RunToCompletion,
    /// Cores of their own receive and hand over to the core that paces.
    Pipeline,
}

impl Device {
    /// Whether it is a vdev of `driver`, such as `net_af_xdp`. EAL matches by prefix as well.
    pub fn is_vdev_of(&self, driver: &str) -> bool {
        matches!(self, Self::Vdev(text) if text.starts_with(driver))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Capture => "capture",
            Self::Pci(text) | Self::Vdev(text) => text,
        })
    }
}
