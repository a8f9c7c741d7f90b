//! Delays, and how far a departure is from what was wanted.

use model::kpi::{Departure, FlowKpi};
use model::meta::{IntentSource, PacketMeta, StampSource, flags};
use model::sample::Release;
use model::time::Nanos;

use crate::world::{CANCELS, World, close, leaves, packet, series};

#[test]
fn without_a_packet_everything_but_counts_is_absent() {
    let report = World::new().report();
    for entry in &report.entries {
        for (name, value) in &entry.values {
            let is_count = match *name {
                "negative" | "early" | "windows" | "window_ns" | "urgent_n" | "packets" => true,
                "rate" | "starvation_rate" => value.is_some(),
                _ => false,
            };
            if !is_count {
                assert_eq!(*value, None, "{} {name}", entry.name);
                assert!(entry.absent.is_some(), "{} {name} without a reason", entry.name);
            }
        }
        assert_eq!(entry.n, 0, "{}", entry.name);
    }
    let drops = series(&report, "drops", "orders", None);
    assert_eq!(drops.value("packets"), Some(0.0), "no drop is a count, not an absent value");
}

#[test]
fn one_packet_has_a_maximum_and_no_quantile() {
    let mut world = World::new();
    let meta = packet(Nanos(1_000));
    world.pass(&leaves(&meta, Nanos(1_700)));
    let report = world.report();
    let total = series(&report, "dispatch_to_wire_ns", "orders", Some("total"));
    assert_eq!((total.n, total.value("max")), (1, Some(700.0)));
    for quantile in ["p50", "p95", "p99", "p999"] {
        assert_eq!(total.value(quantile), None);
    }
    assert_eq!(total.absent, Some("n_too_small"));
    let gaps = series(&report, "wire_cadence_variability_ns", "orders", None);
    assert_eq!((gaps.n, gaps.value("max"), gaps.absent), (0, None, Some("no_packets")));
    let burst = series(&report, "burstiness_index", "orders", None);
    assert_eq!((burst.n, burst.value("bi"), burst.absent), (1, None, Some("n_too_small")));
    assert_eq!(burst.value("window_ns"), Some(300_000.0));
}

/// Handed over at 800, arrives at 1,000, due at 1,500, deadline 1,800, leaves at 1,900.
/// due_wait = 1,500 - 1,000 = 500; hold = 1,800 - max(1,000, 1,500) = 300;
/// total = 1,900 - 800 = 1,100; rest = 1,100 - 500 - 300 = 300.
#[test]
fn dispatch_to_wire_is_split_into_due_wait_hold_and_rest() {
    let mut world = World::new();
    let mut meta = packet(Nanos(1_000));
    meta.dispatch_lag_ns = 200;
    (meta.due, meta.sched) = (Nanos(1_500), Nanos(1_800));
    meta.set_sources(StampSource::Virtual, IntentSource::Tag);
    world.pass(&leaves(&meta, Nanos(1_900)));
    let report = world.report();
    for (part, ns) in [("total", 1_100.0), ("due_wait", 500.0), ("hold", 300.0), ("rest", 300.0)] {
        let entry = series(&report, "dispatch_to_wire_ns", "orders", Some(part));
        assert_eq!(entry.value("max"), Some(ns), "{part}");
        assert_eq!(entry.sources.intent, Some("tag"));
        assert_eq!(entry.sources.arrival, Some("virtual"));
        assert_eq!(entry.sources.departure, Some("virtual"));
    }
}

/// Deadline 3,000, but others left their share unused and it leaves at 2,000: hold = 2,000,
/// total = 1,000, so the rest is negative: counted, no value. The second packet leaves before the
/// sender handed it over, by clocks that disagree: counted as well.
#[test]
fn what_is_negative_is_counted_and_not_clipped() {
    let mut world = World::new();
    let mut early = packet(Nanos(1_000));
    early.sched = Nanos(3_000);
    let departure = Departure { t_eligible: Nanos(2_000), ..leaves(&early, Nanos(2_000)) };
    world.pass(&departure);
    let backwards = packet(Nanos(5_000));
    let departure = Departure { t_wire: Nanos(4_990), ..leaves(&backwards, Nanos(5_000)) };
    world.pass(&departure);
    let report = world.report();
    let total = series(&report, "dispatch_to_wire_ns", "orders", Some("total"));
    assert_eq!((total.n, total.value("max")), (1, Some(1_000.0)));
    assert_eq!(total.value("negative"), Some(1.0));
    let rest = series(&report, "dispatch_to_wire_ns", "orders", Some("rest"));
    assert_eq!((rest.n, rest.value("max"), rest.value("negative")), (0, None, Some(1.0)));
    // due at 5,000, left at 4,990: early by 10.
    let early = series(&report, "release_error_ns", "orders", Some("early"));
    assert_eq!((early.n, early.value("max")), (1, Some(10.0)));
}

/// 20 packets, late by 1, 2, .. 20 us: the lower median is the 10th, 10 us.
#[test]
fn release_error() {
    let mut world = World::new();
    for n in 1..=20 {
        let meta = packet(Nanos::from_millis(n));
        world.pass(&leaves(&meta, meta.due + Nanos::from_micros(n)));
    }
    let report = world.report();
    let late = series(&report, "release_error_ns", "orders", Some("late"));
    assert_eq!((late.n, late.value("max"), late.value("p95")), (20, Some(20_000.0), None));
    assert!(close(late.value("p50"), 10_000.0));
    assert_eq!(late.sources.intent, Some("implicit"));
    let early = series(&report, "release_error_ns", "orders", Some("early"));
    assert_eq!((early.n, early.value("p50"), early.absent), (0, None, Some("no_packets")));
    // Without an intent nobody asked for a later time.
    let due_wait = series(&report, "dispatch_to_wire_ns", "orders", Some("due_wait"));
    assert_eq!((due_wait.value("max"), due_wait.absent), (None, Some("no_intent")));
}

#[test]
fn due_times_of_two_sources_are_not_mixed() {
    let mut world = World::new();
    for n in 1..=40 {
        let mut meta = packet(Nanos::from_micros(n * 100));
        let source = if n % 2 == 0 { IntentSource::Tag } else { IntentSource::Implicit };
        meta.set_sources(StampSource::Virtual, source);
        world.pass(&leaves(&meta, meta.due + Nanos(n)));
    }
    let report = world.report();
    for (name, part) in [("release_error_ns", Some("late")), ("wire_cadence_variability_ns", None)]
    {
        let entry = series(&report, name, "orders", part);
        assert_eq!((entry.value("max"), entry.absent), (None, Some("mixed_intent")), "{name}");
        assert_eq!(entry.sources.intent, Some("mixed"));
    }
    let burst = series(&report, "burstiness_index", "orders", None);
    assert!(burst.value("bi").is_some(), "the raw index needs no due time");
    assert_eq!((burst.value("excess"), burst.absent), (None, Some("mixed_intent")));
}

/// Errors of governed releases: 5, 7 and 3 ns. The one released by max_hold 900 ns after its
/// eligible time is no error of the pacer; the one at 9 ns before it is early.
#[test]
fn pacer_error() {
    let mut world = World::new();
    for (n, error, release) in [
        (1, 5, Release::Governed),
        (2, 7, Release::Governed),
        (3, 3, Release::Governed),
        (4, 900, Release::MaxHold),
        (5, -9, Release::Governed),
    ] {
        let meta = packet(Nanos::from_micros(n));
        let eligible = Nanos::from_micros(n) + Nanos(100);
        let t_tx = Nanos(eligible.0.wrapping_add_signed(error));
        world.pass(&Departure { t_eligible: eligible, release, ..leaves(&meta, t_tx) });
    }
    let report = world.report();
    let entry = series(&report, "pacer_error_ns", "orders", None);
    assert_eq!((entry.n, entry.value("max"), entry.value("early")), (3, Some(7.0), Some(1.0)));
    assert_eq!(world.block.totals().early, 1);
    let releases = world.block.cells.iter().find(|cell| cell.class == 0).unwrap().releases;
    assert_eq!(releases, [4, 0, 0, 1, 0, 0, 0]);
}

/// 31 packets, due every 100 us. The wire gaps alternate between 107 and 93 us: each of the 30
/// errors is 7 us; share of the cadence 0.07.
#[test]
fn wire_cadence_variability() {
    let mut world = World::new();
    for n in 0..31 {
        let meta = packet(Nanos::from_micros(n * 100));
        world.pass(&leaves(&meta, meta.due + Nanos::from_micros(7 * (n % 2))));
    }
    world.finish();
    let report = world.report_with(|_| {});
    let entry = series(&report, "wire_cadence_variability_ns", "orders", None);
    assert_eq!((entry.n, entry.value("p50"), entry.value("max")), (30, Some(7e3), Some(7e3)));
    assert_eq!((entry.value("p95"), entry.value("share_p95")), (None, None), "200 are needed");

    // 200 more: now there is a p95, and its share of the period.
    for n in 31..231 {
        let meta = packet(Nanos::from_micros(n * 100));
        world.pass(&leaves(&meta, meta.due + Nanos::from_micros(7 * (n % 2))));
    }
    let report = world.report();
    let entry = series(&report, "wire_cadence_variability_ns", "orders", None);
    assert_eq!(
        (entry.n, entry.value("p95"), entry.value("share_p95")),
        (230, Some(7e3), Some(0.07))
    );
}

/// Four periods of 100 us is the largest due gap that counts; without a cadence it is 10 ms.
#[test]
fn an_idle_gap_is_no_jitter() {
    let mut world = World::new();
    for at in [1_000, 1_400, 1_801] {
        let meta = packet(Nanos::from_micros(at));
        world.pass(&leaves(&meta, meta.due));
    }
    world.flow = FlowKpi::default();
    for at in [10_000, 20_000, 30_001] {
        let meta = PacketMeta { class: CANCELS, ..packet(Nanos::from_micros(at)) };
        world.pass(&leaves(&meta, meta.due));
    }
    let report = world.report();
    for class in ["orders", "cancels"] {
        assert_eq!(series(&report, "wire_cadence_variability_ns", class, None).n, 1, "{class}");
    }
}

/// A cancel behind a link waited 700 ns, 300 of them for the link: 400. A bare acknowledgement
/// that waited its turn for 5,000 ns does not count, nor does an order.
#[test]
fn exempt_hold() {
    let mut world = World::new();
    let cancel = PacketMeta { class: CANCELS, flags: flags::EXEMPT, ..packet(Nanos(1_000)) };
    let departure = Departure {
        release: Release::Exempt,
        link_wait: Nanos(300),
        t_eligible: cancel.wanted(),
        ..leaves(&cancel, Nanos(1_700))
    };
    world.pass(&departure);
    let bare = PacketMeta { flags: flags::EXEMPT | flags::BARE, ..cancel };
    world.pass(&leaves(&bare, Nanos(6_000)));
    let order = packet(Nanos(1_000));
    world.pass(&leaves(&order, Nanos(6_000)));
    let report = world.report();
    let entry = series(&report, "exempt_hold_ns", "cancels", None);
    assert_eq!((entry.n, entry.value("max"), entry.value("p999")), (1, Some(400.0), None));
    let orders = series(&report, "exempt_hold_ns", "orders", None);
    assert_eq!((orders.n, orders.value("max"), orders.absent), (0, None, Some("no_packets")));
}
