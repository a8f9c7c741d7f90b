//! KPIs of the running gateway: blocks and samples in, one report per interval out.
//!
//! Counters (`packets_in`, `drops` ...) are sums since start; every other figure is of the last
//! complete interval of [`INTERVAL`]. The list of numbers is made from the same [`Report`] that
//! `status` shows. [`PacketKpis::run_report`] is the report over the whole run.

mod counters;
mod figures;
mod seconds;
mod sliding;
mod sums;

use std::collections::BTreeMap;

use model::kpi::{AckShare, AckShares, Block, Inputs, KpiPlan, Report, Totals};
use model::profile::Profile;
use model::regime::COMPOSED_INDEX;
use model::sample::Sample;
use model::time::Nanos;
use serde_json::{Value, json};

pub use self::figures::publish_report;
use self::seconds::Factors;
pub(crate) use self::sums::Sums;
use crate::controller::{CoreFacts, Kpis};
use crate::queue_steps::Steps;
use crate::registry::Registry;
use crate::windows::{History, Windows};

/// Length of an interval. Long enough for a p99 of 1,000 packets/s, short enough to act on.
pub const INTERVAL: Nanos = Nanos::from_secs(1);

struct CoreKpis {
    plan: KpiPlan,
    /// Of complete intervals.
    run: Sums,
    /// Of the interval under way.
    now: Sums,
    /// Of the tick of the regime engine under way, and those before it.
    sliding: Option<(Sums, History)>,
    /// Samples lost since start, as last seen.
    lost_seen: u64,
    /// Index of the profile in force, as last seen.
    profile: u16,
    /// The composed table that it was last sent.
    composed: Option<Profile>,
    steps: Steps,
    factors: Factors,
}

impl CoreKpis {
    fn inputs<'a>(&'a self, sums: &'a Sums, profiles: &'a [Profile], span: Nanos) -> Inputs<'a> {
        self.inputs_of(sums, self.in_force(profiles), span)
    }

    /// Of sums under the table that it runs by.
    fn inputs_of<'a>(
        &'a self,
        sums: &'a Sums,
        profile: Option<&'a Profile>,
        span: Nanos,
    ) -> Inputs<'a> {
        sums.inputs(&self.plan, profile, &self.steps, &self.factors, span)
    }

    /// The table that it runs by, where that is known.
    fn in_force<'a>(&'a self, profiles: &'a [Profile]) -> Option<&'a Profile> {
        match self.profile {
            COMPOSED_INDEX => self.composed.as_ref(),
            index => profiles.get(usize::from(index)),
        }
    }
}

/// See the module's text.
pub struct PacketKpis {
    cores: Vec<CoreKpis>,
    profiles: Vec<Profile>,
    /// Start of the run and of the interval under way.
    began: Option<(Nanos, Nanos)>,
    /// How many intervals are complete, and start and end of the last.
    last: Option<(u64, Nanos, Nanos)>,
    /// Tick of the regime engine, and when the last one was.
    slide: Option<(Nanos, Option<Nanos>)>,
    report: Report,
}

impl PacketKpis {
    /// One plan for each core, in the order of the cores; `profiles` are those of the config.
    pub fn new(plans: Vec<KpiPlan>, profiles: Vec<Profile>) -> Self {
        let core = |plan: KpiPlan| {
            let run = Sums::new(&plan);
            CoreKpis {
                now: run.clone(),
                sliding: None,
                lost_seen: 0,
                profile: 0,
                composed: None,
                steps: Steps::new(&plan),
                factors: Factors::new(&run.block),
                run,
                plan,
            }
        };
        let cores = plans.into_iter().map(core).collect();
        Self { cores, profiles, began: None, last: None, slide: None, report: Report::default() }
    }

    /// The report of the last complete interval; empty before there is one.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The number of the last complete interval, from 1, its start and its end.
    pub const fn last_interval(&self) -> Option<(u64, Nanos, Nanos)> {
        self.last
    }

    /// Ends the interval under way and reports on everything since start: the end of a run.
    pub fn run_report(&mut self, now: Nanos) -> Report {
        self.cores.iter_mut().for_each(|core| core.now.sampled.flush());
        self.end_interval(now);
        let span = self.began.map_or(Nanos::ZERO, |(run, _)| now.saturating_sub(run));
        self.build(span, |core| &core.run)
    }

    /// The sums over all cores since start. Exact up to the last block of each core.
    pub fn totals(&self) -> Totals {
        let mut all = Totals::default();
        for core in &self.cores {
            let (run, now) = (core.run.block.totals(), core.now.block.totals());
            all.add(&run);
            all.add(&now);
            // A level, of which the later block knows the value, and not a sum.
            all.held -= if core.now.fresh { run.held } else { now.held };
        }
        all
    }

    /// Calls that named a port and class that the core does not have. Must stay 0.
    pub fn unplanned(&self) -> u64 {
        let of = |sums: &Sums| sums.block.unplanned + sums.sampled.unplanned();
        self.cores.iter().map(|core| of(&core.run) + of(&core.now)).sum()
    }

    /// Puts the sums since start on the list.
    pub fn publish_counters(&self, registry: &mut Registry) {
        self.cores.iter().for_each(|core| counters::put_counters(registry, core));
        let help = "Calls that named a port and class that the core does not have; must stay 0.";
        registry.counter("kpi_unplanned", help, &[], self.unplanned());
    }

    fn end_interval(&mut self, now: Nanos) {
        let Some((_, interval)) = &mut self.began else { return };
        let from = std::mem::replace(interval, now);
        self.last = Some((self.last.map_or(1, |(number, ..)| number + 1), from, now));
        let span = now.saturating_sub(from);
        if span >= INTERVAL {
            self.cores.iter_mut().for_each(|core| core.factors.see(&core.now.block));
        }
        self.report = self.build(span, |core| &core.now);
        for core in &mut self.cores {
            core.run.merge(&core.now);
            core.now.clear();
        }
    }

    /// Ends the interval if it is over. For an end between two ticks: what is counted in steps and ticks
    /// must not notice.
    pub fn roll_interval(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.take_facts(cores);
        self.end_interval_if_over(now);
    }

    fn end_interval_if_over(&mut self, now: Nanos) {
        let (_, interval) = *self.began.get_or_insert((now, now));
        if now.saturating_sub(interval) >= INTERVAL {
            self.end_interval(now);
        }
    }

    fn take_facts(&mut self, cores: &[CoreFacts]) {
        for (core, facts) in self.cores.iter_mut().zip(cores) {
            let lost = facts.samples_lost.saturating_sub(core.lost_seen);
            core.now.samples.lost += lost;
            if let Some((sums, _)) = &mut core.sliding {
                sums.samples.lost += lost;
            }
            core.lost_seen = facts.samples_lost;
            core.profile = facts.profile;
        }
    }

    fn build(&self, span: Nanos, sums: impl Fn(&CoreKpis) -> &Sums) -> Report {
        let cores = self.cores.iter().map(|core| core.inputs(sums(core), &self.profiles, span));
        Report::build(&cores.collect::<Vec<_>>())
    }
}

impl Kpis for PacketKpis {
    type Block = Block;

    fn ack_shares(&self) -> AckShares {
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for core in &self.cores {
            for cell in core.run.sampled.cells().iter().chain(core.now.sampled.cells()) {
                let sum = sums.entry(&core.plan.classes[cell.class].name).or_default();
                *sum = (sum.0 + cell.acks.pairs, sum.1 + cell.acks.compressed);
            }
        }
        let share = |(class, (pairs, compressed)): (&str, (u64, u64))| {
            Some((class.to_owned(), AckShare::of(pairs, compressed)?))
        };
        sums.into_iter().filter_map(share).collect()
    }

    fn set_ack_baselines(&mut self, usual: &AckShares) {
        for core in &mut self.cores {
            let CoreKpis { plan, run, now, sliding, .. } = core;
            let usual = |class: usize| Some(usual.get(&plan.classes[class].name)?.share);
            let set = |sums: &mut Sums| sums.sampled.set_ack_baselines(usual);
            [run, now].into_iter().for_each(set);
            if let Some((sums, history)) = sliding {
                set(sums);
                history.each_sums(set);
            }
        }
    }

    fn set_profiles(&mut self, profiles: &[Profile]) {
        self.profiles = profiles.to_vec();
        if let Some(normal) = profiles.first() {
            self.cores.iter_mut().for_each(|core| core.plan.set_confirmed(normal));
        }
    }

    fn merge(&mut self, core: usize, block: &mut Block) {
        if let Some(core) = self.cores.get_mut(core) {
            core.steps.see(block);
            core.now.block.merge(block);
            core.now.fresh = true;
            if let Some((sums, _)) = &mut core.sliding {
                sums.block.merge(block);
                sums.fresh = true;
            }
        }
        block.clear();
    }

    fn sample(&mut self, core: usize, row: &Sample) {
        if let Some(core) = self.cores.get_mut(core) {
            core.now.sampled.add(&core.plan, row);
            core.now.samples.kept += 1;
            if let Some((sums, _)) = &mut core.sliding {
                sums.sampled.add(&core.plan, row);
                sums.samples.kept += 1;
            }
        }
    }

    fn switch_settled(&mut self, core: usize, longest_wait: Nanos, lost: u64) {
        if let Some(core) = self.cores.get_mut(core) {
            core.now.switches.add(longest_wait, lost);
            if let Some((sums, _)) = &mut core.sliding {
                sums.switches.add(longest_wait, lost);
            }
        }
    }

    fn set_composed(&mut self, core: usize, table: Option<&Profile>) {
        // What it was sent before may be in force until it takes another.
        if let (Some(core), Some(table)) = (self.cores.get_mut(core), table) {
            core.composed = Some(table.clone());
        }
    }

    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.take_facts(cores);
        for core in &mut self.cores {
            core.steps.roll(now);
        }
        self.slide(now);
        self.end_interval_if_over(now);
    }

    fn windows(&mut self, windows_s: &[u8]) -> Windows {
        self.windows_of(windows_s)
    }

    fn publish(&self, registry: &mut Registry) {
        self.publish_counters(registry);
        self.cores.iter().enumerate().for_each(|(n, core)| counters::put_cycles(registry, n, core));
        publish_report(&self.report, registry);
    }

    fn to_json(&self) -> Value {
        let mut kpis = self.report.kpis_json();
        if let (Value::Object(all), Value::Object(host)) = (&mut kpis, self.report.host_json()) {
            all.insert("host".to_owned(), json!(host));
        }
        kpis
    }
}

#[cfg(test)]
mod tests;
