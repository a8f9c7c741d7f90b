//! Whole runs, made by hand.
//!
//! Every order is a frame of 76 bytes: 100 bytes on the wire, 800 bits. At 8 Mbit/s it takes
//! 100 us, and a burst of 300 bytes is three of them.

use serde_json::{Value, json};

use crate::checker::capture::Record;
use crate::checker::envelope::{Bucket, Envelope};
use crate::checker::exact::Exact;
use crate::checker::{Evidence, Report, What, check};
use crate::support::frames::{ACK, FIN, SYN, ethernet, tcp, udp};

const BASE: &str = r#"
[gateway]
slot = "1024ns"
[[port]]
name = "in"
side = "inside"
frame_max = "76B"
[[port]]
name = "out"
side = "venue"
frame_max = "76B"
#port
[[pair]]
inside = "in"
venue = "out"
[default_class]
inside = "orders"
venue = "back"
[[class]]
name = "orders"
kind = "order"
max_hold = "unlimited"
#orders
[[class]]
name = "cancels"
kind = "cancel"
[[class]]
name = "logs"
allow_drop = true
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "cancels"
dst_port = 8000
[[rule]]
class = "logs"
dst_port = 9000
"#;

const CAP: &str = "rate = \"8M\"\nburst = \"300B\"";

/// A run: what went in, what came out, and what the tools printed about it.
struct Run {
    config: String,
    envelopes: Vec<Value>,
    input: Vec<Record>,
    output: Vec<Record>,
    drops: Value,
    held: u64,
}

impl Run {
    /// A config without caps.
    fn new() -> Self {
        Self {
            config: BASE.into(),
            envelopes: vec![json!({ "profile": "normal", "name": "logs", "level": "class" })],
            input: Vec::new(),
            output: Vec::new(),
            drops: json!({}),
            held: 0,
        }
    }

    /// A cap of 8 Mbit/s and three orders on `orders` or on the venue port.
    fn capped(level: &str) -> Self {
        let (mark, name) = if level == "port" { ("#port", "out") } else { ("#orders", "orders") };
        let prefix = if level == "flow" { "flow_" } else { "" };
        let keys = format!("{prefix}rate = \"8M\"\n{prefix}burst = \"300B\"");
        let mut run = Self::new().stating(mark, &keys);
        run.envelopes.push(json!({ "profile": "normal", "name": name, "level": level,
            "rate_bps": 8_000_000, "burst_bytes": 300 }));
        run
    }

    fn stating(mut self, mark: &str, keys: &str) -> Self {
        self.config = self.config.replace(mark, &format!("{keys}\n{mark}"));
        self
    }

    fn comes(mut self, t: u64, frame: &[u8]) -> Self {
        self.input.push(Record { t, bytes: frame.to_vec(), interface: None });
        self
    }

    fn leaves(mut self, t: u64, frame: &[u8]) -> Self {
        self.output.push(Record { t, bytes: frame.to_vec(), interface: None });
        self
    }

    /// A frame that comes and leaves.
    fn passes(self, arrival: u64, t: u64, frame: &[u8]) -> Self {
        self.comes(arrival, frame).leaves(t, frame)
    }

    fn report(&self) -> Report {
        let bytes = |records: &[Record]| records.iter().map(|r| r.bytes.len()).sum::<usize>();
        let run_json = json!({
            "packets_in": self.input.len(), "packets_out": self.output.len(), "segments_added": 0,
            "bytes_in": bytes(&self.input), "bytes_out": bytes(&self.output),
            "drops": self.drops, "held": self.held, "early": 0, "mbufs_leaked": 0,
        });
        check(&Evidence {
            input: &self.input,
            output: &self.output,
            config: &self.config,
            profile: "normal",
            check_json: &json!({ "envelopes": self.envelopes }),
            run_json: Some(&run_json),
        })
        .expect("the config of every test can be judged")
    }

    /// Exactly these breaches, in any order.
    #[track_caller]
    fn breaks(&self, expected: &[What]) {
        let mut found: Vec<_> = self.report().breaches.iter().map(|b| b.what).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{:#?}", self.report().breaches);
    }
}

/// Order `n` of the flow that sends from `port`.
fn order_of(port: u16, n: u8) -> Vec<u8> {
    udp([10, 0, 0, 1], port, [10, 9, 0, 1], 7_000, &[n; 34])
}

fn order(n: u8) -> Vec<u8> {
    order_of(4_000, n)
}

fn cancel(n: u8) -> Vec<u8> {
    udp([10, 0, 0, 1], 4_001, [10, 9, 0, 1], 8_000, &[n; 34])
}

fn log(n: u8) -> Vec<u8> {
    udp([10, 0, 0, 1], 4_002, [10, 9, 0, 1], 9_000, &[n; 34])
}

fn segment(n: u8, flags: u8, payload: usize) -> Vec<u8> {
    tcp([10, 0, 0, 1], 5_000, [10, 9, 0, 1], 7_000, n.into(), flags, &vec![n; payload])
}

/// Five orders at 1 us under the cap: three at once, then one each 100 us.
fn five(times: [u64; 5]) -> Run {
    (1..).zip(times).fold(Run::capped("class"), |run, (n, t)| run.passes(1_000, t, &order(n)))
}

#[test]
fn a_paced_run_is_clean_and_counted() {
    let report = five([1_000, 1_000, 1_000, 101_000, 201_000]).report();
    report.assert_clean();
    assert_eq!((report.governed, report.delayed), (5, 2));
    assert_eq!(report.by_class["orders"], 5);
    report.assert_delayed_at_least(0.4);
}

#[test]
#[should_panic(expected = "2 of 5 departures were delayed")]
fn too_few_delayed_frames_fail() {
    five([1_000, 1_000, 1_000, 101_000, 201_000]).report().assert_delayed_at_least(0.41);
}

#[test]
#[should_panic(expected = "Early")]
fn a_breach_fails_the_assertion() {
    five([1_000, 1_000, 1_000, 100_999, 201_000]).report().assert_clean();
}

#[test]
fn one_nanosecond_early_is_refused() {
    // The early one is charged at its time, so the next is bound to 201,000 - 0 all the same.
    five([1_000, 1_000, 1_000, 100_999, 201_000]).breaks(&[What::Early, What::Window]);
    five([999, 1_000, 1_000, 101_000, 201_000]).breaks(&[What::Early]);
}

#[test]
fn one_packet_over_the_burst_is_refused() {
    five([1_000, 1_000, 1_000, 1_000, 101_000]).breaks(&[What::Early, What::Early, What::Window]);
}

#[test]
fn a_slot_late_is_refused_unless_explained() {
    five([1_000, 1_000, 1_000, 101_000 + 1_023, 202_000]).breaks(&[]);
    five([1_000, 1_000, 1_000, 101_000 + 1_024, 202_000]).breaks(&[What::Late]);

    // A log leaves while the order may leave: the order waits for it, but no longer than a slot.
    let beside = |t| {
        (1..4)
            .fold(Run::capped("class"), |run, n| run.passes(1_000, 1_000, &order(n)))
            .comes(1_000, &order(4))
            .passes(102_500, 102_500, &log(1))
            .leaves(t, &order(4))
    };
    assert_eq!(beside(102_600).report().waited_arbitration, 1);
    beside(102_600).breaks(&[]);
    beside(102_500 + 1_024).breaks(&[What::Late]);
}

#[test]
fn a_busy_link_explains_a_wait() {
    // 80 Mbit/s: an order is on the wire for 10 us.
    let linked = |t, keys: &str| {
        Run::new().stating("#port", keys).passes(1_000, 1_000, &order(1)).passes(
            1_000,
            t,
            &order(2),
        )
    };
    linked(11_000, "").breaks(&[What::Late]);
    linked(11_000 + 1_023, "link = \"80M\"").breaks(&[]);
    assert_eq!(linked(11_000, "link = \"80M\"").report().waited_link, 1);
    linked(11_000 + 1_024, "link = \"80M\"").breaks(&[What::Late]);
    linked(11_000 + 1_024, "link = \"80M\"\ncompletion_delay = \"5us\"").breaks(&[]);
}

#[test]
fn order_inside_a_flow_is_kept() {
    let run = Run::new().comes(1_000, &order(1)).comes(1_000, &order(2));
    run.leaves(1_000, &order(2)).leaves(1_000, &order(1)).breaks(&[What::Reordered]);
    let run = Run::new().comes(1_000, &order_of(1, 1)).comes(1_000, &order_of(2, 1));
    run.leaves(1_000, &order_of(2, 1)).leaves(1_000, &order_of(1, 1)).breaks(&[]);
}

#[test]
fn lost_duplicate_and_invented_frames_are_refused() {
    let run = || Run::new().passes(1_000, 1_000, &order(1)).comes(1_000, &order(2));
    run().breaks(&[What::Lost, What::DropForbidden, What::Counters]);
    let twice = run().leaves(1_000, &order(2)).leaves(1_000, &order(2));
    twice.breaks(&[What::Duplicate, What::Counters]);
    let other = run().leaves(1_000, &order(2)).leaves(1_000, &order(3));
    other.breaks(&[What::Invented, What::Counters]);
}

#[test]
fn a_drop_is_accepted_where_it_is_counted_and_allowed() {
    let dropping = |reason: &str, frame: &[u8]| {
        let mut run = Run::new().passes(1_000, 1_000, &order(1)).comes(1_000, frame);
        run.drops = json!({ reason: 1 });
        run
    };
    dropping("queue_full", &log(1)).breaks(&[]);
    dropping("queue_full", &order(2)).breaks(&[What::DropForbidden]);
    dropping("runt", &order(2)[..13]).breaks(&[]);
    let mut oversize = order(2);
    oversize.push(0);
    dropping("tx_oversize", &oversize).breaks(&[]);
    let mut fragment = order(2);
    fragment[20] = 0x20;
    dropping("ip_fragment", &fragment).breaks(&[]);
    // From the venue fragments pass; one that is missing was lost.
    let mut from_venue = dropping("ip_fragment", &fragment);
    from_venue.input.iter_mut().for_each(|record| record.interface = Some("out".into()));
    from_venue.output[0].interface = Some("in".into());
    from_venue.breaks(&[What::DropForbidden]);
    let run = Run::new().passes(1_000, 1_000, &order(2)[..13]);
    run.breaks(&[What::MalformedLeft]);
    assert_eq!(run.report().malformed["runt"], 1);
}

#[test]
fn a_dropped_twin_is_no_reordering() {
    // Twins: the first was dropped, the second left after another packet of the flow.
    let mut run = Run::new().comes(1_000, &log(1)).passes(2_000, 2_000, &log(2));
    run = run.passes(9_000, 9_000, &log(1));
    run.drops = json!({ "queue_full": 1 });
    run.breaks(&[]);
    assert_eq!(run.report().ambiguous, 1);
}

#[test]
fn exempt_packets_never_wait_and_always_pay() {
    let spent = |t| {
        (1..4).fold(Run::capped("port"), |run, n| run.passes(1_000, 1_000, &cancel(n))).passes(
            1_000,
            t,
            &order(1),
        )
    };
    spent(101_000).breaks(&[]);
    assert_eq!(spent(101_000).report().exempt, 3);
    spent(1_000).breaks(&[What::Early]);
    // A fourth cancel goes at once into debt; the order pays for it too.
    let run = (1..5).fold(Run::capped("port"), |run, n| run.passes(1_000, 1_000, &cancel(n)));
    run.passes(1_000, 201_000, &order(1)).breaks(&[]);
    let run = Run::capped("port").passes(1_000, 1_000 + 1_024, &cancel(1));
    run.breaks(&[What::Late]);
}

#[test]
fn tcp_without_payload_waits_behind_its_own_flow_only() {
    let queued = || {
        (1..4).fold(Run::capped("class"), |run, n| run.passes(1_000, 1_000, &segment(n, ACK, 22)))
    };
    // The fourth segment waits for 101,000; an ACK behind it waits as long and not longer.
    let run = queued().passes(1_000, 101_000, &segment(4, ACK, 22));
    run.passes(1_000, 101_000, &segment(5, ACK, 0)).breaks(&[]);
    let run = queued().comes(1_000, &segment(4, ACK, 22));
    run.passes(1_000, 1_000, &segment(5, ACK, 0))
        .leaves(185_000, &segment(4, ACK, 22))
        .breaks(&[What::Reordered]);
    // Alone it never waits, whatever the bucket says; it pays 84 bytes, so the next one waits longer.
    let run = queued().passes(1_000, 1_000, &segment(5, ACK, 0));
    run.passes(1_000, 185_000, &segment(6, ACK, 22)).breaks(&[]);
    queued().passes(1_000, 1_000, &segment(5, SYN, 0)).breaks(&[]);
}

#[test]
fn an_exempt_packet_releases_its_own_flow_forward() {
    let run = || {
        (1..4)
            .fold(Run::capped("class"), |run, n| run.passes(1_000, 1_000, &segment(n, ACK, 22)))
            .comes(1_000, &segment(4, ACK, 22))
    };
    let pushed = |t| {
        run()
            .comes(2_000, &segment(5, FIN | ACK, 0))
            .leaves(t, &segment(4, ACK, 22))
            .leaves(t, &segment(5, FIN | ACK, 0))
    };
    pushed(2_000).breaks(&[]);
    assert_eq!((pushed(2_000).report().forward, pushed(2_000).report().governed), (1, 3));
    // Before the FIN came nothing allowed it, and after it came nothing may keep it back.
    pushed(1_999).breaks(&[What::Early, What::Early, What::Window]);
    pushed(2_000 + 1_024).breaks(&[What::Late]);
    // A bare ACK pushes nothing.
    let acked = run().comes(2_000, &segment(5, ACK, 0)).leaves(2_000, &segment(4, ACK, 22));
    acked.leaves(2_000, &segment(5, ACK, 0)).breaks(&[What::Early, What::Window]);
}

#[test]
fn max_hold_ends_a_wait() {
    let held = |t| {
        let mut run = five([1_000, 1_000, 1_000, t, 101_000]);
        run.config = run.config.replace("\"unlimited\"", "\"50us\"");
        // The fifth comes later: it is governed again, and pays for the fourth.
        run.input[4].t = 100_000;
        run
    };
    // TAT after four = 401,000, so the fifth conforms at 201,000 and its hold ends at 150,000.
    let mut run = held(51_000);
    run.output[4].t = 150_000;
    run.breaks(&[]);
    assert_eq!((run.report().max_hold, run.report().governed), (2, 3));
    run.output[3].t = 50_999;
    run.breaks(&[What::Early, What::Window]);
    run.output[3].t = 51_000 + 1_024;
    run.breaks(&[What::Late]);
}

#[test]
fn every_flow_has_a_bucket_of_its_own() {
    let flow = |run: Run, port: u16, last: u64| {
        (1..4).fold(run, |run, n| run.passes(1_000, 1_000, &order_of(port, n))).passes(
            1_000,
            last,
            &order_of(port, 4),
        )
    };
    let two = |last: u64| {
        let mut run = flow(flow(Run::capped("flow"), 1, 101_000), 2, last);
        run.output.sort_by_key(|record| record.t);
        run
    };
    two(101_000).breaks(&[]);
    two(100_999).breaks(&[What::Early, What::Window]);
}

#[test]
fn messages_are_a_bucket_too() {
    // 1000 messages per second, two at once, two in each datagram: one datagram each 2 ms, and a slot of
    // 1,024 ns before that, since the effective burst is 2 + 1000/s x 1024 ns = 2.001024 messages.
    let run = |t, exact: Value| {
        let keys = "messages = \"1000/s\"\nmessage_burst = 2\nmessages_per_segment = 2";
        let mut run = Run::new().stating("#orders", keys);
        run.envelopes.push(json!({ "profile": "normal", "name": "orders", "level": "class",
            "messages_per_s": 1_000, "message_burst": 3, "message_burst_exact": exact }));
        run.passes(0, 0, &order(1)).passes(0, t, &order(2)).passes(
            0,
            t,
            &udp([10, 0, 0, 1], 4_000, [10, 9, 0, 1], 7_000, b""),
        )
    };
    let exact = || json!({ "whole": 2, "slack_ns": 1_024 });
    run(1_998_976, exact()).breaks(&[]);
    run(1_998_975, exact()).breaks(&[What::Early, What::Window]);
    // Three messages at once are more than the config lets follow.
    run(1_000_000, json!({ "whole": 3, "slack_ns": 0 })).breaks(&[What::Promise]);
}

#[test]
fn what_is_no_order_carries_messages_only_where_they_are_limited() {
    // A port cap on messages: logs carry none, orders one each.
    let run = |t| {
        let mut run = Run::new().stating("#port", "messages = \"1000/s\"\nmessage_burst = 2");
        run.envelopes.push(json!({ "profile": "normal", "name": "out", "level": "port",
            "messages_per_s": 1_000, "message_burst": 2 }));
        let run = (1..9).fold(run, |run, n| run.passes(0, 0, &log(n)));
        let run = (1..3).fold(run, |run, n| run.passes(0, 0, &order(n)));
        run.passes(0, t, &order(3))
    };
    run(1_000_000).breaks(&[]);
    run(999_999).breaks(&[What::Early, What::Window]);
}

#[test]
fn a_wider_promise_than_the_config_allows_is_refused() {
    let printed = |rate: u64, burst: u64| {
        let mut run = Run::capped("class");
        run.envelopes[1]["rate_bps"] = rate.into();
        run.envelopes[1]["burst_bytes"] = burst.into();
        run
    };
    printed(8_000_000, 300).breaks(&[]);
    printed(8_000_000, 301).breaks(&[What::Promise]);
    printed(8_000_001, 300).breaks(&[What::Promise]);
    // A stated burst below a frame and a slot is raised to 100 bytes + 1.024 bytes, rounded up.
    let small = |burst: u64| {
        let mut run = printed(8_000_000, burst);
        run.config = run.config.replace("300B", "10B");
        run
    };
    small(102).breaks(&[]);
    small(103).breaks(&[What::Promise]);
    // None stated is none allowed beyond that.
    let mut unstated = small(102);
    unstated.config = unstated.config.replace("burst = \"10B\"", "");
    unstated.breaks(&[]);
    unstated.envelopes[1]["burst_bytes"] = 103.into();
    unstated.breaks(&[What::Promise]);
    let mut silent = Run::capped("class");
    silent.envelopes.pop();
    silent.breaks(&[What::Promise]);
    let mut invented = Run::new();
    invented.envelopes.push(json!({ "profile": "normal", "name": "gone", "level": "class",
        "rate_bps": 5, "burst_bytes": 5 }));
    invented.breaks(&[What::Promise]);
}

#[test]
fn counters_and_clocks_are_checked() {
    let mut run = Run::new().passes(1_000, 1_000, &order(1));
    run.held = 1;
    run.breaks(&[What::Counters]);
    let run =
        Run::new().passes(1_000, 1_500, &order_of(1, 1)).passes(1_000, 1_400, &order_of(2, 1));
    run.breaks(&[What::TimeBackwards]);
    // An input whose time runs backwards arrives at the latest time seen.
    let run = Run::new().passes(1_000, 1_000, &order(1)).passes(400, 1_000, &order(2));
    run.breaks(&[]);
    let run = Run::new().passes(1_000, 1_000, &order(1)).passes(400, 999, &order(2));
    run.breaks(&[What::Early, What::TimeBackwards]);
}

#[test]
fn what_is_not_ip_passes_and_the_venue_side_is_forwarded() {
    let arp = ethernet(0x0806, &[0; 46]);
    let run = Run::capped("class").passes(1_000, 1_000, &arp);
    run.breaks(&[]);
    assert_eq!(run.report().by_class["non_ip"], 1);
    let mut run = Run::capped("class");
    for n in 1..6 {
        run = run.passes(1_000, 1_000, &order(n));
    }
    for record in &mut run.input {
        record.interface = Some("out".into());
    }
    for record in &mut run.output {
        record.interface = Some("in".into());
    }
    run.breaks(&[]);
    assert_eq!(run.report().from_venue, 5);
}

#[test]
fn a_flow_with_two_classes_is_not_judged() {
    let mut run = Run::new().passes(1_000, 1_000, &log(1)).passes(1_000, 1_000, &log(1));
    run.config = run.config.replace("dst_port = 9000", "dst_port = 9000\ndscp = 0");
    run.input[1].bytes[15] = 46 << 2;
    let refused = check(&Evidence {
        input: &run.input,
        output: &run.output,
        config: &run.config,
        profile: "normal",
        check_json: &json!({ "envelopes": run.envelopes }),
        run_json: None,
    });
    assert!(refused.unwrap_err().contains("two classes"));
}

/// Three levels at once: the earliest departures are accepted, and every one that waited is found
/// when it is moved by a nanosecond.
#[test]
fn three_levels_are_strict_to_the_nanosecond() {
    // Rates that divide nothing, so that eligible times are no whole nanoseconds.
    let rates = [("flow", 9_700_003), ("class", 11_300_009), ("port", 12_900_001)];
    let keys = format!(
        "{}\n{}",
        "rate = \"11300009\"\nburst = \"300B\"", "flow_rate = \"9700003\"\nflow_burst = \"300B\""
    );
    let mut run = Run::new().stating("#orders", &keys);
    run = run.stating("#port", &CAP.replace("8M", "12900001"));
    let mut buckets = Vec::new();
    for (level, rate) in rates {
        let name = if level == "port" { "out" } else { "orders" };
        run.envelopes.push(json!({ "profile": "normal", "name": name, "level": level,
            "rate_bps": rate, "burst_bytes": 300 }));
        buckets.push(Bucket::new(Envelope::new(rate, 2_400)));
    }
    let (mut arrival, mut t) = (1_500_000_000_000_000_000, 0);
    for n in 0..120_u8 {
        arrival += 20_011 * u64::from(n % 9);
        let conforming = buckets.iter().filter_map(|bucket| bucket.conforming(800)).max();
        let earliest = u64::try_from(conforming.map_or(0, Exact::ceil_ns)).unwrap();
        t = earliest.max(arrival).max(t);
        buckets.iter_mut().for_each(|bucket| bucket.charge(t, 800));
        run = run.passes(arrival, t, &order(n));
    }
    run.report().assert_clean();
    run.report().assert_delayed_at_least(0.5);
    for index in 0..120 {
        let (arrival, t) = (run.input[index].t, run.output[index].t);
        if t > arrival && index > 0 && t > run.output[index - 1].t {
            run.output[index].t = t - 1;
            assert!(run.report().count(What::Early) > 0, "frame {index} a nanosecond early");
            run.output[index].t = t + 1_024;
            assert!(run.report().count(What::Late) > 0, "frame {index} a slot late");
            run.output[index].t = t;
        }
    }
}

#[test]
fn a_jitter_widens_what_check_may_print_by_what_the_rate_gives_meanwhile() {
    // 8 Mbit/s give 10 bytes in 10 us; a slot of 1,024 ns would be 2.
    let small = |burst: u64, jitter: &str| {
        let mut run = Run::capped("class").stating("#orders", jitter);
        run.config = run.config.replace("300B", "10B");
        run.envelopes[1]["burst_bytes"] = burst.into();
        run
    };
    small(110, "jitter = \"10us\"").breaks(&[]);
    small(111, "jitter = \"10us\"").breaks(&[What::Promise]);
    small(110, "jitter = \"1us\"").breaks(&[What::Promise]);
}

#[test]
fn a_venue_limit_holds_whatever_the_caps_let_through() {
    let limit = "[[venue_limit]]\nname = \"v\"\nsession_of = \"orders\"\nmessages = 3\nper = \"1ms\"\n\
                 margin = 0.0\ncancel_reserve = 1\n";
    let run = |third: u64| {
        let mut run = Run::new();
        run.config += limit;
        run.passes(0, 0, &order_of(1, 1))
            .passes(10, 10, &order_of(1, 2))
            .passes(20, 20, &order_of(2, 3))
            .passes(third, third, &order_of(1, 4))
    };
    run(1_000_000).breaks(&[]);
    run(999_999).breaks(&[What::VenueLimit]);
}
