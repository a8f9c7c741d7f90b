//! The log: every decision with the values that made it.

use super::reading::Scope;
use super::table::StateId;
use super::verdict::Evidence;
use crate::time::Nanos;

/// Why something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An entry was confirmed.
    Entered,
    /// An exit was, and the dwell is over.
    Exited,
    /// The scope had no traffic for `absent_release`.
    NoTraffic,
    /// The operator released it.
    Released,
    /// The operator pinned it.
    Pinned,
    /// The pin ended by itself.
    PinExpired,
    /// More transitions than allowed: it stays where it is, under the operator-confirmed profile,
    /// until it is released.
    Frozen,
    /// Its profile held more than it was meant to cure: it is withdrawn until the machine is back in
    /// its lowest state, or released.
    HeldOff,
    /// It is back in its lowest state, so its profiles count again.
    HoldOffEnded,
}

impl Cause {
    /// The name in JSON and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Exited => "exited",
            Self::NoTraffic => "no_traffic",
            Self::Released => "released",
            Self::Pinned => "pinned",
            Self::PinExpired => "pin_expired",
            Self::Frozen => "frozen",
            Self::HeldOff => "held_off",
            Self::HoldOffEnded => "hold_off_ended",
        }
    }

    /// Whether an operator has to hear of it.
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::Frozen | Self::HeldOff | Self::PinExpired)
    }
}

/// A decision of one instance. A transition when `from` and `to` differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Nanos,
    /// Index of the machine.
    pub machine: usize,
    /// What the instance watches.
    pub scope: Scope,
    /// State before.
    pub from: StateId,
    /// State after.
    pub to: StateId,
    /// Why.
    pub cause: Cause,
    /// The machine's window, seconds.
    pub window_s: u8,
    /// The values that made it.
    pub evidence: Vec<Evidence>,
}

impl Decision {
    /// Whether the state changed.
    pub fn is_transition(&self) -> bool {
        self.from != self.to
    }
}

/// How often a machine went from where to where, and how long it stayed: from it come the branch
/// probabilities of a cost model.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stays {
    /// `transitions[from][to]`.
    pub transitions: Vec<Vec<u64>>,
    /// Time in each state.
    pub time_in: Vec<Nanos>,
    #[serde(skip)]
    seen: Option<Nanos>,
}

impl Stays {
    pub(super) fn new(states: usize) -> Self {
        let transitions = vec![vec![0; states]; states];
        Self { transitions, time_in: vec![Nanos::ZERO; states], seen: None }
    }

    /// The time up to `now` was spent in `state`.
    pub(super) fn stay(&mut self, state: StateId, now: Nanos) {
        let span = now.saturating_sub(self.seen.replace(now).unwrap_or(now));
        if let Some(time) = self.time_in.get_mut(state.index()) {
            *time = time.saturating_add(span);
        }
    }

    pub(super) fn count(&mut self, from: StateId, to: StateId) {
        let row = self.transitions.get_mut(from.index());
        if let Some(cell) = row.and_then(|row| row.get_mut(to.index())) {
            *cell += 1;
        }
    }

    /// The share of time spent in each state; `None` before any time passed.
    pub fn shares(&self) -> Option<Vec<f64>> {
        let all: u64 = self.time_in.iter().map(|time| time.0).sum();
        (all > 0).then(|| self.time_in.iter().map(|time| time.0 as f64 / all as f64).collect())
    }
}
