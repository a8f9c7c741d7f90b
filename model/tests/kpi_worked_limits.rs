//! KPIs of venue limits, TCP and feeds by hand, and the share of lost samples.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rows;

use model::kpi::{
    Block, CANARY, CONTROL, ClassPlan, LimitPlan, LimitTally, SampleLoss, Sampled, Tally,
};
use model::sample::Sample;
use rows::{CANCELS, FEED, ORDERS, VENUE, World, is_near, row, row_to, series, us};

/// A venue that takes 10 messages in a window.
fn limited() -> World {
    let mut world = World::new();
    world.plan.limits = vec![LimitPlan { name: "xcme".into(), messages_max: 10 }];
    world.block = Block::new(&world.plan);
    world
}

/// 17 messages, at most 7 of them in one sliding window: room for 3 of 10, a headroom of 0.3. Two waited for
/// it; one session shares the window of another.
#[test]
fn venue_limits() {
    let mut world = limited();
    world.block.ports[usize::from(VENUE)].limits[0] =
        LimitTally { least_room: Some(3), waits: 2, messages: 17, sessions_shared: 1 };
    let report = world.look();
    let room = series(&report, "venue_limit_headroom", "");
    assert_eq!(
        (room.n, room.value("headroom"), room.value("messages")),
        (17, Some(0.3), Some(3.0))
    );
    assert_eq!(room.labels.limit.as_deref(), Some("xcme"));
    let waits = series(&report, "venue_limit_waits", "");
    assert_eq!((waits.value("waits"), waits.value("sessions_shared")), (Some(2.0), Some(1.0)));

    // Nothing told yet, no message, and no limit at all: absent, each for its own reason.
    let mut world = limited();
    let entry = |world: &World| {
        let report = world.look();
        let entry = series(&report, "venue_limit_headroom", "");
        (entry.value("headroom"), entry.absent)
    };
    assert_eq!(entry(&world), (None, Some("no_interval")));
    world.block.ports[usize::from(VENUE)].limits[0].least_room = Some(10);
    assert_eq!(entry(&world), (None, Some("no_packets")));
    assert_eq!(entry(&World::new()), (None, Some("no_limit")));
}

/// Of 200 segments 7 had left before, and of one more the original is still held: 8 / 200 = 0.04. Of 99 there
/// is no ratio; that one of them was held is a count.
#[test]
fn tcp_retransmissions() {
    let report = |segments: u64, again: u64, held: u64| {
        let mut world = World::new();
        let tallies = &mut world.block.ports[usize::from(VENUE)].tallies;
        tallies[Tally::TcpSegments] = segments;
        tallies[Tally::TcpRetransmissions] = again;
        tallies[Tally::RetransmitsWhileHeld] = held;
        world.look()
    };
    let some = report(200, 7, 1);
    assert_eq!(series(&some, "tcp_retransmit_ratio", "").value("ratio"), Some(0.04));
    assert_eq!(series(&some, "retransmits_while_held", "").value("packets"), Some(1.0));
    let few = report(99, 7, 1);
    let ratio = series(&few, "tcp_retransmit_ratio", "");
    assert_eq!((ratio.value("ratio"), ratio.absent), (None, Some("n_too_small")));
    assert_eq!(series(&few, "retransmits_while_held", "").value("packets"), Some(1.0));
    let none = report(0, 0, 0);
    for (name, value) in [("tcp_retransmit_ratio", "ratio"), ("retransmits_while_held", "packets")]
    {
        let entry = series(&none, name, "");
        assert_eq!((entry.value(value), entry.absent), (None, Some("no_packets")), "{name}");
    }
}

/// 40 updates arrive one in each window of 250 us. 30 are delivered as they come, ten in the last window:
/// 10 / 40 = 0.25 in one window, of arrivals 1 / 40: excess 10.
#[test]
fn burst_delivery_concentration() {
    let rows = (0..40_u64).map(|n| {
        let delivered = if n < 30 { n } else { 39 };
        row_to(FEED, us(100_000 + n * 250), us(100_000 + delivered * 250))
    });
    let report = World::of(rows).report();
    let entry = series(&report, "burst_delivery_concentration", "feed");
    assert_eq!((entry.n, entry.value("concentration")), (40, Some(0.25)));
    assert!(is_near(entry.value("excess"), 10.0), "{entry:?}");
    let one = World::of([row(FEED, us(0))]).report();
    let entry = series(&one, "burst_delivery_concentration", "feed");
    assert_eq!((entry.value("concentration"), entry.absent), (None, Some("n_too_small")));
}

/// In every fourth of 400 windows of 250 us two updates are delivered, 200 us after they arrived in the window
/// before, and an order of the canary follows at once: of its orders coupling is 1, with no lag. Of the orders in
/// no arm there are none: nothing that could follow.
#[test]
fn decision_burst_coupling_by_arm() {
    let twin =
        ClassPlan { arm: Some(CANARY), ..World::new().plan.classes[usize::from(ORDERS)].clone() };
    let mut world = World::new();
    let class = world.plan.classes.len() as u8;
    world.plan.classes.push(twin);
    (world.block, world.sampled) = (Block::new(&world.plan), Sampled::new(&world.plan));
    for n in 0..100_u64 {
        let delivered = us(100_000 + n * 1_000);
        for update in 0..2 {
            world
                .sampled
                .add(&world.plan, &row_to(FEED, us(99_800 + n * 1_000), delivered + us(update)));
        }
        let order = Sample { class, ..row(ORDERS, delivered + us(20)) };
        world.sampled.add(&world.plan, &order);
    }
    world.sampled.flush();
    let report = world.look();
    let of = |arm: Option<&str>| {
        let mut all = report.of("decision_burst_coupling");
        all.find(|entry| entry.labels.arm == arm)
    };
    let canary = of(Some(CANARY)).unwrap();
    assert!(is_near(canary.value("coupling"), 1.0), "{canary:?}");
    assert_eq!(canary.value("lag_windows"), Some(0.0));
    let none = of(None).unwrap();
    assert_eq!((none.value("coupling"), none.absent), (None, Some("no_variation")));
    assert!(of(Some(CONTROL)).is_none(), "nobody is in it");
}

/// Seven rows reached control and one found the ring full: 1 / 8 = 0.125.
#[test]
fn lost_share() {
    let mut world = World::of((0..7).map(|n| row(CANCELS, us(n))));
    assert_eq!(series(&world.look(), "lost_share", "").value("ratio"), Some(0.0));
    world.samples = SampleLoss { kept: 7, lost: 1 };
    let report = world.look();
    let entry = series(&report, "lost_share", "");
    assert_eq!((entry.n, entry.value("ratio")), (8, Some(0.125)));
    let none = World::new().look();
    let entry = series(&none, "lost_share", "");
    assert_eq!((entry.value("ratio"), entry.absent), (None, Some("no_samples")));
}
