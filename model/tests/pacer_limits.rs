//! Venue limits in the whole pacer: worked by hand, and by counting everything that left.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::PacketMeta;
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::pacer::{NO_VENUE, Next};
use model::profile::{Bucket, Caps};
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};
use proptest::prelude::*;
use support::limited::{Limited, limit, order, some_limits, tcp_order};
use support::world::{Action, Ration, Setup, cancel, class};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };
/// One class of orders without caps, and the limits; slot 64 ns.
fn orders(limits: Vec<VenueLimit>) -> Setup {
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.classes = vec![class(Kind::Order, None)];
    setup.flows = 64;
    let own = |scope| limits.iter().position(|l| l.scope == scope).map(|i| i as u8);
    setup.limits = LimitsSpec {
        classes: vec![ClassLimits {
            participant: own(LimitScope::Participant),
            session: own(LimitScope::Session),
        }],
        limits,
        start_full: false,
    };
    setup
}

fn venue(messages_max: u32, per: u64, cancel_reserve: u32) -> Setup {
    orders(vec![limit(LimitScope::Venue(0), messages_max, per, cancel_reserve)])
}

/// A packet towards venue 0 arrives on `flow`.
fn to(flow: u32, packet: PacketMeta) -> Action {
    Action::Packet { flow, venue: 0, packet }
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

fn words(all: StopWord) -> Action {
    Action::Words(StopWords { all, ..StopWords::default() })
}

fn labels(world: &Limited) -> Vec<(u64, u64, Release)> {
    world.left.iter().map(|l| (l.at.0, l.packet.correlation_id, l.release)).collect()
}

#[test]
fn what_does_not_fit_waits_in_the_order_of_arrival() {
    let mut world = Limited::new(&venue(3, 10_000, 0));
    world.run(
        &(0..8u32)
            .map(|flow| at(u64::from(flow) * 10, to(7 - flow, order(0, 1))))
            .collect::<Vec<_>>(),
    );
    // The first leaves at 0 and is out of (0, 10000] at 10000; slots of 64 ns: 10,048 and so on.
    assert_eq!(
        world.story(),
        [(0, 1), (10, 2), (20, 3), (10_048, 4), (10_048, 5), (10_048, 6), (20_096, 7), (20_096, 8)]
    );
    assert_eq!(world.left[3].eligible, Nanos(10_000));
    let figures = world.pacer.limit_figures().next().unwrap();
    assert_eq!((figures.least_room, figures.waits, figures.messages), (0, 5, 8));
}

#[test]
fn orders_leave_room_for_cancels_however_many_wait() {
    let mut world = Limited::new(&venue(4, 100_000, 2));
    let mut script: Vec<_> = (0..10).map(|flow| at(0, to(flow, order(0, 1)))).collect();
    script.extend((20..24).map(|flow| at(500, to(flow, cancel(0, 60)))));
    world.run(&script);
    let story = world.story();
    // Two orders, two cancels at once; the other two cancels have the next places, before orders.
    assert_eq!(story[..4], [(0, 1), (0, 2), (500, 11), (500, 12)]);
    assert_eq!(story[4..6], [(100_032, 13), (100_032, 14)]);
    // They fill what orders may use; so those wait until the cancels of 500 and of 100,032 are out.
    assert!(story[6].0 > 200_000, "{story:?}");
}

#[test]
fn no_word_and_no_drain_lifts_a_limit() {
    for lift in [words(StopWord::Passthrough), Action::Drain] {
        let mut world = Limited::new(&venue(2, 50_000, 0));
        let mut script: Vec<_> = (0..5).map(|flow| at(0, to(flow, order(0, 1)))).collect();
        script.insert(0, at(0, lift.clone()));
        script.push(at(100, lift));
        world.run(&script);
        let times: Vec<u64> = world.left.iter().map(|l| l.at.0).collect();
        assert_eq!(times, [0, 0, 50_048, 50_048, 100_096]);
        assert!(world.left.iter().all(|l| l.release != Release::Governed));
    }
}

#[test]
fn at_max_hold_a_datagram_ends_as_stale_and_tcp_waits_for_the_limit_only() {
    let mut setup = venue(1, 50_000, 0);
    setup.profile.classes[0].max_hold = Nanos(10_000);
    let mut world = Limited::new(&setup);
    world.run(&[
        at(0, to(0, order(0, 1))),
        at(0, to(1, order(0, 1))),
        at(0, to(2, tcp_order(0, 1))),
        at(45_000, to(3, order(0, 1))),
    ]);
    assert_eq!(world.ended(), [(2, DropReason::Stale), (4, DropReason::Stale)]);
    assert_eq!(world.ends[0].0, Nanos(10_048));
    // The order of 45,000 finds 3 in front of it, and the window closed behind 3.
    assert_eq!(labels(&world), [(0, 1, Release::Governed), (50_048, 3, Release::MaxHold)]);
}

#[test]
fn a_packet_at_max_hold_goes_at_once_where_its_limit_allows() {
    let mut setup = venue(2, 50_000, 0);
    setup.profile.classes[0].class = support::world::bits(1_000_000, 1_600);
    setup.profile.classes[0].max_hold = Nanos(10_000);
    let mut world = Limited::new(&setup);
    let big = PacketMeta { len: 1_500, ..order(0, 1) };
    world.run(&[at(0, to(0, big)), at(0, to(1, big)), at(0, to(2, big))]);
    assert_eq!(labels(&world), [(0, 1, Release::Governed), (10_048, 2, Release::MaxHold)]);
    assert_eq!(world.ended(), [(3, DropReason::Stale)]);
}

#[test]
fn an_exempt_packet_waits_behind_its_own_held_group_and_is_counted() {
    let mut world = Limited::new(&venue(2, 50_000, 1));
    world.run(&[
        at(0, to(0, order(0, 1))),
        at(10, to(1, tcp_order(0, 1))),
        at(20, to(1, cancel(0, 60))),
        at(30, to(2, cancel(0, 60))),
        at(40, to(3, order(0, 1))),
    ]);
    use Release::{Exempt, Forward, Governed};
    assert_eq!(labels(&world)[..2], [(0, 1, Governed), (30, 4, Exempt)]);
    // Until the cancel of 30 is out there is no room for an order; then 2 and the cancel behind it.
    assert_eq!(labels(&world)[2..4], [(50_048, 2, Forward), (50_048, 3, Exempt)]);
    assert_eq!(world.pacer.guard_counters().exempt_behind_venue_limit, 1);
    assert_eq!(world.left[4].packet.correlation_id, 5);
}

#[test]
fn a_held_group_with_a_cancel_behind_goes_before_those_without() {
    let mut world = Limited::new(&venue(3, 50_000, 1));
    world.run(&[
        at(0, to(0, order(0, 2))),
        at(10, to(1, order(0, 1))),
        at(20, to(2, order(0, 1))),
        at(30, to(2, cancel(0, 60))),
    ]);
    let ids: Vec<u64> = world.left.iter().map(|l| l.packet.correlation_id).collect();
    assert_eq!(ids, [1, 3, 4, 2]);
}

#[test]
fn a_profile_switch_neither_empties_a_window_nor_changes_the_order() {
    let setup = venue(2, 50_000, 0);
    let mut world = Limited::new(&setup);
    let mut script: Vec<_> = (0..6u32).map(|n| at(0, to(5 - n, order(0, 1)))).collect();
    for n in 1..40 {
        script.push(at(n * 1_000, Action::Profile(setup.profile.clone())));
        script.push(at(n * 1_000, words(StopWord::Running)));
    }
    world.run(&script);
    assert_eq!(
        world.story(),
        [(0, 1), (0, 2), (50_048, 3), (50_048, 4), (100_096, 5), (100_096, 6)]
    );
}

#[test]
fn a_halt_ends_what_waits_for_a_limit_and_exempt_packets_behind_it_pass() {
    let mut world = Limited::new(&venue(2, 50_000, 1));
    world.run(&[
        at(0, to(0, order(0, 1))),
        at(100, to(1, order(0, 1))),
        at(200, to(1, cancel(0, 60))),
        at(300, to(2, order(0, 1))),
        at(5_000, words(StopWord::Halt)),
    ]);
    assert_eq!(world.ended(), [(2, DropReason::Halted), (4, DropReason::Halted)]);
    assert_eq!(world.story(), [(0, 1), (5_000, 3)]);
}

#[test]
fn what_never_fits_ends_at_arrival_by_name() {
    let mut world = Limited::new(&venue(5, 50_000, 2));
    world.run(&[
        at(0, to(0, tcp_order(0, 4))),
        at(0, to(1, PacketMeta { messages: 5, ..cancel(0, 60) })),
        at(0, to(2, PacketMeta { messages: 6, ..cancel(0, 60) })),
        at(100, to(0, tcp_order(0, 3))),
    ]);
    assert_eq!(world.ended(), [(1, DropReason::Stale), (3, DropReason::Stale)]);
    assert_eq!(world.pacer.guard_counters().over_venue_limit, 2);
    assert_eq!(world.story(), [(0, 2), (50_048, 4)]);
}

#[test]
fn a_live_start_counts_as_a_full_window_for_orders_and_keeps_the_reserve_for_cancels() {
    let mut setup = venue(5, 50_000, 1);
    setup.limits.start_full = true;
    let mut world = Limited::new(&setup);
    world.run(&[
        at(10, to(0, order(0, 1))),
        at(20, to(1, cancel(0, 60))),
        at(30, to(2, cancel(0, 60))),
    ]);
    assert_eq!(world.story(), [(20, 2), (50_048, 3), (50_048, 1)]);
}

#[test]
fn what_the_port_refuses_is_not_counted_and_whom_it_kept_waiting_does_not_wait() {
    let mut world = Limited::new(&venue(2, 50_000, 0));
    // The port takes nothing, then one packet in each turn.
    world.rations =
        vec![Ration { room: u64::MAX, accepted: 0 }, Ration { room: u64::MAX, accepted: 1 }];
    world.run(&(0..4).map(|flow| at(0, to(flow, order(0, 1)))).collect::<Vec<_>>());
    let ids: Vec<u64> = world.left.iter().map(|l| l.packet.correlation_id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(world.left[1].at < Nanos(5_000), "two fit into the first window: {:?}", world.story());
    assert_eq!(world.pacer.limit_figures().next().unwrap().messages, 4);
}

/// One offer takes the only room, and more flows are sent to wait for it than a flush remembers: it
/// ends before that. When the offer comes back, all of them are where they were.
#[test]
fn however_many_an_offer_sends_to_wait_they_keep_their_order() {
    let mut setup = venue(1, 10_000, 0);
    setup.flows = 200;
    let mut pacer = setup.pacer(8);
    let now = Nanos(6_400);
    pacer.poll(now);
    for flow in 0..200 {
        let meta = PacketMeta { arrival: now, due: now, ..order(0, 1) };
        assert!(pacer.enqueue(now, flow, 0, meta).is_ok());
    }
    for _ in 0..3 {
        let Next::Packet(offer) = pacer.next(now, u64::MAX) else { panic!("there is room") };
        assert_eq!(offer.flow, 0);
        assert!(matches!(pacer.next(now, u64::MAX), Next::Nothing));
        assert!(matches!(pacer.next(now, u64::MAX), Next::Nothing));
        pacer.undo(now, offer.packet);
        pacer.commit(0);
    }
    let (mut at, mut left) = (now, Vec::new());
    while left.len() < 200 {
        pacer.poll(at);
        let mut taken = 0;
        while let Next::Packet(offer) = pacer.next(at, u64::MAX) {
            taken += 1;
            left.push((at, offer.flow));
        }
        pacer.commit(taken);
        at = pacer.next_event(at).unwrap_or(at);
    }
    assert!(left.iter().map(|&(_, flow)| flow).eq(0..200));
    let late = |pair: &[(Nanos, u32)]| pair[1].0.0 - pair[0].0.0 - 10_000;
    assert!(left[0].0 == now && left.windows(2).all(|pair| late(pair) < 64));
}

#[test]
fn the_short_way_asks_as_well() {
    let mut world = Limited::new(&venue(2, 50_000, 0));
    world.direct = 1;
    world.run(&(0..4u32).map(|n| at(100 * u64::from(n), to(n, order(0, 1)))).collect::<Vec<_>>());
    assert_eq!(world.story(), [(0, 1), (100, 2), (50_048, 3), (50_112, 4)]);
}

#[test]
fn many_who_wait_wake_one_at_a_time() {
    // One message in 10,000 ns, a thousand flows.
    let mut setup = venue(1, 10_000, 0);
    setup.flows = 1_000;
    let mut world = Limited::new(&setup);
    world.run(&(0..1_000).map(|flow| at(0, to(flow, order(0, 1)))).collect::<Vec<_>>());
    let ids: Vec<u64> = world.left.iter().map(|l| l.packet.correlation_id).collect();
    assert_eq!(ids, (1..=1_000).collect::<Vec<_>>());
    // A departure, one look a slot later (the room was just given out), and the next opening.
    assert!(world.turns < 3_100, "{} turns", world.turns);
}

#[test]
fn a_window_that_empties_at_once_wakes_as_many_as_it_has_room_for() {
    let mut setup = venue(500, 1_000_000, 0);
    setup.flows = 1_500;
    let mut world = Limited::new(&setup);
    world.run(&(0..1_500).map(|flow| at(0, to(flow, order(0, 1)))).collect::<Vec<_>>());
    let ids: Vec<u64> = world.left.iter().map(|l| l.packet.correlation_id).collect();
    assert_eq!(ids, (1..=1_500).collect::<Vec<_>>());
    assert!(world.turns < 60, "{} turns", world.turns);
}

#[test]
fn a_class_that_may_not_go_does_not_keep_the_room_of_a_limit() {
    // Class 0 gets one packet in 10 ms from its own bucket; class 1 is free. Both share the venue.
    let mut setup = venue(2, 50_000, 0);
    let slow = Caps { bits: None, messages: Some(Bucket::new(100, 1)) };
    let classes = [(FREE, slow), (FREE, FREE)];
    setup.profile = Setup::new(&classes).profile;
    setup.classes = vec![class(Kind::Order, None); 2];
    setup.limits.classes = vec![ClassLimits::default(); 2];
    let mut world = Limited::new(&setup);
    let mut script: Vec<_> = (0..20).map(|flow| at(0, to(flow, order(0, 1)))).collect();
    script.extend((20..40).map(|flow| at(1_000, to(flow, order(1, 1)))));
    world.run(&script);
    let fast: Vec<u64> =
        world.left.iter().filter(|l| l.packet.class == 1).map(|l| l.at.0).collect();
    assert!(*fast.last().unwrap() < 12 * 50_000, "{fast:?}");
}

#[test]
fn a_flow_under_two_full_limits_is_not_starved_by_those_under_one() {
    let setup = {
        let mut setup = orders(vec![
            limit(LimitScope::Venue(0), 1, 7_001, 0),
            limit(LimitScope::Venue(1), 1, 5_003, 0),
            limit(LimitScope::Participant, 1, 3_001, 0),
        ]);
        setup.profile = Setup::new(&[(FREE, FREE), (FREE, FREE)]).profile;
        setup.classes = vec![class(Kind::Order, None); 2];
        // Class 1 has no participant: its packets answer to a venue only.
        let both = ClassLimits { participant: Some(2), session: None };
        setup.limits.classes = vec![both, ClassLimits::default()];
        setup
    };
    let mut world = Limited::new(&setup);
    let mut script = vec![at(1, to(0, order(0, 1)))];
    // Flows under venue 0 alone, and under the participant alone (no venue), all the time.
    for n in 0..200u64 {
        script.push(at(n * 100, to(1 + (n % 20) as u32, order(1, 1))));
        let of_participant = order(0, 1);
        let flow = 30 + (n % 20) as u32;
        script.push(at(n * 100, Action::Packet { flow, venue: NO_VENUE, packet: of_participant }));
    }
    script.sort_by_key(|(at, _)| *at);
    world.run(&script);
    let both = world.left.iter().find(|l| l.flow == 0).unwrap();
    assert!(both.at < Nanos(100_000), "left at {}", both.at);
}

#[test]
fn a_flow_is_given_back_only_when_nothing_of_its_session_is_counted() {
    let mut world = Limited::new(&orders(vec![limit(LimitScope::Session, 3, 50_000, 0)]));
    world.run_until(&[at(100, to(0, order(0, 3)))], Nanos(10_000));
    assert!(!world.pacer.free_flow(Nanos(50_099), 0));
    assert!(world.pacer.free_flow(Nanos(50_100), 0));
    assert_eq!(world.pacer.new_flow(), Some(0));
    world.check();
}

proptest! {
    #![proptest_config(cases(1_500))]

    /// Whatever happens and however little the port takes: no window of any limit holds more than it
    /// may, orders leave the reserve, the pace holds, each packet ends once and none is held for ever.
    #[test]
    fn every_window_of_every_limit_holds(
        mut setup in scenario::setup(),
        limits in some_limits(),
        script in scenario::script(120),
        rations in scenario::rations(),
        late in prop::collection::vec(prop_oneof![2 => Just(0u64), 1 => 0u64..5_000], 0..4),
        direct in 0usize..4,
        sometimes_refuses in any::<bool>(),
    ) {
        setup.limits = limits;
        let mut world = Limited::new(&setup);
        (world.late, world.direct) = (late, direct);
        if sometimes_refuses {
            world.rations = rations;
        }
        world.run(&script);
    }
}

proptest! {
    #![proptest_config(cases(500))]

    /// The same over classes with floors, reserves, jitter, release windows, flush caps and lateness.
    #[test]
    fn every_window_of_every_limit_holds_in_shaped_classes(
        mut setup in scenario::setup(),
        profile in scenario::shaped_profile(true),
        limits in some_limits(),
        script in scenario::script(120),
        rations in scenario::rations(),
        direct in 0usize..3,
    ) {
        (setup.limits, setup.profile) = (limits, profile);
        let mut world = Limited::new(&setup);
        (world.rations, world.direct) = (rations, direct);
        world.run(&script);
    }
}
