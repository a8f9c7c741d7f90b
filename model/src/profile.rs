//! The shaping profile: the value that control writes and a data core repeats.

use crate::time::Nanos;

/// Most classes a gateway may have: a node of the tree and a byte of the stop page each.
pub const CLASSES_MAX: usize = 40;
/// Most venues a gateway may have: a byte of the stop page each.
pub const VENUES_MAX: usize = 16;

/// One effective bucket: at most `burst + rate_per_s x (t - s)` units in every window.
///
/// The unit is wire bytes (then `rate_per_s` is in **bits** per second) or messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bucket {
    /// Bits or messages per second, 1 to 400e9.
    pub rate_per_s: u64,
    /// Effective burst in wire bytes or messages, at least one largest frame or message count.
    pub burst: u64,
}

/// The buckets of one node. `None` = unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Caps {
    /// Bits per second over wire bytes.
    pub bits: Option<Bucket>,
    /// Messages per second.
    pub messages: Option<Bucket>,
}

/// What a profile says of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
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
}

/// What a profile says of one egress port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct EgressParams {
    /// Caps of the port.
    pub port: Caps,
    /// Bytes that may be in flight below the TX queue; `None` = not limited.
    pub inflight_limit_bytes: Option<u64>,
}

/// A profile as the data core uses it: indexed by class and by egress port of the config.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Profile {
    /// Its name in the config; `normal` is the operator-confirmed class table.
    pub name: String,
    /// Its index in the config's list; 0 is `normal`.
    pub index: u16,
    /// One for each class of the config.
    pub classes: Vec<ClassParams>,
    /// One for each port of the config.
    pub egress: Vec<EgressParams>,
}

impl Profile {
    /// `normal` needs no lease: it is where a core returns to when a lease runs out.
    pub const fn needs_lease(&self) -> bool {
        self.index != 0
    }
}
