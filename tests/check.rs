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
            if options.is_empty() {
                assert_eq!(ran.stdout, "", "{}", config.display());
            } else {
                assert_json_says_the_same(&ran, &config);
            }
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

/// The errors of the JSON object are those on stderr, in the same order.
#[track_caller]
fn assert_json_says_the_same(ran: &Ran, config: &Path) {
    let json = ran.json();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let errors = json["errors"].as_array().unwrap().iter().map(|row| {
        assert_eq!(text(row, "file"), config.display().to_string());
        let (line, column) = (number(row, "line"), number(row, "column"));
        let (message, allowed) = (text(row, "message"), text(row, "allowed"));
        format!("{}:{line}:{column}: {message}; allowed: {allowed}", config.display())
    });
    // A message may have more lines than one.
    let errors: Vec<String> =
        errors.map(|error| error.lines().next().unwrap_or_default().to_owned()).collect();
    let said: Vec<_> = ran.stderr.lines().filter(|line| place(line, config).is_some()).collect();
    assert_eq!(errors, said);
}

#[test]
fn every_bundled_config_is_right_and_prints_its_envelopes() {
    for config in files("configs", "toml") {
        // What compares paths is no gateway's config: rig's tests read it.
        if config.ends_with("ab.toml") {
            continue;
        }
        let ran = run_check(&config, &[]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        let json = check(&config);
        // Nothing is promised of a path that is only looked at.
        if json["observe"].is_object() {
            assert!(json["envelopes"].is_null() && ran.stdout.contains("egress eth0"), "{json}");
            continue;
        }
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
    assert_eq!(json["start_fails_here"], Value::Array(vec![]), "virtual time takes no host");
}

/// A good config is a good config wherever it is checked; whether it starts here is said, and asked by a flag.
#[test]
fn what_stops_a_start_on_this_host_is_said_and_is_a_failure_where_that_is_asked() {
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("elsewhere.toml");
    let bench = fs::read_to_string(repository("configs/bench-null.toml")).unwrap();
    let bench = bench.replace("core = 1", "core = 1023");
    let rights = "[control]\ngroup = \"no-such-group\"\n";
    assert!(bench.contains("[control]\n"));
    fs::write(&config, bench.replace("[control]\n", rights)).unwrap();
    let why = ["CPU 1023 is not one of this machine's", "control.group = \"no-such-group\""];
    let obstacles = check(&config)["start_fails_here"].clone();
    let said = run_check(&config, &[]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    for why in why {
        let is = |row: &Value| row.as_str().unwrap().contains(why);
        assert!(obstacles.as_array().unwrap().iter().any(is), "{obstacles}");
        assert!(
            said.stdout.contains(&format!("on this host a start would fail: {why}")),
            "{said:#?}"
        );
    }
    for (config, code) in [(&config, 3), (&repository("configs/replay.toml"), 0)] {
        assert_eq!(run_check(config, &["--this-host"]).code, Some(code), "{}", config.display());
    }
    // What is said is so.
    let run = |config: &Path| wirepace([OsStr::new("run"), "--config".as_ref(), config.as_ref()]);
    run(&config).assert_failed(1, &[why[0]]);
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("= 1023", "= \"auto\""))
        .unwrap();
    run(&config).assert_failed(1, &[why[1]]);
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
        let error = ran.json()["errors"][0].clone();
        assert_eq!(error["file"], path.display().to_string());
        assert!(error["message"].as_str().unwrap().contains(why) && error["line"].is_null());
    }
    let latin1 = directory.path().join("latin1.toml");
    fs::write(&latin1, b"[gateway]\nname = \"caf\xe9\"\n").unwrap();
    run_check(&latin1, &[])
        .assert_failed(2, &["latin1.toml:2:12: ", "0xe9", "allowed: text in UTF-8"]);
}

#[test]
fn a_config_without_an_end_is_not_read_to_its_end() {
    run_check(Path::new("/dev/zero"), &[]).assert_failed(2, &["/dev/zero: ", "at most 1024 KiB"]);
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("long.toml");
    let bundled = fs::read_to_string(repository("configs/replay.toml")).unwrap();
    let padded = |bytes: usize| bundled.clone() + &"#".repeat(bytes - bundled.len());
    fs::write(&config, padded(1 << 20)).unwrap();
    assert_eq!(run_check(&config, &[]).code, Some(0));
    fs::write(&config, padded((1 << 20) + 1)).unwrap();
    run_check(&config, &[]).assert_failed(2, &["at most 1024 KiB"]);
}

/// What binds governed departures does not bind a drain, passthrough, and what cancels let go.
#[test]
fn what_lifts_an_envelope_is_said_where_the_envelope_is_promised() {
    let json = check(&repository("configs/replay.toml"));
    let mut seen = 0;
    for class in json["classes"].as_array().unwrap() {
        let guarantees = class["guarantees"].as_array().unwrap();
        let says =
            |words: &str| guarantees.iter().find(|of| of["text"].as_str().unwrap().contains(words));
        if let Some(promise) = says("keep to its envelopes") {
            assert_eq!(promise["holds"], true);
            let lifted = says("lift its envelopes").unwrap();
            assert_eq!(lifted["holds"], false);
            let text = lifted["text"].as_str().unwrap();
            assert!(text.contains("drain") && text.contains("passthrough"), "{text}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no class with caps: this says nothing");
}
