//! Caps, and what becomes of packets.

use model::drop_reason::DropReason;
use model::kpi::{Departure, FlowKpi, Switches, URGENT};
use model::meta::PacketMeta;
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile};
use model::time::Nanos;

use crate::world::{CANCELS, ORDERS, VENUE, World, close, leaves, packet, series};

fn capped() -> Profile {
    let bits = |rate_per_s| Caps { bits: Some(Bucket::new(rate_per_s, 1)), messages: None };
    let class = |flow, class| ClassParams { flow, class, ..ClassParams::default() };
    let messages = Caps { bits: None, messages: Some(Bucket::new(500, 1)) };
    Profile {
        name: "normal".into(),
        index: 0,
        classes: vec![
            class(messages, bits(8_000_000)),
            class(Caps::default(), Caps::default()),
            class(Caps::default(), Caps::default()),
        ],
        canary: None,
        venue_limits: vec![],
        egress: vec![
            EgressParams::default(),
            EgressParams { port: bits(4_000_000), inflight_limit_bytes: None },
        ],
    }
}

/// 25 frames of 976 bytes (1,000 on the wire) within one 100 ms window, 10 of them in flow B, and
/// 5 more of flow A in the next window.
/// class: 25 kB of the 100 kB that 8 Mbit/s lets through in 100 ms: headroom 0.75.
/// port: with a cancel of 1,000 bytes 26 kB of 50 kB: 0.48. flow A: 15 of 50 messages: 0.7.
#[test]
fn pacing_headroom() {
    let mut world = World::new();
    let profile = capped();
    let mut flow_b = FlowKpi::default();
    for n in 0..25 {
        let meta = packet(Nanos::from_millis(200 + n));
        let departure = leaves(&meta, meta.due);
        world.core.on_arrival(VENUE, Some(ORDERS), meta.len.into(), meta.arrival);
        let flow = if n < 10 { &mut flow_b } else { &mut world.flow };
        world.core.on_departure(&departure, flow);
        if n == 12 {
            // A tick in the middle of the window does not cut it.
            world.tick(meta.arrival);
        }
    }
    let cancel = PacketMeta { class: CANCELS, ..packet(Nanos::from_millis(299)) };
    let mut flow_c = FlowKpi::default();
    world.core.on_arrival(VENUE, Some(CANCELS), cancel.len.into(), cancel.arrival);
    world.core.on_departure(&leaves(&cancel, cancel.due), &mut flow_c);
    for n in 0..5 {
        let meta = packet(Nanos::from_millis(300 + n));
        world.pass(&leaves(&meta, meta.due));
    }
    world.finish();
    let report = world.report_with(|inputs| inputs.profile = Some(&profile));
    let entry = series(&report, "pacing_headroom", "orders", None);
    for (level, headroom) in
        [("of_class", 0.75), ("of_port", 0.48), ("of_flow", 0.7), ("headroom", 0.48)]
    {
        let found = entry.value(level).unwrap();
        assert!((found - headroom).abs() < 1e-9, "{level}: {found}");
    }
    assert_eq!(entry.absent, None);

    // Its own levels have no cap: only the port says something.
    let cancels = series(&report, "pacing_headroom", "cancels", None);
    assert_eq!((cancels.value("of_flow"), cancels.value("of_class")), (None, None));
    assert!(close(cancels.value("headroom"), 0.48));
    assert_eq!(cancels.absent, Some("unlimited"));
    let venue = series(&report, "pacing_headroom", "from-venue", None);
    assert_eq!((venue.value("headroom"), venue.absent), (None, Some("no_packets")));
    let unknown = world.report_with(|_| {});
    let entry = series(&unknown, "pacing_headroom", "orders", None);
    assert_eq!((entry.value("headroom"), entry.absent), (None, Some("no_profile")));
}

/// 40 packets, 10 held by a bucket; 30 of the 40 are urgent (192 and above), 3 of these held.
#[test]
fn cap_hit_ratio() {
    let mut world = World::new();
    for n in 0..40_u64 {
        let urgency = if n < 30 { URGENT } else { URGENT - 1 };
        let meta = PacketMeta { urgency, ..packet(Nanos(n)) };
        let bucket_held = !(3..33).contains(&n);
        world.pass(&Departure { bucket_held, ..leaves(&meta, meta.due) });
    }
    let report = world.report();
    let entry = series(&report, "cap_hit_ratio", "orders", None);
    assert_eq!((entry.n, entry.value("ratio"), entry.value("urgent")), (40, Some(0.25), Some(0.1)));
    assert_eq!(entry.value("urgent_n"), Some(30.0));
}

#[test]
fn twenty_nine_packets_have_no_cap_hit_ratio() {
    let mut world = World::new();
    for n in 0..29 {
        let meta = packet(Nanos(n));
        world.pass(&Departure { bucket_held: true, ..leaves(&meta, meta.due) });
    }
    let report = world.report();
    let entry = series(&report, "cap_hit_ratio", "orders", None);
    assert_eq!((entry.n, entry.value("ratio"), entry.absent), (29, None, Some("n_too_small")));
}

/// max_hold is 1 ms. Left after 0, 1,000 and 1,000.001 us, and due in the future: 0.5 ms after a
/// due time 2 ms ahead; one dropped, one still waiting. In time: 3; ended: 5. The one that waits
/// has not missed anything yet.
#[test]
fn completion_ratio_and_drops() {
    let mut world = World::new();
    for after in [0, 1_000_000, 1_000_001] {
        let meta = packet(Nanos(5_000));
        world.pass(&leaves(&meta, meta.due + Nanos(after)));
    }
    let mut tagged = packet(Nanos(5_000));
    tagged.due = tagged.arrival + Nanos::from_millis(2);
    world.pass(&leaves(&tagged, tagged.due + Nanos::from_micros(500)));
    for _ in 0..2 {
        world.core.on_arrival(VENUE, Some(ORDERS), 100, Nanos(6_000));
    }
    world.core.on_drop(VENUE, Some(ORDERS), 100, DropReason::Halted, Nanos(7_000));
    let report = world.report();
    let entry = series(&report, "completion_ratio", "orders", None);
    assert_eq!((entry.n, entry.value("ratio")), (5, Some(0.6)));
    let drops = series(&report, "drops", "orders", None);
    assert_eq!((drops.n, drops.value("packets"), drops.value("halted")), (6, Some(1.0), Some(1.0)));
    assert_eq!(drops.value("stale"), None, "a reason that did not occur is not listed");
    let totals = world.block.totals();
    assert_eq!((totals.packets_in, totals.packets_out, totals.held), (6, 4, 1));
}

/// 1,000 frames: 20 are cut, 10 into 3 and 10 into 10: (980 + 30 + 100) / 1,000 = 1.11 each. The 990th
/// of 1,000 has 3, the last ten have 10.
#[test]
fn segments_per_superframe() {
    let mut world = World::new();
    for n in 0..1_000_u32 {
        world.core.on_arrival(VENUE, Some(ORDERS), 9_000, Nanos(1));
        if n < 20 {
            let segments = if n % 2 == 0 { 3 } else { 10 };
            let lengths = (0..segments).map(|_| 1_400);
            world.core.on_segmented(VENUE, ORDERS, 9_000, lengths);
        }
    }
    let report = world.report();
    let entry = series(&report, "segments_per_superframe", "orders", None);
    assert_eq!((entry.n, entry.value("mean")), (1_000, Some(1.11)));
    assert_eq!((entry.value("p99"), entry.value("max")), (Some(3.0), Some(10.0)));
    let whole = series(&report, "segments_per_superframe", "cancels", None);
    assert_eq!((whole.value("mean"), whole.absent), (None, Some("no_packets")));
}

/// Two switches; the worse lost 3 packets while 1,000 per second were offered: 3,000 us. A due packet
/// waited 700 us at most.
#[test]
fn effective_blocked_time() {
    let mut world = World::new();
    (0..1_000).for_each(|_| world.core.on_arrival(VENUE, Some(ORDERS), 100, Nanos(1)));
    world.finish();
    let mut switches = Switches::default();
    switches.add(Nanos::from_micros(700), 0);
    switches.add(Nanos(300), 3);
    let report = world.report_with(|inputs| inputs.switches = switches);
    let entry = report.of("effective_blocked_time_us").next().unwrap();
    assert_eq!((entry.n, entry.value("time_us")), (2, Some(3_000.0)));
    assert_eq!((entry.value("switch_delay_us"), entry.value("lost")), (Some(700.0), Some(3.0)));
    let report = world.report_with(|_| {});
    let entry = report.of("effective_blocked_time_us").next().unwrap();
    assert_eq!((entry.value("time_us"), entry.absent), (None, Some("no_switch")));
}
