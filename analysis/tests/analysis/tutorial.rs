//! The tutorial of docs/analysis.md, command by command.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::run;

const PAGE: &str = include_str!("../../../docs/analysis.md");
const REPLAY: &str = include_str!("../../../configs/replay.toml");

/// The commands of the tutorial, in their order.
fn commands() -> Vec<Vec<&'static str>> {
    let tutorial =
        PAGE.split("\n## ").find(|part| part.starts_with("Tutorial")).expect("a tutorial");
    let lines = tutorial.lines().filter_map(|line| line.strip_prefix("wirepace-analysis "));
    let words = |line: &'static str| line.split('#').next().unwrap_or(line).split_whitespace();
    lines.map(|line| words(line).collect()).collect()
}

#[test]
fn every_command_does_what_the_page_says() {
    let dir = TempDir::new().expect("a directory");
    fs::create_dir(dir.path().join("configs")).expect("a directory");
    fs::write(dir.path().join("configs/replay.toml"), REPLAY).expect("a file");
    let commands = commands();
    let verbs: Vec<&str> = commands.iter().map(|words| words[0]).collect();
    assert_eq!(verbs, ["generate", "outcome", "report", "calibrate", "validate"]);
    for words in &commands {
        let said = run(words, dir.path());
        // A gate that does not hold, as the page says.
        let expected = if words[0] == "validate" { 3 } else { 0 };
        assert_eq!(said.code, Some(expected), "{words:?}: {} {}", said.out, said.error);
    }
    let json = |name: &str| -> Value {
        let text = fs::read_to_string(dir.path().join(name)).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    };
    // Plain means are fooled, and the interval holds what was planted.
    let (truth, found) = (json("day/truth.json"), json("result/outcome.json"));
    let number = |value: &Value| value.as_f64().expect("a number");
    let (btu, cost) = (&found["kpis"]["BTU"], number(&truth["kpis"]["BTU"]["cost_bps"]));
    assert_eq!(btu["identified"], true, "{btu}");
    assert!(number(&btu["ci_low"]) <= cost && cost <= number(&btu["ci_high"]), "{cost}: {btu}");
    assert!(number(&btu["naive_cost_bps"]) > number(&btu["ci_high"]), "{btu}");
    // The report has the same figures, in one file that fetches nothing.
    assert_eq!(json("day.json")["outcome"]["kpis"]["BTU"]["cost_bps"], btu["cost_bps"]);
    page(&dir.path().join("day.html"));
    let calibrated = fs::read_to_string(dir.path().join("T.toml")).expect("a file");
    assert!(calibrated.starts_with("# Calibrated by wirepace-analysis."));
}

fn page(path: &Path) {
    let page = fs::read_to_string(path).expect("a page");
    assert!(page.contains("BTU") && page.trim_end().ends_with("</html>"));
    for tag in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(tag), "{tag}");
    }
}
