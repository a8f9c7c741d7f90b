//! From counters to named figures: what JSON, metrics and reports show.
//!
//! A value that cannot be given is `None`, with the reason in [`Entry::absent`]; it is never 0.
//! [`Report::kpis_json`] holds what is a function of the packets, [`Report::host_json`] what
//! depends on the machine.

use serde_json::{Map, Number, Value};

use super::absent;
use super::block::{AdmittedMax, Block, Cell};
use super::catalogue;
use super::core::RATE_WINDOW;
use super::histogram::{Histogram, Quantile};
use super::plan::{ClassPlan, CompletionFigures, KpiPlan, PortPlan};
use super::sampled::{Sampled, SampledCell};
use super::windows::{BURSTINESS_N_MIN, burst_window};
use crate::drop_reason::DropReason;
use crate::kind::Side;
use crate::meta::{IntentSource, StampSource};
use crate::profile::{Bucket, Caps, Profile};
use crate::time::Nanos;

use Quantile as Q;

/// Row minimum of WCV and of the cap-hit ratio.
const N_MIN: u64 = 30;
/// Sampled KPIs are absent when more than one sample in so many was lost.
const LOST_ONE_IN: u64 = 1_000;

/// Named values of one series, in order.
type Values = Vec<(&'static str, Option<f64>)>;

/// How a value was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Every packet was counted.
    Exact,
    /// From weighted samples.
    Sampled,
}

impl Basis {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Sampled => "sampled",
        }
    }
}

/// From where the times were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// By the gateway itself.
    Inside,
    /// From the workload's schedule and a capture at the venue's side.
    Outside,
}

impl View {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }
}

/// What a series belongs to. What does not apply is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// Egress port.
    pub port: Option<String>,
    /// Class.
    pub class: Option<String>,
    /// Declared kind of the class.
    pub kind: Option<&'static str>,
    /// Which part of the KPI: `hold`, `rest`, `late`, `early`, `bytes` ...
    pub part: Option<&'static str>,
}

/// Where the times behind a value come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Of arrival.
    pub arrival: Option<&'static str>,
    /// Of departure.
    pub departure: Option<&'static str>,
    /// Of the due time.
    pub intent: Option<&'static str>,
}

/// One series of one KPI.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name in the catalogue.
    pub name: &'static str,
    /// What it belongs to.
    pub labels: Labels,
    /// Named values; `None` = absent.
    pub values: Vec<(&'static str, Option<f64>)>,
    /// Observations behind it.
    pub n: u64,
    /// How it was made.
    pub basis: Basis,
    /// From where it was seen.
    pub view: View,
    /// Why its `None` values are absent.
    pub absent: Option<&'static str>,
    /// It holds by construction and takes no part in a verdict.
    pub structural_zero: bool,
    /// It only stands in for the figure and takes no part in a ratio across arms.
    pub proxy: bool,
    /// It comes from a link model.
    pub simulated: bool,
    /// Where its times come from.
    pub sources: Sources,
    /// It depends on the machine: not part of what two runs must agree on.
    pub host: bool,
}

/// Samples of a core: how many rows it made and how many of them did not fit into its ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleLoss {
    /// Rows that reached control.
    pub kept: u64,
    /// Rows lost because the ring was full.
    pub lost: u64,
}

impl SampleLoss {
    /// Lost over made; `None` when none was made.
    pub fn share(&self) -> Option<f64> {
        let made = self.kept + self.lost;
        (made > 0).then(|| self.lost as f64 / made as f64)
    }

    /// Whether sampled KPIs of the interval still hold.
    pub const fn is_tolerable(&self) -> bool {
        self.lost * LOST_ONE_IN <= self.kept + self.lost
    }
}

/// What a report is made of: one core and one interval.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the block was made for.
    pub plan: &'a KpiPlan,
    /// The merged blocks of the interval.
    pub block: &'a Block,
    /// The profile in force, for `pacing_headroom`.
    pub profile: Option<&'a Profile>,
    /// The samples of the interval.
    pub sampled: Option<&'a Sampled>,
    /// How many samples there were.
    pub samples: SampleLoss,
    /// Length of the interval.
    pub span: Nanos,
}

/// All series, sorted by name, then in the order of ports and classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The series.
    pub entries: Vec<Entry>,
}

impl Report {
    /// The report over all cores. Cores without any port add nothing.
    pub fn build(cores: &[Inputs<'_>]) -> Self {
        let mut entries: Vec<Entry> = cores.iter().flat_map(entries_of_core).collect();
        entries.sort_by_key(|entry| entry.name);
        Self { entries }
    }

    /// The series of one KPI.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.name == name)
    }

    /// `{ name: { "unit": .., "series": [ .. ] } }` of everything that only depends on packets.
    pub fn kpis_json(&self) -> Value {
        self.json(false)
    }

    /// The same for what depends on the machine.
    pub fn host_json(&self) -> Value {
        self.json(true)
    }

    fn json(&self, host: bool) -> Value {
        let mut by_name: Map<String, Value> = Map::new();
        for entry in self.entries.iter().filter(|entry| entry.host == host) {
            let kpi = by_name.entry(entry.name).or_insert_with(|| {
                let unit = catalogue::find(entry.name).map_or("", |definition| definition.unit);
                serde_json::json!({ "unit": unit, "series": [] })
            });
            if let Some(Value::Array(series)) = kpi.get_mut("series") {
                series.push(entry.json());
            }
        }
        Value::Object(by_name)
    }
}

impl Entry {
    /// The value named `name`, `None` when it is absent or there is no such value.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| *n == name).and_then(|(_, value)| *value)
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        let mut text = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                object.insert(key.into(), value.into());
            }
        };
        text("port", self.labels.port.as_deref());
        text("class", self.labels.class.as_deref());
        text("kind", self.labels.kind);
        text("part", self.labels.part);
        text("basis", Some(self.basis.name()));
        text("view", Some(self.view.name()));
        text("arrival", self.sources.arrival);
        text("departure", self.sources.departure);
        text("intent", self.sources.intent);
        text("absent", self.absent);
        for (key, set) in [
            ("structural_zero", self.structural_zero),
            ("proxy", self.proxy),
            ("simulated", self.simulated),
        ] {
            if set {
                object.insert(key.into(), true.into());
            }
        }
        object.insert("n".into(), self.n.into());
        for (key, value) in &self.values {
            object.insert((*key).into(), value.map_or(Value::Null, number));
        }
        Value::Object(object)
    }
}

/// A whole number is written as one; what JSON cannot write is absent.
fn number(value: f64) -> Value {
    /// Up to here every whole number is an `f64`.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        Value::from(value as i64)
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}

/// A class on a port: what its series have in common.
#[derive(Clone, Copy)]
struct Place<'a> {
    cell: &'a Cell,
    port: &'a PortPlan,
    class: &'a ClassPlan,
}

fn entries_of_core(inputs: &Inputs<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for cell in &inputs.block.cells {
        let (port, class) = (&inputs.plan.ports[cell.port], &inputs.plan.classes[cell.class]);
        let place = Place { cell, port, class };
        dispatch_to_wire(place, &mut entries);
        release_error(place, &mut entries);
        entries.push(pacer_error(place));
        entries.push(burstiness(place));
        entries.push(cadence_variability(place));
        entries.push(headroom(place, inputs));
        entries.push(cap_hits(place));
        entries.push(completion(place));
        entries.push(drops(place));
        entries.push(exempt_hold(place));
        entries.push(send_queue(place, inputs));
    }
    for position in 0..inputs.plan.ports.len() {
        in_flight(inputs, position, &mut entries);
        entries.push(unclassified_drops(inputs, position));
    }
    entries.push(lost_share(inputs));
    core_use(inputs, &mut entries);
    entries
}

impl Place<'_> {
    fn entry(&self, name: &'static str, part: Option<&'static str>) -> Entry {
        let arrival = (0..8_u8).filter(|n| self.cell.stamp_sources & 1 << n != 0);
        let arrival: Vec<_> = arrival.map(|n| stamp_source(n).name()).collect();
        let labels = Labels {
            port: Some(self.port.name.clone()),
            class: Some(self.class.name.clone()),
            kind: Some(self.class.kind.name()),
            part,
        };
        let sources = Sources {
            arrival: only(&arrival),
            departure: Some(self.port.departure.name()),
            intent: only(&self.intents()),
        };
        Entry { labels, sources, ..blank(name) }
    }

    fn intents(&self) -> Vec<&'static str> {
        [IntentSource::Implicit, IntentSource::Tag, IntentSource::Schedule]
            .into_iter()
            .filter(|source| self.cell.intent_sources & 1 << *source as u8 != 0)
            .map(IntentSource::name)
            .collect()
    }
}

fn stamp_source(n: u8) -> StampSource {
    match n {
        1 => StampSource::Nic,
        2 => StampSource::Capture,
        3 => StampSource::Virtual,
        _ => StampSource::Tsc,
    }
}

/// The only source, "mixed" where there are several, nothing where there is none.
fn only(names: &[&'static str]) -> Option<&'static str> {
    match names {
        [] => None,
        [one] => Some(one),
        _ => Some("mixed"),
    }
}

fn blank(name: &'static str) -> Entry {
    Entry {
        name,
        labels: Labels::default(),
        values: Vec::new(),
        n: 0,
        basis: Basis::Exact,
        view: View::Inside,
        absent: None,
        structural_zero: false,
        proxy: false,
        simulated: false,
        sources: Sources::default(),
        host: false,
    }
}

/// The quantiles and the maximum of `histogram`, each absent where there are too few observations.
fn fill(entry: &mut Entry, histogram: &Histogram, quantiles: &[Q], n_min: u64) {
    entry.n = histogram.count();
    fill_of(entry, histogram, quantiles, n_min);
}

/// The same for weighted observations, of which there are `entry.n`.
fn fill_of(entry: &mut Entry, histogram: &Histogram, quantiles: &[Q], n_min: u64) {
    let n = entry.n;
    for &q in quantiles {
        let value = histogram.quantile_of(q, n, n_min);
        if value.is_none() {
            let reason = match n {
                0 => absent::NO_PACKETS,
                _ if n < q.n_min().max(n_min) => absent::N_TOO_SMALL,
                _ => absent::BEYOND_RANGE,
            };
            entry.absent.get_or_insert(reason);
        }
        entry.values.push((q.name(), value.map(|v| v as f64)));
    }
    let max = histogram.max().filter(|_| n >= n_min).map(|v| v as f64);
    entry.values.push(("max", max));
    if max.is_none() {
        entry.absent.get_or_insert(if n == 0 { absent::NO_PACKETS } else { absent::N_TOO_SMALL });
    }
}

/// Takes every value away, for `reason`.
fn withdraw(entry: &mut Entry, reason: &'static str) {
    for (_, value) in &mut entry.values {
        *value = None;
    }
    entry.absent = Some(reason);
}

/// `part / whole`, absent below `n_min`.
fn ratio(entry: &mut Entry, name: &'static str, part: u64, whole: u64, n_min: u64) {
    let value = (whole >= n_min.max(1)).then(|| part as f64 / whole as f64);
    if value.is_none() {
        let few = if whole == 0 { absent::NO_PACKETS } else { absent::N_TOO_SMALL };
        entry.absent.get_or_insert(few);
    }
    entry.values.push((name, value));
}

fn dispatch_to_wire(place: Place<'_>, entries: &mut Vec<Entry>) {
    const NAME: &str = "dispatch_to_wire_ns";
    const QUANTILES: [Q; 4] = [Q::P50, Q::P95, Q::P99, Q::P999];
    let cell = place.cell;

    let mut total = place.entry(NAME, Some("total"));
    fill(&mut total, &cell.dispatch_to_wire, &QUANTILES, 0);
    total.values.push(("negative", Some(cell.negative_dispatch as f64)));
    entries.push(total);

    let mut hold = place.entry(NAME, Some("hold"));
    fill(&mut hold, &cell.hold, &QUANTILES, 0);
    // Packets from the venue never meet the pacer.
    hold.structural_zero = place.class.from == Side::Venue;
    entries.push(hold);

    let mut rest = place.entry(NAME, Some("rest"));
    fill(&mut rest, &cell.rest, &QUANTILES, 0);
    rest.values.push(("negative", Some(cell.negative_rest as f64)));
    entries.push(rest);

    let mut due_wait = place.entry(NAME, Some("due_wait"));
    fill(&mut due_wait, &cell.due_wait, &QUANTILES, 0);
    if cell.due_wait.count() == 0 && cell.departed.packets > 0 {
        withdraw(&mut due_wait, absent::NO_INTENT);
    }
    entries.push(due_wait);
}

fn release_error(place: Place<'_>, entries: &mut Vec<Entry>) {
    let histograms = [("late", &place.cell.release_late), ("early", &place.cell.release_early)];
    for (part, histogram) in histograms {
        let mut entry = place.entry("release_error_ns", Some(part));
        fill(&mut entry, histogram, &[Q::P50, Q::P95, Q::P99], 0);
        if place.intents().len() > 1 {
            withdraw(&mut entry, absent::MIXED_INTENT);
        }
        entries.push(entry);
    }
}

fn pacer_error(place: Place<'_>) -> Entry {
    let mut entry = place.entry("pacer_error_ns", None);
    fill(&mut entry, &place.cell.pacer_error, &[Q::P50, Q::P95, Q::P99], 0);
    entry.values.push(("early", Some(place.cell.early as f64)));
    entry
}

fn burstiness(place: Place<'_>) -> Entry {
    let mut entry = place.entry("burstiness_index", None);
    let figures = place.cell.bursts.burstiness();
    entry.n = figures.n;
    entry.absent = figures.absent;
    if figures.n == 0 && place.cell.departed.packets == 0 {
        entry.absent = Some(absent::NO_PACKETS);
    }
    entry.values = vec![
        ("bi", figures.bi),
        ("peak_to_mean", figures.peak_to_mean),
        ("excess", figures.excess),
        ("windows", Some(figures.windows as f64)),
        ("window_ns", Some(burst_window(place.class.cadence).0 as f64)),
    ];
    if place.intents().len() > 1 && figures.excess.is_some() {
        entry.values[2].1 = None;
        entry.absent = Some(absent::MIXED_INTENT);
    }
    entry
}

fn cadence_variability(place: Place<'_>) -> Entry {
    let mut entry = place.entry("wire_cadence_variability_ns", None);
    fill(&mut entry, &place.cell.gap_error, &[Q::P50, Q::P95, Q::P99], N_MIN);
    if let Some(cadence) = place.class.cadence.filter(|cadence| cadence.0 > 0) {
        let share = entry.value("p95").map(|p95| p95 / cadence.0 as f64);
        entry.values.push(("share_p95", share));
    }
    if place.intents().len() > 1 {
        withdraw(&mut entry, absent::MIXED_INTENT);
    }
    entry
}

fn headroom(place: Place<'_>, inputs: &Inputs<'_>) -> Entry {
    let mut entry = place.entry("pacing_headroom", None);
    entry.n = place.cell.departed.packets;
    let port_admitted = inputs.block.ports[place.cell.port].admitted;
    let params = inputs.profile.and_then(|profile| {
        let class = profile.classes.get(place.cell.class)?;
        let egress = profile.egress.get(usize::from(place.port.index))?;
        Some((class, egress))
    });
    let levels: Values = match params {
        Some((class, egress)) => vec![
            ("flow", level_headroom(&class.flow, place.cell.admitted_flow)),
            ("class", level_headroom(&class.class, place.cell.admitted)),
            ("port", level_headroom(&egress.port, port_admitted)),
        ],
        None => vec![("flow", None), ("class", None), ("port", None)],
    };
    let least = levels.iter().filter_map(|(_, value)| *value).reduce(f64::min);
    entry.values.push(("headroom", least));
    entry.values.extend(levels);
    if params.is_none() {
        entry.absent = Some(absent::NO_PROFILE);
    } else if entry.n == 0 {
        withdraw(&mut entry, absent::NO_PACKETS);
    } else if entry.values.iter().any(|(_, value)| value.is_none()) {
        entry.absent = Some(absent::UNLIMITED);
    }
    entry
}

/// `1 - admitted rate / cap` of the tighter of bits and messages, 0 to 1.
fn level_headroom(caps: &Caps, admitted: AdmittedMax) -> Option<f64> {
    let of = |bucket: Option<Bucket>, units: u64| {
        let windows_per_s = 1e9 / RATE_WINDOW.0 as f64;
        // A burst on top of the rate can admit more than the rate in one window.
        bucket.map(|b| (1.0 - units as f64 * windows_per_s / b.rate_per_s as f64).clamp(0.0, 1.0))
    };
    let bits = of(caps.bits, admitted.bytes.saturating_mul(8));
    let messages = of(caps.messages, admitted.messages);
    [bits, messages].into_iter().flatten().reduce(f64::min)
}

fn cap_hits(place: Place<'_>) -> Entry {
    let (mut entry, cell) = (place.entry("cap_hit_ratio", None), place.cell);
    entry.n = cell.departed.packets;
    ratio(&mut entry, "ratio", cell.cap_hits, cell.departed.packets, N_MIN);
    ratio(&mut entry, "urgent", cell.urgent_cap_hits, cell.urgent, N_MIN);
    entry.values.push(("urgent_n", Some(cell.urgent as f64)));
    entry
}

fn completion(place: Place<'_>) -> Entry {
    let mut entry = place.entry("completion_ratio", None);
    let ended = place.cell.ended();
    entry.n = ended;
    ratio(&mut entry, "ratio", place.cell.in_time, ended, 0);
    entry
}

fn drops(place: Place<'_>) -> Entry {
    let mut entry = place.entry("drops", None);
    entry.n = place.cell.arrived.packets;
    entry.values = drop_values(&place.cell.dropped);
    entry
}

fn unclassified_drops(inputs: &Inputs<'_>, position: usize) -> Entry {
    let mut entry = blank("drops");
    entry.labels.port = Some(inputs.plan.ports[position].name.clone());
    entry.labels.part = Some("unclassified");
    let port = &inputs.block.ports[position];
    entry.n = port.unclassified.packets;
    entry.values = drop_values(&port.unclassified_dropped);
    entry
}

/// A count of 0 is a count, not an absent value: `packets` is always there.
fn drop_values(counts: &[super::block::Count; DropReason::COUNT]) -> Values {
    let total = counts.iter().map(|count| count.packets).sum::<u64>();
    let by_reason = DropReason::ALL.iter().zip(counts).filter(|(_, count)| count.packets > 0);
    let by_reason = by_reason.map(|(reason, count)| (reason.name(), Some(count.packets as f64)));
    std::iter::once(("packets", Some(total as f64))).chain(by_reason).collect()
}

fn exempt_hold(place: Place<'_>) -> Entry {
    let mut entry = place.entry("exempt_hold_ns", None);
    fill(&mut entry, &place.cell.exempt_hold, &[Q::P999], 0);
    entry
}

fn send_queue(place: Place<'_>, inputs: &Inputs<'_>) -> Entry {
    let mut entry = place.entry("send_queue_bytes", None);
    entry.basis = Basis::Sampled;
    let of_place =
        |cell: &&SampledCell| cell.port == place.cell.port && cell.class == place.cell.class;
    let sampled = inputs.sampled.and_then(|sampled| sampled.cells().iter().find(of_place));
    let Some(sampled) = sampled else {
        entry.values = vec![("p50", None), ("p95", None), ("max", None)];
        entry.absent = Some(absent::NO_SAMPLES);
        return entry;
    };
    entry.n = sampled.rows;
    fill_of(&mut entry, &sampled.backlog_bytes, &[Q::P50, Q::P95], 0);
    if !inputs.samples.is_tolerable() {
        withdraw(&mut entry, absent::SAMPLES_LOST);
    }
    entry
}

fn in_flight(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let (port, plan) = (&inputs.block.ports[position], &inputs.plan.ports[position]);
    let entry = |name, part| {
        let mut entry = blank(name);
        entry.labels.port = Some(plan.name.clone());
        entry.labels.part = part;
        entry.simulated = plan.completion == CompletionFigures::Simulated;
        entry
    };
    let is_absent = plan.completion == CompletionFigures::Absent;
    let quantiles = [Q::P50, Q::P95];

    let mut used = entry("byte_queue_utilization", None);
    fill(&mut used, &port.inflight_ppm, &quantiles, 0);
    for (_, value) in &mut used.values {
        *value = value.map(|ppm| ppm / 1e6);
    }
    if used.n == 0 && port.inflight_bytes.count() > 0 {
        withdraw(&mut used, absent::NO_LIMIT);
    }

    let mut packets = entry("tx_queue_occupancy", Some("packets"));
    fill(&mut packets, &port.inflight_packets, &quantiles, 0);
    let most = packets.value("max").map(|max| max / f64::from(plan.tx_descriptors.max(1)));
    packets.values.push(("share_max", most));

    let mut bytes = entry("tx_queue_occupancy", Some("bytes"));
    fill(&mut bytes, &port.inflight_bytes, &quantiles, 0);

    let mut stalls = entry("tx_stall_rate", None);
    stalls.n = port.stalls;
    let seconds = inputs.span.0 as f64 / 1e9;
    let per_s = |count: u64| (inputs.span.0 > 0).then(|| count as f64 / seconds);
    stalls.values =
        vec![("rate", per_s(port.stalls)), ("starvation_rate", per_s(port.starvations))];
    if inputs.span.0 == 0 {
        stalls.absent = Some(absent::NO_INTERVAL);
    }

    for mut entry in [used, packets, bytes, stalls] {
        if is_absent {
            withdraw(&mut entry, absent::SYNCHRONOUS);
        }
        entries.push(entry);
    }
}

fn lost_share(inputs: &Inputs<'_>) -> Entry {
    let mut entry = blank("lost_share");
    entry.labels = port_labels(inputs);
    entry.n = inputs.samples.kept + inputs.samples.lost;
    entry.values = vec![("ratio", inputs.samples.share())];
    entry.absent = (entry.n == 0).then_some(absent::NO_SAMPLES);
    entry
}

/// A core is named by the ports that it alone sends to.
fn port_labels(inputs: &Inputs<'_>) -> Labels {
    let names: Vec<_> = inputs.plan.ports.iter().map(|port| port.name.as_str()).collect();
    Labels { port: Some(names.join("+")), ..Labels::default() }
}

fn core_use(inputs: &Inputs<'_>, entries: &mut Vec<Entry>) {
    let (cycles, packets) = (inputs.block.core, inputs.block.totals().packets_out);
    let mut busy = blank("core_busy_ratio");
    busy.n = cycles.cycles;
    busy.values = vec![(
        "ratio",
        (cycles.cycles > 0).then(|| cycles.busy_cycles as f64 / cycles.cycles as f64),
    )];
    busy.absent = (cycles.cycles == 0).then_some(absent::NO_INTERVAL);

    let mut per_packet = blank("cycles_per_packet");
    per_packet.n = packets;
    let known = packets > 0 && cycles.cycles > 0;
    per_packet.values = vec![("mean", known.then(|| cycles.busy_cycles as f64 / packets as f64))];
    per_packet.absent =
        (!known).then_some(if packets == 0 { absent::NO_PACKETS } else { absent::NO_INTERVAL });

    for mut entry in [busy, per_packet] {
        entry.labels = port_labels(inputs);
        entry.host = true;
        entries.push(entry);
    }
}

const _: () = assert!(N_MIN == BURSTINESS_N_MIN);
