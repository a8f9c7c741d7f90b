//! Machines with calibrated bounds, written into a config.
//!
//! The lowest bound by which an input enters a state becomes the calibrated value; every other bound on
//! that input moves by the same factor, exits too, so that states stay apart and hysteresis stays.

use std::collections::BTreeMap;

use model::regime::DEFAULT_MACHINES;
use serde::Serialize;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::thresholds::Threshold;
use crate::models::compression::Compression;

/// Why a config could not be calibrated.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is no TOML.
    #[error("{0}")]
    Toml(#[from] toml_edit::TomlError),
    /// What stands where a table belongs is none.
    #[error("`{0}` is no table")]
    NoTable(&'static str),
}

/// A bound that was, and that is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Machine.
    pub machine: String,
    /// State.
    pub state: String,
    /// `enter` or `exit`.
    pub condition: &'static str,
    /// In use.
    pub old: String,
    /// Calibrated.
    pub new: String,
}

/// Bounds beyond which an input cannot go.
fn largest(input: &str) -> f64 {
    match input {
        // Half a period is as far apart as two phases can be.
        "cadence_phase_error.p95" => 0.45,
        "burst_drain_ratio.ratio" => 0.9,
        _ => f64::INFINITY,
    }
}

/// `config` with the calibrated machines and coefficients, and what has changed.
///
/// # Errors
/// It is no TOML, or `[regime]` is no table.
pub fn calibrated(
    config: &str,
    thresholds: &[Threshold],
    compression: Option<&Compression>,
) -> Result<(String, Vec<Change>), TableError> {
    let mut document: DocumentMut = config.parse()?;
    let defaults: DocumentMut = DEFAULT_MACHINES.parse()?;
    let defaults = defaults.get("machine").and_then(Item::as_array_of_tables);
    let regime = document.entry("regime").or_insert(Item::Table(Table::new()));
    let regime = regime.as_table_mut().ok_or(TableError::NoTable("regime"))?;
    let stated = regime.entry("machine").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let stated = stated.as_array_of_tables_mut().ok_or(TableError::NoTable("regime.machine"))?;
    let mut changes = Vec::new();
    for default in defaults.into_iter().flatten() {
        let name = default.get("name").and_then(Item::as_str).unwrap_or_default();
        let place = stated.iter().position(|t| t.get("name").and_then(Item::as_str) == Some(name));
        let mut states = place
            .and_then(|place| stated.get(place))
            .and_then(|table| table.get("state"))
            .or_else(|| default.get("state"))
            .and_then(Item::as_array_of_tables)
            .cloned()
            .unwrap_or_default();
        let of_machine = calibrate_states(name, &mut states, thresholds);
        if of_machine.is_empty() {
            continue;
        }
        changes.extend(of_machine);
        if place.is_none() {
            let mut table = Table::new();
            table.insert("name", value(name));
            stated.push(table);
        }
        let place = place.unwrap_or(stated.len() - 1);
        if let Some(table) = stated.get_mut(place) {
            states.iter_mut().for_each(|state| state.set_position(None));
            table.insert("state", Item::ArrayOfTables(states));
        }
    }
    if stated.is_empty() {
        regime.remove("machine");
    }
    if let Some(model) = compression {
        let mut table = Table::new();
        table.insert("intercept", value(model.intercept));
        table.insert("inputs", value(model.inputs.iter().collect::<Array>()));
        table.insert("coefficients", value(model.coefficients.iter().copied().collect::<Array>()));
        regime.insert("p_compressed_drain", Item::Table(table));
    }
    Ok((document.to_string(), changes))
}

/// Moves the bounds of the states of a machine.
fn calibrate_states(
    machine: &str,
    states: &mut ArrayOfTables,
    thresholds: &[Threshold],
) -> Vec<Change> {
    let factors = factors(states, thresholds);
    let mut changes = Vec::new();
    for state in states.iter_mut() {
        let name = state.get("name").and_then(Item::as_str).unwrap_or_default().to_owned();
        for condition in ["enter", "exit"] {
            let Some(lists) = state.get_mut(condition).and_then(Item::as_array_mut) else {
                continue;
            };
            for term in lists.iter_mut().filter_map(Value::as_array_mut).flat_map(Array::iter_mut) {
                let Some(old) = term.as_str().and_then(Term::parse) else { continue };
                let Some(factor) = factors.get(&old.key()) else { continue };
                let new = old.times(*factor);
                if new != old {
                    changes.push(Change {
                        machine: machine.to_owned(),
                        state: name.clone(),
                        condition,
                        old: old.to_string(),
                        new: new.to_string(),
                    });
                    let decor = term.decor().clone();
                    *term = Value::from(new.to_string());
                    *term.decor_mut() = decor;
                }
            }
        }
    }
    changes
}

/// By input and measure: calibrated over the lowest bound of any entry.
fn factors(states: &ArrayOfTables, thresholds: &[Threshold]) -> BTreeMap<(String, bool), f64> {
    let mut lowest: BTreeMap<(String, bool), f64> = BTreeMap::new();
    let mut highest: BTreeMap<(String, bool), f64> = BTreeMap::new();
    for state in states {
        let lists = state.get("enter").and_then(Item::as_array).into_iter().flatten();
        for term in lists.filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
            let Some(term) = Term::parse(term).filter(|term| term.comparison == ">=") else {
                continue;
            };
            let least = lowest.entry(term.key()).or_insert(term.bound);
            *least = least.min(term.bound);
            let most = highest.entry(term.key()).or_insert(term.bound);
            *most = most.max(term.bound);
        }
    }
    let factor = |(key, lowest): (&(String, bool), &f64)| {
        let found = thresholds.iter().find(|threshold| threshold.input == key.0)?;
        let value = found.value?;
        // Multiples of the baseline, which is the median.
        let bound = if key.1 { value / found.median } else { value };
        let factor = bound / lowest;
        let factor = factor.min(largest(&key.0) / highest[key]);
        (factor.is_finite() && factor > 0.0).then(|| (key.clone(), factor))
    };
    lowest.iter().filter_map(factor).collect()
}

/// `INPUT >= NUMBER`, `INPUT >= NUMBER b`, with what follows.
#[derive(Clone, Debug, PartialEq)]
struct Term {
    input: String,
    comparison: String,
    bound: f64,
    /// In baselines.
    in_baselines: bool,
    rest: String,
}

impl Term {
    /// `None` for a term of another form: fed, durations, other units.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (input, comparison) = (words.next()?, words.next()?);
        let bound = words.next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        let in_baselines = rest.first() == Some(&"b");
        if rest.first() == Some(&"cadence") || !matches!(comparison, ">=" | ">" | "<" | "<=") {
            return None;
        }
        let rest = rest[usize::from(in_baselines)..].join(" ");
        let (input, comparison) = (input.to_owned(), comparison.to_owned());
        Some(Self { input, comparison, bound, in_baselines, rest })
    }

    /// The input whatever profile it is taken under, and what it is measured in.
    fn key(&self) -> (String, bool) {
        (self.input.replace("_at_normal", ""), self.in_baselines)
    }

    fn times(&self, factor: f64) -> Self {
        Self { bound: three_digits(self.bound * factor), ..self.clone() }
    }
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.input, self.comparison, self.bound)?;
        if self.in_baselines {
            write!(f, " b")?;
        }
        if self.rest.is_empty() { Ok(()) } else { write!(f, " {}", self.rest) }
    }
}

/// What is estimated is not known better than that.
fn three_digits(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let scale = 10_f64.powi(2 - number.abs().log10().floor() as i32);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(input: &str, median: f64, value: f64) -> Threshold {
        Threshold {
            input: input.to_owned(),
            median,
            value: Some(value),
            quantile: Some(0.8),
            cost_bps: Some(1.0),
            interval: None,
            n: 100,
        }
    }

    #[test]
    fn terms_are_read_and_written_as_they_stand() {
        for text in ["a_at_normal.excess >= 3", "b[rest].p95 < 1.3 b", "c.value >= 5 b for 5s"] {
            assert_eq!(Term::parse(text).expect("a term").to_string(), text);
        }
        for text in ["DEPHASED for 10s", "d[late].p95 >= 0.25 cadence", "e.p95 >= 100us"] {
            assert_eq!(Term::parse(text), None);
        }
        assert_eq!(three_digits(0.123_456), 0.123);
        assert_eq!(three_digits(98_765.0), 98_800.0);
    }

    #[test]
    fn all_bounds_on_an_input_move_by_one_factor() {
        let found = [
            threshold("flush_compression_index.index", 3.0, 4.0),
            threshold("not_sent_bytes.p95", 2_000.0, 3_000.0),
        ];
        let (text, changes) = calibrated("", &found, None).expect("TOML");
        let news: Vec<_> = changes.iter().map(|c| (c.condition, c.new.as_str())).collect();
        // 5 becomes 4, so 2 becomes 1.6; 3 b becomes 3000 / 2000 = 1.5 b, so 1.5 b becomes 0.75 b.
        assert!(
            news.contains(&("enter", "flush_compression_index_at_normal.index >= 4")),
            "{news:?}"
        );
        assert!(
            news.contains(&("exit", "flush_compression_index_at_normal.index < 1.6")),
            "{news:?}"
        );
        assert!(news.contains(&("enter", "not_sent_bytes.p95 >= 1.5 b")), "{news:?}");
        assert!(news.contains(&("exit", "not_sent_bytes.p95 < 0.75 b")), "{news:?}");
        assert!(text.contains("name = \"drain\"") && !text.contains("name = \"pacing\""), "{text}");
    }

    #[test]
    fn what_an_operator_states_stays() {
        let config = "[gateway]\nname = \"g\"\n\n[regime]\nallow = [\"orders\"]\n\n[[regime.machine]]\n\
             name = \"drain\"\nconfirm = 1\n";
        let found = [threshold("burst_drain_ratio.ratio", 0.05, 0.2)];
        let (text, changes) = calibrated(config, &found, None).expect("TOML");
        assert!(text.contains("allow = [\"orders\"]") && text.contains("confirm = 1"), "{text}");
        assert_eq!(text.matches("name = \"drain\"").count(), 1);
        assert!(!changes.is_empty());
        let (same, none) = calibrated(config, &[], None).expect("TOML");
        assert_eq!((same.as_str(), none.len()), (config, 0));
        assert!(calibrated("regime = 3", &[], None).is_err());
    }
}
