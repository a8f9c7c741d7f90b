//! What a run recorded: plain data, written as `result.json` and read by the verdict and the report.
//!
//! A run has one [`Question`] or more; each has its arms and one [`Workload`] or more; a workload was run in
//! [`Block`]s. A *round* is one block of each arm, in an order drawn from the seed; two arms of one round
//! are a pair. A round of which a block is void is run again ([`Block::attempt`]), and nothing is thrown
//! away. Everything that was measured stands in its block: what pairs say is worked out by whoever reads.
//!
//! Times are ns. Those of [`Series`] count from the start of the block, when the first message may be handed
//! over. What is not known is `None` or absent with a reason, never 0.

use serde::{Deserialize, Serialize};

/// Of this record; it grows when a reader of the one before would misread.
pub const FORMAT: u32 = 1;

/// A run of `wirepace ab`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// What is to be read first.
    pub header: Header,
    /// Where it ran.
    pub environment: Environment,
    /// What gates a verdict.
    pub gates: Gates,
    /// In the order in which they ran; empty where nothing could be compared.
    pub questions: Vec<Question>,
}

/// What is to be read first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Why there is nothing to compare; `None`: there is. The verdict is then `not_comparable`.
    pub not_comparable: Option<String>,
    /// The run was ended by a signal before all blocks had run.
    pub interrupted: bool,
    /// Short: fewer questions, workloads and seconds.
    pub quick: bool,
    /// What every order was drawn from.
    pub seed: u64,
    /// The command that gives such a run again.
    pub command: String,
    /// Version of wirepace.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// Digest of the config.
    pub config_digest: String,
    /// Wall clock at the start, s since 1970.
    pub started_s: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// CPUs that the run could use; below 4 that is to be said first.
    pub cpus: u32,
    /// What this run does not measure, each a sentence.
    pub not_measured: Vec<String>,
    /// What the host lacks, such as `fq`.
    pub lacks: Vec<Lack>,
    /// When a block is void: fixed before the first block.
    pub void_rule: VoidRule,
}

/// Something that the host lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What: `fq`, `af_xdp`.
    pub what: String,
    /// Why, or what was used instead.
    pub reason: String,
}

/// A block is void when any of these is exceeded, or an arm, the capture or a setting failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoidRule {
    /// Share of a CPU's time that an idle sentinel, which only looks at the clock, may miss just before.
    pub sentinel_stolen_max: f64,
    /// Share of the block that the hypervisor may take from any CPU.
    pub steal_max: f64,
    /// p99 of how late the sender may hand over, ns.
    pub sender_late_p99_max_ns: u64,
    /// A void round is run again so often at most.
    pub repeats_max: u32,
}

/// Where it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Name and value, in the order in which they are shown: kernel, CPU model, governor, mitigations,
    /// clocksource, DPDK, congestion control ...
    pub facts: Vec<Fact>,
    /// Program of the cores: who runs where.
    pub cpu_roles: Vec<Fact>,
}

/// A name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// What gates a verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Level of significance over all gating KPIs together.
    pub level: f64,
    /// Of intervals.
    pub confidence: f64,
    /// Effects below so many times the observer's resolution are not resolved.
    pub resolutions_min: f64,
    /// Largest share of goodput that may be lost.
    pub goodput_margin: f64,
    /// Largest share of completion that may be lost.
    pub completion_margin: f64,
    /// Largest share of CPU time per delivered packet that may come on top.
    pub cpu_margin: f64,
}

/// Which question a set of blocks answers. They are never mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Who paces best: the strategy by spinning, the kernel, or wirepace?
    #[default]
    WhoPaces,
    /// What does forwarding add: the kernel against wirepace, both without pacing.
    Forwarding,
    /// What do offloads of the strategy host do, through one and the same gateway?
    Offloads,
}

impl Asked {
    /// The name in configs and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WhoPaces => "who-paces",
            Self::Forwarding => "forwarding",
            Self::Offloads => "offloads",
        }
    }
}

/// A question, its arms and what they did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Which.
    pub asked: Asked,
    /// In words.
    pub text: String,
    /// Index of the arm that all others are compared with.
    pub reference: usize,
    /// The arms.
    pub arms: Vec<Arm>,
    /// What belongs to an arm and what is the same in all.
    pub belongs: Vec<Belongs>,
    /// Its workloads.
    pub workloads: Vec<Workload>,
}

/// An arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Short: `sender`, `kernel`, `kernel-none`, `kernel-tuned`, `wirepace`, or an offload setting.
    pub name: String,
    /// As it is called in the report: `wirepace over af_packet on veth`.
    pub title: String,
    /// Somebody below the strategy paces. The best of the kernel's arms that do is what added delay is
    /// compared with.
    pub paces: bool,
    /// The packets take the kernel's path through the gateway.
    pub is_kernel: bool,
    /// Who paces, the queueing discipline in full, settings of the gateway.
    pub settings: Vec<Fact>,
}

/// A row of the table that says whose something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belongs {
    /// What: `hand-over`, `queueing discipline`, `offloads of the strategy host` ...
    pub what: String,
    /// It is a part of the workload: the same in all arms.
    pub to_workload: bool,
    /// The value in all arms, or how it differs.
    pub value: String,
}

/// What all arms promise to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Wire bits per second.
    pub rate_bits_per_s: u64,
    /// Messages per second: the same rate, of the messages of this workload.
    pub messages_per_s: u64,
    /// Wire bytes.
    pub burst_bytes: u64,
    /// Longest that a message may wait beyond max(hand-over, due).
    pub max_delay_ns: u64,
    /// Largest increase of dispatch_to_wire p50 and p99 over the best pacing kernel arm.
    pub latency_budget_ns: u64,
    /// Rate of the serializer that departures are modelled with, bits per second.
    pub link_bits_per_s: u64,
    /// The p99 of gap error of who paces by the rate alone, to the ns; `None`: messages answer others.
    #[serde(default)]
    pub gap_error_p99_ns: Option<u64>,
}

/// A workload and its blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Name.
    pub name: String,
    /// File of the schedule, relative to the directory of the run.
    pub schedule_file: String,
    /// Messages of a block.
    pub messages: u64,
    /// The contract.
    pub contract: Contract,
    /// Length of a block.
    pub block_ns: u64,
    /// Rounds that were planned.
    pub rounds: u32,
    /// In the order in which they ran.
    pub blocks: Vec<Block>,
}

/// A block: one arm, once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Round, from 0.
    pub round: u32,
    /// 0, or how often the round had been void before.
    pub attempt: u32,
    /// Place in its round, from 0.
    pub position: u32,
    /// Index of the arm.
    pub arm: usize,
    /// Why it is void; empty: it is not.
    pub void: Vec<Void>,
    /// What it was measured in.
    pub conditions: Conditions,
    /// Sums over its orders.
    pub totals: Totals,
    /// Every KPI of the catalogue that is defined for arms, or the reason why it is absent.
    pub kpis: Vec<Kpi>,
    /// For plots.
    pub series: Series,
    /// What the gateway itself said at its end, in arms that have one of their own: its `--json`.
    pub gateway: Option<serde_json::Value>,
}

/// Why a block is void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Void {
    /// Before it an idle CPU missed too much of its time.
    SentinelStolen {
        /// CPU.
        cpu: u32,
        /// Parts of a million.
        ppm: u64,
    },
    /// The hypervisor took a CPU away.
    Steal {
        /// CPU.
        cpu: u32,
        /// Parts of a million of the block.
        ppm: u64,
    },
    /// The sender itself was late.
    SenderLate {
        /// p99, ns.
        p99_ns: u64,
    },
    /// The observer lost frames.
    CaptureDrops {
        /// How many.
        frames: u64,
    },
    /// A setting is not what was asked for.
    Setting {
        /// Which, and what it read as.
        what: String,
    },
    /// The arm ended, or did not start.
    ArmEnded {
        /// How.
        what: String,
    },
}

/// What a block was measured in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// When it began, ns after the start of the run.
    pub began_ns: u64,
    /// What the sentinel missed on each CPU just before, share of its time.
    pub sentinel_stolen: Vec<f64>,
    /// What the hypervisor took of each CPU, share of the block.
    pub steal: Vec<f64>,
    /// Error of the observer's gaps: what a sender that spins next to it was stamped with.
    pub observer: Option<Resolution>,
    /// Frames that the observer lost.
    pub capture_drops: u64,
    /// Frames that it has.
    pub captured: u64,
    /// Of those, frames that were parts of a super-frame.
    pub expanded: u64,
    /// How late the sender handed over; `None`: it sent nothing.
    pub sender_late: Option<Lateness>,
    /// Messages that the sender could not hand over.
    pub send_errors: u64,
    /// Offloads and settings as they read at its start.
    pub read_back: Vec<Fact>,
    /// CPU time of the block.
    pub cpu: Vec<CpuTime>,
}

/// Sums over the orders of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages that were handed over.
    pub offered: u64,
    /// Of those, messages that passed the observer.
    pub delivered: u64,
    /// Of those, messages that did within the contract's longest delay.
    pub in_time: u64,
    /// Payload bytes that passed until the contract's longest delay after the block.
    pub delivered_bytes: u64,
    /// Length of the block.
    pub span_ns: u64,
}

impl Totals {
    /// Payload bits per second; `None`: the block had no length.
    pub fn goodput_bits_per_s(&self) -> Option<f64> {
        (self.span_ns > 0).then(|| self.delivered_bytes as f64 * 8e9 / self.span_ns as f64)
    }
}

/// How well the observer sees gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Gaps that were tried.
    pub n: u64,
    /// Median of |stamped gap - sent gap|.
    pub p50_ns: u64,
    /// p99 of the same: what an effect is held against.
    pub p99_ns: u64,
}

/// How late hand-overs were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// Hand-overs.
    pub n: u64,
    /// Median.
    pub p50_ns: u64,
    /// p99.
    pub p99_ns: u64,
    /// Worst.
    pub max_ns: u64,
}

/// Time of one CPU in a block, as `/proc/stat` counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// CPU.
    pub cpu: u32,
    /// Programs.
    pub user_ns: u64,
    /// The kernel for programs.
    pub system_ns: u64,
    /// Interrupts and soft interrupts.
    pub interrupt_ns: u64,
    /// Nothing to do.
    pub idle_ns: u64,
    /// Taken by the hypervisor.
    pub steal_ns: u64,
}

/// One series of one KPI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kpi {
    /// Name in the catalogue.
    pub name: String,
    /// Class of the workload.
    pub class: Option<String>,
    /// Part of the KPI: `total`, `late`, `early` ...
    pub part: Option<String>,
    /// Observations.
    pub n: u64,
    /// Named values; `None` = absent.
    pub values: Vec<(String, Option<f64>)>,
    /// Why its `None` values are absent.
    pub absent: Option<String>,
    /// Holds by construction; never gates.
    pub structural_zero: bool,
    /// Only stands in for the figure; never in a ratio.
    pub proxy: bool,
    /// `outside` or `inside`.
    pub view: String,
    /// How departures were stamped: `modelled`, `kernel`.
    pub departure: Option<String>,
    /// Super-frames were cut into the frames that they are on the wire.
    pub expanded: bool,
}

/// What plots are made of. Each is thinned to a bounded number of points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Quantiles of gap error (gap on the wire - due gap), signed, evenly from the least to the most.
    pub gap_error_ns: Vec<i64>,
    /// The same of release error (wire - due), signed.
    pub release_error_ns: Vec<i64>,
    /// The same of wire - hand-over.
    pub dispatch_to_wire_ns: Vec<i64>,
    /// The first messages: due, handed over and on the wire; `None`: never.
    pub timeline: Vec<Passage>,
    /// Packets on the wire in each window from the start.
    pub raster: Raster,
    /// Packets handed over and not on the wire, after each [`Backlog::every_ns`].
    pub backlog: Backlog,
}

/// One message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Wanted out.
    pub due_ns: u64,
    /// Handed over.
    pub dispatch_ns: u64,
    /// On the wire.
    pub wire_ns: Option<u64>,
}

/// Counts in windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raster {
    /// Length of a window.
    pub window_ns: u64,
    /// Packets in each.
    pub packets: Vec<u32>,
}

/// A level over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Between two looks.
    pub every_ns: u64,
    /// Packets.
    pub packets: Vec<u32>,
}

impl Block {
    /// Whether it counts.
    pub fn is_valid(&self) -> bool {
        self.void.is_empty()
    }

    /// The value `value` of a KPI; `part` and `class` as in [`Kpi`], where `None` takes any.
    pub fn value(
        &self,
        name: &str,
        class: Option<&str>,
        part: Option<&str>,
        value: &str,
    ) -> Option<f64> {
        let fits = |kpi: &&Kpi| {
            kpi.name == name
                && (class.is_none() || kpi.class.as_deref() == class)
                && (part.is_none() || kpi.part.as_deref() == part)
        };
        let kpi = self.kpis.iter().find(fits)?;
        kpi.values.iter().find(|(named, _)| named == value)?.1
    }
}

impl Workload {
    /// An arm has blocks, and all of them are void.
    pub fn is_void_only(&self, arm: usize) -> bool {
        let mut blocks = self.blocks.iter().filter(|block| block.arm == arm).peekable();
        blocks.peek().is_some() && blocks.all(|block| !block.is_valid())
    }

    /// The blocks of an arm that are shown: those that are valid, or all where none is.
    pub fn shown(&self, arm: usize) -> impl Iterator<Item = &Block> {
        let all = self.is_void_only(arm);
        self.blocks.iter().filter(move |block| block.arm == arm && (all || block.is_valid()))
    }

    /// The blocks of two arms by round and attempt, in the order of time: of each round the block of `a`,
    /// that of `b`, and whether `a` came first. With `only_valid` the first attempt of each round in which
    /// both are valid, and no round without one; else the first attempt of each.
    pub fn pairs(&self, a: usize, b: usize, only_valid: bool) -> Vec<(&Block, &Block, bool)> {
        let of = |round: u32, attempt: u32, arm: usize| {
            let fits =
                |block: &&Block| (block.round, block.attempt, block.arm) == (round, attempt, arm);
            self.blocks.iter().find(fits)
        };
        let attempts = self.blocks.iter().map(|block| block.attempt).max().unwrap_or(0);
        let pair = |round: u32| {
            (0..=attempts).find_map(|attempt| {
                let (of_a, of_b) = (of(round, attempt, a)?, of(round, attempt, b)?);
                let counts = !only_valid || of_a.is_valid() && of_b.is_valid();
                counts.then_some((of_a, of_b, of_a.position < of_b.position))
            })
        };
        (0..self.rounds).filter_map(pair).collect()
    }
}

#[cfg(test)]
mod tests;
