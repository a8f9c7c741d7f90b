//! Each KPI by hand: a few packets, the arithmetic beside them, and what is absent.

use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::kpi::{
    Block, ClassPlan, CompletionFigures, CoreAggregates, Departure, Entry, FlowKpi, InFlight,
    Inputs, KpiPlan, PortPlan, QueueSteps, Report, SampleLoss, Sampled, Switches, URGENT,
};
use model::meta::{IntentSource, PacketMeta, StampSource, flags, wire_len};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile, Shaping};
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::time::Nanos;

const ORDERS: u8 = 0;
const CANCELS: u8 = 1;
const FROM_VENUE: u8 = 2;
const STRATEGIES: u8 = 0;
const VENUE: u8 = 1;

fn plan() -> KpiPlan {
    let class = |name: &str, kind, from, cadence, max_hold| ClassPlan {
        name: name.into(),
        arm: None,
        kind,
        from,
        cadence,
        max_hold,
    };
    let port = |index, name: &str, side, completion| PortPlan {
        index,
        name: name.into(),
        side,
        departure: DepartureSource::Virtual,
        completion,
        stall_time: Nanos::from_millis(5),
        tx_descriptors: 1_000,
        link_bits_per_s: None,
    };
    let cadence = Some(Nanos::from_micros(100));
    KpiPlan {
        limits: Vec::new(),
        classes: vec![
            class("orders", Kind::Order, Side::Inside, cadence, Nanos::from_millis(1)),
            class("cancels", Kind::Cancel, Side::Inside, None, Nanos::MAX),
            class("from-venue", Kind::Other, Side::Venue, None, Nanos::MAX),
        ],
        ports: vec![
            port(STRATEGIES, "strategies", Side::Inside, CompletionFigures::Absent),
            port(VENUE, "venue-a", Side::Venue, CompletionFigures::Simulated),
        ],
        urgent: URGENT,
    }
}

/// A core and its control, without the threads.
struct World {
    plan: KpiPlan,
    core: CoreAggregates,
    block: Block,
    flow: FlowKpi,
}

/// A packet of `orders` that arrives, is due, conforms and leaves at once at `at`.
fn packet(at: Nanos) -> PacketMeta {
    let mut meta = PacketMeta {
        arrival: at,
        due: at,
        sched: at,
        len: 976,
        messages: 1,
        class: ORDERS,
        kind: Kind::Order as u8,
        ..PacketMeta::default()
    };
    meta.set_sources(StampSource::Virtual, IntentSource::Implicit);
    meta
}

fn leaves(meta: &PacketMeta, at: Nanos) -> Departure<'_> {
    Departure {
        meta,
        port: VENUE,
        t_eligible: meta.sched.max(meta.wanted()),
        t_tx: at,
        t_wire: at,
        release: Release::Governed,
        bucket_held: false,
        link_wait: Nanos::ZERO,
    }
}

impl World {
    fn new() -> Self {
        let plan = plan();
        let (core, block) = (CoreAggregates::new(&plan), Block::new(&plan));
        Self { plan, core, block, flow: FlowKpi::default() }
    }

    /// It arrives and leaves.
    fn pass(&mut self, departure: &Departure<'_>) {
        let meta = departure.meta;
        self.core.on_arrival(departure.port, Some(meta.class), meta.len.into(), meta.arrival);
        self.core.on_departure(departure, &mut self.flow);
    }

    fn tick(&mut self, now: Nanos) {
        let full = self.core.swap(now, Box::new(Block::new(&self.plan)));
        self.block.merge(&full);
    }

    fn finish(&mut self) {
        self.core.flush();
        self.tick(Nanos::ZERO);
    }

    fn report_with<'a>(&'a self, change: impl FnOnce(&mut Inputs<'a>)) -> Report {
        let mut inputs = Inputs {
            plan: &self.plan,
            block: &self.block,
            profile: None,
            sampled: None,
            samples: SampleLoss::default(),
            span: Nanos::from_secs(1),
            steps: &[],
            factors: &[],
            switches: Switches::default(),
        };
        change(&mut inputs);
        Report::build(&[inputs])
    }

    fn report(&mut self) -> Report {
        self.finish();
        self.report_with(|_| {})
    }
}

/// The only series with these labels.
fn series<'a>(report: &'a Report, name: &str, class: &str, part: Option<&str>) -> &'a Entry {
    let mut found = report.entries.iter().filter(|entry| {
        entry.name == name
            && entry.labels.class.as_deref() == Some(class)
            && entry.labels.part == part
    });
    let entry = found.next().unwrap_or_else(|| panic!("{name} of {class} {part:?}"));
    assert!(found.next().is_none(), "two series {name} of {class}");
    entry
}

fn of_port<'a>(report: &'a Report, name: &str, port: &str, part: Option<&str>) -> &'a Entry {
    let mut found = report.entries.iter().filter(|entry| {
        entry.name == name
            && entry.labels.port.as_deref() == Some(port)
            && entry.labels.class.is_none()
            && entry.labels.part == part
    });
    found.next().unwrap_or_else(|| panic!("{name} of {port} {part:?}"))
}

fn close(found: Option<f64>, exact: f64) -> bool {
    found.is_some_and(|found| (found - exact).abs() <= exact * 0.01)
}

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

fn capped() -> Profile {
    let bits = |rate_per_s| Caps { bits: Some(Bucket::new(rate_per_s, 1)), messages: None };
    let class = |flow, class| ClassParams {
        flow,
        class,
        priority: 0,
        max_hold: Nanos::MAX,
        queue_packets: 1,
        queue_bytes: 1,
        drops_when_full: false,
        closed: false,
        second_path: false,
        shaping: Shaping::default(),
    };
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
    for (level, headroom) in [("class", 0.75), ("port", 0.48), ("flow", 0.7), ("headroom", 0.48)] {
        let found = entry.value(level).unwrap();
        assert!((found - headroom).abs() < 1e-9, "{level}: {found}");
    }
    assert_eq!(entry.absent, None);

    // Its own levels have no cap: only the port says something.
    let cancels = series(&report, "pacing_headroom", "cancels", None);
    assert_eq!((cancels.value("flow"), cancels.value("class")), (None, None));
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
