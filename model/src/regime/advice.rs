//! What states ask of strategies. The gateway itself refuses nothing: advice is a record that
//! strategies may read, with a sequence number and a time after which it means nothing.

use crate::time::Nanos;

/// Advice older than this reads as neutral.
pub const VALIDITY: Nanos = Nanos::from_secs(1);

/// One thing that a state asks for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Replace less often.
    ReplaceChurn,
    /// Prefer actions that keep a place in the queue.
    QueuePreserving,
    /// Change tactics less often.
    TacticSwitchCap,
    /// Write in batches of your own making.
    WriteBatching,
    /// Be less urgent in thin books.
    Urgency,
    /// Keep to the slippage budget strictly.
    SlippageBudget,
    /// Trust fragile signals less.
    SignalWeight,
    /// Widen the band of acceptable aggression: complete rather than wait.
    WiderAggression,
    /// Narrow it: what triggers aggression is distorted. Goes before [`Request::WiderAggression`].
    TighterAggression,
    /// Completion before spread capture: only tactics that complete.
    CompletionCritical,
    /// Smaller children.
    ChildGranularity,
    /// Send less: the queue is past its budget.
    Backpressure,
    /// Route elsewhere where that is possible.
    RoutePenalty,
}

/// The advice of one scope. A factor of 1 and a flag that is off are neutral.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Advice {
    /// Grows with every change.
    pub sequence: u64,
    /// When it was made, gateway time.
    pub at: Nanos,
    /// So long after `at` it reads as neutral.
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
    /// Adds what one state asks for; a factor meets the stricter one.
    pub fn ask(&mut self, request: Request) {
        // Half of it, and the same half from whichever machine: advice of several does not add up.
        const LESS: f64 = 0.5;
        match request {
            Request::ReplaceChurn => self.replace_churn = LESS,
            Request::QueuePreserving => self.queue_preserving = true,
            Request::TacticSwitchCap => self.tactic_switch_cap = LESS,
            Request::WriteBatching => self.write_batching = true,
            Request::Urgency => self.urgency = LESS,
            Request::SlippageBudget => self.slippage_budget = true,
            Request::SignalWeight => self.signal_weight = LESS,
            Request::WiderAggression if self.aggression < 1.0 => {}
            Request::WiderAggression => self.aggression = 1.0 / LESS,
            Request::TighterAggression => self.aggression = LESS,
            Request::CompletionCritical => {
                self.completion_priority = true;
                self.tactics = Some("completion_critical");
            }
            Request::ChildGranularity => self.child_granularity = LESS,
            Request::Backpressure => self.backpressure = true,
            Request::RoutePenalty => self.route_penalty = 1.0,
        }
    }

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
        advice.at = Nanos::from_secs(5);
        advice.ask(Request::Urgency);
        advice.ask(Request::Backpressure);
        assert!(!advice.is_neutral());
        assert_eq!(advice.read_at(Nanos::from_secs(6)), advice);
        let old = advice.read_at(Nanos(6_000_000_001));
        assert!(old.is_neutral());
        assert_eq!((old.urgency, old.backpressure, old.at), (1.0, false, Nanos::from_secs(5)));
    }

    #[test]
    fn the_narrower_band_wins_in_either_order() {
        for order in [
            [Request::WiderAggression, Request::TighterAggression],
            [Request::TighterAggression, Request::WiderAggression],
        ] {
            let mut advice = Advice::default();
            order.into_iter().for_each(|request| advice.ask(request));
            assert_eq!(advice.aggression, 0.5);
        }
    }

    #[test]
    fn asking_twice_is_asking_once() {
        let mut once = Advice::default();
        once.ask(Request::SignalWeight);
        let mut twice = once.clone();
        twice.ask(Request::SignalWeight);
        assert_eq!(once, twice);
    }
}
