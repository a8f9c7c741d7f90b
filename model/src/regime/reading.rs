//! What the engine sees of the world: one value at a time, by scope, input and window.
//!
//! Whoever has KPIs implements [`Figures`]; the engine never asks for more than a term needs, and a
//! KPI that appears later is read as soon as it is there.

use super::term::{Input, WINDOW_MAX};
use crate::time::Nanos;

/// What an instance of a machine watches: an index into the config.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A class from inside, by its index.
    Class(usize),
    /// The TX queue of a port, by the port's index.
    TxQueue(usize),
    /// A market-data class from the venue, by its index.
    Feed(usize),
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Too few observations in the window: a longer one may have enough.
    TooFew,
    /// No source, or none in this scope.
    NoSource,
    /// The baseline has not been frozen.
    NoBaseline,
    /// The class declares no period.
    NoCadence,
    /// What was fed has expired, or nothing was.
    NotFed,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// There it is, with how many observations are behind it.
    Value {
        /// In the unit of the KPI.
        value: f64,
        /// Observations.
        n: u64,
    },
    /// It holds by construction (a fixed limit cannot oscillate) and takes no part: an entry that
    /// asks for it does not hold, an exit does without it.
    NoPart,
    /// It is absent: it neither enters nor leaves a state.
    Absent(Missing),
}

impl Reading {
    /// The value, if there is one.
    pub const fn value(self) -> Option<f64> {
        match self {
            Self::Value { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Lengths of windows that KPIs are computed over: the shortest, and what a machine lengthens it to
/// when its inputs need more samples. Whole seconds.
pub const WINDOWS_S: [u8; 7] = [1, 2, 4, 8, 15, 30, 60];

/// The longest window.
pub const WINDOW_LONGEST_S: u8 = (WINDOW_MAX.0 / 1_000_000_000) as u8;

/// KPIs as the engine reads them.
pub trait Figures {
    /// The value of `input` in `scope`, computed over the last `window_s` seconds. Inputs from
    /// outside and the engine's own are not asked for here.
    fn read(&self, scope: Scope, input: &Input, window_s: u8) -> Reading;

    /// Packets of the scope in the last tick, `None` = not known.
    fn packets(&self, scope: Scope) -> Option<u64>;

    /// Wire bits per second that were offered to the class in the last second, `None` = not known.
    fn offered_bits_per_s(&self, class: usize) -> Option<u64>;
}

/// For how long something has held at every tick.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Since(Option<Nanos>);

impl Since {
    /// It holds at `now`, or it does not.
    pub fn note(&mut self, holds: bool, now: Nanos) {
        self.0 = if holds { self.0.or(Some(now)) } else { None };
    }

    /// Whether it has held for `span` up to `now`.
    pub fn held_for(self, span: Nanos, now: Nanos) -> bool {
        self.0.is_some_and(|since| now.saturating_sub(since) >= span)
    }
}
