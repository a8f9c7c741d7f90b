//! KPIs at `normal` by hand: what a profile does on purpose is taken out, what the port adds stays in.

mod rows;

use model::kind::Kind;
use model::sample::Sample;
use model::time::Nanos;
use rows::{ORDERS, SESSION, World, flushed, is_near, part, row_to, series, us};

/// A packet that a profile holds until `sched` and that leaves at `wire`; the confirmed caps would have let it
/// go as it came.
fn held(at: Nanos, sched: Nanos, wire: Nanos) -> Sample {
    Sample { t_sched: Some(sched), ..row_to(ORDERS, at, wire) }
}

/// A profile holds each packet for 400 us beyond what the confirmed caps would; the port adds 2 us.
/// Really 402 us late; at normal 2. A flush by the profile alone is no burst at normal.
#[test]
fn at_normal_what_a_profile_does_on_purpose_is_taken_out() {
    let rows = (0..200_u64).map(|n| {
        let at = us(n * 100);
        Sample { t_sched: Some(at + us(400)), ..row_to(ORDERS, at, at + us(402)) }
    });
    let report = World::of(rows).report();
    let late = part(&report, "release_error_ns_at_normal", "orders", Some("late"));
    assert!(is_near(late.value("p50"), 2_000.0) && is_near(late.value("max"), 2_000.0));
    let total = series(&report, "dispatch_to_wire_ns_at_normal", "orders");
    assert!(is_near(total.value("p95"), 2_000.0), "{total:?}");
    assert!(is_near(series(&report, "not_sent_bytes", "orders").value("p50"), 4_000.0));
    let waits = series(&report, "not_sent_bytes_at_normal", "orders");
    assert_eq!((waits.value("p50"), waits.value("max")), (Some(0.0), Some(1_000.0)));

    let mut rows = flushed(ORDERS, 3_000);
    for row in &mut rows {
        row.t_sched = row.t_wire;
    }
    let report = World::of(rows).report();
    assert_eq!(series(&report, "flush_compression_index", "orders").value("index"), Some(100.0));
    for (name, value) in [
        ("flush_compression_index_at_normal", "index"),
        ("burstiness_index_at_normal", "excess"),
        ("segmentation_burst_factor_at_normal", "factor"),
    ] {
        assert_eq!(series(&report, name, "orders").value(value), Some(1.0), "{name}");
    }
    // Of 3,000 packets none was late at normal.
    let kept = series(&report, "completion_ratio_at_normal", "orders");
    assert_eq!((kept.n, kept.value("ratio")), (3_000, Some(1.0)));
}

/// Held for 430 us, and 2 us more by the port, with a cadence of 100 us: 432 us is 32 us past a period, which is
/// 0.32 of it; at normal 2 us are 0.02. Decided 10 us before: 442 us, at normal 12.
#[test]
fn phase_and_decision() {
    let rows = (0..200_u64).map(|n| {
        let at = us(1_000 + n * 100);
        let decided = Some(Nanos(at.0 - 10_000));
        Sample { t_decision: decided, ..held(at, at + us(430), at + us(432)) }
    });
    let report = World::of(rows).report();
    let value = |name, value| series(&report, name, "orders").value(value);
    assert!(is_near(value("cadence_phase_error", "p95"), 0.32));
    assert!(is_near(value("cadence_phase_error_at_normal", "p95"), 0.02));
    assert!(is_near(value("decision_to_wire_ns", "p95"), 442_000.0));
    assert!(is_near(value("decision_to_wire_ns_at_normal", "p95"), 12_000.0));
}

/// The n-th of 200 is held for n us: p95 - p50 = 190 - 100 = 90 us of decision to wire. At normal each takes the
/// 2 us of the port: 0 between p95 and p50.
#[test]
fn child_join_delay() {
    let rows = (1..=200_u64).map(|n| {
        let at = us(n * 1_000);
        Sample { t_decision: Some(at), ..held(at, at + us(n), at + us(n + 2)) }
    });
    let report = World::of(rows).report();
    let value = |name| series(&report, name, "orders").value("value");
    assert!(is_near(value("child_join_delay_ns"), 90_000.0));
    assert_eq!(value("child_join_delay_ns_at_normal"), Some(0.0));
    let few = World::of([held(us(0), us(0), us(2))]).report();
    let entry = series(&few, "child_join_delay_ns_at_normal", "orders");
    assert_eq!((entry.value("value"), entry.absent), (None, Some("no_decision")));
}

/// Each second packet is held for 40 us: gaps of 140 and 60 us where 100 are due, off by 40. At normal 0.
#[test]
fn wire_cadence_variability() {
    let rows = (0..201_u64).map(|n| {
        let at = us(n * 100);
        let out = at + us(n % 2 * 40);
        held(at, out, out)
    });
    let report = World::of(rows).report();
    let gaps = series(&report, "wire_cadence_variability_ns", "orders");
    assert_eq!((gaps.n, gaps.value("max")), (200, Some(40_000.0)));
    let gaps = series(&report, "wire_cadence_variability_ns_at_normal", "orders");
    assert_eq!((gaps.n, gaps.value("p95"), gaps.value("max")), (200, Some(0.0), Some(0.0)));
}

/// A profile lets three go at once, 1,000 wire bytes in 1 us each: the third has 2 us ahead, a burst 3,000
/// bytes. At normal they are 100 us apart: 0 us ahead, 90 bursts of 1,000 bytes.
#[test]
fn bursts() {
    let rows = (0..90_u64).map(|n| {
        let at = us(n * 100);
        let out = us(n / 3 * 300 + 200 + n % 3);
        held(at, out, out)
    });
    let report = World::of(rows).report();
    let max = |name| series(&report, name, "orders").value("max");
    assert_eq!(max("wire_serialization_ns"), Some(2_000.0));
    assert_eq!(max("wire_serialization_ns_at_normal"), Some(0.0));
    assert_eq!(max("burst_bytes"), Some(3_000.0));
    let normal = series(&report, "burst_bytes_at_normal", "orders");
    assert_eq!((normal.n, normal.value("max")), (90, Some(1_000.0)));
}

/// 40 cancels, due one in each window of 250 us, of which a profile holds the last ten for one window: excess
/// (10/40) / (1/40) = 10. At normal 1.
#[test]
fn churn() {
    let rows = (0..40_u64).map(|n| {
        let (due, out) = (us(100_000 + n * 250), us(100_000 + if n < 30 { n } else { 39 } * 250));
        let normal = Some(due);
        Sample {
            kind: Kind::Cancel,
            t_due: due,
            t_normal: normal,
            t_sched: Some(out),
            ..row_to(SESSION, us(100_000), out)
        }
    });
    let report = World::of(rows).report();
    let excess = |name| series(&report, name, "session").value("excess");
    assert_eq!(excess("churn_burst_index"), Some(10.0));
    assert_eq!(excess("churn_burst_index_at_normal"), Some(1.0));
}

/// 3,000 packets of a cadence of 100 us are flushed by the hundred. By the port: 10 of 1,000 windows hold 10 of 30
/// flushes, and at normal the same. By a profile: at normal there are three in each of 1,000 windows, of
/// which the top 10 hold 30 packets, 0.01.
#[test]
fn burst_drain() {
    let ratio = |rows: Vec<Sample>, name: &str| {
        let report = World::of(rows).report();
        series(&report, name, "orders").value("ratio")
    };
    let by_port = flushed(ORDERS, 3_000);
    let mut by_profile = by_port.clone();
    by_profile.iter_mut().for_each(|row| row.t_sched = row.t_wire);
    assert_eq!(ratio(by_port.clone(), "burst_drain_ratio"), Some(10.0 / 30.0));
    assert_eq!(ratio(by_port, "burst_drain_ratio_at_normal"), Some(10.0 / 30.0));
    assert_eq!(ratio(by_profile, "burst_drain_ratio_at_normal"), Some(0.01));
}
