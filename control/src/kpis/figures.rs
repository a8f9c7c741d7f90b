//! Figures of an interval, as numbers on the list.

use model::kpi::{Entry, Report, catalogue};

use crate::registry::{Number, Registry};

/// Puts the figures of an interval on the list.
pub fn publish_report(report: &Report, registry: &mut Registry) {
    report.entries.iter().filter(|e| !is_counted(e.name)).for_each(|e| put(registry, e));
}

/// Whether a KPI stands on the list as a counter since the start, and not as a figure of an interval.
pub(super) fn is_counted(name: &str) -> bool {
    ["drops", "venue_limit_waits", "retransmits_while_held"].contains(&name)
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
    r.figure(&format!("{}_observations", name.stem), n, &labels, entry.n);
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
                r.figure(&name.full, help, &labels, value);
                labels.pop();
            }
            None if name.is_said_by(value_name) => r.figure(&name.full, help, &labels, value),
            None => r.figure(&format!("{}_{value_name}", name.stem), help, &labels, value),
        }
    }
}

/// A KPI's name on the list: the unit stands last, so that it is known as one.
pub(super) struct ListName {
    /// Without its unit.
    pub(super) stem: String,
    /// With it.
    full: String,
    /// The name of the KPI whose figure at `normal` it is, else its own.
    of: &'static str,
}

impl ListName {
    pub(super) fn new(name: &'static str) -> Self {
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
