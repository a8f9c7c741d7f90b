//! What control serves and what happens without it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::capture::{Capture, span_s};
use crate::config::{Driver, HTTP_PORT, on_veth};
use crate::gateway::{Start, assert_nothing_lost, http_get, wait_for};
use crate::net::{self, Host};
use crate::sandbox::{sandboxed, work_dir};
use crate::traffic::{Flow, Receiver};

const TOOLS: [&str; 2] = ["ethtool", "tcpdump"];
const STEADY: Flow =
    Flow { from: Host::Strategy, port: 7100, bytes: 200, gap: Duration::from_millis(2) };
/// Debian's own, which has the parser; another python in PATH may not.
const PYTHON: &str = "/usr/bin/python3";
/// Reads OpenMetrics strictly and prints every sample as `name value`.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        print(sample.name, sample.value)
";

#[test]
fn the_exporter_is_read_by_a_standard_parser() {
    sandboxed("control::the_exporter_is_read_by_a_standard_parser", &TOOLS, || {
        let has_parser = Command::new(PYTHON).args(["-c", PARSE]).stdin(Stdio::null()).output();
        if !has_parser.is_ok_and(|run| run.status.success()) {
            println!("skipped: {PYTHON} has no prometheus_client.openmetrics.parser");
            return;
        }
        net::make();
        let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", Driver::AfPacket)).forwarding();
        net::meet();
        let receiver = Receiver::start(Host::Venue, 7100);
        let sent = STEADY.send(200);
        receiver.end().assert_whole(&[sent]);
        let status =
            || -> Value { serde_json::from_str(&http_get(HTTP_PORT, "/v1/status")).unwrap() };
        // Numbers come with the next tick.
        let packets = |status: &Value| {
            let counters = &status["counters"];
            let series = counters["packets_out"].as_array().map(Vec::as_slice).unwrap_or_default();
            series.iter().filter_map(|s| s["value"].as_f64()).sum::<f64>()
        };
        wait_for("the counters", || (packets(&status()) >= f64::from(sent)).then_some(()));
        let status = status();
        assert_eq!(status["name"], "gw1");
        assert_eq!(status["cores"][0]["phase"], "running");
        assert_eq!(status["profile"]["in_force"][0], "normal");
        assert!(status["kpis"]["dispatch_to_wire_ns"].is_object(), "{status}");

        let text = http_get(HTTP_PORT, "/metrics");
        let mut parser = Command::new(PYTHON)
            .args(["-c", PARSE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Smaller than a pipe it need not be: the parser reads everything before it prints.
        parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let read = parser.wait_with_output().unwrap();
        assert!(read.status.success(), "{}\n{text}", String::from_utf8_lossy(&read.stderr));
        let read = String::from_utf8(read.stdout).unwrap();
        let exported: f64 = read
            .lines()
            .filter_map(|line| {
                line.strip_prefix("wirepace_packets_out_total ")?.parse::<f64>().ok()
            })
            .sum();
        assert!(exported >= f64::from(sent), "{read}");
        assert!(read.lines().all(|line| line.starts_with("wirepace_")), "{read}");
        assert_nothing_lost(&gateway.finish());
    });
}

#[test]
fn a_profile_switch_under_load_loses_and_reorders_nothing() {
    let test = "control::a_profile_switch_under_load_loses_and_reorders_nothing";
    sandboxed(test, &TOOLS, || {
        net::make();
        let gateway = Start::new(work_dir(), "gw1", &on_veth("gw1", Driver::AfPacket)).forwarding();
        net::meet();
        let at_venue = Receiver::start(Host::Venue, 7100);
        let at_strategy = Receiver::start(Host::Strategy, 7100);
        // Three flows out: 9 Mbit/s, between the 5 of smooth and the 50 of normal, so that packets
        // are queued at each switch.
        let out = Flow { bytes: 1000, gap: Duration::from_millis(3), ..STEADY };
        let streams = [out; 3].map(Flow::stream);
        let back = Flow { from: Host::Venue, ..STEADY }.stream();
        for _ in 0..3 {
            let set = gateway.answer(&["profile", "set", "smooth"]);
            assert_eq!(set["ok"], true, "{set}");
            assert_eq!(set["profile"], "smooth", "{set}");
            assert_eq!(set["pinned"], true, "{set}");
            assert_eq!(set["lease_s"], 2.0, "{set}");
            assert!(set["switch_delay_us"].is_number(), "{set}");
            assert!(set["cores"][0]["effective_at_ns"].is_number(), "{set}");
            assert_eq!(set["cores"][0]["ended"], false, "{set}");
            let get = gateway.answer(&["profile", "get"]);
            assert_eq!(get["in_force"][0], "smooth", "{get}");
            assert_eq!(get["pinned"], "smooth", "{get}");
            assert_eq!(get["confirmed"], "normal", "{get}");
            assert!(get["lease_left_s"].as_f64().unwrap() <= 2.0, "{get}");
            thread::sleep(Duration::from_millis(400));
            let set = gateway.answer(&["profile", "set", "normal"]);
            assert_eq!((&set["ok"], &set["pinned"]), (&true.into(), &false.into()), "{set}");
            assert!(set["lease_s"].is_null(), "{set}");
            thread::sleep(Duration::from_millis(200));
        }
        let refused = gateway.ask(&["profile", "set", "absent"]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("there are: normal, smooth"), "{said}");
        let sent = streams.map(|stream| stream.end());
        let returned = back.end();
        at_venue.end().assert_whole(&sent);
        at_strategy.end().assert_whole(&[returned]);
        let get = gateway.answer(&["profile", "get"]);
        assert_eq!((&get["in_force"][0], &get["pinned"]), (&"normal".into(), &Value::Null));
        assert_nothing_lost(&gateway.finish());
    });
}

/// Control stalls as it may in earnest: nobody reads its log any more, and it waits for room in a
/// full pipe. The data core needs it for nothing; the lease of the restrictive profile runs out.
#[test]
fn with_control_stalled_the_lease_ends_the_profile_and_forwarding_goes_on() {
    let test = "control::with_control_stalled_the_lease_ends_the_profile_and_forwarding_goes_on";
    sandboxed(test, &TOOLS, || {
        net::make();
        let (mut reads_log, log) = std::io::pipe().unwrap();
        // The same pipe, opened once more: only this end of it does not wait.
        let fill = OpenOptions::new()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", log.as_raw_fd()));
        let mut start = Start::new(work_dir(), "gw1", &on_veth("gw1", Driver::AfPacket));
        let mut gateway = start.spawn_with_stderr(Stdio::from(log));
        wait_for("control", || gateway.ask(&["profile", "get"]).status.success().then_some(()));
        net::meet();
        assert_eq!(gateway.answer(&["profile", "set", "smooth"])["ok"], true);

        let mut fill = fill.unwrap();
        // By the page, then to the last byte.
        while fill.write(&[b'x'; 4096]).is_ok() {}
        while fill.write(b"x").is_ok() {}
        // Logged before it is obeyed: control waits from here on.
        let resume = thread::spawn({
            let socket = "/run/wirepace/gw1/control.sock";
            move || {
                let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
                let line = "{\"cmd\":\"stop_word\",\"word\":\"resume\",\"scope\":\"all\"}\n";
                stream.write_all(line.as_bytes()).unwrap();
                let mut reply = String::new();
                stream.read_to_string(&mut reply).map(|_| reply)
            }
        });

        // 10 Mbit/s, twice what smooth lets through, for three leases.
        let at_venue = Receiver::start(Host::Venue, 7100);
        let wire = Capture::start(Host::Venue, "udp dst port 7100");
        let flow = Flow { bytes: 1400, gap: Duration::from_micros(1200), ..STEADY };
        let sent = flow.send(5000);
        at_venue.end().assert_whole(&[sent]);
        let seen = wire.end();
        let asked = gateway.ask(&["profile", "get"]);
        assert_eq!(asked.status.code(), Some(1), "control answers: it did not stall");
        // All under smooth would have taken 11.7 s.
        let least_under_smooth = crate::capture::paced_span_s(&seen, 5e6, 1538);
        assert!(span_s(&seen) < 0.9 * least_under_smooth, "{} s", span_s(&seen));

        // Somebody reads again: control is back, and knows what happened.
        thread::spawn(move || std::io::copy(&mut reads_log, &mut std::io::sink()));
        let status = wait_for("control", || {
            let output = gateway.ask(&["status"]);
            output
                .status
                .success()
                .then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
        });
        assert_eq!(status["counters"]["lease_expired"][0]["value"], 1.0, "{status}");
        assert_eq!(status["profile"]["in_force"][0], "normal");
        assert_eq!(status["profile"]["pinned"], Value::Null);
        assert!(gateway.runs());
        assert_nothing_lost(&gateway.finish());
        drop(resume);
    });
}
