//! `[[class]]`, `[[venue_limit]]`, and how buckets came to be.

use crate::kind::{Kind, Side};
use crate::profile::{Bucket, Segment};
use crate::time::Nanos;

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
    /// Legs of one strategy leave together: no jitter may part them.
    pub legs: bool,
    /// A sender's tag may name this class.
    pub intent: bool,
    /// What is done with a frame that is longer than its port may send; `None` = as the port says.
    /// A profile may be stricter ([`crate::profile::Shaping::segment_most`]).
    pub segment: Option<Segment>,
    /// Index of the venue limit of its participant.
    pub participant_limit: Option<u8>,
    /// Index of the venue limit that counts each of its flows.
    pub session_limit: Option<u8>,
    /// The configured caps as text, for `check` ("10M, burst 8KiB").
    #[serde(skip)]
    pub stated_caps: String,
}

impl Class {
    /// One of which the file says nothing but this.
    pub fn new(name: &str, from: Side, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            from,
            kind,
            may_carry_tcp: false,
            allow_drop: None,
            halt_mixed: None,
            cancel_on_disconnect: None,
            messages_per_segment: None,
            cadence: None,
            latency_budget: None,
            legs: false,
            intent: false,
            segment: None,
            participant_limit: None,
            session_limit: None,
            stated_caps: "unlimited".to_owned(),
        }
    }
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

/// One bucket: `burst = max(stated, largest + R x span)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The stated burst in wire bytes or messages.
    pub stated: Option<String>,
    /// The stated burst as it is written.
    pub stated_text: Option<String>,
    /// Largest frame in wire bytes, or messages of the fullest packet.
    pub largest: u64,
    /// What the rate gives, rounded up, while the slot or the jitter, the longer one, may delay a
    /// packet.
    pub per_span: u64,
    /// What comes of it.
    pub bucket: Bucket,
    /// The bucket without a stated burst.
    pub least: Bucket,
}

/// How a venue limit came to be: `messages_max = messages x share x (1 - margin) / cores`, rounded
/// down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDerivation {
    /// What the venue allows in a window.
    pub messages: u32,
    /// The share of it that this gateway may use, parts per million.
    pub share_ppm: u32,
    /// What is left unused for safety, parts per million.
    pub margin_ppm: u32,
    /// Cores that send such messages and keep a part of the limit each.
    pub cores: u32,
    /// The burst as it is written, messages.
    pub stated_burst: Option<u32>,
    /// Whose messages it counts, in words.
    pub scope: String,
    /// Indices of the classes whose messages it counts.
    pub classes: Vec<usize>,
}
