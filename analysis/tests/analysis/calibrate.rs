//! From a generated world to a config that the gateway's reader accepts, and back through its engine.

use serde_json::Value;
use tempfile::TempDir;

use crate::common::run;

#[test]
fn what_costs_is_called_distorted_by_the_calibrated_tables() {
    let dir = TempDir::new().expect("a directory");
    let made = run(
        &["generate", "--out", "day", "--seed", "5", "--effect", "BTU=4", "--effect", "CCMD=4"],
        dir.path(),
    );
    assert_eq!(made.code, Some(0), "{}", made.error);
    let calibrated = run(&["calibrate", "--in", "day", "--out", "T.toml", "--json"], dir.path());
    assert_eq!(calibrated.code, Some(0), "{}", calibrated.error);
    let said: Value = calibrated.json();
    assert!(!said["changes"].as_array().expect("changes").is_empty());
    let text = std::fs::read_to_string(dir.path().join("T.toml")).expect("a file");
    let config = model::config::Config::from_toml("T.toml", &text).expect("check accepts it");
    assert_eq!(config.regime.machines.len(), 5);
    // Unsent bytes lead a flush, so features tell more than the state.
    let model = &said["models"]["compression"];
    assert!(
        model["model"]["brier"].as_f64() < model["persists_as_often"]["brier"].as_f64(),
        "{model}"
    );
    assert!(config.regime.compressed_drain.is_some());

    // Bounds that nothing reaches see nothing; the calibrated ones see what costs.
    // Every list by which a burst is entered has one of these.
    let terms = ["wire_serialization_ns_at_normal.p95 >= ", "ack_compression_ratio.ratio >= "];
    let bad = terms.iter().fold(text, |text, term| text.replace(term, &format!("{term}999")));
    std::fs::write(dir.path().join("bad.toml"), bad).expect("a file");
    let validated = run(
        &["validate", "--in", "day", "--old", "bad.toml", "--new", "T.toml", "--json"],
        dir.path(),
    );
    assert!(matches!(validated.code, Some(0 | 3)), "{}", validated.error);
    let said = validated.json();
    let share = |side: usize| said["machines"]["segmentation"][side]["distorted_share"].as_f64();
    assert!(share(0) < Some(0.01) && share(1) > Some(0.05), "{}", said["machines"]["segmentation"]);
}
