//! The documents say what is there: links lead somewhere, the tests they name exist, the config in
//! the README is one.

#[path = "checker/mod.rs"]
mod checker;

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 15] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/safety.md",
    "docs/threat-model.md",
    "docs/operations.md",
    "docs/timeline.md",
    "docs/advice.md",
    "docs/regimes.md",
    "docs/drills.md",
    "docs/kernel-path.md",
    "docs/ab.md",
    "docs/kpis.md",
    "docs/fuzzing.md",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// What stands between `open` and `close`, everywhere in `text`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| Some(rest.split_once(close)?.0)).collect()
}

#[test]
fn links_lead_to_files() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let folder = root().join(document).parent().map(Path::to_path_buf).unwrap_or_default();
        let content = text(document);
        for link in between(&content, "](", ")").iter().filter(|link| !link.contains("://")) {
            assert!(folder.join(link).exists(), "{document} links to {link}");
            seen += 1;
        }
    }
    assert!(seen > 5);
}

/// What stands between back-ticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The last two pieces of `row` between back-ticks are a file and a test in it.
fn assert_names_a_test(row: &str) {
    let [.., file, name] = quoted(row)[..] else { panic!("no test in: {row}") };
    let code = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(code.contains(&format!("fn {name}(")), "{file} has no test {name}");
}

/// The rows of the tables in `text`, without their heads.
fn rows(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    let is_row = |line: &&str| line.starts_with("| ");
    let heads = lines.windows(2).filter(|pair| pair[1].starts_with("|---")).map(|pair| pair[0]);
    let heads: Vec<_> = heads.collect();
    lines.into_iter().filter(is_row).filter(|row| !heads.contains(row)).collect()
}

#[test]
fn every_failure_has_a_test_that_exists() {
    let safety = text("docs/safety.md");
    let (_, table) = safety.split_once("## What fails, what happens").unwrap();
    let rows = rows(table);
    assert!(rows.len() > 10);
    rows.into_iter().for_each(assert_names_a_test);
}

#[test]
fn every_threat_has_a_test_that_exists() {
    let model = text("docs/threat-model.md");
    let rows = rows(&model);
    assert!(rows.len() > 30);
    rows.into_iter().for_each(assert_names_a_test);
}

/// Where a line says what enforces it, that is there.
#[test]
fn every_threat_is_met_by_a_file_that_exists() {
    let mut seen = 0;
    for row in rows(&text("docs/threat-model.md")) {
        let place = row.split('|').nth(3).unwrap();
        for file in quoted(place).into_iter().filter(|file| file.contains('/')) {
            assert!(root().join(file).exists(), "{row}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_named_end_is_documented() {
    let (safety, reasons) = (text("docs/safety.md"), text("model/src/drop_reason.rs"));
    let names = between(&reasons, " => \"", "\"");
    assert!(names.len() > 10);
    for name in names {
        assert!(safety.contains(&format!("`{name}`")), "docs/safety.md does not know {name}");
    }
}

#[test]
fn the_config_in_the_readme_is_one() {
    let readme = text("README.md");
    let config = between(&readme, "```toml\n", "```")[0];
    let config = checker::config::Config::parse(config).unwrap();
    assert_eq!(config.classes.len(), 4);
    assert_eq!(config.ports.len(), 2);
}
