//! What an operator sees of a running gateway: flows, drops, copies of packets with the reason of their
//! end, and pages for people.

use std::net::TcpListener;
use std::process::Output;

use rig::capture::CaptureReader;
use serde_json::Value;

use crate::gateway::{Gateway, wait_for};
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
    let mut reader = CaptureReader::open(&out).unwrap();
    let (mut seen, mut last) = (0, 0);
    while let Some(record) = reader.next().unwrap() {
        assert!(record.t.0 >= last, "stamps rise");
        last = record.t.0;
        seen += 1;
    }
    assert_eq!(seen, 20);

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
    let summary: Value = gateway.finish();
    assert_eq!((&summary["mbufs_leaked"], &summary["held"]), (&0.into(), &0.into()));
}
