//! TCP that paces small writes lets them leave in clumps, and the KPIs show it plainly, as does what is
//! printed for people.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::load::{Observer, Sender, config, interfaces, series, venue};
use crate::sandbox::sandboxed;

/// Bytes of one write on the wire: Ethernet, IP and TCP with its stamps, preamble, FCS and gap.
const WRITE_BYTES: f64 = 214.0 + 14.0 + 20.0 + 32.0 + 24.0;

/// What an observation prints for people.
fn printed(config: &str) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_wirepace"))
        .args(["observe", "--config", config, "--duration", "2s"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn small_writes_under_a_pacing_rate_leave_as_clumps() {
    sandboxed("clumps::small_writes_under_a_pacing_rate_leave_as_clumps", &["ip"], || {
        interfaces();
        venue(7000);
        let config = config("egress = \"out\"\nlink = \"10G\"", "");
        let observed = |pace: Option<u64>| {
            let sender = Sender::start(7000, 214, Duration::from_micros(100), pace);
            let observer = Observer::start(&config, "10s");
            let json = observer.json();
            let printed = if pace.is_some() { printed(&config) } else { String::new() };
            drop(sender);
            (json, printed)
        };
        // A rate below what is written: TCP paces by its own timer, and gathers meanwhile.
        let ((paced, printed), (plain, _)) = (observed(Some(700_000)), observed(None));
        let value = |json: &Value, kpi: &str, key: &str| {
            let found = series(json, kpi, &[("class", "orders")]);
            found[key].as_f64().unwrap_or_else(|| panic!("{kpi} {key}: {found}"))
        };
        // A write that leaves by itself is a burst of one frame.
        let one = value(&plain, "burst_bytes", "p50");
        assert_eq!(one, WRITE_BYTES);
        let clump = value(&paced, "burst_bytes", "p50");
        assert!(clump > 5.0 * one, "clumps of {clump} bytes, writes of {one}");
        // The last of a clump stands behind all the others.
        let behind = |json: &Value| value(json, "wire_serialization_ns", "p50");
        assert!(behind(&paced) > 2_000.0 && behind(&plain) == 0.0, "{}", behind(&paced));
        // And why: TCP is at its limit, and what is written waits in the socket.
        assert!(value(&paced, "cap_hit_ratio", "ratio") > 0.9);
        assert_eq!(value(&paced, "pacing_headroom", "headroom"), 0.0);
        assert!(value(&paced, "not_sent_bytes", "p50") > 10.0 * 214.0);
        let unlimited = series(&plain, "pacing_headroom", &[("class", "orders")]);
        assert_eq!(unlimited["absent"], "unlimited");
        // "bursts    orders           leaves 15200 bytes at a time (..)".
        let line = printed.lines().find(|line| line.starts_with("bursts    orders "));
        let line = line.unwrap_or_else(|| panic!("{printed}"));
        let bytes = line.split_once(" leaves ").unwrap().1.split(' ').next().unwrap();
        assert!(bytes.parse::<f64>().unwrap() > 5.0 * one, "{line}");
        println!("bursts of {clump} bytes paced, of {one} not; printed: {line}");
    });
}
