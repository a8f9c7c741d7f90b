//! KPIs of the running gateway: blocks and samples in, one report per interval out.
//!
//! Counters (`packets_in`, `drops` ...) are sums since start; every other figure is of the last
//! complete interval of [`INTERVAL`]. The list of numbers is made from the same [`Report`] that
//! `status` shows. [`PacketKpis::run_report`] is the report over the whole run.

use std::collections::BTreeMap;

use model::drop_reason::DropReason;
use model::kpi::{
    AckShare, AckShares, Block, Count, Entry, Inputs, KpiPlan, Report, SampleLoss, Sampled,
    Switches, Tallies, Totals, catalogue,
};
use model::profile::Profile;
use model::sample::{Release, Sample};
use model::time::Nanos;
use serde_json::{Value, json};

use crate::controller::{CoreFacts, Kpis};
use crate::queue_steps::Steps;
use crate::registry::{Number, Registry};
use crate::windows::{History, Spot, Traffic, Windows};

/// Length of an interval. Long enough for a p99 of 1,000 packets/s, short enough to act on.
pub const INTERVAL: Nanos = Nanos::from_secs(1);

/// What is added up between two points in time.
#[derive(Clone)]
pub(crate) struct Sums {
    pub(crate) block: Block,
    sampled: Sampled,
    samples: SampleLoss,
    switches: Switches,
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

    fn inputs<'a>(
        &'a self,
        plan: &'a KpiPlan,
        profile: Option<&'a Profile>,
        steps: &'a Steps,
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
    steps: Steps,
}

impl CoreKpis {
    fn inputs<'a>(&'a self, sums: &'a Sums, profiles: &'a [Profile], span: Nanos) -> Inputs<'a> {
        let profile = profiles.get(usize::from(self.profile));
        sums.inputs(&self.plan, profile, &self.steps, span)
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
        let core = |plan: KpiPlan| CoreKpis {
            run: Sums::new(&plan),
            now: Sums::new(&plan),
            sliding: None,
            lost_seen: 0,
            profile: 0,
            steps: Steps::new(&plan),
            plan,
        };
        let cores = plans.into_iter().map(core).collect();
        Self { cores, profiles, began: None, last: None, slide: None, report: Report::default() }
    }

    /// Keeps the last minute too, in steps of `tick`: [`Kpis::windows`] is computed from it.
    #[must_use]
    pub fn sliding(mut self, tick: Nanos) -> Self {
        self.slide = Some((tick, None));
        for core in &mut self.cores {
            core.sliding = Some((Sums::new(&core.plan), History::new(&core.plan)));
        }
        self
    }

    /// Ends a step of the sliding windows when it is over.
    fn slide(&mut self, now: Nanos) {
        let Some((tick, last)) = &mut self.slide else { return };
        let since = *last.get_or_insert(now);
        if now.saturating_sub(since) < *tick {
            return;
        }
        *last = Some(now);
        for (sums, history) in self.cores.iter_mut().filter_map(|core| core.sliding.as_mut()) {
            history.push(sums, now.saturating_sub(since));
        }
    }

    /// What moved in the last step.
    fn put_traffic(plan: &KpiPlan, history: &History, windows: &mut Windows) {
        let Some(last) = history.last().filter(|last| last.sums.fresh) else { return };
        for cell in &last.sums.block.cells {
            let (port, class) = (&plan.ports[cell.port], &plan.classes[cell.class]);
            let traffic = Traffic {
                packets: cell.arrived.packets,
                backlog_packets: cell.backlog_packets,
                backlog_bytes: cell.backlog_bytes,
                dropped: cell.dropped.iter().map(|count| count.packets).sum(),
            };
            let (port, class, arm) = (port.name.clone(), class.name.clone(), class.arm);
            windows.traffic.push((Spot { port, class, arm }, traffic));
        }
    }

    /// What was offered to each class in `span`, on top of what other cores say.
    fn put_offered(plan: &KpiPlan, sums: &Sums, span: Nanos, windows: &mut Windows) {
        for cell in &sums.block.cells {
            // Frames of at least 60 bytes, each with 24 of preamble, FCS and gap.
            let bytes = cell.arrived.bytes.max(60 * cell.arrived.packets);
            let bits = (bytes + 24 * cell.arrived.packets) * 8;
            let rate = u128::from(bits) * 1_000_000_000 / u128::from(span.0.max(1));
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            let name = &plan.classes[cell.class].name;
            match windows.offered.iter_mut().find(|(class, _)| class == name) {
                Some((_, offered)) => *offered = offered.saturating_add(rate),
                None => windows.offered.push((name.clone(), rate)),
            }
        }
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
        let mut all = Totals {
            packets_in: 0,
            packets_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            segments_added: 0,
            bytes_added: 0,
            bytes_stripped: 0,
            drops: [Count::default(); DropReason::COUNT],
            held: 0,
            early: 0,
            tallies: Tallies::default(),
        };
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
        self.cores.iter().for_each(|core| put_counters(registry, core));
        let help = "Calls that named a port and class that the core does not have; must stay 0.";
        registry.counter("kpi_unplanned", help, &[], self.unplanned());
    }

    fn end_interval(&mut self, now: Nanos) {
        let Some((_, interval)) = &mut self.began else { return };
        let from = std::mem::replace(interval, now);
        self.last = Some((self.last.map_or(1, |(number, ..)| number + 1), from, now));
        let span = now.saturating_sub(from);
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

    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.take_facts(cores);
        for core in &mut self.cores {
            core.steps.roll(now);
        }
        self.slide(now);
        self.end_interval_if_over(now);
    }

    fn windows(&mut self, windows_s: &[u8]) -> Windows {
        let mut windows = Windows {
            reports: windows_s.iter().map(|length| (*length, Report::default())).collect(),
            ..Windows::default()
        };
        for core in &mut self.cores {
            let Some((_, history)) = &mut core.sliding else { continue };
            let profile = self.profiles.get(usize::from(core.profile));
            history.windows(windows_s, |at, sums, span| {
                if at == 0 {
                    Self::put_offered(&core.plan, sums, span, &mut windows);
                }
                let report = Report::build(&[sums.inputs(&core.plan, profile, &core.steps, span)]);
                windows.reports[at].1.merge(report);
            });
            Self::put_traffic(&core.plan, history, &mut windows);
        }
        windows
    }

    fn publish(&self, registry: &mut Registry) {
        self.publish_counters(registry);
        self.cores.iter().enumerate().for_each(|(n, core)| put_cycles(registry, n, core));
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

/// Puts the figures of an interval on the list.
pub fn publish_report(report: &Report, registry: &mut Registry) {
    report.entries.iter().filter(|e| !is_counted(e.name)).for_each(|e| put(registry, e));
}

/// Whether a KPI stands on the list as a counter since the start, and not as a figure of an interval.
fn is_counted(name: &str) -> bool {
    ["drops", "venue_limit_waits", "retransmits_while_held"].contains(&name)
}

/// Sums since start, by port, class and kind; what has no class has a port only.
fn put_counters(r: &mut Registry, core: &CoreKpis) {
    let (run, now) = (&core.run.block, &core.now.block);
    for (position, (run, now)) in run.ports.iter().zip(&now.ports).enumerate() {
        let labels = [("port", core.plan.ports[position].name.as_str())];
        let arrived = sum(run.unclassified, now.unclassified);
        r.counter("packets_in", PACKETS_IN, &labels, arrived.packets);
        r.counter("bytes_in", BYTES_IN, &labels, arrived.bytes);
        let help = "Bytes of intent shims taken out of frames for the egress port.";
        r.counter("bytes_stripped", help, &labels, run.bytes_stripped + now.bytes_stripped);
        put_drops(r, &labels, &run.unclassified_dropped, &now.unclassified_dropped);
        let help = "No completion for stall_time with bytes in flight.";
        r.counter("tx_stalls", help, &labels, run.stalls + now.stalls);
        let help = "In-flight limit reached, device empty, due packets waiting.";
        r.counter("tx_starvations", help, &labels, run.starvations + now.starvations);
        for ((tally, run), (_, now)) in run.tallies.iter().zip(now.tallies.iter()) {
            r.counter(tally.name(), tally.help(), &labels, run + now);
        }
        if let Some(levels) = now.levels.or(run.levels) {
            let help = "Flows in the table of the lane that sends to the port.";
            r.gauge("flows", help, &labels, levels.flows);
            if let Some(alive) = levels.path_alive {
                let help = "1 while the path that ends at the port has answered a probe lately.";
                r.gauge("path_alive", help, &labels, u64::from(alive));
            }
        }
        for (plan, (run, now)) in core.plan.limits.iter().zip(run.limits.iter().zip(&now.limits)) {
            let labels = [labels[0], ("limit", plan.name.as_str())];
            let help = "Messages counted by a venue limit.";
            r.counter("venue_limit_messages", help, &labels, run.messages + now.messages);
            let help = "Departures that had waited for a venue limit.";
            r.counter("venue_limit_waits", help, &labels, run.waits + now.waits);
            let help = "Sessions that found no window of their own and share one.";
            let shared = run.sessions_shared + now.sessions_shared;
            r.counter("venue_limit_sessions_shared", help, &labels, shared);
        }
    }
    for (run, now) in run.cells.iter().zip(&now.cells) {
        let class = &core.plan.classes[run.class];
        if class.arm.is_some() && run.is_silent() && now.is_silent() {
            continue;
        }
        let mut labels = vec![
            ("port", core.plan.ports[run.port].name.as_str()),
            ("class", class.name.as_str()),
            ("kind", class.kind.name()),
        ];
        labels.extend(class.arm.map(|arm| ("arm", arm)));
        let (arrived, departed) = (sum(run.arrived, now.arrived), sum(run.departed, now.departed));
        r.counter("packets_in", PACKETS_IN, &labels, arrived.packets);
        r.counter("bytes_in", BYTES_IN, &labels, arrived.bytes);
        let help = "Packets accepted by the egress port.";
        r.counter("packets_out", help, &labels, departed.packets);
        let help = "Frame bytes accepted by the egress port.";
        r.counter("bytes_out", help, &labels, departed.bytes);
        let segmented = sum(run.segmented, now.segmented);
        let help = "Packets that segmentation added.";
        r.counter("segments_added", help, &labels, segmented.packets);
        let help = "Frame bytes of the headers of added segments.";
        r.counter("bytes_added", help, &labels, segmented.bytes);
        let help = "Departures before their eligible time; must stay 0.";
        r.counter("early", help, &labels, run.early + now.early);
        let held = if core.now.fresh { now } else { run };
        let help = "Packets that wait, when the core last told.";
        r.gauge("held", help, &labels, held.backlog_packets);
        if let Some(flows) = now.flows.or(run.flows) {
            let help = "Flows of the class that leave by the port, the second path of its pair.";
            r.gauge("path_flows", help, &labels, flows);
            let moved = sum(run.moved_in, now.moved_in);
            let help =
                "Packets that had arrived for the first path of the pair and left by this one.";
            r.counter("path_packets_in", help, &labels, moved.packets);
        }
        put_drops(r, &labels, &run.dropped, &now.dropped);
        for (release, (run, now)) in Release::ALL.iter().zip(run.releases.iter().zip(&now.releases))
        {
            let mut labels = labels.clone();
            labels.push(("release", release.name()));
            r.counter("releases", "Departures, by why they left then.", &labels, run + now);
        }
    }
}

/// Where the cycles of a core went since start.
fn put_cycles(r: &mut Registry, number: usize, core: &CoreKpis) {
    let (run, now) = (&core.run.block.core, &core.now.block.core);
    let number = number.to_string();
    let labels = [("core", number.as_str())];
    let help = "TSC cycles in polls that moved a packet.";
    r.counter("core_busy_cycles", help, &labels, run.busy_cycles + now.busy_cycles);
    let help = "TSC cycles in all polls.";
    r.counter("core_cycles", help, &labels, run.cycles + now.cycles);
}

const PACKETS_IN: &str = "Packets that arrived for the egress port.";
const BYTES_IN: &str = "Frame bytes that arrived for the egress port.";

fn sum(a: Count, b: Count) -> Count {
    Count { packets: a.packets + b.packets, bytes: a.bytes + b.bytes }
}

/// Reasons that have ended a packet.
fn put_drops(
    r: &mut Registry,
    labels: &[(&str, &str)],
    run: &[Count; DropReason::COUNT],
    now: &[Count; DropReason::COUNT],
) {
    for ((reason, run), now) in DropReason::ALL.iter().zip(run).zip(now) {
        let total = sum(*run, *now);
        if total.packets > 0 {
            let mut labels = labels.to_vec();
            labels.push(("reason", reason.name()));
            r.counter("drops", "Packets that ended, by reason.", &labels, total.packets);
        }
    }
}

/// One series of a KPI. Quantiles and extremes go under its own name, so that its unit holds for
/// them; a value of another kind (a count beside nanoseconds) gets a name of its own.
fn put(r: &mut Registry, entry: &Entry) {
    let definition = catalogue::find(entry.name);
    let help = definition.map_or("", |definition| definition.formula);
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let optional = [
        ("port", entry.labels.port.as_deref()),
        ("class", entry.labels.class.as_deref()),
        ("kind", entry.labels.kind),
        ("part", entry.labels.part),
        ("limit", entry.labels.limit.as_deref()),
        ("arm", entry.labels.arm),
    ];
    labels.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    labels.push(("basis", entry.basis.name()));
    if entry.simulated {
        labels.push(("simulated", "true"));
    }
    let name = ListName::new(entry.name);
    let n = "Observations behind the KPI in the last interval.";
    r.gauge(&format!("{}_observations", name.stem), n, &labels, entry.n);
    for &(value_name, value) in &entry.values {
        let Some(value) = value else { continue };
        let value = number(value);
        let own = match value_name {
            "p50" => Some(("quantile", "0.5")),
            "p95" => Some(("quantile", "0.95")),
            "p99" => Some(("quantile", "0.99")),
            "p999" => Some(("quantile", "0.999")),
            "max" | "min" | "mean" => Some(("stat", value_name)),
            _ => None,
        };
        match own {
            Some(own) => {
                labels.push(own);
                r.gauge(&name.full, help, &labels, value);
                labels.pop();
            }
            None if name.is_said_by(value_name) => r.gauge(&name.full, help, &labels, value),
            None => r.gauge(&format!("{}_{value_name}", name.stem), help, &labels, value),
        }
    }
}

/// A KPI's name on the list: the unit stands last, so that it is known as one.
struct ListName {
    /// Without its unit.
    stem: String,
    /// With it.
    full: String,
    /// The name of the KPI whose figure at `normal` it is, else its own.
    of: &'static str,
}

impl ListName {
    fn new(name: &'static str) -> Self {
        let (of, normal) = match name.strip_suffix("_at_normal") {
            Some(of) => (of, "_at_normal"),
            None => (name, ""),
        };
        let unit = ["_ns", "_us", "_bytes"].into_iter().find(|unit| of.ends_with(unit));
        let unit = unit.unwrap_or("");
        let stem = format!("{}{normal}", of.strip_suffix(unit).unwrap_or(of));
        Self { full: format!("{stem}{unit}"), stem, of }
    }

    /// `ratio` of `cap_hit_ratio`, `headroom` of `pacing_headroom`, the only `value` of any.
    fn is_said_by(&self, value: &str) -> bool {
        value == "value" || self.of.ends_with(value)
    }
}

/// A whole number is shown as one.
fn number(value: f64) -> Number {
    /// Up to here every whole number is an `f64`.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        Number::Signed(value as i64)
    } else {
        Number::Real(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::kind::{Kind, Side};
    use model::kpi::{
        BelowQueue, ClassPlan, CompletionFigures, CoreAggregates, Departure, FlowKpi, Levels,
        LimitPlan, PortPlan, Tally, URGENT,
    };
    use model::meta::PacketMeta;
    use model::pacer::limits::LimitFigures;
    use model::sample::DepartureSource;

    use super::*;

    fn plan() -> KpiPlan {
        let class = |name: &str, from| ClassPlan {
            name: name.into(),
            arm: None,
            kind: Kind::Other,
            from,
            cadence: None,
            max_hold: Nanos::MAX,
        };
        let port = |index, name: &str, side| PortPlan {
            index,
            name: name.into(),
            side,
            departure: DepartureSource::Tsc,
            completion: CompletionFigures::Measured,
            tx_descriptors: 512,
            link_bits_per_s: None,
        };
        KpiPlan {
            limits: vec![LimitPlan { name: "xcme".into(), messages_max: 100 }],
            classes: vec![class("out", Side::Inside), class("back", Side::Venue)],
            ports: vec![port(0, "strategies", Side::Inside), port(1, "venue", Side::Venue)],
            urgent: URGENT,
        }
    }

    struct World {
        core: CoreAggregates,
        flow: FlowKpi,
        kpis: PacketKpis,
        spare: Option<Box<Block>>,
    }

    impl World {
        fn new() -> Self {
            Self {
                core: CoreAggregates::new(&plan()),
                flow: FlowKpi::default(),
                kpis: PacketKpis::new(vec![plan()], vec![]),
                spare: Some(Box::new(Block::new(&plan()))),
            }
        }

        /// A packet of 100 bytes that leaves 5 us after it came.
        fn packet(&mut self, at: Nanos) {
            let meta =
                PacketMeta { arrival: at, due: at, sched: at, len: 100, ..Default::default() };
            self.core.on_arrival(1, Some(0), 100, at);
            let out = at.saturating_add(Nanos(5_000));
            let departure = Departure {
                meta: &meta,
                port: 1,
                t_eligible: at,
                t_tx: out,
                t_wire: out,
                release: Release::Governed,
                bucket_held: false,
                link_wait: Nanos::ZERO,
            };
            self.core.on_departure(&departure, &mut self.flow);
        }

        fn tick(&mut self, now: Nanos, samples_lost: u64) {
            let mut block = self.core.swap(now, self.spare.take().unwrap());
            self.kpis.merge(0, &mut block);
            self.spare = Some(block);
            self.kpis.roll(now, &[CoreFacts { profile: 0, samples_lost }]);
        }

        fn registry(&self) -> Value {
            let mut registry = Registry::new();
            self.kpis.publish(&mut registry);
            let registry = Arc::new(registry);
            assert!(registry.to_openmetrics().ends_with("# EOF\n"));
            registry.to_json()
        }
    }

    fn row<'a>(registry: &'a Value, name: &str, labels: &[(&str, &str)]) -> Option<&'a Value> {
        let rows = registry[name].as_array()?;
        rows.iter().find(|row| labels.iter().all(|(k, v)| row[*k] == *v)).map(|row| &row["value"])
    }

    #[test]
    fn counters_grow_for_ever_and_figures_are_of_the_last_interval() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        for n in 0..3_000 {
            world.packet(Nanos::from_micros(n * 500));
            if n % 200 == 199 {
                world.tick(Nanos::from_micros(n * 500 + 500), 0);
            }
        }
        // 1.5 s: one interval of 2,000 packets is complete, 1,000 packets are under way.
        let registry = world.registry();
        let out = [("port", "venue"), ("class", "out"), ("kind", "other")];
        assert_eq!(row(&registry, "packets_in", &out), Some(&json!(3_000)));
        assert_eq!(row(&registry, "packets_out", &out), Some(&json!(3_000)));
        assert_eq!(row(&registry, "bytes_out", &out), Some(&json!(300_000)));
        assert_eq!(
            row(&registry, "releases", &[("class", "out"), ("release", "governed")]),
            Some(&json!(3_000))
        );
        let n =
            row(&registry, "dispatch_to_wire_observations", &[("part", "total"), ("class", "out")]);
        assert_eq!(n, Some(&json!(2_000)));
        let p99 = [("part", "total"), ("class", "out"), ("quantile", "0.99")];
        let p99 = row(&registry, "dispatch_to_wire_ns", &p99).unwrap().as_f64().unwrap();
        assert!((p99 - 5_000.0).abs() <= 50.0, "{p99}");
        let absent = [("class", "back"), ("quantile", "0.99")];
        assert_eq!(row(&registry, "dispatch_to_wire_ns", &absent), None, "absent is not 0");
        assert_eq!(row(&registry, "drops", &[]), None);

        let totals = world.kpis.totals();
        assert_eq!((totals.packets_in, totals.packets_out, totals.held), (3_000, 3_000, 0));
        let run = world.kpis.run_report(Nanos::from_millis(1_500));
        let entry = run.of("dispatch_to_wire_ns").find(|e| e.n > 0).unwrap();
        assert_eq!(entry.n, 3_000, "the whole run");
        assert_eq!(world.kpis.totals(), totals, "the end of an interval changes no sum");
    }

    #[test]
    fn drops_are_counted_by_reason_and_what_waits_is_held_once() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        for n in 0..5 {
            world.core.on_arrival(1, Some(0), 100, Nanos(n));
        }
        world.core.on_arrival(1, None, 10, Nanos(9));
        world.core.on_drop(1, None, 10, DropReason::Runt, Nanos(9));
        world.tick(Nanos::from_millis(100), 0);
        world.tick(Nanos::from_secs(2), 0);
        world.tick(Nanos::from_millis(2_100), 0);
        let totals = world.kpis.totals();
        assert_eq!((totals.packets_in, totals.dropped(), totals.held), (6, 1, 5));
        let registry = world.registry();
        assert_eq!(row(&registry, "drops", &[("reason", "runt")]), Some(&json!(1)));
        assert_eq!(row(&registry, "held", &[("class", "out")]), Some(&json!(5)));
    }

    #[test]
    fn every_number_of_the_report_stands_on_the_list() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        (0..100).for_each(|n| world.packet(Nanos::from_micros(n * 10)));
        world.core.add_cycles(10, 100);
        world.tick(INTERVAL, 0);
        let registry = world.registry();
        let listed: usize = registry
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| {
                let entries = &world.kpis.report().entries;
                entries.iter().any(|e| name.starts_with(&ListName::new(e.name).stem))
            })
            .filter(|(name, _)| !name.ends_with("_observations") && !is_counted(name))
            .map(|(_, rows)| rows.as_array().map_or(1, Vec::len))
            .sum();
        let entries = world.kpis.report().entries.iter().filter(|e| !is_counted(e.name));
        let known = entries.flat_map(|e| &e.values).filter(|(_, value)| value.is_some()).count();
        assert_eq!(listed, known);
        assert!(known > 20, "{known}");
    }

    #[test]
    fn what_lanes_count_is_one_number_on_every_surface() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        let mut tallies = Tallies::default();
        let figures =
            |n| LimitFigures { least_room: 25, waits: 3 * n, messages: 50 * n, sessions_shared: n };
        let below = BelowQueue {
            queued_bytes: 100,
            queued_bytes_max: 900,
            eligible_bytes: 200,
            eligible_bytes_max: 800,
            limit_bytes: Some(4_000),
        };
        let levels = Levels { flows: 12, path_alive: None, below: Some(below) };
        // Told twice, with sums since the start: two intervals.
        for n in 1..=2 {
            for (k, &tally) in Tally::ALL.iter().enumerate() {
                tallies[tally] = 1_000 * n + k as u64;
            }
            let limits = std::iter::once(figures(n));
            world.core.tell(1, &tallies, levels, limits);
            world.tick(Nanos::from_secs(n), 0);
        }
        let registry = world.registry();
        let run = world.kpis.totals().tallies;
        for (k, &tally) in Tally::ALL.iter().enumerate() {
            let of_port = row(&registry, tally.name(), &[("port", "venue")]);
            assert_eq!(of_port, Some(&json!(2_000 + k)), "{}", tally.name());
            let other = row(&registry, tally.name(), &[("port", "strategies")]);
            assert_eq!(other, Some(&json!(0)), "{}", tally.name());
            assert_eq!(run[tally], 2_000 + k as u64, "{}", tally.name());
        }
        let limit = [("port", "venue"), ("limit", "xcme")];
        for (name, value) in [
            ("venue_limit_waits", json!(6)),
            ("venue_limit_messages", json!(100)),
            ("venue_limit_sessions_shared", json!(2)),
            ("venue_limit_headroom", json!(0.25)),
            ("venue_limit_headroom_messages", json!(25)),
        ] {
            assert_eq!(row(&registry, name, &limit), Some(&value), "{name}");
        }
        assert_eq!(row(&registry, "flows", &[("port", "venue")]), Some(&json!(12)));
        let eligible = [("port", "venue"), ("part", "eligible"), ("stat", "max")];
        assert_eq!(row(&registry, "tx_queue_occupancy", &eligible), Some(&json!(800)));
        let queued = [("port", "venue"), ("part", "queued_for_time")];
        assert_eq!(row(&registry, "tx_queue_occupancy_last", &queued), Some(&json!(100)));

        let again = run[Tally::TcpRetransmissions] + run[Tally::RetransmitsWhileHeld];
        let segments = run[Tally::TcpSegments];
        let kpis = world.kpis.run_report(Nanos::from_secs(3));
        let one = |name| kpis.of(name).next().unwrap();
        assert_eq!(one("venue_limit_waits").value("waits"), Some(6.0));
        assert_eq!(one("venue_limit_headroom").value("headroom"), Some(0.25));
        assert_eq!(
            one("retransmits_while_held").value("packets"),
            Some(run[Tally::RetransmitsWhileHeld] as f64)
        );
        let ratio = one("tcp_retransmit_ratio");
        assert_eq!(ratio.value("ratio"), Some(again as f64 / segments as f64));
        assert_eq!(ratio.n, segments);
    }

    #[test]
    fn what_is_not_there_says_why() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        let unused = LimitFigures { least_room: 100, waits: 0, messages: 0, sessions_shared: 0 };
        let levels = Levels::default();
        world.core.tell(1, &Tallies::default(), levels, std::iter::once(unused));
        world.tick(INTERVAL, 0);
        let report = world.kpis.report();
        let why = |name| report.of(name).next().unwrap().absent;
        assert_eq!(why("venue_limit_headroom"), Some("no_packets"));
        assert_eq!(why("venue_limit_waits"), None, "no wait is a count");
        assert_eq!(why("tcp_retransmit_ratio"), Some("no_packets"));
        assert_eq!(why("retransmits_while_held"), Some("no_packets"));
        let none = KpiPlan { limits: Vec::new(), ..plan() };
        let block = Block::new(&none);
        let inputs = Inputs {
            plan: &none,
            block: &block,
            profile: None,
            sampled: None,
            samples: SampleLoss::default(),
            span: INTERVAL,
            steps: &[],
            switches: Switches::default(),
        };
        let report = Report::build(&[inputs]);
        for name in ["venue_limit_headroom", "venue_limit_waits"] {
            let entry = report.of(name).next().unwrap();
            assert_eq!((entry.absent, entry.n), (Some("no_limit"), 0), "{name}");
            assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{name}");
        }
    }

    #[test]
    fn losses_of_the_sample_ring_belong_to_their_interval() {
        let mut world = World::new();
        world.tick(Nanos(0), 0);
        world.tick(INTERVAL, 7);
        assert_eq!(world.kpis.report().of("lost_share").next().unwrap().n, 7);
        world.tick(INTERVAL.saturating_add(INTERVAL), 7);
        assert_eq!(world.kpis.report().of("lost_share").next().unwrap().n, 0);
    }
}
