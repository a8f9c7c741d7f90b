//! What a run of a drill has shown.

use std::collections::BTreeMap;

use model::time::Nanos;
use serde_json::{Map, Value, json};

use super::scene::{Mark, START};

/// A KPI tick by tick; `None` = absent.
pub type Series = Vec<Option<f64>>;

/// One change of state.
#[derive(Clone, Debug)]
pub struct Transition {
    /// When.
    pub at: Nanos,
    /// Name of the machine.
    pub machine: String,
    /// What it watches.
    pub scope: String,
    /// The state that was left.
    pub from: String,
    /// The state that was entered.
    pub to: String,
    /// Why.
    pub cause: String,
    /// The values that made it, as the engine says them.
    values: Value,
}

impl Transition {
    /// As the engine describes it.
    pub fn of(described: &Value) -> Self {
        let text = |key: &str| described[key].as_str().unwrap_or_default().to_owned();
        Self {
            at: Nanos(described["at_ns"].as_u64().unwrap_or_default()),
            machine: text("machine"),
            scope: text("scope"),
            from: text("from"),
            to: text("to"),
            cause: text("cause"),
            values: described["values"].clone(),
        }
    }

    fn json(&self, arm: &str) -> Value {
        json!({
            "arm": arm,
            "at_ms": since_start_ms(self.at),
            "machine": self.machine,
            "scope": self.scope,
            "from": self.from,
            "to": self.to,
            "cause": self.cause,
            "values": self.values,
        })
    }
}

/// How long after the start, ms.
pub fn since_start_ms(at: Nanos) -> f64 {
    at.saturating_sub(START).0 as f64 / 1e6
}

/// One run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Which one.
    pub arm: &'static str,
    /// Its end.
    pub ended: Nanos,
    /// When the regime engine ticked.
    pub ticks: Vec<Nanos>,
    /// By the name of the watch, one value for each tick.
    pub series: BTreeMap<&'static str, Series>,
    /// KPIs over the whole run, by the name of the watch.
    pub whole: BTreeMap<&'static str, Option<f64>>,
    /// Changes of state, in their order.
    pub transitions: Vec<Transition>,
    /// What peers have counted, and the counters of the gateway.
    pub facts: BTreeMap<&'static str, f64>,
    /// What went wrong, and when.
    pub marks: Vec<Mark>,
    /// Machines and scopes, each with its lowest state.
    pub instances: Vec<(String, String, String)>,
    /// How bad each state above the lowest ones is, from 1 to 3.
    pub severities: BTreeMap<String, usize>,
}

impl Trace {
    /// The changes of one machine over one scope.
    pub fn of<'a>(
        &'a self,
        machine: &'a str,
        scope: &'a str,
    ) -> impl Iterator<Item = &'a Transition> {
        self.transitions.iter().filter(move |t| t.machine == machine && t.scope == scope)
    }

    /// The values of a watch at ticks in `from..=to`.
    pub fn values(&self, watch: &str, from: Nanos, to: Nanos) -> Vec<f64> {
        let Some(series) = self.series.get(watch) else { return Vec::new() };
        let here = self.ticks.iter().zip(series).filter(|(at, _)| from <= **at && **at <= to);
        here.filter_map(|(_, value)| *value).collect()
    }

    /// The states of a machine over a scope, each with the moment it began.
    pub fn states(&self, machine: &str, scope: &str, lowest: &str) -> Vec<(Nanos, String)> {
        let first = (START, lowest.to_owned());
        let later = self.of(machine, scope).map(|t| (t.at, t.to.clone()));
        std::iter::once(first).chain(later).collect()
    }

    /// How bad `state` is, from 0 to 3.
    pub fn severity(&self, state: &str) -> usize {
        self.severities.get(state).copied().unwrap_or_default()
    }

    /// Its part of `transitions`.
    pub fn transitions_json(&self) -> impl Iterator<Item = Value> {
        self.transitions.iter().map(|transition| transition.json(self.arm))
    }

    /// Its part of `kpis`: what each watch has read.
    pub fn kpis_json(&self) -> Value {
        let all: Map<String, Value> = self
            .series
            .iter()
            .map(|(name, series)| {
                let mut known: Vec<f64> = series.iter().flatten().copied().collect();
                known.sort_by(f64::total_cmp);
                let summary = json!({
                    "ticks": known.len(),
                    "absent": series.len() - known.len(),
                    "min": known.first(),
                    "median": median(&known),
                    "max": known.last(),
                    "last": series.last().copied().flatten(),
                    "whole_run": self.whole.get(name).copied().flatten(),
                });
                ((*name).to_owned(), summary)
            })
            .collect();
        Value::Object(all)
    }
}

/// The lower median of values in their order.
pub fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
