//! The catalogue says what is: what reports hold, what the document says, what is worked out by hand.
//!
//! `WIREPACE_REGENERATE=1 cargo test -p wirepace-model --test kpi_catalogue` writes the table of the document
//! anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use model::kpi::catalogue::{self, Definition, Place};
use model::kpi::{Block, Entry, LimitPlan, Report, Sampled};
use rows::World;

/// A report of every series that a gateway can have: with venue limits too.
fn report() -> Report {
    let mut world = World::new();
    world.plan.limits = vec![LimitPlan { name: "xcme".into(), messages_max: 10 }];
    (world.block, world.sampled) = (Block::new(&world.plan), Sampled::new(&world.plan));
    world.look()
}

fn of_gateway() -> impl Iterator<Item = &'static Definition> {
    catalogue::all().filter(|definition| definition.is_of_gateway())
}

#[test]
fn what_is_reported_is_in_the_catalogue_and_what_is_in_it_is_reported() {
    let report = report();
    let mut seen: BTreeMap<(&str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    for entry in &report.entries {
        let definition = catalogue::find(entry.name).unwrap_or_else(|| panic!("{}", entry.name));
        assert!(definition.is_of_gateway(), "{} is reported", entry.name);
        assert_eq!(definition.basis, entry.basis, "{}", entry.name);
        let series = definition.series_of(entry.labels.part);
        let series = series.unwrap_or_else(|| panic!("{} {:?}", entry.name, entry.labels.part));
        let values = seen.entry((entry.name, entry.labels.part)).or_default();
        for (value, _) in &entry.values {
            assert!(series.values.contains(value), "{} {value}", entry.name);
            values.insert(value);
        }
        assert_labels(definition, entry);
    }
    for definition in of_gateway() {
        for series in definition.series {
            let name = (definition.name, series.part);
            let found = seen.get(&name).unwrap_or_else(|| panic!("{name:?} is missing"));
            // Of drops only those reasons stand there that occurred.
            let expected = if definition.name == "drops" { &["packets"] } else { series.values };
            let expected: BTreeSet<&str> = expected.iter().copied().collect();
            assert_eq!(*found, expected, "{name:?}");
        }
    }
}

/// A series has the labels of its place; what is told of a port as a whole has fewer.
fn assert_labels(definition: &Definition, entry: &Entry) {
    let labels = &entry.labels;
    let has = [
        ("port", labels.port.is_some()),
        ("class", labels.class.is_some()),
        ("kind", labels.kind.is_some()),
        ("limit", labels.limit.is_some()),
    ];
    let names: Vec<&str> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let of_port = entry.labels.part == Some("unclassified");
    let expected = if of_port { Place::Port.labels() } else { definition.place.labels() };
    assert_eq!(names, expected, "{} {:?}", entry.name, labels.part);
}

#[test]
fn every_definition_is_whole_and_stands_once() {
    let names: Vec<&str> = catalogue::all().map(|definition| definition.name).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "a name stands twice");
    for definition in catalogue::all() {
        let texts = [definition.unit, definition.formula, definition.advice];
        assert!(texts.iter().all(|text| !text.is_empty()), "{}", definition.name);
        assert!(!definition.arms.is_empty(), "{}", definition.name);
        assert_eq!(definition.available, !definition.series.is_empty(), "{}", definition.name);
        // A series is one flat object: a value of a label's name would stand in its place.
        let mut values = definition.series.iter().flat_map(|series| series.values);
        let label = values.find(|value| definition.place.labels().contains(value));
        assert_eq!(label, None, "{}", definition.name);
    }
    let json = catalogue::json();
    assert_eq!(json.as_array().map(Vec::len), Some(names.len()));
    assert_eq!(json[0]["name"], "dispatch_to_wire_ns");
    assert_eq!(json[0]["series"][2]["part"], "rest");
}

/// What holds at `normal` is measured in the same unit, over as many observations, as what it is of.
#[test]
fn at_normal_is_defined_as_what_it_is_of() {
    let mut seen = 0;
    for definition in catalogue::all() {
        let Some(of) = definition.name.strip_suffix("_at_normal").and_then(catalogue::find) else {
            continue;
        };
        assert_eq!((definition.unit, definition.n_min), (of.unit, of.n_min), "{}", of.name);
        for series in definition.series {
            let of = of.series_of(series.part).unwrap_or_else(|| panic!("{}", of.name));
            assert!(series.values.iter().all(|value| of.values.contains(value)));
        }
        seen += 1;
    }
    assert!(seen > 10);
}

fn documents() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/kpis.md")
}

/// A row of the document's table.
fn documented(definition: &Definition) -> String {
    let arms: Vec<&str> = definition.arms.iter().map(|arm| arm.name()).collect();
    let one = |series: &catalogue::Series| {
        // One value for each reason: docs/safety.md has them.
        let values = if definition.name == "drops" { &["packets"] } else { series.values };
        let values = values.join(", ");
        series.part.map_or(values.clone(), |part| format!("`{part}`: {values}"))
    };
    let series: Vec<String> = definition.series.iter().map(one).collect();
    let n_min = if definition.n_min == 0 { String::new() } else { definition.n_min.to_string() };
    format!(
        "| `{}` | {} | {} | {} | {} | {n_min} |\n",
        definition.name,
        definition.unit,
        definition.place.labels().join(", "),
        series.join("; "),
        arms.join(", "),
    )
}

#[test]
fn the_document_has_unit_labels_values_arms_and_min_n_of_every_kpi() {
    const HEAD: &str =
        "| KPI | unit | labels | values, by part | where | min n |\n|---|---|---|---|---|---|\n";
    let text = fs::read_to_string(documents()).unwrap();
    let (before, after) = text.split_once(HEAD).unwrap();
    let end = after.lines().take_while(|line| line.starts_with('|'));
    let found: String = end.map(|line| format!("{line}\n")).collect();
    let expected: String = catalogue::all().map(documented).collect();
    if std::env::var_os("WIREPACE_REGENERATE").is_some_and(|value| value == "1") {
        let rest = &after[found.len()..];
        fs::write(documents(), format!("{before}{HEAD}{expected}{rest}")).unwrap();
        return;
    }
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "docs/kpis.md; WIREPACE_REGENERATE=1 writes it anew");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// A test that names the KPI and says beside it what comes out and why.
fn is_worked_example(test: &str, kpi: &str) -> bool {
    let comments = test.lines().filter_map(|line| Some(line.trim().split_once("//")?.1));
    let has_numbers = comments.filter(|text| text.contains(|c: char| c.is_ascii_digit())).count();
    test.contains(&format!("\"{kpi}\"")) && has_numbers > 0
}

/// The tests of a file, each with the comment above it.
fn tests_of(code: &str) -> Vec<String> {
    let items = code.split("\n}\n");
    let from_comment = |item: &str| {
        let at = item.rfind("#[test]")?;
        let above = item[..at].lines().rev().take_while(|line| line.starts_with("///"));
        let above: Vec<&str> = above.collect();
        Some(format!("{}{}", above.join("\n"), &item[at..]))
    };
    items.filter_map(from_comment).collect()
}

/// Files with worked examples. What is absent without a packet, and of one packet, is tested there of all
/// series at once: `without_a_packet_everything_but_counts_is_absent`, `one_packet_is_no_statistic`.
const WORKED: [&str; 9] = [
    include_str!("kpi_worked/books.rs"),
    include_str!("kpi_worked/caps.rs"),
    include_str!("kpi_worked/delays.rs"),
    include_str!("kpi_worked/queues.rs"),
    include_str!("kpi_worked_limits.rs"),
    include_str!("kpi_worked_normal.rs"),
    include_str!("kpi_rows.rs"),
    include_str!("kpi_kernel.rs"),
    include_str!("kpi_holds.rs"),
];

#[test]
fn every_kpi_has_a_worked_example() {
    let tests: Vec<String> = WORKED.iter().flat_map(|code| tests_of(code)).collect();
    assert!(tests.len() > 50);
    let computed = catalogue::all().filter(|definition| definition.available);
    let without: Vec<&str> = computed
        .map(|definition| definition.name)
        .filter(|kpi| !tests.iter().any(|test| is_worked_example(test, kpi)))
        .collect();
    assert!(without.is_empty(), "without a worked example: {without:?}");
}
