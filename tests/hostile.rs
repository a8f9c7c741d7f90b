//! Captures that are wrong in one way each: every one of them ends with a clear error or with named
//! ends of its frames, the same through our reader and through net_pcap, and never with a panic
//! (the runner of commands sees to that).
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "checker/mod.rs"]
mod checker;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use checker::capture::{Record, read_file};
use checker::{Evidence, What};
use model::drop_reason::DropReason;
use rig::generate::{HostileCase, hostile};
use serde_json::Value;
use support::captures::{Pcap, pcap, pcapng};
use support::commands::{Replay, check, replay, repository};
use support::frames::{ethernet, ipv4, tagged, udp};
use tempfile::TempDir;

const BOTH_WAYS: [&[&str]; 2] = [&[], &["--via-pmd"]];

fn replay_config() -> PathBuf {
    repository("configs/replay.toml")
}

fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} in {json:#}"))
}

fn counts(json: &Value) -> BTreeMap<String, u64> {
    let counts = json.as_object().unwrap().iter();
    counts.map(|(name, count)| (name.clone(), count.as_u64().unwrap())).collect()
}

/// The ends that the table of the set asks for, under a config that forwards no fragments.
fn expected_drops(case: &HostileCase) -> BTreeMap<String, u64> {
    let others =
        [(DropReason::IpFragment, case.fragments), (DropReason::TxOversize, case.oversize)];
    let named = case.malformed.iter().copied().chain(others);
    named.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name().to_owned(), n)).collect()
}

/// Conservation in packets and bytes, nothing early, held or leaked; and the output is a capture
/// that holds what was sent.
fn assert_balanced(name: &str, run: &Replay, json: &Value) {
    let drops = counts(&json["drops"]).values().sum::<u64>();
    let bytes = counts(&json["drops_bytes"]).values().sum::<u64>();
    assert_eq!(number(json, "packets_in"), number(json, "packets_out") + drops, "{name}");
    assert_eq!(number(json, "bytes_in"), number(json, "bytes_out") + bytes, "{name}");
    for key in ["held", "early", "mbufs_leaked", "device_lost"] {
        assert_eq!(number(json, key), 0, "{name}: {key}");
    }
    let output = read_file(&run.output).unwrap();
    assert_eq!(output.len() as u64, number(json, "packets_out"), "{name}");
    assert_eq!(bytes_of(&output), number(json, "bytes_out"), "{name}");
}

fn bytes_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.bytes.len() as u64).sum()
}

fn judge(
    case: &HostileCase,
    input: &Path,
    options: &[&str],
    check_json: &Value,
    judged: &AtomicUsize,
) {
    let name = format!("{} {options:?}", case.file);
    let run = replay(&replay_config(), input, options);
    // A copy for net_pcap is made of what is cut off, not of what is damaged.
    let is_refused =
        case.is_refused || (!options.is_empty() && case.error.is_some() && !case.is_truncated);
    match case.error {
        None => assert_eq!(run.ran.code, Some(0), "{name}: {:#?}", run.ran),
        Some(error) => {
            run.ran.assert_failed(1, &[case.file, error]);
            let place = format!("record {} at byte ", case.records + 1);
            assert!(case.is_refused || run.ran.stderr.contains(&place), "{name}: {:#?}", run.ran);
        }
    }
    if is_refused {
        let said = run.ran.json();
        assert_eq!(said["exit_code"], 1, "{name}");
        assert!(said["error"].as_str().unwrap().contains(case.file), "{name}: {said}");
        return;
    }
    let json = run.ran.json();
    assert_eq!(number(&json, "packets_in"), case.records, "{name}");
    assert_eq!(counts(&json["drops"]), expected_drops(case), "{name}");
    assert_balanced(&name, &run, &json);
    // What the checker's own reader refuses, simple packets without a time among it, it cannot judge.
    let Ok(records) = read_file(input) else { return };
    assert_eq!(number(&json, "bytes_in"), bytes_of(&records), "{name}");
    let evidence = Evidence {
        input: &records,
        output: &read_file(&run.output).unwrap(),
        config: &fs::read_to_string(replay_config()).unwrap(),
        profile: "normal",
        check_json,
        run_json: Some(&json),
    };
    let report = checker::check(&evidence).unwrap();
    // Through net_pcap a frame comes at the microsecond before.
    let breaches = report.breaches.iter().filter(|b| options.is_empty() || b.what != What::Early);
    assert_eq!(breaches.count(), 0, "{name}: {:#?}", report.breaches);
    let malformed: BTreeMap<_, _> =
        case.malformed.iter().map(|(reason, n)| (reason.name(), *n as usize)).collect();
    assert_eq!(report.malformed, malformed, "{name}");
    judged.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn every_hostile_file_ends_as_its_table_says_both_ways() {
    let directory = TempDir::new().unwrap();
    let cases = hostile(directory.path()).unwrap();
    assert!(cases.len() > 40, "{}", cases.len());
    let jobs: Vec<_> =
        cases.iter().flat_map(|case| BOTH_WAYS.iter().map(move |way| (case, *way))).collect();
    let (next, judged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let check_json = check(&replay_config());
    let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((case, way)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    judge(case, &directory.path().join(case.file), way, &check_json, &judged);
                }
            });
        }
    });
    assert!(next.into_inner() >= jobs.len());
    assert!(judged.into_inner() > 50, "the checker has judged most of them");
}

/// A frame of `len` bytes that is longer than any IP packet: not IP, or an IPv4 one with padding.
fn giant(len: usize, is_ip: bool) -> Vec<u8> {
    let mut frame = if is_ip {
        ethernet(0x0800, &ipv4(17, [10, 1, 0, 1], [10, 9, 0, 1], &[0; 8]))
    } else {
        ethernet(0x9000, &[])
    };
    frame.resize(len, 0);
    frame
}

#[test]
fn frames_beyond_sixteen_bits_are_counted_byte_for_byte() {
    let directory = TempDir::new().unwrap();
    let input = directory.path().join("giants.pcap");
    let giants = |sizes: &[usize], way: &[&str]| {
        let frames: Vec<_> = sizes
            .iter()
            .flat_map(|&len| [giant(len, false), giant(len, true)])
            .zip(0u64..)
            .map(|(frame, n)| (1_736_173_800_000_000_000 + n * 1_000, frame))
            .collect();
        fs::write(&input, pcap(Pcap { big: false, nanoseconds: true }, &frames)).unwrap();
        let run = replay(&replay_config(), &input, way);
        let json = run.json();
        assert_balanced("giants", &run, &json);
        let (over, bytes) = (2 * (sizes.len() as u64 - 1), 2 * sizes.iter().sum::<usize>() as u64);
        assert_eq!(number(&json, "packets_in"), over + 2);
        assert_eq!(number(&json, "bytes_in"), bytes);
        // The IPv4 frame of 1,514 bytes has a UDP header of length 0.
        let drops = [("tx_oversize".to_owned(), over), ("udp_malformed".to_owned(), 1)];
        assert_eq!(counts(&json["drops"]), BTreeMap::from(drops));
        assert_eq!(number(&json["drops_bytes"], "tx_oversize"), bytes - 2 * 1_514);
    };
    giants(&[1_514, 1_515, 9_000, 65_408, 65_535, 65_536, 131_072, 262_144], &[]);
    // A whole burst of the longest that net_pcap takes.
    let longest = [&[1_514][..], &[65_535; 40]].concat();
    giants(&longest, &[]);
    giants(&longest, &["--via-pmd"]);

    let frames = [(1_000_000_000, giant(65_536, false))];
    fs::write(&input, pcap(Pcap { big: false, nanoseconds: true }, &frames)).unwrap();
    replay(&replay_config(), &input, &["--via-pmd"])
        .ran
        .assert_failed(1, &["giants.pcap", "65536 bytes", "at most 65535"]);
}

#[test]
fn stamps_at_the_ends_of_time_are_survived() {
    let directory = TempDir::new().unwrap();
    let order = udp([10, 1, 0, 1], 40_000, [10, 9, 0, 1], 7_000, &[0; 58]);
    let input = directory.path().join("times.pcapng");
    // Seconds since 1970; 2^62 ns are 4,611,686,018.4 s. The last number: records that are read.
    for (seconds, read) in [
        (&[0, 0, 0, 0, 0, 0, 0][..], 7),
        (&[0, 1_000_000_000, 1_000_000_000, 1_000_000_000], 4),
        (&[0, 4_611_686_018, 4_611_686_018, 1], 4),
        (&[1_000_000_000, 4_611_686_019, 4_611_686_019], 1),
        (&[1_000_000_000, 9_223_372_036, 18_446_744_073], 1),
        (&[u64::MAX, 0], 0),
    ] {
        let frames: Vec<_> = seconds.iter().map(|t| (*t, 0, order.clone())).collect();
        fs::write(&input, pcapng(false, 0, &["in"], &frames)).unwrap();
        let run = replay(&replay_config(), &input, &[]);
        let json = run.ran.json();
        assert_balanced(&format!("{seconds:?}"), &run, &json);
        assert_eq!(number(&json, "packets_out"), read);
        if read < seconds.len() as u64 {
            let place = format!("times.pcapng: record {} at byte ", read + 1);
            run.ran.assert_failed(1, &[&place, "after the year 2116"]);
        } else {
            assert_eq!(run.ran.code, Some(0), "{:#?}", run.ran);
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let directory = TempDir::new().unwrap();
    let order = udp([10, 1, 0, 1], 40_000, [10, 9, 0, 1], 7_000, &[0; 58]);
    let tagged = tagged(0x8100, 7, &order);
    let frames = [order, tagged];
    let frames: Vec<_> =
        (0..40u64).map(|n| (1_000_000_000 + n * 100, frames[n as usize % 2].clone())).collect();
    let blocks: Vec<_> = frames.iter().map(|(t, frame)| (*t, 0, frame.clone())).collect();
    let files =
        [pcap(Pcap { big: true, nanoseconds: true }, &frames), pcapng(false, 9, &["in"], &blocks)];
    let input = directory.path().join("damaged");
    // A fixed sequence (Marsaglia's xorshift64): the seed is all there is to print.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..24 {
        let mut bytes = files[round % 2].clone();
        for _ in 0..=draw(6) {
            let at = draw(bytes.len());
            bytes[at] = draw(256) as u8;
        }
        if draw(4) == 0 {
            bytes.truncate(draw(bytes.len()));
        }
        fs::write(&input, &bytes).unwrap();
        let run = replay(&replay_config(), &input, BOTH_WAYS[draw(2)]);
        match run.ran.code {
            Some(0) => assert_balanced(&format!("round {round}"), &run, &run.json()),
            code => {
                assert_eq!(code, Some(1), "round {round}: {:#?}", run.ran);
                run.ran.assert_failed(1, &["damaged"]);
            }
        }
    }
}
