//! The main job on captures: what `wirepace replay` writes is what the config promises, to the
//! nanosecond, each time the same.
//!
//! `WIREPACE_REGENERATE=1 cargo test --test replay` writes the golden counters anew.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "checker/mod.rs"]
mod checker;
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use checker::capture::{Record, read_file};
use checker::{Evidence, Report, What};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use support::captures::{Pcap, gzip, pcap, pcapng};
use support::commands::{Ran, Replay, check, regenerate, replay, repository, run, wirepace};
use support::frames::{ACK, FIN, tcp, udp};
use tempfile::TempDir;

const ORDERS: &str = "orders-s1.pcap";
const MARKET_DATA: &str = "market-data-s1.pcap";
const MIXED: &str = "mixed-s1.pcapng.gz";

fn golden(name: &str) -> PathBuf {
    repository("tests/golden").join(name)
}

fn replay_config() -> PathBuf {
    repository("configs/replay.toml")
}

/// A run and everything that the checker needs to judge it.
struct Judged {
    run: Replay,
    json: Value,
    check_json: Value,
    config: String,
    profile: &'static str,
    input: Vec<Record>,
    output: Vec<Record>,
}

impl Judged {
    #[track_caller]
    fn new(config: &Path, input: &Path, profile: &'static str) -> Self {
        let run = replay(config, input, &["--profile", profile]);
        Self {
            json: run.json(),
            check_json: check(config),
            config: fs::read_to_string(config).unwrap(),
            profile,
            input: read_file(input).unwrap(),
            output: read_file(&run.output).unwrap(),
            run,
        }
    }

    /// The checker's report on an output that may have been changed.
    #[track_caller]
    fn report_on(&self, output: &[Record]) -> Report {
        let evidence = Evidence {
            input: &self.input,
            output,
            config: &self.config,
            profile: self.profile,
            check_json: &self.check_json,
            run_json: Some(&self.json),
        };
        checker::check(&evidence).unwrap()
    }

    /// Replays and panics unless everything that was promised holds.
    #[track_caller]
    fn clean(config: &Path, input: &Path, profile: &'static str) -> (Self, Report) {
        let judged = Self::new(config, input, profile);
        let report = judged.report_on(&judged.output);
        report.assert_clean();
        (judged, report)
    }
}

/// A capture file of these frames.
fn capture<F: AsRef<[u8]>>(directory: &TempDir, frames: &[(u64, F)]) -> PathBuf {
    let path = directory.path().join("in.pcap");
    fs::write(&path, pcap(Pcap { big: false, nanoseconds: true }, frames)).unwrap();
    path
}

/// `configs/replay.toml` with other lines in it.
fn changed_config(directory: &TempDir, changes: &[(&str, &str)]) -> PathBuf {
    let mut text = fs::read_to_string(replay_config()).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "configs/replay.toml has no `{from}`");
        text = text.replace(from, to);
    }
    let path = directory.path().join("changed.toml");
    fs::write(&path, text).unwrap();
    path
}

/// An order of `configs/replay.toml` from sender `n`: 100 bytes.
fn order(n: u16) -> Vec<u8> {
    udp([10, 1, 0, 1], 40_000 + n, [10, 9, 0, 1], 7_000, &[0; 58])
}

const START: u64 = 1_736_173_800_000_000_000;

fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} in {json:#}"))
}

/// Packets of each class that ended, and how many of them as drops, from the KPIs.
fn per_class(json: &Value) -> BTreeMap<String, (u64, u64)> {
    let series = json["kpis"]["drops"]["series"].as_array().unwrap();
    let rows = series.iter().map(|row| {
        let name = row["class"].as_str().or(row["part"].as_str()).unwrap();
        (name.to_owned(), (number(row, "n"), number(row, "packets")))
    });
    rows.collect()
}

// Conformance.

#[test]
fn every_golden_capture_leaves_as_every_profile_says() {
    let mut counters = Map::new();
    for name in [ORDERS, MARKET_DATA, MIXED] {
        for profile in ["normal", "smooth"] {
            let (judged, report) = Judged::clean(&replay_config(), &golden(name), profile);
            assert_eq!(report.frames_in, report.frames_out);
            let json = &judged.json;
            let keep = ["packets_in", "packets_out", "bytes_in", "bytes_out", "drops", "held"];
            let kept: Map<_, _> =
                keep.iter().map(|&key| (key.to_owned(), json[key].clone())).collect();
            let departures = Sha256::digest(fs::read(&judged.run.output).unwrap());
            let departures: String = departures.iter().map(|b| format!("{b:02x}")).collect();
            counters.insert(
                format!("{name} {profile}"),
                json!({
                    "counters": kept,
                    "classes": report.by_class,
                    "governed": report.governed,
                    "exempt": report.exempt,
                    "forward": report.forward,
                    "max_hold": report.max_hold,
                    "delayed": report.delayed,
                    "departures_sha256": departures,
                }),
            );
        }
    }
    let counters = format!("{:#}\n", Value::Object(counters));
    let path = golden("counters.json");
    if regenerate() {
        fs::write(&path, &counters).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(counters, expected, "golden counters; WIREPACE_REGENERATE=1 writes them anew");
}

#[test]
fn the_caps_of_the_bundled_config_delay_a_fifth_of_the_orders_and_more() {
    let (_, report) = Judged::clean(&replay_config(), &golden(ORDERS), "normal");
    report.assert_delayed_at_least(0.20);
    assert!(report.governed > 1_000 && report.exempt > 100, "{report:#?}");
    // Without bursts orders wait longer.
    let (_, smooth) = Judged::clean(&replay_config(), &golden(ORDERS), "smooth");
    assert!(smooth.delayed > report.delayed, "{} and {}", smooth.delayed, report.delayed);
}

#[test]
fn without_caps_the_checker_says_that_too_little_was_delayed() {
    let directory = TempDir::new().unwrap();
    let text = fs::read_to_string(replay_config()).unwrap();
    let caps = ["rate", "burst", "messages ", "message_burst", "flow_"];
    let uncapped: Vec<_> =
        text.lines().filter(|line| !caps.iter().any(|cap| line.starts_with(cap))).collect();
    let uncapped = uncapped.join("\n");
    let (uncapped, _) = uncapped.split_once("[[profile]]").unwrap();
    let config = directory.path().join("uncapped.toml");
    fs::write(&config, uncapped).unwrap();

    let (_, report) = Judged::clean(&config, &golden(ORDERS), "normal");
    let failed = catch_unwind(|| report.assert_delayed_at_least(0.20));
    assert!(failed.is_err(), "{} of {} were delayed", report.delayed, report.frames_out);
}

#[test]
fn the_checker_sees_one_wrong_nanosecond_one_lost_frame_and_one_frame_too_many() {
    let judged = Judged::new(&replay_config(), &golden(ORDERS), "normal");
    let mut arrivals: BTreeMap<&[u8], VecDeque<u64>> = BTreeMap::new();
    for record in &judged.input {
        arrivals.entry(&record.bytes).or_default().push_back(record.t);
    }
    let arrivals: Vec<u64> = judged
        .output
        .iter()
        .map(|record| arrivals.get_mut(record.bytes.as_slice()).unwrap().pop_front().unwrap())
        .collect();
    let changed = |change: &dyn Fn(&mut Vec<Record>)| {
        let mut output = judged.output.clone();
        change(&mut output);
        judged.report_on(&output)
    };
    assert_eq!(changed(&|_| ()).breaches.len(), 0);

    // One ns before it came.
    let at_once = (0..arrivals.len()).find(|&i| judged.output[i].t == arrivals[i]).unwrap();
    assert!(changed(&|output| output[at_once].t -= 1).count(What::Early) > 0);
    // A governed departure is less than a slot after its time: a slot earlier is too early.
    let slot = 1_024;
    let delayed: Vec<_> = (0..judged.output.len())
        .filter(|&i| judged.output[i].t > arrivals[i] + 100 * slot)
        .collect();
    assert!(delayed.len() > 100);
    let caught = delayed
        .iter()
        .step_by(10)
        .filter(|&&i| changed(&|output| output[i].t -= slot).count(What::Early) > 0)
        .count();
    assert!(caught > 30, "{caught}");
    // All at once: the caps as if there were none.
    let unpaced = changed(&|output| {
        output.iter_mut().zip(&arrivals).for_each(|(record, arrival)| record.t = *arrival);
        output.sort_by_key(|record| record.t);
    });
    assert!(unpaced.count(What::Early) > 100 && unpaced.count(What::Window) > 0);
    assert!(catch_unwind(|| unpaced.assert_delayed_at_least(0.20)).is_err());
    // Later than a slot for no reason.
    let late = changed(&|output| output.last_mut().unwrap().t += 2 * slot);
    assert!(late.count(What::Late) > 0);

    assert!(changed(&|output| drop(output.remove(7))).count(What::Lost) > 0);
    assert!(changed(&|output| output.push(output[7].clone())).count(What::Duplicate) > 0);
    assert!(changed(&|output| output[7].bytes.push(0)).count(What::Invented) > 0);
    assert!(changed(&|output| output.truncate(output.len() / 2)).count(What::Counters) > 0);
}

#[test]
fn what_has_waited_for_max_hold_leaves_above_its_envelope() {
    let directory = TempDir::new().unwrap();
    let orders = "flow_message_burst = 2\nmessages_per_segment = 1\nmax_hold = \"200ms\"";
    let config = changed_config(&directory, &[(orders, &orders.replace("\"200ms\"", "\"300us\""))]);
    let (_, report) = Judged::clean(&config, &golden(ORDERS), "normal");
    assert!(report.max_hold > 100 && report.governed > 100, "{report:#?}");
}

#[test]
fn the_end_of_a_session_pushes_out_what_is_ahead_of_it() {
    let directory = TempDir::new().unwrap();
    let segment = |n: u32, flags, payload: &[u8]| {
        tcp([10, 1, 0, 1], 45_000, [10, 9, 0, 1], 9_001, 1 + n * 100, flags, payload)
    };
    let mut frames: Vec<_> =
        (0..50).map(|n| (START + u64::from(n), segment(n, ACK, &[0; 100]))).collect();
    frames.push((START + 1_000_000, segment(50, FIN | ACK, &[])));
    let (judged, report) = Judged::clean(&replay_config(), &capture(&directory, &frames), "normal");
    assert!(report.forward > 20 && report.governed > 4 && report.exempt == 1, "{report:#?}");
    assert_eq!(judged.output.last().unwrap().t, START + 1_000_000);
}

// The same each time.

#[test]
fn two_runs_and_another_seed_give_the_same_bytes() {
    let runs: Vec<_> = [&[][..], &[], &["--seed", "77"]]
        .iter()
        .map(|options| replay(&replay_config(), &golden(ORDERS), options))
        .collect();
    let [first, rest @ ..] = &runs[..] else { unreachable!() };
    for run in rest {
        // No class has jitter, and every packet is sampled: nothing is left to the seed.
        assert_eq!(fs::read(&run.output).unwrap(), fs::read(&first.output).unwrap());
        assert_eq!(fs::read(&run.kpis).unwrap(), fs::read(&first.kpis).unwrap());
        assert_eq!(run.json_without_host(), first.json_without_host());
    }
    let kpis: Value = serde_json::from_slice(&fs::read(&first.kpis).unwrap()).unwrap();
    assert_eq!(first.json()["kpis"], kpis);
}

#[test]
fn every_kind_of_capture_gives_the_same_output() {
    let directory = TempDir::new().unwrap();
    // Whole microseconds, so that every format can say them.
    let records = read_file(&golden(ORDERS)).unwrap();
    let frames: Vec<_> =
        records.iter().take(400).map(|r| (r.t / 1_000 * 1_000, r.bytes.clone())).collect();
    let in_units = |divisor: u64| -> Vec<_> {
        frames.iter().map(|(t, bytes)| (t / divisor, 0, bytes.clone())).collect()
    };
    let mut files = Vec::new();
    for big in [false, true] {
        for nanoseconds in [false, true] {
            files.push(pcap(Pcap { big, nanoseconds }, &frames));
        }
        files.push(pcapng(big, 9, &["strategies"], &in_units(1)));
        files.push(pcapng(big, 6, &["strategies"], &in_units(1_000)));
    }
    files.extend(files.iter().map(|file| gzip(file)).collect::<Vec<_>>());
    let mut outputs = files.iter().map(|file| {
        let path = directory.path().join("capture");
        fs::write(&path, file).unwrap();
        let run = replay(&replay_config(), &path, &[]);
        (fs::read(&run.output).unwrap(), run.json_without_host())
    });
    let first = outputs.next().unwrap();
    assert_eq!(number(&first.1, "packets_out"), 400);
    assert!(outputs.all(|output| output == first));
}

#[test]
fn net_pcap_gives_the_same_counters_as_the_reader() {
    for name in [ORDERS, MARKET_DATA, MIXED] {
        let reader = replay(&replay_config(), &golden(name), &[]).json();
        let pmd = replay(&replay_config(), &golden(name), &["--via-pmd"]);
        let via = pmd.json();
        for key in ["packets_in", "packets_out", "bytes_in", "bytes_out", "drops", "drops_bytes"] {
            assert_eq!(via[key], reader[key], "{name}: {key}");
        }
        assert_eq!(per_class(&via), per_class(&reader), "{name}");
        assert!(per_class(&reader).values().any(|&(n, _)| n > 100));
        assert_eq!(number(&via, "device_lost"), 0);
        let held = ["held", "early", "mbufs_leaked"].map(|key| number(&via, key));
        assert_eq!(held, [0; 3], "{name}");
    }
}

#[test]
fn of_a_microsecond_capture_net_pcap_makes_the_same_output() {
    let directory = TempDir::new().unwrap();
    let frames: Vec<_> =
        read_file(&golden(ORDERS)).unwrap().into_iter().map(|r| (r.t, r.bytes)).collect();
    let input = directory.path().join("micros.pcap");
    fs::write(&input, pcap(Pcap { big: false, nanoseconds: false }, &frames)).unwrap();
    let reader = replay(&replay_config(), &input, &[]);
    let pmd = replay(&replay_config(), &input, &["--via-pmd"]);
    assert_eq!(pmd.json_without_host(), reader.json_without_host());
    assert!(fs::read(&pmd.output).unwrap() == fs::read(&reader.output).unwrap());
}

// What is counted beside packets.

#[test]
fn venue_limits_and_retransmissions_stand_in_the_summary() {
    let directory = TempDir::new().unwrap();
    let limit = "[[venue_limit]]\nname = \"xcme\"\nvenue = \"XCME\"\nmessages = 100\nper = \"1s\"\n\
                 margin = 0.0\nburst = 40\n\n[[pair]]";
    let config = changed_config(&directory, &[("[[pair]]", limit), ("\"200ms\"", "\"2s\"")]);
    let frames: Vec<_> = (0..60).map(|n| (START + n * 1_000, order(n as u16))).collect();
    let json = replay(&config, &capture(&directory, &frames), &[]).json();
    let one = |name: &str| json["kpis"][name]["series"][0].clone();
    let (room, waits) = (one("venue_limit_headroom"), one("venue_limit_waits"));
    assert_eq!(room["limit"], "xcme");
    // 60 orders in 100 messages, of which ten are for cancels; beyond the burst of 40 they wait.
    assert_eq!((number(&room, "n"), number(&room, "messages")), (60, 40));
    assert!((room["headroom"].as_f64().unwrap() - 0.4).abs() < 1e-9, "{room}");
    assert!((15..=20).contains(&number(&waits, "waits")), "{waits}");

    // Without a limit, and without a segment, there is nothing to show.
    let json = replay(&replay_config(), &capture(&directory, &frames), &[]).json();
    let why = |name: &str| json["kpis"][name]["series"][0]["absent"].clone();
    assert_eq!(
        (why("venue_limit_headroom"), why("venue_limit_waits")),
        ("no_limit".into(), "no_limit".into())
    );
    assert_eq!(why("tcp_retransmit_ratio"), "no_packets");

    let segment = |seq| tcp([10, 1, 0, 1], 41_000, [10, 9, 0, 1], 9_001, seq, ACK, &[1; 100]);
    let frames: Vec<_> = (0..200u32)
        .map(|n| (START + u64::from(n) * 50_000_000, segment(1 + 100 * (n / 2))))
        .collect();
    let json = replay(&replay_config(), &capture(&directory, &frames), &[]).json();
    let ratio = &json["kpis"]["tcp_retransmit_ratio"]["series"][0];
    assert_eq!((number(ratio, "n"), ratio["ratio"].as_f64()), (200, Some(0.5)));
    let counters = &json["counters"];
    assert_eq!(
        (number(counters, "tcp_segments"), number(counters, "tcp_retransmissions")),
        (200, 100)
    );
    assert_eq!(number(counters, "retransmits_while_held"), 0);
    assert_eq!(number(&json["kpis"]["retransmits_while_held"]["series"][0], "packets"), 0);
}

// Odd captures and tight configs.

#[test]
fn a_stamp_that_goes_backwards_is_moved_up_and_counted() {
    let directory = TempDir::new().unwrap();
    let times = [5_000_000, 1_000_000, 5_500_000, 4_000_000, 9_000_000];
    let frames: Vec<_> = times.iter().zip(0..).map(|(t, n)| (START + t, order(n))).collect();
    let input = capture(&directory, &frames);
    for options in [&[][..], &["--via-pmd"]] {
        let run = replay(&replay_config(), &input, options);
        assert_eq!(number(&run.json(), "timestamps_backwards"), 2);
    }
    let (judged, _) = Judged::clean(&replay_config(), &input, "normal");
    let left: Vec<_> = judged.output.iter().map(|record| record.t - START).collect();
    assert_eq!(left, [5_000_000, 5_000_000, 5_500_000, 5_500_000, 9_000_000]);
}

#[test]
fn a_class_that_may_drop_ends_what_its_queue_cannot_hold_under_a_name() {
    let directory = TempDir::new().unwrap();
    let market_data =
        "queue_packets = 4096\nqueue_bytes = \"4MiB\"\n\n[[class]]\nname = \"other-out\"";
    let allowed = "queue_packets = 64\nqueue_bytes = \"4MiB\"\non_overflow = \"drop\"\n\
                   allow_drop = true\nallow_drop_reason = \"snapshots follow\"\n\n[[class]]\nname = \"other-out\"";
    let config = changed_config(
        &directory,
        &[(market_data, allowed), ("rate = \"500M\"\nburst = \"64KiB\"", "rate = \"1M\"")],
    );
    let (judged, report) = Judged::clean(&config, &golden(MARKET_DATA), "normal");
    let dropped = number(&judged.json["drops"], "queue_full");
    assert!(dropped > 50, "{dropped}");
    assert_eq!(report.frames_out as u64 + dropped, report.frames_in as u64);
    let bytes_dropped = number(&judged.json["drops_bytes"], "queue_full");
    assert_eq!(number(&judged.json, "bytes_in"), number(&judged.json, "bytes_out") + bytes_dropped);
    assert_eq!(per_class(&judged.json)["market-data"], (report.frames_in as u64, dropped));
    assert_eq!(judged.json["alarms"], json!({}), "a policy is no alarm");
}

/// Frames of [`burst_into_a_small_pool`].
const FRAMES: u16 = 6_000;

/// Orders of 300 senders at once, under a config whose pool is as small as `check` allows.
fn burst_into_a_small_pool(directory: &TempDir) -> (PathBuf, PathBuf) {
    let config = changed_config(
        directory,
        &[
            ("[control]", "[dpdk]\nmbufs = 3448\npool_reserve = 0.0\n\n[control]"),
            (
                "side = \"inside\"\n",
                "side = \"inside\"\nrx_descriptors = 64\ntx_descriptors = 64\n",
            ),
            ("side = \"venue\"\n", "side = \"venue\"\nrx_descriptors = 64\ntx_descriptors = 64\n"),
            ("queue_packets = 4096", "queue_packets = 32"),
            ("priority = 0\n", "priority = 0\nqueue_packets = 8\n"),
            ("halt_mixed = \"block\"", "queue_packets = 8\nhalt_mixed = \"block\""),
            ("from = \"venue\"", "from = \"venue\"\nqueue_packets = 8"),
        ],
    );
    let frames: Vec<_> = (0..FRAMES).map(|n| (START, order(n % 300))).collect();
    (config, capture(directory, &frames))
}

#[test]
fn orders_beyond_their_queue_are_kept_with_an_alarm_and_beyond_the_pool_end_as_pool_empty() {
    let directory = TempDir::new().unwrap();
    let (config, input) = burst_into_a_small_pool(&directory);
    let reader = replay(&config, &input, &[]);
    let json = reader.json();
    let (frames, missed) = (u64::from(FRAMES), number(&json["drops"], "pool_empty"));
    assert!(missed > 1_000, "{missed}");
    assert_eq!(number(&json, "packets_in"), frames);
    assert_eq!(number(&json, "packets_out"), frames - missed);
    assert_eq!(number(&json["drops_bytes"], "pool_empty"), 100 * missed);
    assert_eq!(number(&json, "bytes_in"), 100 * frames);
    assert_eq!(number(&json, "bytes_out"), 100 * (frames - missed));
    assert!(number(&json, "over_budget") > 2_000);
    // The alarms say so, too.
    assert_eq!(number(&json["alarms"], "pool_empty_packets"), missed);
    assert!(number(&json["alarms"], "backpressure") > 0);
    assert_eq!(per_class(&json)["unclassified"], (missed, missed));

    let via_pmd = replay(&config, &input, &["--via-pmd"]);
    assert_eq!(via_pmd.json_without_host(), reader.json_without_host());
    assert!(fs::read(&via_pmd.output).unwrap() == fs::read(&reader.output).unwrap());
}

/// A super-frame of the session of `configs/replay.toml`, with its payload counted up from `seq`. Its
/// checksums were left to the device, as in every capture taken on the host that sends.
fn super_frame(seq: u32, payload: usize) -> Vec<u8> {
    let (src, dst) = ([10, 1, 0, 1], [10, 9, 0, 1]);
    let body: Vec<u8> = (0..payload as u32).map(|k| (seq + k) as u8).collect();
    let mut frame = tcp(src, 40_000, dst, 9_001, seq, ACK, &body);
    let mut pseudo: u32 = 6 + 20 + payload as u32;
    for word in [src, dst].iter().flat_map(|address| address.chunks(2)) {
        pseudo += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    frame[50..52]
        .copy_from_slice(&((pseudo & 0xffff) as u16 + (pseudo >> 16) as u16).to_be_bytes());
    frame
}

#[test]
fn super_frames_of_a_capture_leave_as_segments_that_carry_the_same_bytes() {
    const PAYLOADS: [usize; 4] = [3_000, 9_000, 1_460, 40_000];
    let directory = TempDir::new().unwrap();
    let mut seq = 1_000;
    let frames: Vec<_> = (0..40)
        .map(|n| {
            let payload = PAYLOADS[n % 4];
            let frame = super_frame(seq, payload);
            seq += payload as u32;
            (START + 20_000_000 * n as u64, frame)
        })
        .collect();
    let input = capture(&directory, &frames);
    let venue = "side = \"venue\"";
    let config =
        changed_config(&directory, &[(venue, &format!("{venue}\nsegment = \"software\""))]);
    let run = replay(&config, &input, &[]);
    let json = run.json();
    let segments: usize = PAYLOADS.iter().map(|payload| 10 * payload.div_ceil(1_460)).sum();
    let added = (segments - 40) as u64;
    let bytes_in: u64 = frames.iter().map(|(_, frame)| frame.len() as u64).sum();
    assert_eq!(number(&json, "packets_in"), 40);
    assert_eq!((number(&json, "packets_out"), json["drops"].clone()), (segments as u64, json!({})));
    assert_eq!(
        (number(&json, "segments_added"), number(&json, "bytes_added")),
        (added, 54 * added)
    );
    assert_eq!(number(&json, "bytes_in"), bytes_in);
    assert_eq!(number(&json, "bytes_out"), bytes_in + 54 * added);

    // The stream is the same, byte for byte and in order.
    let mut next = 1_000;
    for record in read_file(&run.output).unwrap() {
        let frame = &record.bytes;
        assert!(frame.len() <= 1_514, "{} bytes", frame.len());
        let seq = u32::from_be_bytes(frame[38..42].try_into().unwrap());
        assert_eq!(seq, next);
        assert!(frame[54..].iter().zip(seq..).all(|(byte, at)| *byte == at as u8));
        next = seq + (frame.len() - 54) as u32;
    }
    assert_eq!(next, seq);

    let via_pmd = replay(&config, &input, &["--via-pmd"]);
    assert_eq!(via_pmd.json_without_host(), run.json_without_host());
    assert!(fs::read(&via_pmd.output).unwrap() == fs::read(&run.output).unwrap());

    // Without it they end under their name, and a capture cannot stand in for a NIC that cuts.
    let refused = replay(&replay_config(), &input, &[]).json();
    assert_eq!(refused["drops"], json!({ "tx_oversize": 30 }));
    let text = fs::read_to_string(&config).unwrap().replace("\"software\"", "\"hardware\"");
    fs::write(&config, text).unwrap();
    let (input, out) = (input.to_str().unwrap(), directory.path().join("out.pcapng"));
    let (config, out) = (config.to_str().unwrap(), out.to_str().unwrap());
    wirepace(["replay", "--config", config, "--in", input, "--out", out])
        .assert_failed(1, &["port venue-a: segment = \"hardware\"", "\"software\""]);
}

#[test]
fn a_capture_of_another_world_passes_through_the_default_class() {
    let directory = TempDir::new().unwrap();
    let frames: Vec<_> = (0..500u32)
        .map(|n| {
            let payload = vec![n as u8; (n % 1_400) as usize];
            let segment =
                tcp([192, 0, 2, 1], 50_000, [198, 51, 100, 7], 443, n * 1_400, ACK, &payload);
            (START + u64::from(n) * 10_000, segment)
        })
        .collect();
    let (_, report) = Judged::clean(&replay_config(), &capture(&directory, &frames), "normal");
    assert_eq!(report.by_class, BTreeMap::from([("other-out".to_owned(), 500)]));
}

// Other tools.

#[test]
fn tshark_and_tcpdump_read_the_output() {
    let run = replay(&replay_config(), &golden(ORDERS), &[]);
    let frames = number(&run.json(), "packets_out");
    let output = read_file(&run.output).unwrap();
    let mut read_by = 0;
    if let Some(ran) = tool("tshark", &["-n", "-T", "fields", "-e", "frame.time_epoch", "-r"], &run)
    {
        let times: Vec<_> = ran.stdout.lines().collect();
        assert_eq!(times.len() as u64, frames);
        for (time, record) in times.iter().zip(&output) {
            let (seconds, nanos) = (record.t / 1_000_000_000, record.t % 1_000_000_000);
            assert_eq!(*time, format!("{seconds}.{nanos:09}"));
        }
        assert!(!ran.stderr.contains("cut short"), "{}", ran.stderr);
        read_by += 1;
    }
    if let Some(ran) = tool("tcpdump", &["-n", "--nano", "-tt", "-q", "-r"], &run) {
        let lines: Vec<_> = ran.stdout.lines().filter(|line| line.contains("IP")).collect();
        assert!(lines.len() as u64 > frames * 9 / 10, "{} of {frames}", lines.len());
        read_by += 1;
    }
    println!("read by {read_by} tools");
}

/// Runs a tool on the output, or says why not.
fn tool(name: &str, arguments: &[&str], replay: &Replay) -> Option<Ran> {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: {name} is not installed");
        return None;
    }
    let mut command = Command::new(name);
    command.args(arguments).arg(&replay.output);
    let ran = run(command);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    Some(ran)
}

#[test]
fn a_generated_capture_is_paced_like_the_golden_ones() {
    let directory = TempDir::new().unwrap();
    let input = directory.path().join("fresh.pcapng");
    let made = wirepace([
        "generate",
        "--kind",
        "mixed",
        "--seed",
        "42",
        "--seconds",
        "0.3",
        "--json",
        "--out",
        input.to_str().unwrap(),
    ]);
    let frames = number(&made.json(), "frames");
    let (judged, report) = Judged::clean(&replay_config(), &input, "normal");
    assert_eq!(report.frames_in as u64, frames);
    assert_eq!(number(&judged.json, "bytes_in"), number(&made.json(), "bytes"));
}

/// `WIREPACE_CAPTURE=file cargo test --test replay -- --ignored --nocapture` judges any capture.
#[test]
#[ignore = "needs a capture in WIREPACE_CAPTURE"]
fn a_capture_of_your_own_leaves_as_the_bundled_config_says() {
    let input = PathBuf::from(std::env::var_os("WIREPACE_CAPTURE").expect("WIREPACE_CAPTURE"));
    for profile in ["normal", "smooth"] {
        let (judged, report) = Judged::clean(&replay_config(), &input, profile);
        let again = replay(&replay_config(), &input, &["--profile", profile]);
        assert_eq!(fs::read(&again.output).unwrap(), fs::read(&judged.run.output).unwrap());
        assert_eq!(again.json_without_host(), judged.run.json_without_host());
        let via_pmd = replay(&replay_config(), &input, &["--profile", profile, "--via-pmd"]).json();
        assert_eq!(per_class(&via_pmd), per_class(&judged.json));
        for key in ["packets_in", "packets_out", "bytes_in", "bytes_out", "drops", "drops_bytes"] {
            assert_eq!(via_pmd[key], judged.json[key], "{key}");
            println!("{profile}: {key} {}", judged.json[key]);
        }
        println!("{report:#?}");
    }
}
