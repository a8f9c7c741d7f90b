//! The level of each TX queue in steps of 100 ms: what its limit was, and the most in flight.

use model::kpi::{Block, KpiPlan, QueueSteps, STEP};
use model::profile::EgressParams;
use model::time::Nanos;

/// Of the ports that one core sends to.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) queues: Vec<QueueSteps>,
    /// Most bytes in flight since the step began.
    peaks: Vec<u64>,
    next: Option<Nanos>,
}

impl Steps {
    pub(crate) fn new(plan: &KpiPlan) -> Self {
        let queues = plan.ports.iter().map(|_| QueueSteps::default()).collect();
        Self { queues, peaks: vec![0; plan.ports.len()], next: None }
    }

    /// A block of the core, before it is added to others.
    pub(crate) fn see(&mut self, block: &Block) {
        for (peak, port) in self.peaks.iter_mut().zip(&block.ports) {
            // What stands in flight while nothing is sent and nothing completes is in flight as well.
            let below = port.levels.and_then(|levels| levels.below);
            let stands = below.map_or(0, |below| below.queued_bytes + below.eligible_bytes);
            *peak = (*peak).max(port.inflight_bytes.max().unwrap_or(0)).max(stands);
        }
    }

    /// A tick is over at `now`; `egress` is of the profile in force.
    pub(crate) fn roll(&mut self, now: Nanos, plan: &KpiPlan, egress: &[EgressParams]) {
        let next = *self.next.get_or_insert(now.saturating_add(STEP));
        if now < next {
            return;
        }
        // A tick that comes late makes one step, not several of the same level.
        let late = now.saturating_sub(next).0 / STEP.0;
        self.next = Some(Nanos(next.0.saturating_add((late + 1) * STEP.0)));
        for ((queue, peak), port) in self.queues.iter_mut().zip(&mut self.peaks).zip(&plan.ports) {
            queue.in_flight.step(std::mem::take(peak));
            match egress.get(usize::from(port.index)).and_then(|egress| egress.inflight_limit_bytes)
            {
                Some(limit) => queue.limit.step(limit),
                None => queue.limit.skip(),
            }
        }
    }
}
