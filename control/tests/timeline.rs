//! Files of a timeline: what was recorded is in them, sets follow each other, and what does not fit is
//! counted.
#![allow(clippy::unwrap_used)]
#![recursion_limit = "256"] // a row has many cells

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::sample;
use control::registry::Registry;
use control::timeline::{Options, Place, Timeline, WhenFull};
use model::config::Config;
use model::drop_reason::DropReason;
use model::kpi::{Entry, Labels, Sources};
use model::sample::{End, Sample};
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use parquet::basic::{Compression, LogicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

fn config() -> Config {
    let text = include_str!("../../configs/gateway.toml");
    Config::from_toml("gateway.toml", text).unwrap()
}

fn start(directory: &Path, when_full: WhenFull, change: impl Fn(&mut Place)) -> Timeline {
    let mut place = Place::Directory {
        path: directory.to_owned(),
        name: "gw1".into(),
        rotate_bytes: u64::MAX,
        rotate_time: Nanos::MAX,
        keep: 10,
    };
    change(&mut place);
    let (host, env_digest) = (Some("here".to_owned()), Some("ee".to_owned()));
    let options = Options { place, when_full, queue_rows: 4_096, host, env_digest };
    Timeline::start(&config(), options).unwrap()
}

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

fn cell(row: &Row, name: &str) -> Value {
    let field = row.get_column_iter().find(|(column, _)| *column == name).unwrap().1;
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => json!(text),
        Field::Bool(flag) => json!(flag),
        Field::Double(real) => json!(real),
        Field::UInt(number) => json!(number),
        Field::ULong(number) => json!(number),
        Field::Long(number) => json!(number),
        other => panic!("{name}: {other:?}"),
    }
}

/// Names of the files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn set(directory: &Path, number: u64) -> [PathBuf; 3] {
    ["packets", "features", "regime_log"]
        .map(|table| directory.join(format!("gw1-{number:08}.{table}.parquet")))
}

fn footer(path: &Path, key: &str) -> Option<String> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let facts = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    facts.into_iter().find(|fact| fact.key == key)?.value
}

fn entry(value: Option<f64>) -> Entry {
    Entry {
        labels: Labels { class: Some("orders".into()), ..Labels::default() },
        values: vec![("bi", value), ("excess", Some(1.5))],
        n: 40,
        absent: value.is_none().then_some("n_too_small"),
        sources: Sources { intent: Some("tag"), ..Sources::default() },
        ..Entry::blank("burstiness_index")
    }
}

#[test]
fn every_cell_of_a_row_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = start(dir.path(), WhenFull::Wait, |_| {});
    let mut recorder = timeline.recorder();
    let sent = Sample {
        correlation_id: Some(u64::MAX),
        flow: 7,
        tcp_end_seq: Some(u32::MAX),
        label: 1,
        urgency: 200,
        t_decision: Some(Nanos(1)),
        t_sched: Some(Nanos(12)),
        t_normal: Some(Nanos(11)),
        t_eligible: Some(Nanos(13)),
        t_wire: Some(Nanos(15)),
        t_carried: Some(99),
        t_delivery: Some(Nanos(16)),
        clock_error_ns: Some(3),
        backlog_bytes: 1 << 40,
        port: 1,
        queue: 2,
        regime: Some(3),
        profile: 1,
        canary: Some(true),
        weight: 1_024,
        ..sample(14)
    };
    let dropped = Sample { t_tx: None, end: End::Dropped(DropReason::QueueFull), ..sample(20) };
    recorder.packet(3, &sent);
    recorder.packet(300, &dropped);
    recorder.features(Nanos(5), Nanos(9), vec![entry(None)]);
    recorder.decision(RegimeLogRow {
        at: Nanos(6),
        scope: "orders".into(),
        machine: "pacing".into(),
        from: "CLEAN_FLOW".into(),
        to: "BURST_RELEASED".into(),
        reason: "enter".into(),
        values: vec![("bi".into(), Some(3.5)), ("d2w".into(), None)],
    });
    recorder.turn(Nanos(10));
    let written = timeline.finish().unwrap();
    assert_eq!((written.rows, written.lost), ([2, 2, 1], [0, 0, 0]));

    let [packets, features, log] = set(dir.path(), 1);
    let found = rows(&packets);
    let expect = |row: &Row, cells: Value| {
        let cells = cells.as_object().unwrap().clone();
        cells.iter().for_each(|(name, value)| assert_eq!(&cell(row, name), value, "{name}"));
        row.len() - cells.len()
    };
    let unchecked = expect(
        &found[0],
        json!({
            "core": 3, "packet_id": 14, "correlation_id": u64::MAX, "flow_id": 7,
            "tcp_end_seq": u32::MAX, "class": "orders", "label_id": 1, "symbol": "ES",
            "venue": "XCME", "tactic": "passive", "strategy": null, "kind": "order", "urgency": 200,
            "len": 60, "messages": 1, "t_decision": 1, "t_dispatch": 14, "t_due": 14, "t_sched": 12,
            "t_normal": 11, "t_eligible": 13, "t_tx": 14, "t_wire": 15, "t_ingress": 14,
            "t_carried": 99, "t_delivery": 16, "clock_error_ns": 3, "intent": "implicit",
            "ingress_source": "tsc", "departure_source": "tsc", "simulated_link": false,
            "from": "inside", "port": "venue-a", "queue": 2, "backlog_bytes": 1_u64 << 40,
            "end": "sent", "release": "governed", "regime": 3, "profile": "smooth",
            "mode": "observe", "canary": true, "weight": 1_024, "host": "here", "env_digest": "ee",
        }),
    );
    assert_eq!(unchecked, 0, "a column that nothing looks at");
    expect(
        &found[1],
        json!({
            "core": 300, "flow_id": null, "t_tx": null, "t_wire": null, "departure_source": null,
            "queue": null, "end": "queue_full", "release": null, "regime": null, "canary": null,
            "correlation_id": null, "symbol": null, "profile": "normal",
        }),
    );
    let found = rows(&features);
    let unchecked = expect(
        &found[0],
        json!({
            "window_from": 5, "window_to": 9, "port": null, "class": "orders", "kind": null,
            "limit": null, "arm": null, "kpi": "burstiness_index", "part": null, "value_name": "bi",
            "value": null, "absent": "n_too_small", "n": 40, "basis": "exact", "view": "inside",
            "intent": "tag", "simulated": false, "proxy": false, "structural_zero": false,
            "host_figure": false,
        }),
    );
    assert_eq!(unchecked, 0);
    expect(&found[1], json!({"value_name": "excess", "value": 1.5, "absent": null}));
    let unchecked = expect(
        &rows(&log)[0],
        json!({
            "time": 6, "scope": "orders", "machine": "pacing", "from": "CLEAN_FLOW",
            "to": "BURST_RELEASED", "reason": "enter", "values": "{\"bi\":3.5,\"d2w\":null}",
        }),
    );
    assert_eq!(unchecked, 0);

    assert_eq!(footer(&packets, "wirepace.table").as_deref(), Some("packets"));
    assert_eq!(footer(&packets, "wirepace.schema_version").as_deref(), Some("1"));
    assert_eq!(footer(&packets, "wirepace.config_digest"), Some(config().digest));
    assert_eq!(footer(&log, "wirepace.rows_lost").as_deref(), Some("0"));
    let reader = SerializedFileReader::new(File::open(&packets).unwrap()).unwrap();
    let group = reader.metadata().row_group(0);
    let column = group.columns().iter().find(|c| c.column_path().string() == "t_tx").unwrap();
    assert_eq!(column.compression(), Compression::SNAPPY);
    let logical = column.column_descr().logical_type_ref();
    assert!(matches!(logical, Some(LogicalType::Timestamp(_))), "{logical:?}");
}

#[test]
fn sets_follow_each_other_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let by_time = |place: &mut Place| {
        let Place::Directory { rotate_time, keep, .. } = place else { unreachable!() };
        (*rotate_time, *keep) = (Nanos(100), 2);
    };
    let timeline = start(dir.path(), WhenFull::Wait, by_time);
    let mut recorder = timeline.recorder();
    for n in 0..4 {
        // The first turn tells what time it is; each set ends 100 ns after it began.
        recorder.turn(Nanos(1_000 + n * 100));
        recorder.packet(0, &sample(n));
        recorder.turn(Nanos(1_000 + n * 100 + 50));
    }
    let open = dir.path().join("gw1-00000004.packets.parquet.part");
    // The queue is worked off in order: once the fourth set is there, the third is complete.
    while !open.exists() {
        std::thread::yield_now();
    }
    assert!(set(dir.path(), 3).iter().all(|path| path.exists()));
    timeline.finish().unwrap();
    let kept: Vec<String> = [3, 4]
        .iter()
        .flat_map(|number| set(dir.path(), *number))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut kept = kept;
    kept.sort();
    assert_eq!(names(dir.path()), kept);
    let id = |number| cell(&rows(&set(dir.path(), number)[0])[0], "packet_id");
    assert_eq!((id(3), id(4)), (json!(2), json!(3)));

    // The next run goes on behind it, and leaves nothing of what was not complete.
    fs::write(dir.path().join("gw1-00000005.packets.parquet.part"), "half").unwrap();
    start(dir.path(), WhenFull::Wait, by_time).finish().unwrap();
    assert!(set(dir.path(), 6)[0].exists());
    assert!(names(dir.path()).iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn a_set_ends_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = start(dir.path(), WhenFull::Wait, |place| {
        let Place::Directory { rotate_bytes, .. } = place else { unreachable!() };
        *rotate_bytes = 1;
    });
    let mut recorder = timeline.recorder();
    // A row group has 65536 rows, in batches of 1024: it is full at the end of a batch.
    (0..140_000).for_each(|n| recorder.packet(0, &sample(n)));
    recorder.turn(Nanos(1));
    assert_eq!(timeline.finish().unwrap().rows[0], 140_000);
    let counts: Vec<usize> = (1..=3).map(|n| rows(&set(dir.path(), n)[0]).len()).collect();
    assert_eq!(counts, [65_536, 65_536, 140_000 - 131_072]);
}

/// Nobody takes rows out of the queue as fast as they are put in here, so some are lost: what is in the
/// files and what is counted as lost is what was recorded, and whoever recorded never waited.
#[test]
fn what_finds_the_queue_full_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = start(dir.path(), WhenFull::Lose, |_| {});
    let mut recorder = timeline.recorder();
    let mut recorded = 0;
    // 4 batches of 1024 fit: so many are more than the writer takes while they are made.
    for n in 0..400 * 1_024 {
        recorder.packet(0, &sample(n));
        recorded += 1;
    }
    recorder.turn(Nanos(1));
    let written = timeline.finish().unwrap();
    assert_eq!(written.rows[0] + written.lost[0], recorded);
    assert!(written.lost[0] > 0, "{written:?}");
    let [packets, ..] = set(dir.path(), 1);
    let found = rows(&packets);
    assert_eq!(found.len() as u64, written.rows[0]);
    assert_eq!(footer(&packets, "wirepace.rows_lost"), Some(written.lost[0].to_string()));
    // What is lost shows as a gap in the numbers of the rows.
    let last = cell(found.last().unwrap(), "packet_id").as_u64().unwrap();
    assert!(last >= found.len() as u64 - 1);
    let mut registry = Registry::new();
    recorder.publish(&mut registry);
    let list = registry.to_json();
    assert_eq!(list["timeline_rows_lost"][1]["table"], "packets", "{list}");
    assert_eq!(list["timeline_rows_lost"][1]["value"], written.lost[0]);
    assert_eq!(list["timeline_rows"][1]["value"], written.rows[0]);
    assert_eq!((&list["timeline_files"], &list["timeline_errors"]), (&json!(3), &json!(0)));
}

#[test]
fn a_directory_that_goes_away_loses_rows_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("rows");
    let timeline = start(&place, WhenFull::Wait, |place| {
        let Place::Directory { rotate_time, .. } = place else { unreachable!() };
        *rotate_time = Nanos(100);
    });
    let mut recorder = timeline.recorder();
    recorder.turn(Nanos(1_000));
    fs::remove_dir_all(&place).unwrap();
    recorder.packet(0, &sample(1));
    recorder.turn(Nanos(1_050));
    recorder.turn(Nanos(1_100));
    recorder.packet(0, &sample(2));
    recorder.turn(Nanos(1_150));
    let mut registry = Registry::new();
    let error = timeline.finish().unwrap_err().to_string();
    assert!(error.contains("gw1-00000002.packets.parquet.part"), "{error}");
    recorder.publish(&mut registry);
    let list = registry.to_json();
    // The second row met no open set. The first is in a file that nobody can find any more.
    assert_eq!(list["timeline_rows_lost"][1]["value"], 1, "{list}");
    assert!(list["timeline_errors"].as_u64().unwrap() >= 1);
    let Err(error) = Timeline::start(
        &config(),
        Options {
            place: Place::File("/nowhere/T.parquet".into()),
            when_full: WhenFull::Wait,
            queue_rows: 1,
            host: None,
            env_digest: None,
        },
    ) else {
        panic!("a file in no directory")
    };
    assert!(error.to_string().contains("/nowhere/T.parquet"), "{error}");
}
