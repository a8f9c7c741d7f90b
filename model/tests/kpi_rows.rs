//! Each KPI from rows by hand: a few packets, the arithmetic beside them, and what is absent.

mod rows;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::kpi::SampleLoss;
use model::meta::{IntentSource, StampSource};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile};
use model::sample::{End, Sample, TcpSeen};
use model::time::Nanos;
use rows::{
    ANSWERS, CANCELS, FEED, ORDERS, SESSION, World, flushed, is_near, part, row, row_to, series, us,
};

/// Values that are counts: 0 of them is a value.
const COUNTS: [&str; 4] = ["negative", "in_one_burst", "not_followed", "packets"];

const OF_ORDERS: [&str; 24] = [
    "decision_to_wire_ns",
    "child_join_delay_ns",
    "cadence_phase_error",
    "write_size_bytes",
    "inter_write_ns",
    "churn_burst_index",
    "not_sent_bytes",
    "segmentation_burst_factor_at_normal",
    "wire_serialization_ns",
    "burst_bytes",
    "wire_to_ack_ns",
    "ack_compression_ratio",
    "dispatch_to_wire_ns_at_normal",
    "burstiness_index_at_normal",
    "wire_cadence_variability_ns_at_normal",
    "completion_ratio_at_normal",
    "decision_to_wire_ns_at_normal",
    "child_join_delay_ns_at_normal",
    "cadence_phase_error_at_normal",
    "churn_burst_index_at_normal",
    "not_sent_bytes_at_normal",
    "flush_compression_index_at_normal",
    "burst_drain_ratio_at_normal",
    "wire_serialization_ns_at_normal",
];
const OF_FEED: [&str; 4] = [
    "delivery_delay_ns",
    "ingest_gap_ns",
    "market_data_distortion_ratio",
    "decision_burst_coupling",
];
const OF_PORTS: [&str; 2] = ["not_sent_urgency_divergence", "causality_drift"];

fn each(report: &model::kpi::Report) -> impl Iterator<Item = &model::kpi::Entry> {
    let of_orders = OF_ORDERS.iter().map(|name| series(report, name, "orders"));
    let of_feed = OF_FEED.iter().map(|name| series(report, name, "feed"));
    of_orders.chain(of_feed).chain(OF_PORTS.iter().map(|name| series(report, name, "")))
}

#[test]
fn without_rows_everything_is_absent() {
    let report = World::new().report();
    for entry in each(&report) {
        assert_eq!((entry.n, entry.basis.name()), (0, "sampled"), "{}", entry.name);
        for (value, found) in entry.values.iter().filter(|(value, _)| !COUNTS.contains(value)) {
            assert_eq!(*found, None, "{} {value}", entry.name);
        }
        assert!(entry.absent.is_some(), "{} says why", entry.name);
    }
}

/// One packet has sizes, delays and their maxima; it has no gap, no quantile and no ratio.
#[test]
fn one_packet_is_no_statistic() {
    let order = Sample {
        t_decision: Some(us(990)),
        kind: Kind::Order,
        ..row_to(ORDERS, us(1_000), us(1_007))
    };
    let report = World::of([order, row_to(FEED, us(2_000), us(2_003))]).report();
    let max = |name, class| series(&report, name, class).value("max");
    assert_eq!(max("decision_to_wire_ns", "orders"), Some(17_000.0));
    assert_eq!(max("dispatch_to_wire_ns_at_normal", "orders"), Some(7_000.0));
    assert_eq!(max("delivery_delay_ns", "feed"), Some(3_000.0));
    assert_eq!(max("not_sent_bytes", "orders"), Some(1_000.0));
    assert_eq!(max("write_size_bytes", "orders"), None, "30 are needed, for a maximum too");
    for entry in each(&report) {
        let no_statistic = ["max", "mean", "ratio"];
        let known = |value: &str| no_statistic.contains(&value) || COUNTS.contains(&value);
        for (value, found) in entry.values.iter().filter(|(value, _)| !known(value)) {
            assert_eq!(*found, None, "{} {value}", entry.name);
        }
        let is_whole = entry.name == "completion_ratio_at_normal";
        assert!(entry.absent.is_some() || is_whole, "{}", entry.name);
    }
    assert_eq!(series(&report, "inter_write_ns", "orders").absent, Some("no_packets"));
    assert_eq!(series(&report, "burst_drain_ratio", "orders").value("ratio"), None);
    assert_eq!(series(&report, "causality_drift", "").value("drift"), None);
}

/// Decided 1, 2 .. 200 us before departure: p50 = 100, p95 = 190, join delay 90 us. Two more left before
/// they were decided, by clocks that disagree; one does not know.
#[test]
fn decision_to_wire_and_child_join_delay() {
    let decided = |n: u64, ago: i64| Sample {
        t_decision: Some(Nanos((us(n * 1_000).0 as i64 - ago * 1_000) as u64)),
        ..row(ORDERS, us(n * 1_000))
    };
    let mut rows: Vec<_> = (1..=200).map(|n| decided(n, n as i64)).collect();
    rows.extend([decided(201, -5), decided(202, -5), row(ORDERS, us(203_000))]);
    let report = World::of(rows).report();
    let entry = series(&report, "decision_to_wire_ns", "orders");
    assert_eq!((entry.n, entry.value("negative")), (200, Some(2.0)));
    assert!(is_near(entry.value("p50"), 100_000.0) && is_near(entry.value("p95"), 190_000.0));
    assert_eq!((entry.value("p99"), entry.absent), (None, Some("n_too_small")));
    assert!(is_near(series(&report, "child_join_delay_ns", "orders").value("value"), 90_000.0));

    let untagged = World::of((0..300).map(|n| row(ORDERS, us(n)))).report();
    for name in ["decision_to_wire_ns", "child_join_delay_ns"] {
        let entry = series(&untagged, name, "orders");
        assert_eq!(entry.absent, Some("no_decision"), "{name}");
        assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{name}");
    }
}

/// Cadence 100 us. 180 packets are 10 us late, 20 are 40 us early (60 us on the circle, 40 away). p95 of
/// 200 is the 190th: 40 us = 0.4. The arrows point to 0.1 and to -0.4, just opposite: what is left is
/// (180 - 20) / 200 = 0.8 long and points to 0.1.
#[test]
fn cadence_phase_error() {
    let rows = (0..200_u64).map(|n| {
        let due = us(1_000 + n * 100);
        let wire = if n % 10 == 0 { due.0 - 40_000 } else { due.0 + 10_000 };
        Sample { t_due: due, ..row_to(ORDERS, Nanos(due.0 - 50_000), Nanos(wire)) }
    });
    let report = World::of(rows).report();
    let entry = series(&report, "cadence_phase_error", "orders");
    assert!(is_near(entry.value("p95"), 0.4) && is_near(entry.value("max"), 0.4));
    assert_eq!((entry.value("drift"), entry.value("coherence")), (Some(0.1), Some(0.8)));
    assert_eq!(series(&report, "cadence_phase_error", "cancels").absent, Some("no_cadence"));
}

/// Evenly over the circle there is no relation: 0.475, and no direction.
#[test]
fn without_relation_the_phase_error_is_0_475() {
    let rows = (0..1_000_u64).map(|n| {
        let due = us(1_000 + n * 100);
        row_to(ORDERS, due, Nanos(due.0 + n * 100))
    });
    let report = World::of(rows).report();
    let entry = series(&report, "cadence_phase_error", "orders");
    assert!(is_near(entry.value("p95"), 0.475), "{:?}", entry.value("p95"));
    assert_eq!((entry.value("drift"), entry.value("coherence")), (None, Some(0.0)));
}

/// Frames of 60, 60 and 1,000 bytes in turn, 100 us apart, 30 in all, two flows by turns: the flow of a
/// packet had its last one 200 us before. A dropped packet was written too, but is in no flow.
#[test]
fn what_the_sender_wrote() {
    let mut rows: Vec<_> = (0..30_u64)
        .map(|n| Sample {
            len: if n % 3 == 2 { 1_000 } else { 60 },
            flow: (n % 2) as u32,
            ..row(CANCELS, us(n * 100))
        })
        .collect();
    let dropped = DropReason::Stale;
    rows.push(Sample { end: End::Dropped(dropped), t_wire: None, ..row(CANCELS, us(3_000)) });
    let report = World::of(rows).report();
    let sizes = series(&report, "write_size_bytes", "cancels");
    assert_eq!((sizes.n, sizes.value("p50")), (31, Some(60.0)));
    assert_eq!((sizes.value("max"), sizes.value("p95")), (Some(1_000.0), None));
    // 30 packets of two flows: 28 gaps, less than 30.
    let gaps = series(&report, "inter_write_ns", "cancels");
    assert_eq!((gaps.n, gaps.value("p50"), gaps.absent), (28, None, Some("n_too_small")));

    let rows = (0..32_u64).map(|n| Sample { flow: (n % 2) as u32, ..row(CANCELS, us(n * 100)) });
    let report = World::of(rows).report();
    let gaps = series(&report, "inter_write_ns", "cancels");
    assert!(is_near(gaps.value("p50"), 200_000.0), "{gaps:?}");
    assert_eq!((gaps.n, gaps.value("max")), (30, Some(200_000.0)));
}

/// 40 cancels, due one in each window of 250 us. The first 30 leave when they are due, the last 10 in
/// one window: bi = 10/40, of due times 1/40: excess 10. All were handed over in one window: intent 1.
/// Orders of the same session in one window change nothing.
#[test]
fn churn_burst_index() {
    let mut rows: Vec<_> = (0..40_u64)
        .map(|n| Sample {
            kind: if n % 2 == 0 { Kind::Cancel } else { Kind::Replace },
            t_due: us(100_000 + n * 250),
            ..row_to(SESSION, us(100_000), us(100_000 + if n < 30 { n } else { 39 } * 250))
        })
        .collect();
    rows.extend((0..100).map(|n| Sample { kind: Kind::Order, ..row(SESSION, us(110_000 + n)) }));
    let report = World::of(rows).report();
    let entry = series(&report, "churn_burst_index", "session");
    assert_eq!((entry.n, entry.value("excess"), entry.value("bi")), (40, Some(10.0), Some(0.25)));
    assert_eq!((entry.value("intent"), entry.absent), (Some(1.0), None));

    let untold = World::of((0..100).map(|n| row(SESSION, us(n)))).report();
    let entry = series(&untold, "churn_burst_index", "session");
    assert_eq!((entry.n, entry.value("excess"), entry.absent), (0, None, Some("no_kind")));
}

/// 20 packets of 1,000 wire bytes, one each ms, wait 250 us each: 1,000 bytes for 20 x 0.25 = 5 ms of
/// 19.25. The median is 0, the mean 1,000 x 5 / 19.25 = 259.74. With 20 there is no p95.
#[test]
fn not_sent_bytes_are_weighted_by_time() {
    let waits = |n: u64| row_to(CANCELS, us(n * 1_000), us(n * 1_000 + 250));
    let report = World::of((0..20).map(waits)).report();
    let entry = series(&report, "not_sent_bytes", "cancels");
    assert_eq!((entry.n, entry.value("p50"), entry.value("max")), (20, Some(0.0), Some(1_000.0)));
    assert!(is_near(entry.value("mean"), 259.74) && entry.value("p95").is_none());
    let report = World::of((0..200).map(waits)).report();
    let entry = series(&report, "not_sent_bytes", "cancels");
    assert!(is_near(entry.value("p95"), 1_000.0), "a quarter of the time");
}

/// In 1 s 200 us of 1,000 bytes at urgency 200 and 600 us at urgency 50: means 0.2 and 0.6 bytes.
/// (200 x 0.2 + 50 x 0.6) / 250 = 0.28; the plain mean is 0.4: ratio 0.7. The second row stands for two.
#[test]
fn not_sent_urgency_divergence() {
    let urgent = Sample { urgency: 200, ..row_to(ORDERS, us(0), us(200)) };
    let calm = Sample { urgency: 50, weight: 2, ..row_to(CANCELS, us(0), us(300)) };
    let mut world = World::of([urgent, calm]);
    let report = world.report();
    let entry = series(&report, "not_sent_urgency_divergence", "");
    assert!(is_near(entry.value("divergence"), 0.28), "{entry:?}");
    assert!(is_near(entry.value("ratio"), 0.7));
    let plain = World::of([row_to(ORDERS, us(0), us(9))]).report();
    let entry = series(&plain, "not_sent_urgency_divergence", "");
    assert_eq!((entry.value("divergence"), entry.absent), (None, Some("no_urgency")));
    let idle = World::of([Sample { urgency: 7, ..row(ORDERS, us(0)) }]).report();
    let entry = series(&idle, "not_sent_urgency_divergence", "");
    assert_eq!((entry.value("divergence"), entry.value("ratio")), (Some(0.0), None));
    assert_eq!(entry.absent, Some("no_backlog"));
}

/// The link carries 1,000 wire bytes in 1 us. 30 bursts, 100 us apart, of packets at 0, 1 and 2.1 us (gaps
/// below 1.2): 0, 1 and 2 us ahead. 90 packets: the 45th is 1 us. Each burst has 3,000 bytes.
#[test]
fn bursts_on_the_wire() {
    let rows = (0..90_u64).map(|n| {
        let at = Nanos(n / 3 * 100_000 + [0, 1_000, 2_100][n as usize % 3]);
        row(ORDERS, at)
    });
    let mut world = World::of(rows);
    let report = world.report();
    let ahead = series(&report, "wire_serialization_ns", "orders");
    assert_eq!((ahead.n, ahead.value("max")), (90, Some(2_000.0)));
    assert!(is_near(ahead.value("p50"), 1_000.0));
    let bytes = series(&report, "burst_bytes", "orders");
    assert_eq!((bytes.n, bytes.value("max")), (30, Some(3_000.0)));
    assert!(is_near(bytes.value("p50"), 3_000.0));

    world.plan.ports[1].link_bits_per_s = None;
    for name in ["wire_serialization_ns", "burst_bytes"] {
        let report = world.look();
        let entry = series(&report, name, "orders");
        assert_eq!((entry.value("max"), entry.absent), (None, Some("no_link_rate")), "{name}");
    }
}

/// A packet every 100 us, as the sender wants it.
fn on_time(class: u8, n: u64) -> Vec<Sample> {
    (0..n).map(|n| row(class, us(900_000 + n * 100))).collect()
}

/// Cadence 100 us, windows of 300 us, 30 flushes of 100 packets. Most packets of a window: 100, due 3:
/// excess 33.3. In most windows packets wait and none leaves: median 0, taken as 1; 100 over 1 = 100.
/// 990 windows and a few are eligible, the top 9 hold 9 of 30 flushes: 0.3. Bytes: 100 over 3.
#[test]
fn a_flow_that_is_flushed_every_ten_ms() {
    let report = World::of(flushed(ORDERS, 3_000)).report();
    assert_eq!(series(&report, "flush_compression_index", "orders").value("index"), Some(100.0));
    let factor = series(&report, "segmentation_burst_factor", "orders");
    assert!(is_near(factor.value("factor"), 100.0 / 3.0));
    let drain = series(&report, "burst_drain_ratio", "orders");
    assert!((990..1_010).contains(&drain.n), "{}", drain.n);
    let top = (drain.n / 100) as f64;
    assert!(is_near(drain.value("ratio"), top / 30.0), "{drain:?}");
    for name in ["burstiness_index", "burstiness_index_at_normal"] {
        let burst = series(&report, name, "orders");
        assert!(is_near(burst.value("excess"), 100.0 / 3.0), "{name}: no profile did this");
    }
}

/// On time there are 3 in each window: 1 of everything, and 1 % of the windows hold 1 % of the bytes.
/// Without a cadence there are 2 and 3 by turns: p95 3 over median 2 = 1.5.
#[test]
fn a_flow_that_leaves_on_time() {
    let report = World::of(on_time(ORDERS, 3_000)).report();
    assert_eq!(series(&report, "flush_compression_index", "orders").value("index"), Some(1.0));
    assert_eq!(series(&report, "segmentation_burst_factor", "orders").value("factor"), Some(1.0));
    for name in ["burstiness_index", "burstiness_index_at_normal"] {
        assert_eq!(series(&report, name, "orders").value("excess"), Some(1.0), "{name}");
    }
    assert!(is_near(series(&report, "burst_drain_ratio", "orders").value("ratio"), 0.01));
    let report = World::of(on_time(CANCELS, 3_000)).report();
    assert_eq!(series(&report, "flush_compression_index", "cancels").value("index"), Some(1.5));
}

/// 100 packets/s, each alone in its window: excess 1, and each in its own window on both sides.
#[test]
fn a_quiet_flow_is_not_bursty() {
    let rows = (0..300).map(|n| row_to(CANCELS, us(n * 10_000), us(n * 10_000 + 20)));
    let report = World::of(rows).report();
    for name in ["burstiness_index", "burstiness_index_at_normal"] {
        let burst = series(&report, name, "cancels");
        assert_eq!((burst.value("excess"), burst.value("bi")), (Some(1.0), Some(1.0 / 300.0)));
    }
    assert_eq!(series(&report, "flush_compression_index", "cancels").value("index"), Some(1.0));
}

/// The class has 8 Mbit/s and a burst of 1,700 bytes: in 300 us 300 more, 2,000 in all. Three packets of
/// 1,000 bytes in a window are 1.5 of that.
#[test]
fn the_envelope_of_a_class() {
    let bits =
        |rate_per_s, burst| Caps { bits: Some(Bucket::new(rate_per_s, burst)), messages: None };
    let class = |class| ClassParams { class, ..ClassParams::default() };
    let mut world = World::of(on_time(ORDERS, 30));
    world.profile = Some(Profile {
        name: "normal".into(),
        index: 0,
        classes: vec![class(bits(8_000_000, 1_700)), class(Caps::default())],
        egress: vec![EgressParams::default(); 2],
        canary: None,
        venue_limits: vec![],
    });
    let report = world.report();
    let factor = series(&report, "segmentation_burst_factor", "orders");
    // Of seconds there are none here.
    assert_eq!((factor.value("envelope"), factor.absent), (Some(1.5), Some("n_too_small")));
    world.profile = None;
    let report = world.look();
    let factor = series(&report, "segmentation_burst_factor", "orders");
    assert_eq!((factor.value("envelope"), factor.absent), (None, Some("unlimited")));
}

/// Delivered 5 us after arrival, but each tenth 50 us: p95 of 200 is 50. Feed and answers apart.
#[test]
fn delivery_delay() {
    let late = |n: u64| if n.is_multiple_of(10) { 50 } else { 5 };
    let mut rows: Vec<_> =
        (0..200).map(|n| row_to(FEED, us(n * 100), us(n * 100 + late(n)))).collect();
    rows.push(row_to(ANSWERS, us(30_000), us(30_001)));
    rows.push(Sample { t_ingress: us(40_001), ..row(ANSWERS, us(40_000)) });
    let report = World::of(rows).report();
    let feed = part(&report, "delivery_delay_ns", "feed", Some("market_data"));
    assert!(is_near(feed.value("p50"), 5_000.0) && is_near(feed.value("p95"), 50_000.0));
    let answers = part(&report, "delivery_delay_ns", "answers", Some("control"));
    assert_eq!((answers.n, answers.value("max")), (1, Some(1_000.0)));
    assert_eq!(answers.value("negative"), Some(1.0), "counted, not clipped");
}

/// A frame each 100 us, delivered in pairs: distinct deliveries are 200 us apart, arrivals 100: ratio 2.
/// All deliveries: gaps of 0 and 200 us by turns, the lower median of 401 is 200 (201 of them).
#[test]
fn market_data_distortion() {
    let rows = |source| {
        (0..402_u64).map(move |n| Sample {
            ingress_source: source,
            ..row_to(FEED, us(n * 100), us((n | 1) * 100))
        })
    };
    let report = World::of(rows(StampSource::Nic)).report();
    let entry = series(&report, "market_data_distortion_ratio", "feed");
    assert!(is_near(entry.value("ratio"), 2.0) && entry.n == 200, "{entry:?}");
    let gaps = series(&report, "ingest_gap_ns", "feed");
    assert_eq!((gaps.n, gaps.value("p50"), gaps.value("max")), (401, Some(0.0), Some(200_000.0)));
    // One clock read for a burst says nothing of how its packets came.
    let report = World::of(rows(StampSource::Tsc)).report();
    let entry = series(&report, "market_data_distortion_ratio", "feed");
    assert_eq!((entry.value("ratio"), entry.absent), (None, Some("coalesced_stamps")));
    assert!(series(&report, "ingest_gap_ns", "feed").value("p50").is_some());
}

/// 30 control packets, each 100 us behind a market-data packet. Six are delivered 50 us before it, which
/// comes 200 us after its arrival: 6/30. One more has no market data within 1 ms.
#[test]
fn causality_drift() {
    let mut rows = Vec::new();
    for n in 0..30_u64 {
        let at = n * 10_000;
        rows.push(row_to(FEED, us(at), us(at + 200)));
        let delivered = if n % 5 == 0 { at + 150 } else { at + 201 };
        rows.push(row_to(ANSWERS, us(at + 100), us(delivered)));
    }
    rows.push(row(ANSWERS, us(600_000)));
    let report = World::of(rows).report();
    let entry = series(&report, "causality_drift", "");
    assert_eq!((entry.n, entry.value("drift")), (30, Some(0.2)));
}

/// 60 times two frames that arrived 2 ms apart are delivered at the second one; an order follows 300 us
/// later, one window behind. Orders fall into windows of deliveries at that lag: coupling 1. Arrivals
/// have one window as well and one without an order: less. Windows from the first arrival on.
#[test]
fn decision_burst_coupling() {
    let mut rows = Vec::new();
    for n in 0..60_u64 {
        let at = 10_000 + n * 6_000;
        rows.push(row_to(FEED, us(at), us(at + 2_000)));
        rows.push(row(FEED, us(at + 2_000)));
        rows.push(row(ORDERS, us(at + 2_300)));
    }
    let report = World::of(rows.clone()).report();
    let entry = series(&report, "decision_burst_coupling", "feed");
    assert!(is_near(entry.value("coupling"), 1.0), "{entry:?}");
    assert_eq!(entry.value("lag_windows"), Some(1.0));
    let (ingress, excess) = (entry.value("ingress").unwrap(), entry.value("excess").unwrap());
    assert!(ingress < 0.72 && ingress > 0.65, "1 / sqrt 2 and a little less: {ingress}");
    assert!((excess - (entry.value("coupling").unwrap() - ingress)).abs() < 1e-12);
    let few = World::of(rows.into_iter().take(3 * 16)).report();
    let entry = series(&few, "decision_burst_coupling", "feed");
    assert_eq!((entry.n, entry.value("excess"), entry.absent), (48, None, Some("n_too_small")));
}

fn tcp(class: u8, wire: Nanos, end_seq: u32, ack: u32) -> Sample {
    let payload_bytes = if class == ANSWERS { 0 } else { 100 };
    Sample {
        tcp_end_seq: Some(end_seq),
        tcp: Some(TcpSeen { connection: 7, ack: Some(ack), payload_bytes }),
        ..row(class, wire)
    }
}

/// 201 segments, 1 ms apart, each acknowledged 300 us later, but each fourth one 900 us late, so that the
/// next acknowledgement is 400 us behind it: 0.4 of the data gap. 200 pairs, 50 of them compressed: 0.25.
/// Delays: 151 of 300 us, 50 of 900 us; p50 = 300, p95 = 900.
#[test]
fn acknowledgements() {
    let mut rows = Vec::new();
    for n in 0..201_u64 {
        let (sent, end) = (1_000 + n * 1_000, 100 + 100 * n as u32);
        rows.push(tcp(SESSION, us(sent), end, 1));
        let delay = if n % 4 == 2 { 900 } else { 300 };
        rows.push(tcp(ANSWERS, us(sent + delay), 1, end));
    }
    let mut world = World::of(rows);
    let report = world.report();
    let delay = series(&report, "wire_to_ack_ns", "session");
    assert!(is_near(delay.value("p50"), 300_000.0) && is_near(delay.value("p95"), 900_000.0));
    assert_eq!((delay.n, delay.value("p99"), delay.value("slope")), (201, None, None));
    let ratio = series(&report, "ack_compression_ratio", "session");
    assert_eq!((ratio.n, ratio.value("share"), ratio.value("ratio")), (200, Some(0.25), None));
    assert_eq!(ratio.absent, Some("no_baseline"));

    // Frozen as usual: 1. Nothing is compressed any more: 0, a value.
    world.sampled.set_ack_baselines(|class| (class == usize::from(SESSION)).then_some(0.25));
    let report = world.look();
    let ratio = series(&report, "ack_compression_ratio", "session");
    assert_eq!((ratio.value("ratio"), ratio.value("baseline")), (Some(1.0), Some(0.25)));
    world.sampled.clear();
    for n in 201..402_u64 {
        let (sent, end) = (1_000 + n * 1_000, 100 + 100 * n as u32);
        world.add(&tcp(SESSION, us(sent), end, 1));
        world.add(&tcp(ANSWERS, us(sent + 300), 1, end));
    }
    let report = world.look();
    let ratio = series(&report, "ack_compression_ratio", "session");
    assert_eq!((ratio.value("ratio"), ratio.value("share")), (Some(0.0), Some(0.0)));
    let delay = series(&report, "wire_to_ack_ns", "session");
    assert_eq!(delay.value("slope"), None, "p95 = p50");

    // One acknowledgement that stands for 8: those between were not seen.
    world.add(&Sample { weight: 8, ..tcp(ANSWERS, us(500_000), 1, 99_000) });
    let report = world.look();
    for name in ["wire_to_ack_ns", "ack_compression_ratio"] {
        let entry = series(&report, name, "session");
        assert_eq!(entry.absent, Some("not_every_packet"), "{name}");
        assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{name}");
    }
}

/// A row that stands for two: sizes and delays hold, gaps and windows do not. More than one lost row in a
/// thousand, and none holds.
#[test]
fn what_missing_rows_take_away() {
    let mut rows: Vec<_> = (0..400).map(|n| row_to(ORDERS, us(n * 100), us(n * 100 + 3))).collect();
    rows[200].weight = 2;
    rows.iter_mut().for_each(|row| row.t_decision = Some(row.t_dispatch));
    let mut world = World::of(rows);
    let report = world.report();
    for name in ["decision_to_wire_ns", "cadence_phase_error", "write_size_bytes"] {
        assert!(series(&report, name, "orders").value("p95").is_some(), "{name}");
    }
    for name in
        ["inter_write_ns", "not_sent_bytes", "churn_burst_index", "burst_drain_ratio_at_normal"]
    {
        let entry = series(&report, name, "orders");
        assert_eq!(entry.absent, Some("not_every_packet"), "{name}");
        assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{name}");
    }
    world.samples = SampleLoss { kept: 998, lost: 2 };
    let report = world.look();
    for entry in each(&report).filter(|entry| entry.labels.class.as_deref() != Some("feed")) {
        assert_eq!(entry.absent, Some("samples_lost"), "{}", entry.name);
        assert!(entry.values.iter().all(|(_, value)| value.is_none()), "{}", entry.name);
    }
}

#[test]
fn due_times_of_two_sources_are_not_mixed() {
    let rows = (0..400_u64).map(|n| Sample {
        intent: if n % 2 == 0 { IntentSource::Tag } else { IntentSource::Implicit },
        ..row(ORDERS, us(n * 100))
    });
    let report = World::of(rows).report();
    for name in ["cadence_phase_error", "segmentation_burst_factor", "burstiness_index_at_normal"] {
        let entry = series(&report, name, "orders");
        assert_eq!((entry.absent, entry.sources.intent), (Some("mixed_intent"), Some("mixed")));
    }
    let flush = series(&report, "flush_compression_index", "orders");
    assert!(flush.value("index").is_some(), "needs no due time");
}

/// Idle time is no jitter and no window: an hour between packets is neither walked nor counted.
#[test]
fn an_hour_of_silence_costs_nothing() {
    let hour = 3_600_000_000;
    let rows = (0..1_000).map(|n| row(ORDERS, us(n * hour)));
    let report = World::of(rows).report();
    assert_eq!(series(&report, "burst_drain_ratio", "orders").n, 1_000, "eligible windows");
    let gaps = series(&report, "wire_cadence_variability_ns_at_normal", "orders");
    assert_eq!((gaps.n, gaps.absent), (0, Some("no_packets")));
}

/// What is cut into intervals adds up to the whole.
#[test]
fn intervals_add_up_to_the_run() {
    let rows: Vec<_> = (0..30_000_u64)
        .map(|n| {
            let at = us(n * 100);
            let class = [ORDERS, CANCELS, FEED, ANSWERS][n as usize % 4];
            let wire = Nanos(at.0 + n * 7_919 % 90_000);
            Sample {
                urgency: (n % 3) as u8,
                flow: (n % 5) as u32,
                t_decision: Some(at),
                ..row_to(class, at, wire)
            }
        })
        .collect();
    let sampled = |report: model::kpi::Report| -> Vec<_> {
        report.entries.into_iter().filter(|entry| entry.basis.name() == "sampled").collect()
    };
    let whole = World::of(rows.clone()).report();
    let (mut run, mut interval) = (World::new(), World::new());
    for (n, row) in rows.iter().enumerate() {
        interval.add(row);
        if n % 977 == 0 {
            run.sampled.merge(&interval.sampled);
            interval.sampled.clear();
        }
    }
    interval.sampled.flush();
    run.sampled.merge(&interval.sampled);
    run.samples = interval.samples;
    let cut = run.look();
    // Sums of fractions depend on their order in the last digit; drift and coherence are rounded.
    let (whole, cut) = (sampled(whole), sampled(cut));
    assert!(whole.len() > 50, "{}", whole.len());
    assert_eq!(whole.len(), cut.len());
    for (whole, cut) in whole.iter().zip(&cut) {
        assert_eq!(whole, cut);
    }
}
