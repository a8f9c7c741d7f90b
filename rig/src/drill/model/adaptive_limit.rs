//! A byte limit that moves by itself, after the idea of Linux's dynamic queue limits: the queue ran dry
//! although the limit kept packets back, so the limit was too low and rises by what was completed; it
//! was never needed in full for a hold time, so it falls by what was never needed.
//!
//! Unlike that one it is strict, as the gateway's limit is: what does not fit waits.

use model::time::Nanos;

use crate::drill::outlet::Told;

/// Bounds and pace of an adaptive limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It never falls below, wire bytes.
    pub min_bytes: u64,
    /// It never rises above.
    pub max_bytes: u64,
    /// It falls at most so often.
    pub hold: Nanos,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct AdaptiveLimit {
    bounds: Bounds,
    limit_bytes: u64,
    /// The largest frame: with less room than that the limit keeps packets back.
    frame_bytes: u64,
    /// The least that was not needed since `since`.
    slack_bytes: u64,
    since: Nanos,
}

impl AdaptiveLimit {
    /// Begins at its upper bound.
    pub const fn new(bounds: Bounds, frame_bytes: u64, now: Nanos) -> Self {
        let limit_bytes = bounds.max_bytes;
        Self { bounds, limit_bytes, frame_bytes, slack_bytes: u64::MAX, since: now }
    }

    /// The limit in force.
    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// New bounds; the limit moves into them.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.limit_bytes = self.limit_bytes.clamp(bounds.min_bytes, bounds.max_bytes);
    }

    /// What a completion tells.
    pub fn on_completion(&mut self, told: Told) {
        let kept_back = told.before + self.frame_bytes > self.limit_bytes;
        let ran_dry = told.bytes == told.before;
        if kept_back && ran_dry {
            self.move_to(self.limit_bytes.saturating_add(told.bytes), told.at);
            return;
        }
        let slack = self.limit_bytes.saturating_sub(told.before);
        self.slack_bytes = self.slack_bytes.min(slack);
        if told.at.saturating_sub(self.since) >= self.bounds.hold {
            self.move_to(self.limit_bytes - self.slack_bytes, told.at);
        }
    }

    fn move_to(&mut self, limit_bytes: u64, now: Nanos) {
        self.limit_bytes = limit_bytes.clamp(self.bounds.min_bytes, self.bounds.max_bytes);
        (self.slack_bytes, self.since) = (u64::MAX, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Nanos = Nanos::from_millis(10);

    fn limit() -> AdaptiveLimit {
        let bounds = Bounds { min_bytes: 1_000, max_bytes: 10_000, hold: HOLD };
        AdaptiveLimit::new(bounds, 500, Nanos::ZERO)
    }

    fn told(ms: u64, before: u64, bytes: u64) -> Told {
        Told { at: Nanos::from_millis(ms), bytes, before }
    }

    #[test]
    fn falls_by_what_nobody_needed_for_a_hold_time() {
        let mut limit = limit();
        limit.on_completion(told(1, 4_000, 1_000));
        assert_eq!(limit.limit_bytes(), 10_000, "not yet");
        limit.on_completion(told(10, 2_000, 1_000));
        assert_eq!(limit.limit_bytes(), 4_000, "6,000 were the least that was not needed");
    }

    #[test]
    fn rises_by_what_was_completed_when_it_kept_packets_back_and_the_queue_ran_dry() {
        let mut limit = limit();
        limit.on_completion(told(10, 900, 400));
        assert_eq!(limit.limit_bytes(), 1_000, "not below its bound");
        limit.on_completion(told(11, 900, 900));
        assert_eq!(limit.limit_bytes(), 1_900);
        limit.on_completion(told(12, 1_800, 400));
        assert_eq!(limit.limit_bytes(), 1_900, "it did not run dry");
        limit.set_bounds(Bounds { min_bytes: 5_000, max_bytes: 6_000, hold: HOLD });
        assert_eq!(limit.limit_bytes(), 5_000);
    }
}
