//! `wirepace check` as a user runs it: what is wrong, where, and what is allowed.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::commands::{Ran, check, repository, wirepace};
use tempfile::TempDir;

fn run_check(config: &Path, options: &[&str]) -> Ran {
    let arguments = [OsStr::new("check"), "--config".as_ref(), config.as_ref()];
    wirepace(arguments.into_iter().chain(options.iter().map(OsStr::new)))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

/// Line and column in front of which the error names its file.
fn place(line: &str, config: &Path) -> Option<(usize, usize)> {
    let rest = line.strip_prefix(&format!("{}:", config.display()))?;
    let (number, rest) = rest.split_once(':')?;
    let (column, _) = rest.split_once(':')?;
    Some((number.parse().ok()?, column.parse().ok()?))
}

#[test]
fn every_broken_config_is_refused_with_file_line_column_and_what_is_allowed() {
    let broken = files("tests/configs-broken", "toml");
    assert!(broken.len() >= 10);
    for config in broken {
        let text = fs::read_to_string(&config).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for options in [&[][..], &["--json"]] {
            let ran = run_check(&config, options);
            assert_eq!(ran.code, Some(2), "{ran:#?}");
            assert_eq!(ran.stdout, "", "{}", config.display());
            let errors: Vec<_> =
                ran.stderr.lines().filter(|line| place(line, &config).is_some()).collect();
            assert!(!errors.is_empty(), "{}: no place in: {}", config.display(), ran.stderr);
            for error in &errors {
                let (line, column) = place(error, &config).unwrap();
                assert!(lines[line - 1].contains("# wrong"), "{error}");
                // One behind the end: what is missing there.
                assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{error}");
                assert!(error.contains("; allowed: "), "{error}");
            }
            let marked = lines.iter().filter(|line| line.contains("# wrong")).count();
            let mut places: Vec<_> = errors.iter().map(|e| place(e, &config).unwrap().0).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), marked, "{}: {errors:#?}", config.display());
        }
    }
}

#[test]
fn every_bundled_config_is_right_and_prints_its_envelopes() {
    for config in files("configs", "toml") {
        let ran = run_check(&config, &[]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        let json = check(&config);
        let rows = json["envelopes"].as_array().unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let name = row["name"].as_str().unwrap();
            assert!(["flow", "class", "port"].contains(&row["level"].as_str().unwrap()));
            // A rate without its burst promises nothing.
            assert_eq!(row["rate_bps"].is_u64(), row["burst_bytes"].is_u64(), "{row}");
            assert_eq!(row["messages_per_s"].is_u64(), row["message_burst"].is_u64(), "{row}");
            if let Some(rate) = row["rate_bps"].as_u64() {
                assert!(rate > 0 && ran.stdout.contains(name), "{name} in {}", ran.stdout);
            }
        }
        let budget = &json["buffer_budget"];
        assert!(budget["needed"].as_u64() <= budget["mbufs"].as_u64(), "{budget}");
    }
}

#[test]
fn the_json_says_what_each_class_guarantees() {
    let json = check(&repository("configs/replay.toml"));
    let classes = json["classes"].as_array().unwrap();
    let named =
        |name: &str| -> &Value { classes.iter().find(|class| class["name"] == name).unwrap() };
    for name in ["orders", "cancels", "fix-session", "market-data", "other-out", "from-venue"] {
        assert!(!named(name)["guarantees"].as_array().unwrap().is_empty(), "{name}");
    }
    assert_eq!(named("orders")["kind"], "order");
    assert_eq!(json["interfaces"], Value::Array(vec![]));
}

#[test]
fn a_core_that_is_to_be_chosen_is_one_of_this_host_and_is_named() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("auto.toml");
    let bench = fs::read_to_string(repository("configs/bench-null.toml")).unwrap();
    fs::write(&config, bench.replace("core = 1", "core = \"auto\"")).unwrap();
    let json = check(&config);
    let cores = json["cores"].as_array().unwrap();
    let online = fs::read_to_string("/proc/cpuinfo").unwrap();
    let core = cores[0].as_u64().unwrap();
    assert_eq!(cores.len(), 1);
    assert!(online.lines().any(|line| {
        line.starts_with("processor") && line.split(':').nth(1).unwrap().trim() == core.to_string()
    }));
    assert!(json["pairs"][0]["core"].is_null());
    let ran = run_check(&config, &[]);
    assert!(
        ran.stdout.contains(&format!("core: on this host {core} polls source <-> sink")),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_json_has_what_venue_limits_and_shaping_come_to() {
    let json = check(&repository("configs/gateway.toml"));
    let limit = &json["venue_limits"][0];
    assert_eq!(limit["messages_max"], 490);
    assert_eq!(limit["classes"], serde_json::json!(["orders", "cancels"]));
    let (burst, rate) = (limit["burst"].as_u64().unwrap(), limit["rate_per_s"].as_u64().unwrap());
    assert!(burst + rate <= 490 - limit["cancel_reserve"].as_u64().unwrap());
    let orders = &json["profiles"][0]["classes"][0];
    assert_eq!(orders["shaping"]["flow_floor_bits_per_s"], 8_000);
    assert_eq!(orders["segment"], serde_json::json!([["venue-a", "refuse"]]));
}

#[test]
fn an_unreadable_config_is_named() {
    let directory = TempDir::new().unwrap();
    for (path, why) in [
        (directory.path().join("absent.toml"), "No such file"),
        (directory.path().to_owned(), "directory"),
    ] {
        let ran = run_check(&path, &["--json"]);
        ran.assert_failed(2, &[&path.display().to_string(), why]);
        assert_eq!(ran.stdout, "");
    }
    let latin1 = directory.path().join("latin1.toml");
    fs::write(&latin1, b"[gateway]\nname = \"caf\xe9\"\n").unwrap();
    run_check(&latin1, &[]).assert_failed(2, &["latin1.toml"]);
}
