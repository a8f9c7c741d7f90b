//! `wirepace run` in both arrangements and with several RX queues, without privileges: net_pcap and
//! net_null. What is checked is what leaves and what the books say; no time is, because the cores of
//! a pipeline share their CPUs with the rest of this machine.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity};
use serde_json::Value;
use support::commands::{repository, wirepace};
use tempfile::TempDir;

/// Two CPUs that this process may use; `None` where there is one.
fn two_cpus() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).unwrap();
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    Some([cpus.next()?, cpus.next()?])
}

/// The keys of a pair, by arrangement. The ring holds the whole capture, which net_pcap hands over at
/// once.
fn arrangements() -> Vec<String> {
    let mut all = vec!["core = 0".to_owned()];
    match two_cpus() {
        Some([paces, receives]) => all.push(format!(
            "core = {paces}\narrangement = \"pipeline\"\nrx_cores = [{receives}]\nring = 4096"
        )),
        None => eprintln!("one CPU: no pipeline"),
    }
    all
}

fn config(directory: &Path, pair: &str, inside: &str, venue: &str) -> String {
    let state_dir = directory.display();
    format!(
        r#"
[gateway]
name = "arranged"
clock = "tsc"
start_state = "running"
state_dir = "{state_dir}"
core_stall = "20s"

[dpdk]
hugepages = "never"

[control]
http = "off"

[[port]]
name = "strategies"
side = "inside"
{inside}

[[port]]
name = "venue"
side = "venue"
{venue}

[[pair]]
inside = "strategies"
venue = "venue"
{pair}

[default_class]
inside = "rest"
venue = "back"

[[class]]
name = "orders"
kind = "order"
messages = "20000/s"
message_burst = 4
messages_per_segment = 1
max_hold = "10s"
queue_packets = 4096

[[class]]
name = "rest"

[[class]]
name = "back"
from = "venue"

[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7009"
"#
    )
}

fn run(directory: &Path, config: &str, duration: &str) -> Value {
    let path = directory.join("gateway.toml");
    fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap();
    let ran = wirepace(["run", "--config", path, "--duration", duration, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    ran.json()
}

fn assert_books(json: &Value) {
    let of = |key: &str| json[key].as_u64().unwrap();
    let dropped: u64 =
        json["drops"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(of("packets_in"), of("packets_out") + dropped + of("held"), "{json}");
    assert_eq!((of("held"), of("early"), of("mbufs_leaked")), (0, 0, 0), "{json}");
}

/// The IPv4 header of a frame, with a VLAN tag or without, and what follows it.
fn ipv4(frame: &[u8]) -> Option<&[u8]> {
    match (&frame[12..14], &frame[16..18]) {
        ([0x08, 0x00], _) => Some(&frame[14..]),
        ([0x81, 0x00], [0x08, 0x00]) => Some(&frame[18..]),
        _ => None,
    }
}

/// The frames of a little-endian pcap file, by flow: VLAN, protocol, addresses and ports.
fn flows(path: &Path) -> HashMap<Vec<u8>, Vec<Vec<u8>>> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut flows: HashMap<_, Vec<_>> = HashMap::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        let (frame, tail) = tail.split_at(len);
        let key = ipv4(frame).map_or(frame[12..14].to_vec(), |ip| {
            [&frame[12..frame.len() - ip.len()], &ip[9..10], &ip[12..24]].concat()
        });
        flows.entry(key).or_default().push(frame.to_vec());
        rest = tail;
    }
    flows
}

/// How many frames of `input` are not in `left`, which has the others in their order. Each is a TCP
/// segment that its sender repeated: such a one ends where the first of its kind still waits.
fn repeated(input: &[Vec<u8>], left: &[Vec<u8>]) -> u64 {
    let tcp_seq =
        |frame: &Vec<u8>| ipv4(frame).filter(|ip| ip[9] == 6).map(|ip| ip[24..28].to_vec());
    let mut left = left.iter().peekable();
    let mut missing = 0;
    for (n, frame) in input.iter().enumerate() {
        if left.next_if_eq(&frame).is_none() {
            let seq = tcp_seq(frame).unwrap();
            assert!(input[..n].iter().any(|earlier| tcp_seq(earlier).as_ref() == Some(&seq)));
            missing += 1;
        }
    }
    assert_eq!(left.next(), None, "a flow is not what it was");
    missing
}

#[test]
fn a_capture_leaves_whole_and_each_flow_in_order_in_both_arrangements() {
    let input = repository("tests/golden/orders-s1.pcap");
    let expected = flows(&input);
    assert!(expected.len() > 5);
    for pair in arrangements() {
        let directory = TempDir::new().unwrap();
        let output = directory.path().join("out.pcap");
        let text = config(
            directory.path(),
            &pair,
            &format!("device = \"net_pcap0,rx_pcap={}\"", input.display()),
            &format!("device = \"net_pcap1,tx_pcap={}\"", output.display()),
        );
        let json = run(directory.path(), &text, "2s");
        assert_books(&json);
        assert_eq!(json["packets_in"], 2435, "{pair}: {json}");
        let left = flows(&output);
        assert!(left.keys().all(|flow| expected.contains_key(flow)));
        let of = |flow| left.get(flow).map_or(&[][..], Vec::as_slice);
        let missing: u64 = expected.iter().map(|(flow, frames)| repeated(frames, of(flow))).sum();
        let drops = json["drops"].as_object().unwrap();
        assert!(drops.keys().all(|reason| reason == "duplicate_held"), "{pair}: {json}");
        let ended = drops.get("duplicate_held").map_or(0, |n| n.as_u64().unwrap());
        assert_eq!(ended, missing, "{pair}: {json}");
    }
}

#[test]
fn a_port_that_never_stops_is_accounted_for_in_both_arrangements() {
    for pair in arrangements() {
        let directory = TempDir::new().unwrap();
        let text = config(
            directory.path(),
            &pair,
            "device = \"net_null0\"\nrx_queues = 3",
            "device = \"net_null1,no-rx=1\"",
        );
        let json = run(directory.path(), &text, "500ms");
        assert_books(&json);
        assert!(json["packets_out"].as_u64() > Some(10_000), "{json}");
        let drops = json["drops"].as_object().unwrap();
        assert!(drops.keys().all(|reason| reason == "ring_full"), "{json}");
    }
}
