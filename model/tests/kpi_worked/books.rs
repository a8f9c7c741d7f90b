//! Sums, blocks, and how a series is written.

use model::drop_reason::DropReason;
use model::kpi::{Departure, InFlight};
use model::meta::{PacketMeta, wire_len};
use model::time::Nanos;

use crate::world::{FROM_VENUE, ORDERS, STRATEGIES, VENUE, World, leaves, of_port, packet, series};

/// 250 of 1,000 cycles moved packets; 5 packets left: 50 cycles each.
#[test]
fn core_figures_stand_under_host() {
    let mut world = World::new();
    for n in 0..5 {
        let meta = packet(Nanos(n));
        world.pass(&leaves(&meta, meta.due));
    }
    world.core.add_cycles(100, 400);
    world.core.add_cycles(150, 600);
    let report = world.report();
    let host = report.host_json();
    assert_eq!(host["core_busy_ratio"]["series"][0]["ratio"], 0.25);
    assert_eq!(host["cycles_per_packet"]["series"][0]["mean"], 50);
    assert_eq!(host["cycles_per_packet"]["series"][0]["port"], "strategies+venue-a");
    let kpis = report.kpis_json();
    assert!(kpis.get("core_busy_ratio").is_none() && kpis.get("cycles_per_packet").is_none());
}

/// Malformed frames have no class; both directions and two ticks add up.
#[test]
fn totals_add_up() {
    let mut world = World::new();
    for n in 0..3 {
        let meta = packet(Nanos(n));
        world.pass(&leaves(&meta, meta.due));
    }
    world.tick(Nanos(3));
    let answer = PacketMeta { class: FROM_VENUE, len: 60, ..packet(Nanos(4)) };
    world.pass(&Departure { port: STRATEGIES, ..leaves(&answer, Nanos(4)) });
    world.core.on_arrival(VENUE, None, 10, Nanos(5));
    world.core.on_drop(VENUE, None, 10, DropReason::Runt, Nanos(5));
    world.core.on_arrival(VENUE, Some(ORDERS), 100, Nanos(6));
    world.tick(Nanos(7));
    let totals = world.block.totals();
    assert_eq!((totals.packets_in, totals.bytes_in), (6, 3 * 976 + 60 + 10 + 100));
    assert_eq!((totals.packets_out, totals.bytes_out), (4, 3 * 976 + 60));
    assert_eq!((totals.dropped(), totals.held), (1, 1));
    assert_eq!(totals.drops[DropReason::Runt as usize].bytes, 10);
    assert_eq!(totals.drops_by_name().collect::<Vec<_>>(), [("runt", 1)]);
    assert_eq!(totals.packets_in, totals.packets_out + totals.dropped() + totals.held);
    let orders = world.block.cells.iter().find(|cell| cell.class == 0).unwrap();
    assert_eq!((orders.backlog_packets, orders.backlog_bytes), (1, u64::from(wire_len(100))));
    assert_eq!((orders.backlog_packets_max, orders.backlog_bytes_max), (1, 1_000));
    let report = world.report_with(|_| {});
    let drops = of_port(&report, "drops", "venue-a", Some("unclassified"));
    assert_eq!((drops.n, drops.value("runt")), (1, Some(1.0)));
    assert_eq!(world.block.unplanned, 0);
    // Nothing from the venue is held: 0 by construction, and labelled so.
    let hold = series(&report, "dispatch_to_wire_ns", "from-venue", Some("hold"));
    assert_eq!((hold.value("max"), hold.structural_zero), (Some(0.0), true));
    let hold = series(&report, "dispatch_to_wire_ns", "orders", Some("hold"));
    assert!(!hold.structural_zero);
}

#[test]
fn a_pair_that_the_plan_lacks_is_counted() {
    let mut world = World::new();
    world.core.on_arrival(STRATEGIES, Some(ORDERS), 60, Nanos(1));
    world.core.on_arrival(7, Some(ORDERS), 60, Nanos(1));
    world.core.on_arrival(7, None, 60, Nanos(1));
    world.core.on_drop(VENUE, Some(200), 60, DropReason::Stale, Nanos(1));
    world.core.on_in_flight(9, InFlight { packets: 0, bytes: 0, limit_bytes: None });
    world.finish();
    assert_eq!(world.block.unplanned, 5);
    assert_eq!(world.block.totals().packets_in, 0);
}

/// What ticks cut into blocks is, added up, what one block would have held.
#[test]
fn blocks_add_up_to_the_whole() {
    let run = |tick_every: u64| {
        let mut world = World::new();
        for n in 0..5_000_u64 {
            let meta = packet(Nanos(n * 40_000));
            let delay = Nanos(n * 7_919 % 900_000);
            let wire = Nanos(meta.due.0 + 1_000_000) + delay;
            // Departures are in order of time on a port: the delay only moves the due time.
            let meta = PacketMeta { due: meta.due + delay, ..meta };
            world.pass(&leaves(&meta, Nanos(wire.0 - delay.0)));
            if n % tick_every == 0 {
                world.tick(meta.arrival);
            }
        }
        world.finish();
        serde_json::to_string(&world.report_with(|_| {}).kpis_json()).unwrap()
    };
    let whole = run(u64::MAX);
    assert_eq!(run(1), whole);
    assert_eq!(run(97), whole);
}

#[test]
fn json_of_a_series() {
    let mut world = World::new();
    for n in 0..20 {
        let meta = packet(Nanos::from_millis(n));
        world.pass(&leaves(&meta, meta.due + Nanos(100)));
    }
    let json = world.report().kpis_json();
    let kpi = &json["pacer_error_ns"];
    assert_eq!(kpi["unit"], "ns");
    let found = kpi["series"].as_array().unwrap().iter().find(|entry| entry["class"] == "orders");
    let expected = serde_json::json!({
        "port": "venue-a", "class": "orders", "kind": "order",
        "basis": "exact", "view": "inside",
        "arrival": "virtual", "departure": "virtual", "intent": "implicit",
        "n": 20, "p50": 100, "p95": null, "p99": null, "max": 100, "early": 0,
        "absent": "n_too_small",
    });
    assert_eq!(found, Some(&expected));
}
