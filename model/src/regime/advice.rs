//! What states ask of strategies, and the [`Advice`] that it comes to.

use crate::advice::Advice;

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_is_not_neutral() {
        for request in [Request::Urgency, Request::Backpressure, Request::RoutePenalty] {
            let mut advice = Advice::default();
            advice.ask(request);
            assert!(!advice.is_neutral(), "{request:?}");
        }
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
