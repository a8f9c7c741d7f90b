//! The one list of numbers that every interface shows.
//!
//! Fill it with [`Registry::counter`], [`Registry::gauge`] and [`Registry::info`]; then
//! [`Registry::to_json`] and [`Registry::to_openmetrics`] show the same points, so what one shows,
//! all show. A name carries its unit as its last word (`..._ns`, `..._bytes`), and that word becomes
//! the UNIT line. In OpenMetrics the names get the prefix `wirepace_` and counters the suffix
//! `_total`; in JSON they stand as given.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::calendar::SessionName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use serde_json::{Map, Value, json};

/// Content type of [`Registry::to_openmetrics`].
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Last words of names that are units.
const UNITS: [&str; 7] = ["ns", "us", "seconds", "bytes", "cycles", "ratio", "pps"];

/// What a number does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A text in labels; the value is always 1.
    Info,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count or a size.
    Count(u64),
    /// A signed amount.
    Signed(i64),
    /// A ratio or a mean.
    Real(f64),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Count(n)
    }
}

impl From<i64> for Number {
    fn from(n: i64) -> Self {
        Self::Signed(n)
    }
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        Self::Real(x)
    }
}

impl Number {
    /// `null` where JSON has no word for it.
    fn to_json(self) -> Value {
        match self {
            Self::Count(n) => json!(n),
            Self::Signed(n) => json!(n),
            Self::Real(x) => json!(x),
        }
    }

    fn is_finite(self) -> bool {
        !matches!(self, Self::Real(x) if !x.is_finite())
    }
}

/// Names and values of labels, in the order in which they are shown.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

type OwnedLabels = Vec<(String, String)>;

/// What the exporter says of every figure of a KPI: where it was measured, and in which part of the trading
/// day. Other surfaces speak of one host and of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the host.
    pub host: Option<String>,
    /// The session, where the calendar of the config has one.
    pub session: Option<SessionName>,
}

impl Provenance {
    fn labels(&self) -> OwnedLabels {
        let session = self.session.map(|session| session.name().to_owned());
        let pairs = [("host", self.host.clone()), ("session", session)];
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[derive(Debug)]
struct Family {
    help: String,
    kind: Kind,
    /// A figure of a KPI.
    is_figure: bool,
    points: BTreeMap<OwnedLabels, Number>,
}

/// The list. Families stand in the order of their names, points in the order of their labels.
#[derive(Debug, Default)]
pub struct Registry {
    families: BTreeMap<String, Family>,
    /// On every point, in front of its own.
    common: OwnedLabels,
}

impl Registry {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list, every point of which has these labels, and none of its own by their names.
    pub fn labelled(labels: Labels<'_>) -> Self {
        Self { common: owned(labels), ..Self::default() }
    }

    /// A number that only grows, such as `packets_in`. No `_total`: that is put on where it belongs.
    pub fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: u64) {
        self.point(name, help, Kind::Counter, labels, Number::Count(value));
    }

    /// A number that goes up and down. One that is not finite is absent: it is not put down.
    pub fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: impl Into<Number>) {
        self.point(name, help, Kind::Gauge, labels, value.into());
    }

    /// A figure of a KPI: a gauge that the exporter says host and session of.
    pub fn figure(&mut self, name: &str, help: &str, labels: Labels<'_>, value: impl Into<Number>) {
        self.gauge(name, help, labels, value);
        if let Some(family) = self.families.get_mut(name) {
            family.is_figure = true;
        }
    }

    /// A text, in labels.
    pub fn info(&mut self, name: &str, help: &str, labels: Labels<'_>) {
        self.point(name, help, Kind::Info, labels, Number::Count(1));
    }

    /// One point. A name belongs to one kind, and a set of labels to one value: the first holds, as
    /// a scrape with two is worth nothing.
    fn point(&mut self, name: &str, help: &str, kind: Kind, labels: Labels<'_>, value: Number) {
        if !value.is_finite() {
            return;
        }
        let family = self.families.entry(name.to_owned()).or_insert_with(|| Family {
            help: help.to_owned(),
            kind,
            is_figure: false,
            points: BTreeMap::new(),
        });
        let mut labels = owned(labels);
        labels.retain(|(name, _)| self.common.iter().all(|(common, _)| common != name));
        let labels: OwnedLabels = self.common.iter().cloned().chain(labels).collect();
        let fits = family.kind == kind && !family.points.contains_key(&labels);
        debug_assert!(fits, "{name} {labels:?} was put down twice, or as two kinds");
        if fits {
            family.points.insert(labels, value);
        }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    /// The points of a name with their labels, in order; `None`: there is no such name.
    pub fn points(
        &self,
        name: &str,
    ) -> Option<impl Iterator<Item = (&[(String, String)], Number)>> {
        let family = self.families.get(name)?;
        Some(family.points.iter().map(|(labels, number)| (labels.as_slice(), *number)))
    }

    /// `{"name": value}` for a number without labels, else `{"name": [{"label": .., "value": ..}]}`.
    pub fn to_json(&self) -> Value {
        let families = self.families.iter().map(|(name, family)| {
            let mut points = family.points.iter();
            let value = match (points.next(), points.len()) {
                (Some((labels, value)), 0) if labels.is_empty() => value.to_json(),
                _ => family.points.iter().map(|(labels, value)| row(labels, *value)).collect(),
            };
            (name.clone(), value)
        });
        Value::Object(families.collect())
    }

    /// OpenMetrics text 1.0.0, every figure with `provenance` behind its own labels; serve it as
    /// [`OPENMETRICS_CONTENT_TYPE`].
    pub fn to_openmetrics(self: &Arc<Self>, provenance: &Provenance) -> String {
        let mut registry = prometheus_client::registry::Registry::with_prefix("wirepace");
        let exported = Exported { registry: Arc::clone(self), provenance: provenance.clone() };
        registry.register_collector(Box::new(exported));
        let mut text = String::new();
        // Writing into a String does not fail; what is there is shown all the same.
        if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
            tracing::error!("the metrics text is cut off");
        }
        text
    }
}

fn owned(labels: Labels<'_>) -> OwnedLabels {
    labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn row(labels: &OwnedLabels, value: Number) -> Value {
    let mut row: Map<String, Value> =
        labels.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    row.insert("value".to_owned(), value.to_json());
    Value::Object(row)
}

/// A list as the exporter shows it.
#[derive(Debug)]
struct Exported {
    registry: Arc<Registry>,
    provenance: Provenance,
}

impl Collector for Exported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let of_figures = self.provenance.labels();
        for (name, family) in &self.registry.families {
            let (stem, unit) = split_unit(name);
            let metric_type = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
            };
            let help = one_line(&family.help);
            let mut metric = encoder.encode_descriptor(stem, &help, unit.as_ref(), metric_type)?;
            for (own, value) in &family.points {
                let behind = if family.is_figure { of_figures.as_slice() } else { &[] };
                let labels: OwnedLabels = own.iter().chain(behind).cloned().collect();
                if family.kind == Kind::Info {
                    metric.encode_info(&labels)?;
                } else if labels.is_empty() {
                    encode_value(&mut metric, family.kind, *value)?;
                } else {
                    encode_value(&mut metric.encode_family(&labels)?, family.kind, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(
    metric: &mut MetricEncoder<'_>,
    kind: Kind,
    value: Number,
) -> Result<(), std::fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Number::Count(n)) => metric.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (_, Number::Count(n)) => metric.encode_gauge(&n),
        (_, Number::Signed(n)) => metric.encode_gauge(&n),
        (_, Number::Real(x)) => metric.encode_gauge(&x),
    }
}

/// `dispatch_to_wire_ns` is `dispatch_to_wire` in `ns`.
fn split_unit(name: &str) -> (&str, Option<Unit>) {
    match name.rsplit_once('_') {
        Some((stem, last)) if UNITS.contains(&last) => (stem, Some(Unit::Other(last.to_owned()))),
        _ => (name, None),
    }
}

/// A HELP text stands on one line, and the encoder writes it as it is.
fn one_line(help: &str) -> String {
    help.trim().replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Arc<Registry> {
        let mut r = Registry::new();
        r.counter("packets_in", "Packets that arrived.", &[], 7);
        r.counter("drops", "Named ends.", &[("reason", "runt")], 1);
        r.counter("drops", "Named ends.", &[("reason", "stale")], u64::MAX);
        r.figure(
            "hold_ns",
            "A \"hold\",\nwith \\.",
            &[("quantile", "0.5"), ("class", "a\"b")],
            1.5,
        );
        r.gauge("drift", "Signed.", &[], -3_i64);
        r.gauge("nothing", "Not a number.", &[], f64::NAN);
        r.info("config", "The config.", &[("digest", "ff")]);
        Arc::new(r)
    }

    #[test]
    fn text_has_help_unit_type_prefix_suffix_and_end() {
        let expected = "\
# HELP wirepace_config The config.
# TYPE wirepace_config info
wirepace_config_info{digest=\"ff\"} 1
# HELP wirepace_drift Signed.
# TYPE wirepace_drift gauge
wirepace_drift -3
# HELP wirepace_drops Named ends.
# TYPE wirepace_drops counter
wirepace_drops_total{reason=\"runt\"} 1
wirepace_drops_total{reason=\"stale\"} 18446744073709551615
# HELP wirepace_hold_ns A \\\"hold\\\",\\nwith \\\\.
# TYPE wirepace_hold_ns gauge
# UNIT wirepace_hold_ns ns
wirepace_hold_ns{quantile=\"0.5\",class=\"a\\\"b\"} 1.5
# HELP wirepace_packets_in Packets that arrived.
# TYPE wirepace_packets_in counter
wirepace_packets_in_total 7
# EOF
";
        assert_eq!(sample().to_openmetrics(&Provenance::default()), expected);
        let provenance =
            Provenance { host: Some("gw7".to_owned()), session: Some(SessionName::Open) };
        let hold = "quantile=\"0.5\",class=\"a\\\"b\"";
        let placed = format!("{hold},host=\"gw7\",session=\"open\"");
        assert_eq!(sample().to_openmetrics(&provenance), expected.replace(hold, &placed));
    }

    #[test]
    fn common_labels_stand_on_every_point() {
        let mut r = Registry::labelled(&[("arm", "kernel")]);
        r.counter("packets_in", "", &[], 7);
        r.gauge("hold_ns", "", &[("class", "a")], 1_u64);
        let rows = json!({
            "hold_ns": [{"arm": "kernel", "class": "a", "value": 1}],
            "packets_in": [{"arm": "kernel", "value": 7}],
        });
        assert_eq!(r.to_json(), rows);
    }

    #[test]
    fn json_shows_the_same_points() {
        assert_eq!(
            sample().to_json(),
            json!({
                "config": [{"digest": "ff", "value": 1}],
                "drift": -3,
                "drops": [
                    {"reason": "runt", "value": 1},
                    {"reason": "stale", "value": u64::MAX},
                ],
                "hold_ns": [{"quantile": "0.5", "class": "a\"b", "value": 1.5}],
                "packets_in": 7,
            })
        );
    }
}
