//! `[gateway]`, `[dpdk]`, `[control]`, `[intent]`.

use crate::calendar::Calendar;
use crate::stop::StopWord;
use crate::time::Nanos;

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
    /// A turn of a data core longer than this is kept as a stall.
    pub stall_threshold: Nanos,
    /// Core of the control thread and of EAL's own threads.
    pub control_cpu: Option<usize>,
    /// Flows (ordering groups) that one data core can tell apart.
    pub flows_max: u32,
    /// A flow that was idle for so long may be given back; [`Nanos::MAX`] = never.
    pub flow_idle: Nanos,
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
    /// Buffers that are kept free: below it classes with `allow_drop` lose packets as `pool_low`.
    pub pool_reserve: u32,
    /// Whether DPDK's telemetry socket is there, with our commands on it.
    pub telemetry: bool,
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
    /// Path of the page in shared memory that advises strategies, `None` = off.
    pub advice_shm: Option<String>,
    /// The trading day, for the label `session` of `/metrics`.
    #[serde(skip_serializing_if = "Calendar::is_empty")]
    pub sessions: Calendar,
    /// Who reaches the control socket, and who may change anything over it.
    #[serde(flatten)]
    pub access: Access,
}

/// The rights of the control socket. Users and groups are names or numbers of the host, which only a start
/// can look up.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Access {
    /// `mode`.
    pub mode: SocketMode,
    /// Whose the socket is, `None` = the user that runs the gateway.
    pub owner: Option<String>,
    /// The group that may connect, `None` = nobody but owner and root.
    pub group: Option<String>,
    /// The group that may use the verbs that change something, `None` = only root and the user that runs
    /// the gateway.
    pub write_group: Option<String>,
}

/// Permission bits of the control socket: whoever may write to it may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SocketMode {
    /// The owner.
    #[serde(rename = "0600")]
    Owner,
    /// And the group.
    #[default]
    #[serde(rename = "0660")]
    Group,
    /// Every user of the host.
    #[serde(rename = "0666")]
    All,
}

impl SocketMode {
    /// The bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
            Self::All => 0o666,
        }
    }
}

/// `[intent]` and its label table.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Intent {
    /// Loopback address that takes records over UDP, `None` = off.
    pub udp: Option<std::net::SocketAddr>,
    /// Path of the shared-memory ring that takes records, `None` = off.
    pub shm: Option<String>,
    /// `[[label]]`, by rising id: what the label ids of tags mean.
    pub labels: Vec<IntentLabel>,
}

/// One `[[label]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IntentLabel {
    /// What a tag carries, 1 to 65535.
    pub id: u16,
    /// Index into the config's labels.
    pub label: u16,
}

impl Intent {
    /// The index into the config's labels of a tag's label id; 0, the empty label, where the table
    /// does not know it. Logarithmic in the size of the table.
    pub fn label(&self, id: u16) -> u16 {
        let found = self.labels.binary_search_by_key(&id, |row| row.id);
        found.map_or(0, |index| self.labels[index].label)
    }
}
