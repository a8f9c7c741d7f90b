//! From counters to named figures: what JSON, metrics and reports show.
//!
//! A value that cannot be given is `None`, with the reason in [`Entry::absent`]; it is never 0.
//! [`Report::kpis_json`] holds what is a function of the packets, [`Report::host_json`] what
//! depends on the machine.

use serde_json::{Map, Number, Value};

use super::block::Block;
use super::catalogue;
use super::figures;
use super::histogram::Histogram;
use super::oscillation::QueueSteps;
use super::plan::KpiPlan;
use super::sampled::Sampled;
use crate::profile::Profile;
use crate::time::Nanos;

/// Sampled KPIs are absent when more than one sample in so many was lost.
const LOST_ONE_IN: u64 = 1_000;

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
    /// Whose path it was measured on, or which ordering groups of the class: [`super::CANARY`],
    /// [`super::CONTROL`]. `None`: the gateway's own, and all that are in neither.
    pub arm: Option<&'static str>,
    /// Egress port.
    pub port: Option<String>,
    /// Class.
    pub class: Option<String>,
    /// Declared kind of the class.
    pub kind: Option<&'static str>,
    /// Which part of the KPI: `hold`, `rest`, `late`, `early`, `bytes` ...
    pub part: Option<&'static str>,
    /// Venue limit.
    pub limit: Option<String>,
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

/// Profile switches that have settled: 10 ms have passed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// How many.
    pub count: u64,
    /// The longest that a due packet waited after one of them.
    pub longest_wait: Nanos,
    /// Most packets that ended after one of them for want of room or time.
    pub lost_max: u64,
}

impl Switches {
    /// One more has settled.
    pub fn add(&mut self, longest_wait: Nanos, lost: u64) {
        self.merge(&Self { count: 1, longest_wait, lost_max: lost });
    }

    /// Adds those of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.lost_max = self.lost_max.max(other.lost_max);
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
    /// The last steps of each TX queue, in the order of the ports of the plan; empty = not followed.
    pub steps: &'a [QueueSteps],
    /// `segmentation_burst_factor` of each whole second since the start, in millionths, for each cell of the
    /// block; empty = not followed.
    pub factors: &'a [Histogram],
    /// Profile switches of the interval.
    pub switches: Switches,
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
        let mut report = Self { entries: cores.iter().flat_map(figures::of_core).collect() };
        report.sort();
        report
    }

    /// The series of one KPI. Found by halving: the regime engine asks a thousand times a tick.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        let first = self.entries.partition_point(|entry| entry.name < name);
        self.entries.iter().skip(first).take_while(move |entry| entry.name == name)
    }

    /// Adds the series of `other`, of other cores.
    pub fn merge(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.sort();
    }

    fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.name);
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
    /// A series of the gateway's own view without labels or values.
    pub fn blank(name: &'static str) -> Self {
        Self {
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
        text("arm", self.labels.arm);
        text("port", self.labels.port.as_deref());
        text("class", self.labels.class.as_deref());
        text("kind", self.labels.kind);
        text("part", self.labels.part);
        text("limit", self.labels.limit.as_deref());
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
