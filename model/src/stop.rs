//! Stop words: what they mean. Where they live (a shared page) is the data plane's business.

use crate::profile::{CLASSES_MAX, VENUES_MAX};

/// The word of one scope. The strictest word of a packet's scopes holds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum StopWord {
    /// Paced.
    #[default]
    Running = 0,
    /// No pacing, jitter, hold or window: first in, first out, at once.
    Passthrough = 1,
    /// Orders and replaces from inside end as `halted`.
    Halt = 2,
}

impl StopWord {
    /// Every word, the strictest last.
    pub const ALL: [Self; 3] = [Self::Running, Self::Passthrough, Self::Halt];

    /// The word stored as `n`; anything unknown reads as the strictest.
    pub const fn from_u8(n: u8) -> Self {
        match n {
            0 => Self::Running,
            1 => Self::Passthrough,
            _ => Self::Halt,
        }
    }

    /// The name used on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passthrough => "passthrough",
            Self::Halt => "halt",
        }
    }
}

/// Bytes of the page that hold words: at most two cache lines.
pub const WORDS: usize = 1 + VENUES_MAX + CLASSES_MAX;

/// A snapshot of all words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopWords {
    /// The word of scope `all`.
    pub all: StopWord,
    /// One for each venue of the config.
    pub venues: [StopWord; VENUES_MAX],
    /// One for each class of the config.
    pub classes: [StopWord; CLASSES_MAX],
}

impl Default for StopWords {
    fn default() -> Self {
        Self {
            all: StopWord::Running,
            venues: [StopWord::Running; VENUES_MAX],
            classes: [StopWord::Running; CLASSES_MAX],
        }
    }
}

impl StopWords {
    /// The strictest word that holds for a packet of `class` towards `venue`.
    pub fn of(&self, class: u8, venue: Option<u8>) -> StopWord {
        let venue = venue.map_or(StopWord::Running, |v| self.venues[usize::from(v)]);
        self.all.max(self.classes[usize::from(class)]).max(venue)
    }
}
