//! The level of each TX queue in steps of 100 ms: what its limit was, and the most in flight.

use model::kpi::{Block, KpiPlan, QueueSteps, STEP};
use model::time::Nanos;

/// Of the ports that one core sends to.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) queues: Vec<QueueSteps>,
    /// Most bytes in flight since the step began, what stood then included.
    peaks: Vec<u64>,
    /// What stood in flight at the end of the last block.
    stand: Vec<u64>,
    /// The limit in force, as the core last told.
    limits: Vec<Option<u64>>,
    next: Option<Nanos>,
}

impl Steps {
    pub(crate) fn new(plan: &KpiPlan) -> Self {
        let queues = plan.ports.iter().map(|_| QueueSteps::default()).collect();
        let zeros = vec![0; plan.ports.len()];
        let limits = vec![None; plan.ports.len()];
        Self { queues, peaks: zeros.clone(), stand: zeros, limits, next: None }
    }

    /// A block of the core, before it is added to others.
    pub(crate) fn see(&mut self, block: &Block) {
        let levels = self.peaks.iter_mut().zip(&mut self.stand).zip(&mut self.queues);
        for ((((peak, stand), queue), limit), port) in
            levels.zip(&mut self.limits).zip(&block.ports)
        {
            // What stands in flight while nothing is sent and nothing completes is in flight as well.
            if let Some(levels) = port.levels {
                // Whatever profile is in force, and whoever moves the limit.
                *limit = levels.below.and_then(|below| below.limit_bytes);
                *stand = levels.below.map_or(0, |below| below.queued_bytes + below.eligible_bytes);
            }
            *peak = (*peak).max(port.inflight_bytes.max().unwrap_or(0)).max(*stand);
            queue.is_used |= port.inflight_bytes.count() > 0;
        }
    }

    /// A tick is over at `now`.
    pub(crate) fn roll(&mut self, now: Nanos) {
        let next = *self.next.get_or_insert(now.saturating_add(STEP));
        if now < next {
            return;
        }
        // A tick that comes late makes one step, not several of the same level.
        let late = now.saturating_sub(next).0 / STEP.0;
        self.next = Some(Nanos(next.0.saturating_add((late + 1) * STEP.0)));
        let levels = self.queues.iter_mut().zip(&mut self.peaks).zip(&self.stand);
        for (((queue, peak), stand), limit) in levels.zip(&self.limits) {
            queue.in_flight.step(std::mem::replace(peak, *stand));
            match limit {
                Some(limit) => queue.limit.step(*limit),
                None => queue.limit.skip(),
            }
        }
    }
}
