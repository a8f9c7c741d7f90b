//! The shaping profile: the value that control writes and a data core repeats.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::time::Nanos;
use crate::venue_limit::VenueLimit;

/// Most classes a gateway may have: a node of the tree and a byte of the stop page each.
pub const CLASSES_MAX: usize = 96;
/// Most venues a gateway may have: a byte of the stop page each.
pub const VENUES_MAX: usize = 16;

/// One effective bucket: at most `burst + rate_per_s x (slack + t - s)` units in every window.
///
/// The unit is wire bytes (then `rate_per_s` is in **bits** per second) or messages. A slack is there
/// because a message, unlike a byte, is too much to round by: two of a burst of 1.01 may never leave
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Bucket {
    /// Bits or messages per second, 1 to 400e9.
    pub rate_per_s: u64,
    /// Effective burst in wire bytes or messages, at least one largest frame or message count.
    pub burst: u64,
    /// It holds what the rate gives in so long, on top of the burst.
    #[serde(skip_serializing_if = "Nanos::is_zero")]
    pub slack: Nanos,
}

impl Bucket {
    /// A bucket of whole units.
    #[must_use]
    pub const fn new(rate_per_s: u64, burst: u64) -> Self {
        Self { rate_per_s, burst, slack: Nanos::ZERO }
    }

    /// How deep it is, in billionths of a unit: to be compared with another of the same unit.
    #[must_use]
    pub const fn depth(&self) -> u128 {
        self.burst as u128 * 1_000_000_000 + self.rate_per_s as u128 * self.slack.0 as u128
    }

    /// How deep it is, to a millionth of a unit.
    #[must_use]
    pub fn burst_in_decimals(&self) -> String {
        let text = format!("{:.6}", self.depth() as f64 / 1e9);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    /// As deep as `other`, at its own rate.
    pub const fn deepen_to(&mut self, other: &Self) {
        (self.burst, self.slack) = (other.burst, other.slack);
    }

    /// Messages that it holds when full, and wire bytes, which are whole: rounded up.
    #[must_use]
    pub fn burst_rounded_up(&self) -> u64 {
        u64::try_from(self.depth().div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }
}

/// The buckets of one node. `None` = unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Caps {
    /// Bits per second over wire bytes.
    pub bits: Option<Bucket>,
    /// Messages per second.
    pub messages: Option<Bucket>,
}

/// What a profile says of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct ClassParams {
    /// Caps of each flow of the class.
    pub flow: Caps,
    /// Caps of the class.
    pub class: Caps,
    /// 0 is served first; equal priorities take turns.
    pub priority: u8,
    /// Longest hold beyond `max(arrival, due)`; [`Nanos::MAX`] = unlimited.
    pub max_hold: Nanos,
    /// Packets that the class may hold.
    pub queue_packets: u32,
    /// Wire bytes that the class may hold.
    pub queue_bytes: u64,
    /// Past its budget new packets end as `queue_full`; otherwise they are kept and an alarm counts.
    pub drops_when_full: bool,
    /// New packets end as `profile_closed` (only classes with `allow_drop`).
    pub closed: bool,
    /// Its flows leave by the second path, where that is alive and each of them may move.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_path: bool,
    /// What shapes it beside its caps.
    pub shaping: Shaping,
}

impl Default for ClassParams {
    /// Nothing holds, ends or shapes it.
    fn default() -> Self {
        Self {
            flow: Caps::default(),
            class: Caps::default(),
            priority: 0,
            max_hold: Nanos::MAX,
            queue_packets: u32::MAX,
            queue_bytes: u64::MAX,
            drops_when_full: false,
            closed: false,
            second_path: false,
            shaping: Shaping::default(),
        }
    }
}

/// What shapes a class beside its caps. The default shapes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Shaping {
    /// While this conforms the class is served before strict priority asks who is first.
    pub reserved: Option<Bucket>,
    /// Turns among classes of equal priority: wire bytes in proportion to it. 1 to 255.
    pub weight: u8,
    /// Bits per second that each ready flow gets ahead of strict priority; 0 = none.
    pub flow_floor_bits_per_s: u64,
    /// What a late departure means for those after it.
    pub lateness: Lateness,
    /// From so much beyond `t_sched` on a packet is late.
    pub late_after: Nanos,
    /// Each packet's own offset is drawn from 0 to this; 0 = none.
    pub jitter_max: Nanos,
    /// A release window opens when so many packets of the class wait; 1 = at once.
    pub hold_frames: u16,
    /// A release window opens so long after its first packet at the latest.
    pub hold_time: Nanos,
    /// Most packets of the class in one flush of the port; `u16::MAX` = no cap.
    pub fan_out: u16,
    /// A due time further away than this is beyond the horizon.
    pub horizon: Nanos,
    /// What is beyond the horizon ends as `horizon`; otherwise its due time is moved to the horizon.
    pub horizon_drops: bool,
    /// A packet that ECN allows is marked when it has waited so long beyond its wish;
    /// [`Nanos::MAX`] = never.
    pub ecn_threshold: Nanos,
    /// The most that is done with a frame longer than its port may send, whatever class and port say.
    pub segment_most: Segment,
    /// What the RX queues of its port hold back is delivered at once: only for market data from the
    /// venue, which alone may be held back.
    pub rx_hold_off: bool,
    /// Packets of the kind of the class leave a row each, within a budget: finer telemetry.
    pub rows_in_full: bool,
}

/// What is done with a frame that is longer than its port may send; the first is the strictest.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// It ends as `tx_oversize`.
    #[default]
    Refuse,
    /// It is cut by the CPU.
    Software,
    /// It is cut by the NIC.
    Hardware,
}

impl Segment {
    /// The name used in the config and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Software => "software",
            Self::Hardware => "hardware",
        }
    }
}

impl Lateness {
    /// The name used in the config and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CatchUp => "catch-up",
            Self::ReAnchor => "re-anchor",
            Self::Drop => "drop",
            Self::SendNow => "send-now",
        }
    }
}

/// What a late departure means for those after it. Lateness is `now - t_sched`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lateness {
    /// What was lost is made up as far as the burst allows (the GCRA by itself).
    #[default]
    CatchUp,
    /// Nothing is made up: the next packet of the flow keeps its whole gap.
    ReAnchor,
    /// A late packet ends as `late` (only classes with `allow_drop`).
    Drop,
    /// A late packet waits for no bucket of flow, class or port; it is charged and listed apart.
    SendNow,
}

impl Default for Shaping {
    fn default() -> Self {
        Self {
            reserved: None,
            weight: 1,
            flow_floor_bits_per_s: 0,
            lateness: Lateness::CatchUp,
            late_after: Nanos::MAX,
            jitter_max: Nanos::ZERO,
            hold_frames: 1,
            hold_time: Nanos::ZERO,
            fan_out: u16::MAX,
            horizon: Nanos::MAX,
            horizon_drops: false,
            ecn_threshold: Nanos::MAX,
            segment_most: Segment::Hardware,
            rx_hold_off: false,
            rows_in_full: false,
        }
    }
}

/// What a profile says of one egress port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct EgressParams {
    /// Caps of the port.
    pub port: Caps,
    /// Bytes that may be in flight below the TX queue; `None` = not limited.
    pub inflight_limit_bytes: Option<u64>,
}

/// A profile as the data core uses it: indexed by class and by egress port of the config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Profile {
    /// Its name in the config; `normal` is the operator-confirmed class table.
    pub name: String,
    /// Its index in the config's list; 0 is `normal`.
    pub index: u16,
    /// One for each class of the config.
    pub classes: Vec<ClassParams>,
    /// One for each port of the config.
    pub egress: Vec<EgressParams>,
    /// Ordering groups that have a table of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The venue limits, in the order of the config. Those of `normal` hold, whatever is in force beside
    /// it.
    #[serde(skip)]
    pub venue_limits: Vec<VenueLimit>,
}

/// Arms of a canary: the groups on trial, and as many that are left as they are, to hold them against.
pub const ARMS: usize = 2;

/// A few ordering groups under tables of their own: the groups on trial, then those to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Canary(pub [ArmTable; ARMS]);

/// The table of an arm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct ArmTable {
    /// One for each class that has twins, in the order of `Config::canaried`.
    pub classes: Vec<ClassParams>,
    /// Ids of the groups, ascending.
    pub groups: Vec<u64>,
}

impl Profile {
    /// The table of each node of a pacer: the classes, then for each arm the twins of the classes
    /// `twins`, which are as their classes where no group is governed apart.
    pub fn nodes<'p, 't>(
        &'p self,
        twins: &'t [u8],
    ) -> impl Iterator<Item = &'p ClassParams> + use<'p, 't> {
        let twin = move |arm: usize, k: usize| match &self.canary {
            Some(Canary(arms)) => arms[arm].classes.get(k),
            None => self.classes.get(usize::from(twins[k])),
        };
        let of_arm = move |arm| (0..twins.len()).filter_map(move |k| twin(arm, k));
        self.classes.iter().chain((0..ARMS).flat_map(of_arm))
    }

    /// `normal` needs no lease: it is where a core returns to when a lease runs out.
    pub const fn needs_lease(&self) -> bool {
        self.index != 0
    }

    /// A hash of every value: whoever lent a table can see that the other side holds the same. It is
    /// told within one process only, and allocates nothing.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}
