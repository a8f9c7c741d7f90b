//! The config: text once, then checked values.
//!
//! [`Config`] is what the rest of the product sees: every cross reference is an index, every
//! derived value stands beside what it was derived from, and a value of this type has passed every
//! rule. Configs are read once at start; nothing here is used per packet.
//!
//! ```
//! # let text = include_str!("../../../configs/gateway.toml");
//! use model::config::{Config, underlined};
//!
//! match Config::from_toml("gateway.toml", text) {
//!     Ok(config) => assert_eq!(config.gateway.name, "gw1"),
//!     Err(errors) => eprint!("{}", underlined(&errors, text)),
//! }
//! ```
//!
//! In the order in which a text meets the files: `reader` and `raw` read tables and keep places,
//! `values`, `network` and [`units`] read single values, `sections`, `ports`, `matching`, `classes`, `profiles` and `budget` hold the rules, each
//! by topic, and `parse` calls them. [`report()`] says what a good config promises.

mod budget;
mod bursts;
mod caps;
mod classes;
mod digest;
mod error;
mod matching;
mod names;
mod network;
mod parse;
mod ports;
mod profiles;
mod raw;
mod reader;
pub mod report;
mod sections;
pub mod units;
mod values;

pub use budget::Budget;
pub use error::{ConfigError, underlined};
pub use report::{Report, report, report_json};

use std::net::IpAddr;

use crate::kind::{Kind, Side};
use crate::profile::{Caps, Profile};
use crate::rules::{Label, Rules};
use crate::stop::StopWord;
use crate::time::Nanos;

/// A checked config.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `[dpdk]`.
    pub dpdk: Dpdk,
    /// `[control]`.
    pub control: Control,
    /// `[[port]]`, in the order of the file.
    pub ports: Vec<Port>,
    /// `[[pair]]`, in the order of the file.
    pub pairs: Vec<Pair>,
    /// `[[class]]` in the order of the file, then the built-in class `non_ip` of each side.
    pub classes: Vec<Class>,
    /// `[[rule]]` in the order of the file, and what matches none of them.
    pub rules: Rules,
    /// Label table; index 0 is the empty label.
    pub labels: Vec<Label>,
    /// Venue names of the rules, in the order of their first use.
    pub venues: Vec<String>,
    /// Profile 0 is `normal`.
    pub profiles: Vec<Profile>,
    /// How each bucket of each profile came out of what the file states, profile by profile.
    #[serde(skip)]
    pub derivations: Vec<Derivation>,
    /// SHA-256 of the checked values in canonical form, as hex: changes with any value, not with a
    /// comment, a default written out or another way to write the same number.
    #[serde(skip)]
    pub digest: String,
    /// What is allowed and yet worth a word to the operator.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Which clock steps the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// Real time from the TSC.
    Tsc,
    /// One thread steps source, worker and sink.
    Virtual,
}

/// `[gateway]`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Gateway {
    /// Name of the instance: names its sockets, pages and metrics.
    pub name: String,
    /// `clock`.
    pub clock: ClockKind,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// State at start of every scope that was not halted; required where a class may carry orders
    /// and the clock is real.
    pub start_state: StopWord,
    /// Directory of the stop page and the control socket, `None` = by the user (see docs).
    pub state_dir: Option<String>,
    /// Wheel slot, a power of two in ns, 64ns to 1048576ns.
    pub slot: Nanos,
    /// Longest drain at shutdown.
    pub drain_max: Nanos,
    /// A data core that made no progress for so long ends the process.
    pub core_stall: Nanos,
    /// Core of the control thread and of EAL's own threads.
    pub control_cpu: Option<usize>,
    /// Flows (ordering groups) that one data core can tell apart.
    pub flows_max: u32,
}

/// Whether hugepages are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hugepages {
    /// When there are enough free ones.
    Auto,
    /// Never: `--no-huge`.
    Never,
    /// Start is refused without them.
    Require,
}

/// `[dpdk]`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Dpdk {
    /// Memory for EAL, bytes.
    pub memory_bytes: u64,
    /// `hugepages`.
    pub hugepages: Hugepages,
    /// Packet buffers in the one pool that all ports share.
    pub mbufs: u32,
    /// Data room of a buffer, head-room included, bytes.
    pub mbuf_bytes: u16,
}

/// `[control]`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Control {
    /// Loopback address of the exporter, `None` = off.
    pub http: Option<std::net::SocketAddr>,
    /// Lease of every profile but `normal`.
    pub lease: Nanos,
    /// Tick of the control thread.
    pub tick: Nanos,
    /// Share of packets that leave a full sample: one in so many, by a seeded hash.
    pub sample_one_in: u32,
    /// Rows that the sample ring of a core holds.
    pub sample_ring: usize,
}

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
    /// `[port.bench]`.
    pub bench: Option<BenchFlows>,
}

/// One `[[pair]]`: an inside port and a venue port forwarded to each other by one core.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Pair {
    /// Index of the inside port.
    pub inside: usize,
    /// Index of the venue port.
    pub venue: usize,
    /// CPU of the data core, `None` = any (virtual clock).
    pub cpu: Option<usize>,
    /// Copy a link-down of one port to the other.
    pub link_follow: bool,
}

/// What a halt does to a session whose messages are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltMixed {
    /// Everything with payload ends as `halted`: cancels too.
    Block,
    /// Everything passes: orders too.
    Pass,
}

/// One `[[class]]`: what does not change with the profile.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Side its packets come from.
    pub from: Side,
    /// Declared kind.
    pub kind: Kind,
    /// Some rule lets TCP into it.
    pub may_carry_tcp: bool,
    /// Drops are allowed, with the reason.
    pub allow_drop: Option<String>,
    /// `halt_mixed`; set where `kind` is mixed, or TCP may carry orders or replaces.
    pub halt_mixed: Option<HaltMixed>,
    /// The venue cancels when the session goes away.
    pub cancel_on_disconnect: Option<bool>,
    /// Messages in a segment or datagram with payload, when no intent says.
    pub messages_per_segment: Option<u16>,
    /// Declared period.
    pub cadence: Option<Nanos>,
    /// Allowed increase of dispatch_to_wire.
    pub latency_budget: Option<Nanos>,
    /// The configured caps as text, for `check` ("10M, burst 8KiB").
    #[serde(skip)]
    pub stated_caps: String,
}

/// The level of the pacer's tree that a bucket belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Each flow of a class.
    Flow,
    /// A class.
    Class,
    /// An egress port.
    Port,
}

/// How the buckets of one node came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Index of the profile.
    pub profile: usize,
    /// Level of the node.
    pub level: Level,
    /// Index of the class, or of the port at [`Level::Port`].
    pub index: usize,
    /// Its bits/s over wire bytes, `None` = unlimited.
    pub bits: Option<Derived>,
    /// Its messages/s, `None` = unlimited.
    pub messages: Option<Derived>,
}

/// One bucket: `burst = max(stated, largest + per_slot)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Bits or messages per second.
    pub rate_per_s: u64,
    /// The stated burst in wire bytes or messages.
    pub stated: Option<u64>,
    /// The stated burst as it is written.
    pub stated_text: Option<String>,
    /// Largest frame in wire bytes, or messages of the fullest packet.
    pub largest: u64,
    /// What the rate gives in one slot, rounded up.
    pub per_slot: u64,
    /// The effective burst in wire bytes or messages.
    pub burst: u64,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Prefix {
    /// Network address.
    pub addr: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
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

impl Config {
    /// Reads and checks a config. `file_name` is what errors and warnings call it.
    ///
    /// # Errors
    /// Every error of the text, in the order of the file: syntax errors alone where there are any,
    /// else unknown keys, unreadable values and broken rules together.
    pub fn from_toml(file_name: &str, text: &str) -> Result<Self, Vec<ConfigError>> {
        parse::from_toml(file_name, text)
    }

    /// The effective caps of a flow, class and egress port in a profile.
    pub fn caps(&self, profile: usize, class: usize, port: usize) -> [Caps; 3] {
        let p = &self.profiles[profile];
        [p.classes[class].flow, p.classes[class].class, p.egress[port].port]
    }
}
