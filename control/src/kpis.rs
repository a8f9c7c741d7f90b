//! The KPIs of a gateway: blocks and samples of its cores, merged, as one report.
//!
//! Counters and the summary of a run cover everything since the start; the live figures cover the
//! last complete interval of one second.

use model::kpi::{Block, Inputs, KpiPlan, Report, SampleLoss, Sampled, Totals, catalogue};
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;
use serde_json::Value;

use crate::controller::{CoreFacts, Kpis};
use crate::registry::Registry;

/// Length of an interval of live figures.
const INTERVAL: Nanos = Nanos::from_secs(1);

/// What is added up over some time.
struct Sums {
    block: Block,
    sampled: Sampled,
    samples: SampleLoss,
}

impl Sums {
    fn new(plan: &KpiPlan) -> Self {
        Self {
            block: Block::new(plan),
            sampled: Sampled::new(plan),
            samples: SampleLoss::default(),
        }
    }

    fn clear(&mut self) {
        self.block.clear();
        self.sampled.clear();
        self.samples = SampleLoss::default();
    }

    fn inputs<'a>(
        &'a self,
        plan: &'a KpiPlan,
        profile: Option<&'a Profile>,
        span: Nanos,
    ) -> Inputs<'a> {
        Inputs {
            plan,
            block: &self.block,
            profile,
            sampled: Some(&self.sampled),
            samples: self.samples,
            span,
        }
    }
}

struct CoreKpis {
    plan: KpiPlan,
    total: Sums,
    current: Sums,
    profile: u16,
    samples_lost: u64,
}

/// See the module.
pub struct GatewayKpis {
    cores: Vec<CoreKpis>,
    profiles: Vec<Profile>,
    started: Nanos,
    interval_began: Nanos,
    latest: Nanos,
    live: Report,
}

impl GatewayKpis {
    /// For one core for each plan, starting at `now`.
    pub fn new(plans: Vec<KpiPlan>, profiles: Vec<Profile>, now: Nanos) -> Self {
        let core = |plan: KpiPlan| CoreKpis {
            total: Sums::new(&plan),
            current: Sums::new(&plan),
            plan,
            profile: 0,
            samples_lost: 0,
        };
        Self {
            cores: plans.into_iter().map(core).collect(),
            profiles,
            started: now,
            interval_began: now,
            latest: now,
            live: Report::default(),
        }
    }

    /// Everything since the start.
    pub fn report(&self) -> Report {
        self.build(|core| &core.total, self.latest.saturating_sub(self.started))
    }

    /// The sums since the start.
    pub fn totals(&self) -> Totals {
        let mut all: Option<Totals> = None;
        for core in &self.cores {
            let totals = core.total.block.totals();
            match &mut all {
                None => all = Some(totals),
                Some(all) => all.add(&totals),
            }
        }
        all.unwrap_or_else(|| Block::new(&KpiPlan { classes: vec![], ports: vec![], urgent: 0 }).totals())
    }

    /// Calls of the cores that named a port or class that is not planned. Must be 0.
    pub fn unplanned(&self) -> u64 {
        self.cores.iter().map(|core| core.total.block.unplanned + core.total.sampled.unplanned()).sum()
    }

    fn build<'a>(&'a self, sums: impl Fn(&'a CoreKpis) -> &'a Sums, span: Nanos) -> Report {
        let inputs: Vec<_> = self
            .cores
            .iter()
            .map(|core| {
                sums(core).inputs(&core.plan, self.profiles.get(usize::from(core.profile)), span)
            })
            .collect();
        Report::build(&inputs)
    }
}

impl Kpis for GatewayKpis {
    type Block = Block;

    fn merge(&mut self, core: usize, block: &mut Block) {
        let core = &mut self.cores[core];
        core.total.block.merge(block);
        core.current.block.merge(block);
        block.clear();
    }

    fn sample(&mut self, core: usize, row: &Sample) {
        let core = &mut self.cores[core];
        for sums in [&mut core.total, &mut core.current] {
            sums.sampled.add(&core.plan, row);
            sums.samples.kept += 1;
        }
    }

    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.latest = now;
        for (core, facts) in self.cores.iter_mut().zip(cores) {
            core.profile = facts.profile;
            let lost = facts.samples_lost.saturating_sub(core.samples_lost);
            core.samples_lost = facts.samples_lost;
            core.total.samples.lost += lost;
            core.current.samples.lost += lost;
        }
        let span = now.saturating_sub(self.interval_began);
        if span >= INTERVAL {
            self.live = self.build(|core| &core.current, span);
            self.interval_began = now;
            self.cores.iter_mut().for_each(|core| core.current.clear());
        }
    }

    fn publish(&self, registry: &mut Registry) {
        let totals = self.totals();
        for (name, help, value) in [
            ("packets_in", "Packets received.", totals.packets_in),
            ("packets_out", "Packets accepted by an egress port.", totals.packets_out),
            ("bytes_in", "Frame bytes received.", totals.bytes_in),
            ("bytes_out", "Frame bytes accepted by an egress port.", totals.bytes_out),
            ("early", "Departures before their eligible time; must be 0.", totals.early),
        ] {
            registry.counter(name, help, &[], value);
        }
        registry.gauge("held", "Packets that wait.", &[], totals.held);
        for (reason, count) in model::drop_reason::DropReason::ALL.iter().zip(&totals.drops) {
            registry.counter(
                "drops",
                "Packets that ended without leaving, by reason.",
                &[("reason", reason.name())],
                count.packets,
            );
        }
        for entry in self.live.entries.iter().filter(|entry| entry.name != "drops") {
            let help = catalogue::find(entry.name).map_or("", |definition| definition.formula);
            let labels = &entry.labels;
            for (value, number) in &entry.values {
                let Some(number) = number else { continue };
                let mut with = vec![("value", *value), ("basis", entry.basis.name())];
                let own = [
                    ("port", labels.port.as_deref()),
                    ("class", labels.class.as_deref()),
                    ("kind", labels.kind),
                    ("part", labels.part),
                    ("simulated", entry.simulated.then_some("true")),
                ];
                with.extend(own.iter().filter_map(|(key, value)| value.map(|v| (*key, v))));
                registry.gauge(entry.name, help, &with, *number);
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut kpis = self.live.kpis_json();
        if let (Value::Object(kpis), Value::Object(host)) = (&mut kpis, self.live.host_json()) {
            kpis.extend(host);
        }
        kpis
    }
}
