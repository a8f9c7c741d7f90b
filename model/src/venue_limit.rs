//! A venue's limit on messages: outermost, lifted by nothing.

use crate::profile::Bucket;
use crate::time::Nanos;

/// Most venue limits a gateway may have.
pub const VENUE_LIMITS_MAX: usize = 32;

/// Whose messages a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Every packet whose rule names this venue (index in the config's list).
    Venue(u8),
    /// Every packet of the classes that name the limit's participant.
    Participant,
    /// Each flow of a class has a window of its own.
    Session,
}

/// At most `messages_max` messages in **every** window of `per`, `(t - per, t]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct VenueLimit {
    /// Its name in errors and figures.
    pub name: String,
    /// Whose messages it counts.
    pub scope: LimitScope,
    /// `messages x share x (1 - margin)`, rounded down; at least 1.
    pub messages_max: u32,
    /// The window.
    pub per: Nanos,
    /// Whether messages of exempt packets count, and so may wait.
    pub counts_cancels: bool,
    /// Of `messages_max`, kept free for exempt packets; below `messages_max`.
    pub cancel_reserve: u32,
    /// The pace inside the window: `burst + rate x per <= messages_max - cancel_reserve`.
    pub bucket: Bucket,
}
