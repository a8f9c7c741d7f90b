//! Queues before and below the port.

use model::kind::{Kind, Side};
use model::kpi::{InFlight, QueueSteps, SampleLoss, Sampled};
use model::meta::{IntentSource, StampSource};
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::time::Nanos;

use crate::world::{ORDERS, STRATEGIES, VENUE, World, close, of_port, series};

fn row(backlog_bytes: u64, weight: u32) -> Sample {
    Sample {
        packet_id: 1,
        correlation_id: None,
        flow: 0,
        tcp_end_seq: None,
        tcp: None,
        class: ORDERS,
        label: 0,
        kind: Kind::Order,
        urgency: 0,
        len: 100,
        messages: 1,
        t_decision: None,
        t_dispatch: Nanos(1),
        t_due: Nanos(1),
        t_sched: None,
        t_normal: None,
        t_eligible: None,
        t_tx: Some(Nanos(2)),
        t_wire: Some(Nanos(2)),
        t_ingress: Nanos(1),
        t_carried: None,
        t_delivery: None,
        clock_error_ns: None,
        intent: IntentSource::Implicit,
        ingress_source: StampSource::Virtual,
        departure_source: DepartureSource::Virtual,
        simulated_link: false,
        from: Side::Inside,
        port: VENUE,
        queue: 0,
        backlog_bytes,
        end: End::Sent(Release::Governed),
        regime: None,
        profile: 0,
        mode: Mode::Observe,
        canary: None,
        weight,
    }
}

/// 19 rows that stand for one packet each saw nothing waiting; one row that stands for 100 saw
/// 5,000 bytes. Of 119 packets the 60th saw 5,000. With 20 rows there is no p95.
#[test]
fn send_queue_bytes() {
    let mut world = World::new();
    let mut sampled = Sampled::new(&world.plan);
    (0..19).for_each(|_| sampled.add(&world.plan, &row(0, 1)));
    sampled.add(&world.plan, &row(5_000, 100));
    world.finish();
    let mut samples = SampleLoss { kept: 999, lost: 1 };
    let report = world.report_with(|inputs| {
        (inputs.sampled, inputs.samples) = (Some(&sampled), samples);
    });
    let entry = series(&report, "send_queue_bytes", "orders", None);
    assert_eq!((entry.n, entry.basis.name()), (20, "sampled"));
    assert_eq!((entry.value("p50"), entry.value("max")), (Some(5_000.0), Some(5_000.0)));
    assert_eq!((entry.value("p95"), entry.absent), (None, Some("n_too_small")));
    let lost = report.of("lost_share").next().unwrap();
    assert_eq!((lost.n, lost.value("ratio")), (1_000, Some(0.001)));

    // One more lost row is more than a thousandth.
    samples.lost = 2;
    let report = world.report_with(|inputs| {
        (inputs.sampled, inputs.samples) = (Some(&sampled), samples);
    });
    let entry = series(&report, "send_queue_bytes", "orders", None);
    assert_eq!((entry.value("max"), entry.absent), (None, Some("samples_lost")));
    assert_eq!(sampled.unplanned(), 0);
    sampled.add(&world.plan, &Sample { port: STRATEGIES, ..row(0, 1) });
    assert_eq!(sampled.unplanned(), 1);
}

/// Limit 10,000 bytes; 20 looks at 1,000 .. 20 x 1,000 / 2 bytes: 500, 1,000 .. 10,000.
/// The 10th is 5,000: utilisation 0.5, most 1. Packets 1..=20: median 10, most 20 of 1,000.
#[test]
fn in_flight_figures() {
    let mut world = World::new();
    for n in 1..=20 {
        let seen = InFlight { packets: n, bytes: u64::from(n) * 500, limit_bytes: Some(10_000) };
        world.core.on_in_flight(VENUE, seen);
    }
    world.core.on_stall(VENUE);
    world.core.on_starvation(VENUE);
    world.core.on_starvation(VENUE);
    world.finish();
    let report = world.report_with(|inputs| inputs.span = Nanos::from_secs(4));
    let used = of_port(&report, "byte_queue_utilization", "venue-a", None);
    assert!(close(used.value("p50"), 0.5));
    assert_eq!((used.value("max"), used.simulated), (Some(1.0), true));
    let packets = of_port(&report, "tx_queue_occupancy", "venue-a", Some("packets"));
    assert_eq!((packets.value("p50"), packets.value("max")), (Some(10.0), Some(20.0)));
    assert_eq!(packets.value("share_max"), Some(0.02));
    let stalls = of_port(&report, "tx_stall_rate", "venue-a", None);
    assert_eq!((stalls.value("rate"), stalls.value("starvation_rate")), (Some(0.25), Some(0.5)));
    assert_eq!(stalls.value("stall_time_ns"), Some(5e6));
    // The other port completes inside its send call.
    for name in ["byte_queue_utilization", "tx_stall_rate"] {
        let entry = of_port(&report, name, "strategies", None);
        assert!(entry.values.iter().all(|(_, value)| value.is_none()));
        assert_eq!((entry.absent, entry.simulated), (Some("synchronous"), false));
    }
}

#[test]
fn without_a_limit_there_is_no_utilisation() {
    let mut world = World::new();
    world.core.on_in_flight(VENUE, InFlight { packets: 1, bytes: 84, limit_bytes: None });
    let report = world.report();
    let used = of_port(&report, "byte_queue_utilization", "venue-a", None);
    assert_eq!((used.value("max"), used.absent), (None, Some("no_limit")));
    let bytes = of_port(&report, "tx_queue_occupancy", "venue-a", Some("bytes"));
    assert_eq!(bytes.value("max"), Some(84.0));
}

/// 30 polls: 29 received 1 packet, one 32. The 15th is 1. With 29 there is no figure.
#[test]
fn rx_burst_packets() {
    let mut world = World::new();
    (0..29).for_each(|_| world.core.on_received(VENUE, 1));
    world.tick(Nanos(1));
    let report = world.report_with(|_| {});
    let entry = of_port(&report, "rx_burst_packets", "venue-a", None);
    assert_eq!((entry.n, entry.value("max"), entry.absent), (29, None, Some("n_too_small")));
    world.core.on_received(VENUE, 32);
    let report = world.report();
    let entry = of_port(&report, "rx_burst_packets", "venue-a", None);
    assert_eq!((entry.n, entry.value("p50"), entry.value("max")), (30, Some(1.0), Some(32.0)));
    let entry = of_port(&report, "rx_burst_packets", "strategies", None);
    assert_eq!((entry.n, entry.absent), (0, Some("no_packets")));
}

/// 200 completions of 1,000 bytes: 180 after 800 ns, 20 after 2,000 ns: 0.8 and 2 ns per byte. p50 is
/// 0.8, the 190th 2: jitter 1.2.
#[test]
fn drain_interval_jitter() {
    let mut world = World::new();
    for n in 0..200 {
        let since_last = Nanos(if n % 10 == 0 { 2_000 } else { 800 });
        world.core.on_drained(VENUE, 1_000, since_last);
    }
    let report = world.report();
    let entry = of_port(&report, "drain_interval_jitter_ns", "venue-a", None);
    assert!(close(entry.value("value"), 1.2), "{entry:?}");
    assert!(entry.simulated);
    let entry = of_port(&report, "drain_interval_jitter_ns", "strategies", None);
    assert_eq!((entry.value("value"), entry.absent), (None, Some("synchronous")));
}

/// A fixed limit; in flight 999 and 99 bytes by turns: ln 10 at each step.
#[test]
fn limit_oscillation_score() {
    let world = World::new();
    let mut steps = [QueueSteps::default(), QueueSteps::default()];
    for n in 0..101 {
        steps[1].limit.step(10_000);
        steps[1].in_flight.step(if n % 2 == 0 { 999 } else { 99 });
    }
    let report = world.report_with(|inputs| inputs.steps = &steps);
    let limit = of_port(&report, "limit_oscillation_score", "venue-a", Some("limit"));
    assert_eq!(
        (limit.n, limit.value("score"), limit.value("changes")),
        (100, Some(0.0), Some(0.0))
    );
    assert!(limit.structural_zero, "nobody moves it");
    let in_flight = of_port(&report, "limit_oscillation_score", "venue-a", Some("in_flight"));
    assert!(close(in_flight.value("inflight_oscillation"), 10_f64.ln()));
    assert!(!in_flight.structural_zero);
    let other = of_port(&report, "limit_oscillation_score", "strategies", Some("limit"));
    assert_eq!((other.value("score"), other.absent), (None, Some("synchronous")));
    let unfollowed = world.report_with(|_| {});
    let entry = of_port(&unfollowed, "limit_oscillation_score", "venue-a", Some("limit"));
    assert_eq!((entry.value("changes"), entry.absent), (None, Some("no_limit")));
}
