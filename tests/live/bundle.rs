//! What is kept of a class that comes to be contained while the gateway governs: `mode active`, on live traffic.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::capture::CaptureReader;
use serde_json::{Value, json};

use crate::config::{Driver, on_veth, with};
use crate::gateway::{Gateway, Start, assert_accounted, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{sandboxed, work_dir};
use crate::traffic::Flow;

/// Goes to the class `out`.
const STEADY: Flow =
    Flow { from: Host::Strategy, port: 7100, bytes: 200, gap: Duration::from_millis(2) };
const BUNDLES: &str = "/run/wirepace/gw1/bundles";

fn start(baselines: &Path) -> Gateway {
    let config = on_veth("gw1", Driver::AfPacket).replace(
        "name = \"out\"\nrate = \"50M\"",
        "name = \"out\"\nlatency_budget = \"1ms\"\nrate = \"50M\"",
    );
    let regime = format!("\n[regime]\nallow = [\"out\"]\nbaselines = {baselines:?}\n");
    let config = with(&config, "control", "sample_one_in = 1");
    Start::new(work_dir(), "gw1", &(config + &regime)).forwarding()
}

/// Baselines, of this machine and program, that were frozen just now.
fn freeze(path: &Path) {
    let gateway = start(path);
    let regime = gateway.answer(&["regime"]);
    let record = json!({
        "frozen_at_ns": regime["at_ns"],
        "env_digest": regime["baselines"]["environment"],
        "values": {"class:out": {"dispatch_to_wire_ns[rest].p95": {"median": 20_000.0, "n": 60}}},
    });
    gateway.finish();
    fs::write(path, record.to_string()).unwrap();
}

fn feed(gateway: &Gateway, scope: Option<&str>, values: &[(&str, &str, f64)]) {
    let value = |(kpi, value, number): &(&str, &str, f64)| json!({"kpi": kpi, "value": value, "number": number, "expires_s": 3_600.0, "scope": scope});
    let values: Vec<Value> = values.iter().map(value).collect();
    let file = work_dir().join("feed.json");
    fs::write(&file, Value::from(values).to_string()).unwrap();
    gateway.answer(&["feed", "--file", file.to_str().unwrap()]);
}

/// What a trial would have shown.
fn passed() -> Vec<(&'static str, &'static str, f64)> {
    let arm = |arm, excess| {
        let p99 = ("dispatch_to_wire_p99_ns", 10_000.0);
        let delays = [("exempt_hold_ns", 0.0), ("dispatch_to_wire_p50_ns", 10_000.0), p99];
        let all = delays.into_iter().chain([("excess", excess), ("goodput", 1e6)]);
        all.map(move |(value, number)| (arm, value, number))
    };
    let deltas = ["slippage_q95", "slippage_q99", "rejects", "retries"];
    let trial = [("sessions", 5.0), ("parents", 500.0), ("days", 1.0)];
    [("replay", "passed", 1.0), ("fill_completion", "bound", 0.0)]
        .into_iter()
        .chain(deltas.map(|kpi| (kpi, "delta", 0.0)))
        .chain(trial.map(|(value, number)| ("trial", value, number)))
        .chain(arm("changed", 1.0))
        .chain(arm("control", 3.0))
        .collect()
}

/// The bundles that are whole.
fn bundles() -> Vec<PathBuf> {
    let entries = fs::read_dir(BUNDLES).into_iter().flatten().map(|entry| entry.unwrap().path());
    let is_whole = |path: &PathBuf| !path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
    entries.filter(is_whole).collect()
}

#[test]
fn a_class_that_comes_to_be_contained_leaves_what_was_known_of_it() {
    let test = "bundle::a_class_that_comes_to_be_contained_leaves_what_was_known_of_it";
    sandboxed(test, &["ethtool"], || {
        net::make();
        let baselines = work_dir().join("baselines.json");
        freeze(&baselines);
        let gateway = start(&baselines);
        net::meet();
        let _venue = Host::Venue.udp(7100);
        let stream = STEADY.stream();
        feed(&gateway, None, &passed());
        for mode in
            [&["mode", "shadow"][..], &["mode", "switchback"], &["mode", "active", "--confirm"]]
        {
            gateway.answer(mode);
        }
        wait_for("figures of a second", || {
            let status = gateway.answer(&["status"]);
            status["kpis"]["dispatch_to_wire_ns"].is_object().then_some(())
        });
        assert!(bundles().is_empty(), "nothing is contained yet");
        // An outside figure, and no operator, contains it.
        feed(&gateway, Some("out"), &[("cost", "breach", 1.0)]);
        let bundle = wait_for("the bundle", || bundles().pop());
        let sent = stream.end();
        assert!(bundle.to_str().unwrap().ends_with("-drain-class-out"), "{bundle:?}");

        let read = |file: &str| -> Value {
            serde_json::from_slice(&fs::read(bundle.join(file)).unwrap()).unwrap()
        };
        let manifest = read("manifest.json");
        assert_eq!(manifest["missing"], json!({}), "{manifest}");
        assert_eq!(manifest["files"].as_array().unwrap().len(), 9, "{manifest}");
        let decision = read("decision.json");
        assert_eq!(
            (&decision["scope"], &decision["to"]),
            (&json!("class:out"), &json!("CONTAINMENT"))
        );
        assert_eq!(read("regime.json")["mode"], "active");
        assert_eq!(read("status.json")["name"], "gw1");
        assert!(read("kpis.json")["dispatch_to_wire_ns"].is_object());
        assert!(read("stalls.json").is_array());
        assert!(!read("samples.json").as_array().unwrap().is_empty());
        assert!(read("doctor.json")["findings"].as_array().unwrap().len() > 10);
        assert!(read("sockets.json")["sockets"].is_array());
        let mut capture = CaptureReader::open(&bundle.join("capture.pcapng")).unwrap();
        let mut captured = 0;
        while let Some(packet) = capture.next().unwrap() {
            // UDP over IPv4, and the port that the class has.
            assert_eq!((packet.data[23], &packet.data[36..38]), (17, &7100_u16.to_be_bytes()[..]));
            captured += 1;
        }
        assert!(captured > 100, "{captured} packets of 2 s");

        // The class is governed by then, and what it sends is as whole as before.
        let status = gateway.answer(&["status"]);
        let reasons = &status["regime"]["composed"]["reasons"];
        assert!(reasons.to_string().contains("contain"), "{reasons}");
        let (packets_in, _) = assert_accounted(&gateway.finish());
        assert!(packets_in >= u64::from(sent));
    });
}
