//! The exporter: what it serves once, and to whom.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use control::server::Server;
use serde_json::Value;

use crate::gateway::{Gateway, PATIENCE, http, http_raw};
use crate::{common, openmetrics};

#[test]
fn half_open_connections_do_not_block_metrics() {
    let gateway = Gateway::start();
    let half_open: Vec<_> = (0..160)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.http).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    // Each of them would be waited for by itself for 5 s.
    let asked = Instant::now();
    assert!(http(gateway.http, "GET", "/metrics").0.starts_with("http/1.1 200"));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(half_open);
    gateway.stop();
}

#[test]
fn a_request_for_another_host_is_refused() {
    let gateway = Gateway::start();
    for path in ["/", "/metrics", "/v1/status", "/v1/live", "/v1/advice"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: evil.example:9477\r\nConnection: close\r\n\r\n");
        let answer = http_raw(gateway.http, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
        assert!(answer.ends_with("is a loopback address or localhost here\n"), "{path}: {answer}");
    }
    let old = http_raw(gateway.http, b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(old.contains("200 OK"), "{old}");
    gateway.stop();
}

#[test]
fn http_serves_what_there_is_and_refuses_the_rest() {
    let gateway = Gateway::start();
    let (head, body) = http(gateway.http, "GET", "/v1/status");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/json"));
    let status: Value = serde_json::from_str(&body).unwrap();
    for key in [
        "name",
        "version",
        "uptime_s",
        "clock",
        "profile",
        "stop_words",
        "ports",
        "cores",
        "counters",
        "kpis",
    ] {
        assert!(!status[key].is_null(), "{key}");
    }

    let (head, body) = http(gateway.http, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let media = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(media), "{head}");
    assert!(body.contains("wirepace_config_info{digest=\"d1e57\"} 1\n"));

    assert!(http(gateway.http, "GET", "/v1").0.starts_with("http/1.1 404"));
    assert!(http(gateway.http, "GET", "/metrics/..").0.starts_with("http/1.1 404"));
    assert!(http(gateway.http, "POST", "/metrics").0.starts_with("http/1.1 405"));
    assert!(http(gateway.http, "DELETE", "/v1/status").0.starts_with("http/1.1 405"));
    let (head, body) = http(gateway.http, "HEAD", "/metrics");
    assert!(head.starts_with("http/1.1 200") && body.is_empty());

    let garbage = http_raw(gateway.http, b"\x16\x03\x01\x02\x00 no http at all\r\n\r\n");
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let mut endless = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    endless.resize(64 * 1024, b'a');
    let answer = http_raw(gateway.http, &endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    gateway.stop();
}

#[test]
fn client_that_sends_no_header_is_cut_off_and_blocks_nobody() {
    let gateway = Gateway::start();
    let started = Instant::now();
    let mut silent = TcpStream::connect(gateway.http).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"GET /met").unwrap();
    assert!(http(gateway.http, "GET", "/metrics").0.starts_with("http/1.1 200"));
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    gateway.stop();
}

#[test]
fn metrics_and_status_show_the_same_numbers() {
    let gateway = Gateway::start();
    gateway.wait_for("packets", |status| status["counters"]["packets_in"].is_array());
    let (_, body) = http(gateway.http, "GET", "/v1/status");
    let status: Value = serde_json::from_str(&body).unwrap();
    let (_, text) = http(gateway.http, "GET", "/metrics");
    let samples = openmetrics::parse(&text).unwrap();
    let in_text: std::collections::BTreeSet<String> =
        samples.iter().map(|s| s.family.trim_start_matches("wirepace_").to_owned()).collect();
    let in_json: std::collections::BTreeSet<String> =
        status["counters"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(in_text, in_json);
    let p99 = samples
        .iter()
        .find(|s| s.family == "wirepace_dispatch_to_wire_ns" && s.label("quantile") == Some("0.99"))
        .unwrap();
    assert_eq!(p99.value, 98_000.0);
    assert_eq!(p99.label("class"), Some("say \"hi\"\\"));
    assert_eq!(p99.unit, "ns");
    gateway.stop();
}

#[test]
fn metrics_parse_with_the_reference_parser() {
    const SCRIPT: &str = "
import sys
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
except ImportError:
    sys.exit(77)
names = {s.name for f in parse(sys.stdin.read()) for s in f.samples}
assert 'wirepace_config_info' in names and 'wirepace_drops_total' in names, names
print(len(names))
";
    let gateway = Gateway::start();
    let (_, text) = http(gateway.http, "GET", "/metrics");
    let mut ran = false;
    for python in ["python3", "/usr/bin/python3"] {
        let child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { continue };
        // Without the package it exits before it reads.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        let output = child.wait_with_output().unwrap();
        if output.status.code() != Some(77) {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{python}: {error}\n{text}");
            ran = true;
        }
    }
    if !ran {
        println!("skipped: no python3 here has prometheus_client (python3-prometheus-client)");
    }
    gateway.stop();
}

#[test]
fn exporter_is_refused_on_other_than_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gw.sock");
    let open = Some("0.0.0.0:0".parse().unwrap());
    let Err(error) = Server::bind(open, &path, common::access()) else { panic!() };
    assert!(error.to_string().contains("loopback"), "{error}");
}
