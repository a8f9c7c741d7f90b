//! What is added up between two points in time.

use model::kpi::{Block, Inputs, KpiPlan, SampleLoss, Sampled, Switches};
use model::profile::Profile;
use model::time::Nanos;

use super::seconds::Factors;
use crate::queue_steps::Steps;

/// What is added up between two points in time.
#[derive(Clone)]
pub(crate) struct Sums {
    pub(crate) block: Block,
    pub(super) sampled: Sampled,
    pub(super) samples: SampleLoss,
    pub(super) switches: Switches,
    /// A block came: without one, levels such as the backlog are not known.
    pub(crate) fresh: bool,
}

impl Sums {
    pub(crate) fn new(plan: &KpiPlan) -> Self {
        Self {
            block: Block::new(plan),
            sampled: Sampled::new(plan),
            samples: SampleLoss::default(),
            switches: Switches::default(),
            fresh: false,
        }
    }

    pub(crate) fn merge(&mut self, later: &Self) {
        if later.fresh {
            self.block.merge(&later.block);
            self.fresh = true;
        }
        self.sampled.merge(&later.sampled);
        self.samples.kept += later.samples.kept;
        self.samples.lost += later.samples.lost;
        self.switches.merge(&later.switches);
    }

    pub(super) fn inputs<'a>(
        &'a self,
        plan: &'a KpiPlan,
        profile: Option<&'a Profile>,
        steps: &'a Steps,
        factors: &'a Factors,
        span: Nanos,
    ) -> Inputs<'a> {
        Inputs {
            plan,
            block: &self.block,
            profile,
            sampled: Some(&self.sampled),
            samples: self.samples,
            span,
            steps: &steps.queues,
            factors: &factors.0,
            switches: self.switches,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.block.clear();
        self.sampled.clear();
        self.samples = SampleLoss::default();
        self.switches = Switches::default();
        self.fresh = false;
    }
}
