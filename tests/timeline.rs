//! The timeline of a replay says what the replay says: as many packets, in the order of time, with weights
//! that add up; and it changes nothing.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use support::commands::{Replay, replay, repository, wirepace};
use support::rows::rows;
use tempfile::TempDir;

const CAPTURES: [&str; 3] = ["orders-s1.pcap", "market-data-s1.pcap", "mixed-s1.pcapng.gz"];

fn golden(name: &str) -> PathBuf {
    repository("tests/golden").join(name)
}

/// A replay with a timeline: what it said, and its three files.
struct Recorded {
    run: Replay,
    json: Value,
    tables: [PathBuf; 3],
    _directory: TempDir,
}

impl Recorded {
    #[track_caller]
    fn new(config: &Path, capture: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let tables = ["T.parquet", "T.features.parquet", "T.regime_log.parquet"].map(path);
        let run = replay(config, &golden(capture), &["--timeline", tables[0].to_str().unwrap()]);
        Self { json: run.json(), run, tables, _directory: directory }
    }

    fn rows(&self, table: usize) -> Vec<BTreeMap<String, Value>> {
        rows(&self.tables[table])
    }
}

fn config(directory: &TempDir, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = fs::read_to_string(repository("configs/replay.toml")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "configs/replay.toml has no `{from}`");
        text = text.replace(from, to);
    }
    let path = directory.path().join("changed.toml");
    fs::write(&path, text).unwrap();
    path
}

fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} in {json:#}"))
}

#[test]
fn it_holds_every_packet_of_the_run_in_the_order_of_time() {
    let config = repository("configs/replay.toml");
    for capture in CAPTURES {
        let recorded = Recorded::new(&config, capture);
        let (json, rows) = (&recorded.json, recorded.rows(0));
        assert_eq!(json["timeline"]["packets"], rows.len(), "{capture}");
        assert_eq!(json["timeline"]["lost"], 0, "{capture}");

        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        let mut bytes_out = 0;
        for row in &rows {
            *ends.entry(row["end"].as_str().unwrap().to_owned()).or_default() +=
                row["weight"].as_u64().unwrap();
            if row["end"] == "sent" {
                bytes_out += row["len"].as_u64().unwrap();
            }
        }
        assert_eq!(ends.remove("sent").unwrap_or(0), number(json, "packets_out"), "{capture}");
        // What is malformed has no class and so no row.
        let mut drops = json["drops"].as_object().unwrap().clone();
        drops.retain(|reason, _| !["runt", "truncated"].contains(&reason.as_str()));
        let found = serde_json::to_value(&ends).unwrap();
        assert_eq!(found, Value::Object(drops), "{capture}");
        assert_eq!(bytes_out, number(json, "bytes_out"), "{capture}");

        let sent: Vec<_> = rows.iter().filter(|row| row["end"] == "sent").collect();
        let time = |row: &BTreeMap<String, Value>, name: &str| row[name].as_u64().unwrap();
        assert!(sent.is_sorted_by_key(|row| time(row, "t_tx")), "{capture}");
        for row in &sent {
            assert!(time(row, "t_tx") >= time(row, "t_eligible"), "{row:?}");
            assert!(time(row, "t_wire") >= time(row, "t_tx"), "{row:?}");
            assert!(time(row, "t_tx") >= time(row, "t_ingress"), "{row:?}");
            assert!(row["host"].is_null() && row["env_digest"].is_null(), "{row:?}");
        }
        let ids: Vec<_> = rows.iter().map(|row| row["packet_id"].as_u64().unwrap()).collect();
        assert!(ids.iter().enumerate().all(|(n, id)| n as u64 == *id), "{capture}: no gap");
    }
}

#[test]
fn the_same_replay_writes_the_same_bytes_and_is_the_same_without_it() {
    let config = repository("configs/replay.toml");
    for capture in CAPTURES {
        let [first, second] = [0, 1].map(|_| Recorded::new(&config, capture));
        for (a, b) in first.tables.iter().zip(&second.tables) {
            assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{capture}: {}", a.display());
        }
        let plain = replay(&config, &golden(capture), &[]);
        let bytes = |run: &Replay| fs::read(&run.output).unwrap();
        assert!(bytes(&plain) == bytes(&first.run), "{capture}: another capture");
        assert_same(&first.json, &plain.json(), capture);
    }
}

/// Everything but what depends on the machine, and what the timeline says of itself.
#[track_caller]
fn assert_same(with: &Value, without: &Value, capture: &str) {
    let (mut with, mut without) = (with.clone(), without.clone());
    with.as_object_mut().unwrap().remove("timeline").unwrap();
    for json in [&mut with, &mut without] {
        json.as_object_mut().unwrap().remove("host").unwrap();
    }
    assert_eq!(with, without, "{capture}");
}

/// Counts that the windows hold add up to those of the whole run, which has them from other sums.
#[test]
fn the_windows_of_the_features_add_up_to_the_run() {
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("long.pcap");
    let arguments = ["generate", "--kind", "mixed", "--seconds", "3.5", "--seed", "3", "--out"];
    let made = wirepace(arguments.iter().copied().chain([capture.to_str().unwrap()]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let table = directory.path().join("T.parquet");
    let run = replay(
        &repository("configs/replay.toml"),
        &capture,
        &["--timeline", table.to_str().unwrap()],
    );
    let json = run.json();
    // Windows end between ticks, and nothing that is counted by ticks notices.
    let plain = replay(&repository("configs/replay.toml"), &capture, &[]);
    assert_same(&json, &plain.json(), "long");
    assert!(number(&plain.json()["kpis"]["limit_oscillation_score"]["series"][0], "n") > 0);
    let rows = rows(&directory.path().join("T.features.parquet"));
    assert_eq!(json["timeline"]["features"], rows.len());
    let mut windows: Vec<(u64, u64)> = rows
        .iter()
        .map(|row| (row["window_from"].as_u64().unwrap(), row["window_to"].as_u64().unwrap()))
        .collect();
    windows.dedup();
    assert!(windows.len() >= 4, "{windows:?}");
    assert!(windows.iter().zip(&windows[1..]).all(|(a, b)| a.1 == b.0), "no gap: {windows:?}");
    assert!(windows.iter().all(|(from, to)| from < to), "{windows:?}");

    // `n` of a count is the packets behind it; of each class that leaves.
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["kpi"] == "drops" && row["value_name"] == "packets") {
        if let Some(class) = row["class"].as_str() {
            *found.entry(class.to_owned()).or_default() += row["n"].as_u64().unwrap();
        }
    }
    let series = json["kpis"]["drops"]["series"].as_array().unwrap();
    let expected: BTreeMap<String, u64> = series
        .iter()
        .filter_map(|row| Some((row["class"].as_str()?.to_owned(), row["n"].as_u64()?)))
        .collect();
    assert_eq!(found, expected);
    assert!(found.values().sum::<u64>() > 1_000, "{found:?}");
    assert!(rows.iter().all(|row| row["host_figure"] == false), "the machine has no say");
    assert!(
        rows.iter().all(|row| row["value"].is_null() == row["absent"].is_string()),
        "absent is not 0, and says why"
    );
}

/// One packet in 16 of what is no order entry, and all of that; with a budget of nothing, lots for all.
#[test]
fn order_entry_is_there_in_full_and_the_weights_add_up() {
    let directory = TempDir::new().unwrap();
    let sampled = ("sample_one_in = 1", "sample_one_in = 16");
    for (rows_per_s, in_full) in [("100000", true), ("0", false)] {
        let section = format!("sample_one_in = 16\n\n[timeline]\nrows_per_s = {rows_per_s}");
        let config = config(&directory, &[(sampled.0, &section)]);
        let recorded = Recorded::new(&config, "mixed-s1.pcapng.gz");
        let rows = recorded.rows(0);
        let is_order_entry = |row: &&BTreeMap<String, Value>| {
            !["other", "market_data"].contains(&row["kind"].as_str().unwrap())
        };
        let (full, drawn): (Vec<_>, Vec<_>) = rows.iter().partition(is_order_entry);
        assert!(!full.is_empty() && !drawn.is_empty());
        let weight = u64::from(!in_full) * 15 + 1;
        assert!(full.iter().all(|row| row["weight"] == weight), "{rows_per_s}");
        assert!(drawn.iter().all(|row| row["weight"] == 16), "{rows_per_s}");
        let sum: u64 = rows.iter().map(|row| row["weight"].as_u64().unwrap()).sum();
        let packets = number(&recorded.json, "packets_in");
        assert!(sum.abs_diff(packets) < 32, "{rows_per_s}: {sum} of {packets}");
    }
}

/// The schema in the documents is the schema of the files.
#[test]
fn every_column_is_documented() {
    let recorded = Recorded::new(&repository("configs/replay.toml"), "orders-s1.pcap");
    let text = fs::read_to_string(repository("docs/timeline.md")).unwrap();
    for (table, heading) in
        ["\n## packets\n", "\n## features\n", "\n## regime_log\n"].iter().enumerate()
    {
        let (_, section) = text.split_once(heading).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let file = File::open(&recorded.tables[table]).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let columns = reader.metadata().file_metadata().schema_descr().columns().to_vec();
        assert!(columns.len() >= 7);
        for column in columns {
            let name = format!("`{}`", column.name());
            assert!(section.contains(&name), "docs/timeline.md: {heading} has no {name}");
        }
    }
}

#[test]
fn a_table_that_is_another_file_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (out, orders) = (path("T.features.parquet"), golden("orders-s1.pcap"));
    let config = repository("configs/replay.toml");
    let ran = wirepace([
        "replay",
        "--config",
        config.to_str().unwrap(),
        "--in",
        orders.to_str().unwrap(),
        "--out",
        &out,
        "--timeline",
        &path("T.parquet"),
    ]);
    ran.assert_failed(2, &["--out", "is also --timeline"]);
}
