//! Every number as each surface shows it: what `/metrics` has is looked for everywhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::telemetry::Client;

/// An age: it grows with time and falls to 0 again, between two looks too, where a core has to wait for its
/// CPU.
const AGE: &str = "core_last_progress_seconds";

/// Name and labels, written `a=b,c=d` in the order of their names, to the value.
pub type Points = BTreeMap<(String, String), Value>;

/// What `/metrics` lists.
pub struct Metrics {
    /// All of it, without the prefix and suffix of OpenMetrics.
    pub points: Points,
    /// The names of those that only grow.
    pub counters: BTreeSet<String>,
}

/// A number as the text that it is written as.
fn number(text: &str) -> Value {
    let text = text.replace(',', "");
    match text.parse::<u64>() {
        Ok(count) => json!(count),
        Err(_) => json!(text.parse::<f64>().unwrap_or_else(|_| panic!("{text:?}"))),
    }
}

fn in_order<T: AsRef<str>>(labels: impl IntoIterator<Item = T>) -> String {
    let mut labels: Vec<String> = labels
        .into_iter()
        .map(|label| label.as_ref().to_owned())
        .filter(|l| !l.is_empty())
        .collect();
    labels.sort_unstable();
    labels.join(",")
}

/// Of the text of `/metrics`.
pub fn of_metrics(text: &str) -> Metrics {
    let of_kind = |kind: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE wirepace_"));
        lines.filter_map(|line| Some(line.strip_suffix(kind)?.trim_end().to_owned())).collect()
    };
    let (counters, infos) = (of_kind(" counter"), of_kind(" info"));
    let mut points = Points::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let name = name.strip_prefix("wirepace_").unwrap();
        let of = |suffix, names: &BTreeSet<String>| {
            name.strip_suffix(suffix).filter(|stem| names.contains(*stem))
        };
        let name = of("_total", &counters).or_else(|| of("_info", &infos)).unwrap_or(name);
        // No label of this gateway holds a quote or a comma.
        let labels = labels.trim_end_matches('}').replace('"', "");
        // Who asks elsewhere asks one host, now: the exporter alone says which and when.
        let is_own = |label: &&str| !["host=", "session="].iter().any(|of| label.starts_with(of));
        let key = (name.to_owned(), in_order(labels.split(',').filter(is_own)));
        assert!(points.insert(key, number(value)).is_none(), "{line}");
    }
    Metrics { points, counters }
}

/// Of the `counters` of a status.
pub fn of_status(status: &Value) -> Points {
    let mut points = Points::new();
    for (name, of_name) in status["counters"].as_object().unwrap() {
        let rows = of_name.as_array().cloned().unwrap_or_else(|| vec![json!({"value": of_name})]);
        for row in rows {
            let mut row = row.as_object().unwrap().clone();
            let value = row.remove("value").unwrap();
            points.insert((name.clone(), of_row(&row)), value);
        }
    }
    points
}

fn of_row(labels: &Map<String, Value>) -> String {
    in_order(labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())))
}

/// These names of DPDK's telemetry.
pub fn of_telemetry(client: &mut Client, names: &[String]) -> Points {
    let mut points = Points::new();
    for name in names {
        for (labels, value) in client.points(name) {
            let value = value.as_str().map_or_else(|| value.clone(), number);
            points.insert((name.clone(), in_order(labels.split(','))), value);
        }
    }
    points
}

/// Of rows of the page and of `top`: name, labels with a space between two, and the value.
pub fn of_rows<'a>(rows: impl IntoIterator<Item = [&'a str; 3]>) -> Points {
    let point = |[name, labels, value]: [&str; 3]| {
        ((name.to_owned(), in_order(labels.split(' '))), number(value))
    };
    rows.into_iter().map(point).collect()
}

/// What a surface shows otherwise than `/metrics` did before it and after it, or not at all. `since`: for
/// so long it has been asked.
pub fn differences(
    before: &Metrics,
    shown: &Points,
    after: &Metrics,
    since: Duration,
) -> BTreeSet<(String, String)> {
    let is_wrong = |(key, value): &(&(String, String), &Value)| {
        let (Some(shown), Some(after)) = (shown.get(*key), after.points.get(*key)) else {
            return true;
        };
        let [value, shown, after] = [*value, shown, after].map(|value| value.as_f64().unwrap());
        if before.counters.contains(&key.0) {
            return !(value..=after).contains(&shown);
        }
        if key.0 == AGE {
            return !(0.0..=value + since.as_secs_f64()).contains(&shown);
        }
        value == after && shown != value
    };
    let unknown = shown.keys().filter(|key| !after.points.contains_key(*key));
    let wrong = before.points.iter().filter(is_wrong).map(|(key, _)| key);
    wrong.chain(unknown).cloned().collect()
}

/// The sum of a name over the points whose labels have this among them.
pub fn sum(points: &Points, name: &str, label: &str) -> u64 {
    let of = |(key, _): &(&(String, String), &Value)| key.0 == name && key.1.contains(label);
    points.iter().filter(of).map(|(_, value)| value.as_u64().unwrap()).sum()
}
