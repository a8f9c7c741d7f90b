//! The tables `features` and `regime_log`.

use model::kpi::Entry;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use serde_json::{Map, Value, json};

use super::table::Of::{Flag, Real, Text as Words, Time, Wide};
use super::table::{Column, Table, fixed, maybe, needed, owned};

/// Columns of `features`: one row for each value of each KPI and window.
pub(super) const FEATURES: &[Column] = &[
    needed("window_from", Time),
    needed("window_to", Time),
    maybe("arm", Words),
    maybe("port", Words),
    maybe("class", Words),
    maybe("kind", Words),
    maybe("limit", Words),
    needed("kpi", Words),
    maybe("part", Words),
    needed("value_name", Words),
    maybe("value", Real),
    maybe("absent", Words),
    needed("n", Wide),
    needed("basis", Words),
    needed("view", Words),
    maybe("intent", Words),
    needed("simulated", Flag),
    needed("proxy", Flag),
    needed("structural_zero", Flag),
    needed("host_figure", Flag),
];

/// Columns of `regime_log`: one row for each decision.
pub(super) const REGIME_LOG: &[Column] = &[
    needed("time", Time),
    needed("scope", Words),
    needed("machine", Words),
    needed("from", Words),
    needed("to", Words),
    needed("reason", Words),
    needed("values", Words),
];

/// Adds the rows of one KPI in the window from `from` to `to`.
pub(super) fn add_feature(table: &mut Table, from: Nanos, to: Nanos, entry: &Entry) {
    let labels = &entry.labels;
    for &(name, value) in &entry.values {
        // JSON and metrics do not show what is not finite either.
        let value = value.filter(|value| value.is_finite());
        table.add(|t| {
            t.time(from);
            t.time(to);
            t.text(labels.arm.map(fixed));
            t.text(labels.port.as_deref().map(owned));
            t.text(labels.class.as_deref().map(owned));
            t.text(labels.kind.map(fixed));
            t.text(labels.limit.as_deref().map(owned));
            t.text(fixed(entry.name));
            t.text(labels.part.map(fixed));
            t.text(fixed(name));
            t.real(value);
            t.text(if value.is_none() { entry.absent.map(fixed) } else { None });
            t.wide(entry.n);
            t.text(fixed(entry.basis.name()));
            t.text(fixed(entry.view.name()));
            t.text(entry.sources.intent.map(fixed));
            t.flag(entry.simulated);
            t.flag(entry.proxy);
            t.flag(entry.structural_zero);
            t.flag(entry.host);
        });
    }
}

/// Adds the row of a decision.
pub(super) fn add_decision(table: &mut Table, row: &RegimeLogRow) {
    let values: Map<String, Value> =
        row.values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    table.add(|t| {
        t.time(row.at);
        t.text(owned(&row.scope));
        t.text(owned(&row.machine));
        t.text(owned(&row.from));
        t.text(owned(&row.to));
        t.text(owned(&row.reason));
        t.text(owned(&Value::Object(values).to_string()));
    });
}
