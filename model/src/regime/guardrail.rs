//! The queue-budget guardrail: a backlog past its guard asks strategies for less and lets what is
//! worth most go first.

use super::advice::Request;
use crate::profile::{ClassParams, Profile};

/// What waits in a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Packets.
    pub packets: u64,
    /// Wire bytes.
    pub bytes: u64,
}

/// The guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guardrail {
    /// Share of a class's queue budget that its backlog may take, parts per million.
    pub budget_ppm: u32,
    /// Classes of this priority or before it go first.
    pub priority: u8,
}

impl Guardrail {
    /// Whether `backlog` is past the guard of the class.
    pub fn is_past(&self, params: &ClassParams, backlog: Backlog) -> bool {
        let guard = |budget: u64| {
            let exact = u128::from(budget) * u128::from(self.budget_ppm) / 1_000_000;
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        backlog.packets > guard(u64::from(params.queue_packets))
            || backlog.bytes > guard(params.queue_bytes)
    }

    /// What the class asks of strategies then.
    pub const fn requests() -> [Request; 2] {
        [Request::ChildGranularity, Request::Backpressure]
    }

    /// With a class past its guard, those worth less give up what they were served ahead of priority
    /// by: they wait their turn, up to their `max_hold`, and keep the floor of their flows. Nothing
    /// ends by it. Gives the indices of the classes that it changed, all of which `may` change.
    pub fn apply(&self, profile: &mut Profile, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut changed = Vec::new();
        for (class, params) in profile.classes.iter_mut().enumerate() {
            let lower = params.priority > self.priority && may(class);
            if lower && params.shaping.reserved.take().is_some() {
                changed.push(class);
            }
        }
        changed
    }
}
