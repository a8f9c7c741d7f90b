//! What is handed to somebody who was not there: stalls with their neighbours, and the archive of a report.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;
use rustix::process::Signal;
use serde_json::Value;

use crate::gateway::{WIREPACE, wait_for};
use crate::look::flooded_with_http;
use crate::place::{Place, said, wirepace};

/// The files of an archive by their names.
fn files(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let entries = archive.entries().unwrap();
    let read = |entry: std::io::Result<tar::Entry<'_, GzDecoder<File>>>| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name.strip_prefix("wirepace-bugreport/").unwrap().to_owned(), content)
    };
    entries.map(read).collect()
}

fn file(files: &[(String, Vec<u8>)], name: &str) -> String {
    let found = files.iter().find(|(file, _)| file == name);
    let (_, content) = found.unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(content.clone()).unwrap()
}

fn json(files: &[(String, Vec<u8>)], name: &str) -> Value {
    serde_json::from_str(&file(files, name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn a_report_has_what_the_gateway_knows_and_forwarding_goes_on() {
    let (place, gateway, _http) = flooded_with_http("report");
    let out = place.dir.path().join("report.tar.gz");
    let sent = |gateway: &crate::gateway::Gateway| {
        gateway.answer(&["status"])["counters"]["packets_out"].clone()
    };
    let before = sent(&gateway);
    let told = gateway.answer(&["bugreport", "--out", out.to_str().unwrap()]);
    assert_eq!(
        told["missing"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["bundle"],
        "{told}"
    );
    let files = files(&out);
    assert_eq!(json(&files, "manifest.json")["files"], told["files"]);
    let in_force = std::fs::read_to_string(place.file()).unwrap();
    assert_eq!(file(&files, "config.toml"), in_force);
    assert!(file(&files, "log.txt").contains(" forwards; state running"));
    assert!(file(&files, "metrics.txt").contains("wirepace_packets_in_total{"));
    let status = json(&files, "status.json");
    assert_eq!(status["name"], "report");
    assert!(json(&files, "drops.json")[0]["packets"].as_u64().unwrap() > 0);
    assert!(json(&files, "stalls.json")["cores"][0]["stalls"].is_u64());
    assert!(json(&files, "regime.json")["decisions"].is_array());
    assert!(!json(&files, "flows.json")["flows"].as_array().unwrap().is_empty());
    assert!(json(&files, "doctor.json")["findings"].as_array().unwrap().len() > 10);
    assert_eq!(json(&files, "environment.json")["dpdk"], json(&files, "version.json")["dpdk"]);
    wait_for("packets after the report", || (sent(&gateway) != before).then_some(()));
    let summary = gateway.finish();
    assert_eq!((&summary["held"], &summary["early"]), (&0.into(), &0.into()));
}

#[test]
fn a_report_of_a_gateway_that_is_gone_says_what_it_lacks() {
    let place = Place::new("gone");
    let gateway = place.start();
    gateway.signal(Signal::KILL);
    gateway.ended();
    let out = place.dir.path().join("report.tar.gz");
    let report = ["bugreport", "--out", out.to_str().unwrap()];
    let told = said(&wirepace(&report, &place.file()));
    assert!(told.contains("without status.json: no gateway runs"), "{told}");
    let files = files(&out);
    assert_eq!(file(&files, "config-file.toml"), place.text());
    assert!(json(&files, "doctor.json")["findings"].is_array());
    assert!(json(&files, "manifest.json")["missing"]["stalls.json"].is_string());
}

#[test]
fn without_a_config_a_report_does_not_claim_that_there_is_no_exporter() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.toml");
    let report = |file: &Path| {
        let out = dir.path().join("report.tar.gz");
        wirepace(&["bugreport", "--json", "--out", out.to_str().unwrap()], file)
    };
    let told: Value = serde_json::from_str(&said(&report(&absent))).unwrap();
    assert_eq!(told["missing"]["metrics.txt"], "no config is known that would name the exporter");
    let place = Place::new("no-exporter");
    let told: Value = serde_json::from_str(&said(&report(&place.file()))).unwrap();
    assert_eq!(told["missing"]["metrics.txt"], "the config has no exporter");
}

#[test]
fn a_report_that_cannot_be_written_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report.tar.gz");
    // As on a full disk: no file may grow.
    let full = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh", WIREPACE])
        .args(["bugreport", "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("report.tar.gz: "), "{full:?}");
    assert!(!out.exists());
    let device = wirepace(&["bugreport", "--out", "/dev/full"], &dir.path().join("absent.toml"));
    assert_eq!(device.status.code(), Some(1), "{device:?}");
    assert!(Path::new("/dev/full").exists());
}

#[test]
fn a_core_that_did_not_run_has_a_stall_with_the_turns_around_it() {
    let place = Place::new("stalled");
    let gateway = place.start();
    gateway.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(60));
    gateway.signal(Signal::CONT);
    let stall = wait_for("the stall", || {
        let shown = gateway.answer(&["stalls", "--max", "256"]);
        let stalls = shown["stalls"].as_array()?.clone();
        stalls.into_iter().find(|stall| stall["length_ns"].as_u64() >= Some(50_000_000))
    });
    let rows = |key: &str| stall[key].as_array().unwrap().len();
    assert_eq!((rows("before"), rows("after")), (5, 5), "{stall}");
    let ended: Vec<u64> = ["before", "after"]
        .iter()
        .flat_map(|key| stall[*key].as_array().unwrap())
        .map(|turn| turn["at_ns"].as_u64().unwrap())
        .collect();
    let at = stall["at_ns"].as_u64().unwrap();
    assert!(ended.is_sorted() && ended[4] < at && at < ended[5], "{stall}");
    assert!(stall["host"]["switches"].is_u64() && stall["pool_free"].is_u64(), "{stall}");
    let said = said(&wirepace(&["stalls", "--around", "--max", "1"], &place.file()));
    assert!(said.contains("stall_threshold") && said.contains("before"), "{said}");
}
