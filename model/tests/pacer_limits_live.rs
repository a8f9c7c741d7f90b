//! Venue limits that are given other numbers while they hold: at once, over what has left before.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::PacketMeta;
use model::pacer::limits::{ClassLimits, LimitsSpec, window_messages};
use model::profile::{Bucket, Caps, Profile};
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};
use proptest::prelude::*;
use support::limited::{Limited, limit, order, some_limits, tcp_order};
use support::world::{Action, Setup, class};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };

/// One class of orders without caps, all to one venue that takes `messages_max` in 50 us; slot 64 ns.
fn venue(messages_max: u32) -> Setup {
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.classes = vec![class(Kind::Order, None)];
    setup.flows = 64;
    setup.limits = LimitsSpec {
        classes: vec![ClassLimits::default()],
        limits: vec![of_venue(messages_max)],
        start_full: false,
    };
    setup
}

fn of_venue(messages_max: u32) -> VenueLimit {
    limit(LimitScope::Venue(0), messages_max, 50_000, 0)
}

/// The table of `setup` with other limits.
fn with_limits(setup: &Setup, venue_limits: Vec<VenueLimit>) -> Profile {
    Profile { venue_limits, ..setup.profile.clone() }
}

fn to(flow: u32, packet: PacketMeta) -> Action {
    Action::Packet { flow, venue: 0, packet }
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

/// Orders on flows of their own, all at `ns`.
fn orders(flows: std::ops::Range<u32>, ns: u64) -> Vec<(Nanos, Action)> {
    flows.map(|flow| at(ns, to(flow, order(0, 1)))).collect()
}

#[test]
fn a_tightened_limit_counts_what_has_left_before() {
    let setup = venue(6);
    let mut world = Limited::new(&setup);
    let mut script = orders(0..4, 0);
    script.push(at(1_000, Action::Profile(with_limits(&setup, vec![of_venue(3)]))));
    script.extend(orders(4..8, 2_000));
    world.run(&script);
    // Two of the six were free. Of the three there is none before the four are out.
    let later: Vec<_> = world.story()[4..].to_vec();
    assert_eq!(later, [(50_048, 5), (50_048, 6), (50_048, 7), (100_096, 8)]);
}

#[test]
fn a_raised_limit_lets_those_go_at_once_who_wait_for_it() {
    let setup = venue(2);
    let mut world = Limited::new(&setup);
    let mut script = orders(0..6, 0);
    script.push(at(1_000, Action::Profile(with_limits(&setup, vec![of_venue(4)]))));
    world.run(&script);
    let story = world.story();
    assert_eq!(story[..2], [(0, 1), (0, 2)]);
    assert!(story[2..4].iter().all(|(at, _)| (1_000..1_200).contains(at)), "{story:?}");
    // Two are out at 50,000, the other two at 51,000 and something.
    assert_eq!(story[4..], [(50_048, 5), (50_048, 6)]);
}

#[test]
fn the_confirmed_limits_hold_under_another_profile_too() {
    let setup = venue(4);
    let mut world = Limited::new(&setup);
    let pinned = Profile { index: 1, ..with_limits(&setup, vec![of_venue(8)]) };
    world.run_until(&[at(0, Action::Profile(pinned))], Nanos(10));
    world.run_until(&orders(0..6, 20), Nanos(500));
    assert_eq!(world.left.len(), 4, "the limits of a pinned profile are nobody's");
    world.confirm(&with_limits(&setup, vec![of_venue(5)]));
    world.run_until(&[], Nanos(5_000));
    assert_eq!(world.left.len(), 5);
    world.confirm(&with_limits(&setup, vec![of_venue(1)]));
    world.run(&orders(6..7, 6_000));
    let times: Vec<u64> = world.left.iter().map(|l| l.at.0).collect();
    // The fifth is out at 50,064; then there is room for one.
    assert_eq!(times[4..], [64, 50_112, 100_160]);
}

#[test]
fn what_has_become_too_much_for_a_limit_ends_by_name() {
    for packet in [order(0, 4), tcp_order(0, 4)] {
        let setup = venue(5);
        let mut world = Limited::new(&setup);
        let narrow = with_limits(&setup, vec![of_venue(3)]);
        world.run(&[
            at(0, to(0, order(0, 3))),
            at(10, to(1, packet)),
            at(20, to(2, order(0, 1))),
            at(1_000, Action::Profile(narrow)),
            at(2_000, to(3, packet)),
        ]);
        assert_eq!(world.ended(), [(2, DropReason::Stale), (4, DropReason::Stale)]);
        assert_eq!(world.pacer.guard_counters().over_venue_limit, 2);
        // It waits no longer behind the one that could never go.
        assert_eq!(world.story(), [(0, 1), (50_048, 3)]);
    }
}

#[test]
fn the_pace_of_a_window_keeps_what_it_owes() {
    // Two at once, then one in 10,000 ns.
    let paced = |rate_per_s, burst| VenueLimit {
        bucket: Bucket::new(rate_per_s, burst),
        per: Nanos(1_000_000),
        ..of_venue(100)
    };
    let mut setup = venue(100);
    setup.limits.limits = vec![paced(100_000, 2)];
    let mut world = Limited::new(&setup);
    let mut script = orders(0..2, 0);
    // Its TAT stands at 20,000; five times as fast, one conforms 2,000 ns after 20,000 - 2 x 2,000.
    script.push(at(1_000, Action::Profile(with_limits(&setup, vec![paced(500_000, 2)]))));
    script.extend(orders(2..4, 2_000));
    world.run(&script);
    // The debt is clamped to the new burst: 4,000 ns at 1,000.
    let times: Vec<u64> = world.left.iter().map(|l| l.at.0).collect();
    assert_eq!(times, [0, 0, 3_008, 5_056]);
}

/// A script in which limits change: at a share of its times all are given other numbers, within what
/// their windows are made for.
fn changing(
    setup: &Setup,
    script: Vec<(Nanos, Action)>,
    changes: &[(u32, u32)],
) -> Vec<(Nanos, Action)> {
    let mut changes = changes.iter().cycle();
    let mut step = 0u32;
    script
        .into_iter()
        .flat_map(|(time, action)| {
            step += 1;
            let change = step.is_multiple_of(5).then(|| {
                let narrowed = setup.limits.limits.iter().map(|of| {
                    let (max, reserve) = changes.next().copied().unwrap_or((1, 0));
                    let messages_max = 1 + max % window_messages(of.messages_max);
                    let cancel_reserve = reserve % messages_max;
                    let usable = u64::from(messages_max - cancel_reserve);
                    let bucket = Bucket::new(of.bucket.rate_per_s, of.bucket.burst.min(usable));
                    VenueLimit { messages_max, cancel_reserve, bucket, ..of.clone() }
                });
                (time, Action::Profile(with_limits(setup, narrowed.collect())))
            });
            change.into_iter().chain([(time, action)])
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(500))]

    /// Whatever the limits become and however little the port takes: no window holds more than it may at
    /// the time of a departure, each packet ends once and none is held for ever.
    #[test]
    fn every_window_holds_while_limits_change(
        mut setup in scenario::setup(),
        limits in some_limits(),
        script in scenario::script(120),
        changes in prop::collection::vec((0u32..1_000, 0u32..1_000), 1..40),
        rations in scenario::rations(),
        direct in 0usize..4,
        sometimes_refuses in any::<bool>(),
    ) {
        setup.limits = limits;
        let script = changing(&setup, script, &changes);
        let mut world = Limited::new(&setup);
        world.direct = direct;
        if sometimes_refuses {
            world.rations = rations;
        }
        world.run(&script);
    }
}
