//! What an operator sees of a running gateway: flows, drops, copies of packets with the reason of their
//! end, and pages for people.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rig::capture::CaptureReader;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::gateway::{Gateway, WIREPACE, wait_for};
use crate::place::{Place, said, wirepace};

/// A gateway whose capture of orders never ends; class `burst` is halted, so all of them end.
fn flooded(name: &'static str) -> (Place, Gateway) {
    let place = Place::new(name);
    let text = place.text();
    let gateway = flood(&place, &text);
    (place, gateway)
}

/// The same with an exporter, whose port comes back too.
pub fn flooded_with_http(name: &'static str) -> (Place, Gateway, u16) {
    let place = Place::new(name);
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http = \"127.0.0.1:{http}\"");
    let text = place.text().replacen("http = \"off\"", &address, 1);
    let gateway = flood(&place, &text);
    (place, gateway, http)
}

fn flood(place: &Place, text: &str) -> Gateway {
    let capture = place.dir.path().join("in.pcap");
    let made = std::process::Command::new(crate::gateway::WIREPACE)
        .args(["generate", "--kind", "orders", "--seconds", "0.2", "--out"])
        .arg(&capture)
        .output()
        .unwrap();
    assert!(made.status.success());
    let device = format!("net_pcap0,rx_pcap={},infinite_rx=1", capture.display());
    let mut text = text.replacen("net_null0,no-rx=1", &device, 1);
    for (from, to) in [
        // Nothing but a word ends a packet: the port takes more than the capture gives.
        ("rate = \"100M\"", "rate = \"100G\""),
        ("rate = \"50M\"", "rate = \"50G\""),
        // Only orders and replaces are halted.
        ("name = \"burst\"\nrate = \"8M\"", "name = \"burst\"\nkind = \"order\"\nrate = \"50G\""),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    place.write(&text);
    let gateway = place.start();
    gateway.answer(&["halt", "--scope", "class:burst"]);
    wait_for("halted packets", || {
        let drops = gateway.answer(&["drops"]);
        let rows = drops["drops"].as_array()?.clone();
        rows.iter().find(|row| row["reason"] == "halted").map(|_| ())
    });
    gateway
}

fn no_json(output: &Output) -> String {
    let text = said(output);
    assert!(!text.contains('{') && !text.contains("null"), "{text}");
    text
}

#[test]
fn flows_drops_and_status_are_tables_for_people_and_json_for_programs() {
    let (place, gateway) = flooded("look");
    let flows = gateway.answer(&["flows", "--max", "5"]);
    let rows = flows["flows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.len() <= 5, "{flows}");
    let of_ip = rows.iter().find_map(|row| row["addresses"].as_str()).unwrap();
    assert!(of_ip.ends_with("/udp") || of_ip.ends_with("/tcp"), "{of_ip}");
    assert_eq!(flows["cores_silent"], serde_json::json!([]));

    let drops = gateway.answer(&["drops"]);
    let halted = drops["drops"].as_array().unwrap().iter().find(|row| row["reason"] == "halted");
    assert_eq!(halted.unwrap()["class"], "burst");
    let unknown = wirepace(&["flows", "--class", "nobody"], &place.file());
    assert_eq!(unknown.status.code(), Some(2));

    for (verb, wanted) in [
        (&["flows"][..], "addresses"),
        (&["drops"], "halted"),
        (&["status"], "class:burst halt"),
        (&["profile", "get"], "in force   normal"),
        (&["profile", "set", "smooth"], "smooth is in force, pinned"),
        (&["mode"], "mode observe"),
        (&["regime"], "machine"),
    ] {
        let shown = no_json(&wirepace(verb, &place.file()));
        assert!(shown.contains(wanted), "{verb:?}: {shown}");
    }
}

/// Packets of a capture, which is whole and whose stamps rise.
fn packets(capture: &Path) -> u64 {
    let mut reader = CaptureReader::open(capture).unwrap();
    let (mut seen, mut last) = (0, 0);
    while let Some(record) = reader.next().unwrap() {
        assert!(record.t.0 >= last, "stamps rise");
        last = record.t.0;
        seen += 1;
    }
    seen
}

#[test]
fn a_capture_has_drops_with_their_reason_and_forwarding_goes_on() {
    let (place, gateway) = flooded("capture");
    let out = place.dir.path().join("drops.pcapng");
    let told = gateway.answer(&[
        "capture",
        "--dropped",
        "--count",
        "20",
        "--snaplen",
        "64",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(told["packets"], 20, "{told}");
    let bytes = std::fs::read(&out).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("dropped: halted; class burst").count(), 20);
    assert!(text.contains("venue-a:dropped"), "its interface names port and direction");
    assert_eq!(packets(&out), 20);

    let sent = place.dir.path().join("sent.pcapng");
    let told = gateway.answer(&[
        "capture",
        "--sent",
        "--class",
        "out",
        "--count",
        "5",
        "--out",
        sent.to_str().unwrap(),
    ]);
    assert_eq!(told["packets"], 5, "{told}");
    let refused =
        wirepace(&["capture", "--port", "x", "--out", sent.to_str().unwrap()], &place.file());
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(packets(&sent), 5, "what is refused leaves the file of an earlier capture alone");
    let summary: Value = gateway.finish();
    assert_eq!((&summary["mbufs_leaked"], &summary["held"]), (&0.into(), &0.into()));
}

#[test]
fn a_capture_that_is_interrupted_is_a_whole_file_and_makes_room_for_the_next() {
    let (place, gateway) = flooded("interrupted");
    let (out, other) = (place.dir.path().join("a.pcapng"), place.dir.path().join("b.pcapng"));
    let capture = |out: &Path, count: &'static str| {
        let mut command = Command::new(WIREPACE);
        command.args(["capture", "--json", "--duration", "10min", "--count", count, "--out"]);
        command.arg(out).arg("--config").arg(place.file());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for signal in [Signal::INT, Signal::TERM] {
        // Of an earlier capture, which this one takes the place of.
        std::fs::write(&out, "").unwrap();
        let child = capture(&out, "1000000").spawn().unwrap();
        // What was taken stands in the file while the capture goes on.
        wait_for("packets in the file", || {
            let length = std::fs::metadata(&out).unwrap().len();
            (length > 4096).then_some(())
        });
        std::fs::write(&other, "of an earlier capture").unwrap();
        let second = capture(&other, "1").output().unwrap();
        assert_eq!(second.status.code(), Some(1), "{second:?}");
        assert_eq!(std::fs::read(&other).unwrap(), b"of an earlier capture");

        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = child.wait_with_output().unwrap();
        let told: Value = serde_json::from_str(&said(&ended)).unwrap();
        assert_eq!(told["packets"], packets(&out), "{signal:?}: {told}");
        // A core gives its tap back a turn later; were the capture still under way, the log would say how it ended.
        wait_for("the next capture", || {
            let next = capture(&other, "1").output().unwrap();
            next.status.success().then_some(())
        });
        assert_eq!(packets(&other), 1);
    }
    assert!(!gateway.log().contains("nobody reads"), "{}", gateway.log());
    gateway.finish();
}
