//! What strategies are advised to do. The gateway itself refuses nothing: advice is a record that
//! strategies may read, with a sequence number and a time after which it means nothing.

use crate::time::Nanos;

/// Advice older than this reads as neutral.
pub const VALIDITY: Nanos = Nanos::from_secs(1);

/// The advice of one scope. A factor of 1 and a flag that is off are neutral.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Advice {
    /// Grows with every change.
    pub sequence: u64,
    /// When it was made, gateway time.
    #[serde(rename = "at_ns")]
    pub at: Nanos,
    /// So long after `at` it reads as neutral.
    #[serde(rename = "valid_for_ns")]
    pub valid_for: Nanos,
    /// Names of the states above the lowest that it comes from, the most severe first.
    pub regime: Vec<String>,
    /// Factor on the acceptable aggression band: above 1 wider, below 1 narrower.
    pub aggression: f64,
    /// Factor on the weight of fragile signals, 0 to 1.
    pub signal_weight: f64,
    /// Factor on the allowed rate of replaces, 0 to 1.
    pub replace_churn: f64,
    /// Completion before spread capture.
    pub completion_priority: bool,
    /// Prefer actions that keep a place in the queue.
    pub queue_preserving: bool,
    /// Factor on the allowed rate of tactic switches, 0 to 1.
    pub tactic_switch_cap: f64,
    /// Write in batches.
    pub write_batching: bool,
    /// Factor on urgency, 0 to 1.
    pub urgency: f64,
    /// Keep to the slippage budget strictly.
    pub slippage_budget: bool,
    /// Factor on the size of children, 0 to 1.
    pub child_granularity: f64,
    /// Send less.
    pub backpressure: bool,
    /// Penalty of this route: 0 = none, 1 = avoid.
    pub route_penalty: f64,
    /// `completion_critical` = only tactics that complete.
    pub tactics: Option<&'static str>,
}

impl Default for Advice {
    fn default() -> Self {
        Self {
            sequence: 0,
            at: Nanos::ZERO,
            valid_for: VALIDITY,
            regime: Vec::new(),
            aggression: 1.0,
            signal_weight: 1.0,
            replace_churn: 1.0,
            completion_priority: false,
            queue_preserving: false,
            tactic_switch_cap: 1.0,
            write_batching: false,
            urgency: 1.0,
            slippage_budget: false,
            child_granularity: 1.0,
            backpressure: false,
            route_penalty: 0.0,
            tactics: None,
        }
    }
}

impl Advice {
    /// What it says at `now`: itself, or neutral when it is too old.
    #[must_use]
    pub fn read_at(&self, now: Nanos) -> Self {
        if now.saturating_sub(self.at) <= self.valid_for {
            return self.clone();
        }
        Self { sequence: self.sequence, at: self.at, ..Self::default() }
    }

    /// Whether it asks for nothing.
    pub fn is_neutral(&self) -> bool {
        let Self { sequence, at, .. } = *self;
        *self == Self { sequence, at, regime: self.regime.clone(), ..Self::default() }
    }

    /// Whether it says the same as `other`, whenever either was made.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { sequence, at, .. } = *self;
        *self == Self { sequence, at, ..other.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_neutral_at_the_start_and_when_it_is_old() {
        let mut advice = Advice::default();
        assert!(advice.is_neutral());
        (advice.at, advice.urgency) = (Nanos::from_secs(5), 0.5);
        assert!(!advice.is_neutral());
        assert_eq!(advice.read_at(Nanos::from_secs(6)), advice);
        let old = advice.read_at(Nanos(6_000_000_001));
        assert!(old.is_neutral());
        assert_eq!((old.urgency, old.at), (1.0, Nanos::from_secs(5)));
        let other = Advice { sequence: 9, at: Nanos(1), ..advice.clone() };
        assert!(advice.says_the_same(&other) && !advice.says_the_same(&old));
    }
}
