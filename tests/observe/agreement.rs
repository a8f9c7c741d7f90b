//! `ss`, `tc` and `tcpdump` say the same.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::capture::CaptureReader;
use rig::kernel::own_socket::{out_queue, set_max_pacing_rate};
use serde_json::Value;

use crate::load::{Observer, config, interfaces, series, venue};
use crate::sandbox::{command, sandboxed, work_dir};

/// Waits for `what`.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The word behind `name` in what `ss` says.
fn ss_word<'a>(said: &'a str, name: &str) -> &'a str {
    let (_, rest) = said.split_once(name).unwrap_or_else(|| panic!("no {name} in {said}"));
    rest.split(|c: char| c.is_whitespace() || c == ',' || c == '(' || c == ')').next().unwrap()
}

#[test]
fn ss_tc_and_tcpdump_say_the_same() {
    let tools = ["ip", "ss", "tc", "tcpdump", "ethtool"];
    sandboxed("agreement::ss_tc_and_tcpdump_say_the_same", &tools, || {
        interfaces();
        // One frame here is one frame there.
        command("ethtool -K out tso off gso off tx off");
        command("ip netns exec venue ethtool -K host gro off");
        command("tc qdisc add dev out root tbf rate 100mbit burst 20k limit 1000000");
        venue(7000);
        let config = config("egress = \"out\"\nlink = \"1G\"", "");
        let file = work_dir().join("venue.pcap");
        let mut tcpdump = Command::new("ip")
            .args("netns exec venue tcpdump -U -i host -w".split(' '))
            .arg(&file)
            .args("tcp dst port 7000".split(' '))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("tcpdump captures", || file.metadata().is_ok_and(|file| file.len() >= 24));

        let observer = Observer::start(&config, "4s");
        let mut socket = TcpStream::connect(("10.9.0.2", 7000)).unwrap();
        set_max_pacing_rate(&socket, 4_000_000).unwrap();
        std::io::Write::write_all(&mut socket, &vec![7; 2_000_000]).unwrap();
        until("everything acknowledged", || out_queue(&socket).unwrap() == (0, 0));
        let json = observer.json();
        std::thread::sleep(Duration::from_millis(200));
        let id = rustix::process::Pid::from_child(&tcpdump);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        tcpdump.wait().unwrap();

        the_capture_there_has_what_was_seen_here(&json, &file);
        tc_counts_the_same(&json);
        ss_says_the_same(&config, &socket);
    });
}

fn the_capture_there_has_what_was_seen_here(json: &Value, file: &std::path::Path) {
    let mut reader = CaptureReader::open(file).unwrap();
    let (mut frames, mut bytes) = (0, 0);
    while let Ok(Some(record)) = reader.next() {
        frames += 1;
        bytes += u64::from(record.orig_len);
    }
    let orders = series(json, "drops", &[("port", "out")]);
    assert_eq!(orders["packets"], 0, "nothing was lost between the two");
    let seen = series(json, "burstiness_index", &[("class", "orders")])["n"].as_u64().unwrap();
    assert_eq!(seen, frames, "frames here and there");
    assert!(bytes > 2_000_000);
    let again = series(json, "tcp_retransmit_ratio", &[("class", "orders")]);
    assert_eq!(again["ratio"], 0, "{again}");
}

fn tc_counts_the_same(json: &Value) {
    let said: Value = serde_json::from_str(&command("tc -s -j qdisc show dev out")).unwrap();
    let (theirs, ours) = (&said[0], &json["environment"]["qdiscs"][0]);
    for key in
        ["kind", "handle", "bytes", "packets", "drops", "overlimits", "requeues", "backlog", "qlen"]
    {
        // Nothing is sent any more.
        assert_eq!(ours[key], theirs[key], "{key}: {ours} and {theirs}");
    }
    assert_eq!(ours["tbf"]["rate_bits_per_s"], 100_000_000, "{theirs}");
    assert!(ours["overlimits"].as_u64().is_some() && ours["bytes"].as_u64() > Some(2_000_000));
}

/// The connection is open and idle: what it says does not change meanwhile.
fn ss_says_the_same(config: &str, socket: &TcpStream) {
    let json = Observer::start(config, "1s").json();
    let said = command("ss -tinmH dst 10.9.0.2:7000");
    assert_eq!(socket.peer_addr().unwrap().port(), 7000, "still open");
    let bits = |name: &str| ss_word(&said, name).trim_end_matches("bps").parse::<f64>().unwrap();
    // "pacing_rate 3960000bps/32000000bps"
    let rates = ss_word(&said, "pacing_rate ");
    let (rate, most) = rates.split_once('/').unwrap_or_else(|| panic!("{said}"));
    let number = |text: &str| text.trim_end_matches("bps").parse::<f64>().unwrap();
    let headroom = 1.0 - number(rate) / number(most);
    let found = series(&json, "pacing_headroom", &[("class", "orders")]);
    let ours = found["mean"].as_f64().unwrap_or_else(|| panic!("{found}"));
    assert!((ours - headroom).abs() < 1e-5, "{ours} and {headroom}: {said}");
    assert!((number(most) - 32e6).abs() < 1.0 && bits("delivery_rate ") > 0.0);
    // "skmem:(r0,rb131072,t0,tb87040,f0,w0,o0,bl0,d0)"
    let memory = said.split_once("skmem:(").unwrap().1.split(')').next().unwrap();
    let queued = memory.split(',').find_map(|word| word.strip_prefix('w')).unwrap();
    let ours = series(&json, "send_queue_bytes", &[("class", "orders"), ("part", "queued_memory")]);
    assert_eq!(ours["max"], queued.parse::<u64>().unwrap(), "{said}");
    let waits = said.split_whitespace().nth(1).unwrap();
    let ours = series(&json, "send_queue_bytes", &[("class", "orders"), ("part", "out_queue")]);
    assert_eq!(ours["max"], waits.parse::<u64>().unwrap_or_default(), "{said}");
    fs::write(work_dir().join("ss"), said).unwrap();
}
