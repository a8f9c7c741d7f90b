//! Safety on live order flow: exempt packets, `max_hold`, stop words, drain.

mod support;

use model::config::HaltMixed;
use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::meta::{PacketMeta, flags};
use model::profile::Caps;
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use proptest::prelude::*;
use support::world::{
    Action, Ration, Setup, WIRE_LEN_MAX, World, arrives, bare, bits, cancel, class, packet,
};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };

/// 10 Mbit/s and one largest frame of burst on every level: a frame of 1,514 takes 1,230,400 ns.
fn narrow() -> Setup {
    let cap = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    let mut setup = Setup::new(&[(cap, cap)]);
    setup.profile.egress[0].port = cap;
    setup
}

fn order() -> PacketMeta {
    PacketMeta { kind: Kind::Order as u8, ..packet(0, 1_514) }
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

#[test]
fn an_exempt_packet_passes_empty_buckets_and_orders_pay_for_it() {
    let mut world = World::new(&narrow());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(1_000, arrives(1, cancel(0, 60))),
        at(2_000, arrives(2, bare(0))),
    ]);
    // 1,230,400 for order 1, and 67,200 for each exempt frame of 84 wire bytes.
    assert_eq!(
        world.story(),
        [
            (0, 1, Release::Governed),
            (1_000, 3, Release::Exempt),
            (2_000, 4, Release::Exempt),
            (1_364_800, 2, Release::Governed),
        ]
    );
}

#[test]
fn each_level_is_charged_for_an_exempt_packet() {
    let cap = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    let mut at_port = Setup::new(&[(FREE, FREE)]);
    at_port.profile.egress[0].port = cap;
    for setup in [Setup::new(&[(cap, FREE)]), Setup::new(&[(FREE, cap)]), at_port] {
        let mut world = World::new(&setup);
        world.run(&[at(0, arrives(0, cancel(0, 1_514))), at(0, arrives(0, order()))]);
        assert_eq!(world.departures[1].eligible, Nanos(1_230_400));
    }
}

#[test]
fn an_exempt_packet_releases_its_group_forward_up_to_itself() {
    let mut world = World::new(&narrow());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(1, order())),
        at(1_000, arrives(0, cancel(0, 60))),
        at(1_000, arrives(0, order())),
    ]);
    use Release::{Exempt, Forward, Governed};
    assert_eq!(
        world.story()[..4],
        [(0, 1, Governed), (1_000, 2, Forward), (1_000, 3, Forward), (1_000, 5, Exempt)]
    );
    // Flow 1 did not profit; the debt of three frames and a cancel is paid first.
    let paid = 3 * 1_230_400 + 67_200;
    assert_eq!(world.departures[4].eligible, Nanos(paid));
    assert_eq!((world.departures[4].id(), world.departures[5].id()), (4, 6));
}

#[test]
fn a_second_exempt_packet_extends_the_release_and_the_first_one_does_not_end_it() {
    let mut world = World::new(&narrow());
    // Nothing may leave until 500, so that all of it is in the queue at once.
    world.rations = vec![Ration { room: 0, accepted: 0 }];
    let script = [
        at(0, arrives(0, order())),
        at(0, arrives(0, cancel(0, 60))),
        at(0, arrives(0, order())),
        at(0, arrives(0, cancel(0, 60))),
        at(0, arrives(0, order())),
    ];
    world.run_until(&script, Nanos(500));
    assert!(world.departures.is_empty());
    world.rations.clear();
    world.run(&[]);
    let labels: Vec<_> = world.departures.iter().map(|d| (d.id(), d.release)).collect();
    use Release::{Exempt, Forward, Governed};
    assert_eq!(labels, [(1, Forward), (2, Exempt), (3, Forward), (4, Exempt), (5, Governed)]);
}

#[test]
fn a_segment_without_payload_waits_for_its_own_flow_only() {
    let mut world = World::new(&narrow());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(1_000, arrives(0, bare(0))),
        at(1_000, arrives(1, bare(0))),
    ]);
    use Release::{Exempt, Governed};
    // Order 2 pays for flow 1's segment at class and port, then 3 follows in the same turn.
    assert_eq!(
        world.story(),
        [(0, 1, Governed), (1_000, 4, Exempt), (1_297_600, 2, Governed), (1_297_600, 3, Exempt)]
    );
}

#[test]
fn max_hold_flushes_in_order_and_says_so() {
    let mut setup = narrow();
    setup.profile.classes[0].max_hold = Nanos(500_000);
    let mut world = World::new(&setup);
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(1, order())),
        at(100_000, arrives(0, order())),
    ]);
    use Release::{Governed, MaxHold};
    // 500,000 and 600,000 rounded up to slots of 64.
    assert_eq!(
        world.story(),
        [(0, 1, Governed), (500_032, 2, MaxHold), (500_032, 3, MaxHold), (600_000, 4, MaxHold)]
    );
    assert_eq!(world.departures[1].eligible, Nanos::ZERO);
}

#[test]
fn a_shorter_hold_behind_a_longer_one_is_not_missed() {
    // Class 1 may be held for 10 ms, class 0 for 100 us. They share flow 0 (class 0 lifts it).
    let cap = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    let mut setup = Setup::new(&[(cap, FREE), (cap, FREE)]);
    setup.profile.classes[1].priority = 1;
    setup.profile.classes[0].max_hold = Nanos(100_000);
    setup.profile.classes[1].max_hold = Nanos::from_millis(10);
    let mut world = World::new(&setup);
    world.run(&[
        at(0, arrives(0, packet(1, 1_514))),
        at(0, arrives(0, packet(1, 1_514))),
        at(1_230_000, arrives(0, packet(0, 1_514))),
    ]);
    use Release::{Governed, MaxHold};
    assert_eq!(
        world.story(),
        [(0, 1, Governed), (1_230_400, 2, Governed), (1_330_048, 3, MaxHold)]
    );
}

#[test]
fn a_flow_that_is_lifted_out_of_passthrough_is_held_no_longer_than_allowed() {
    // Class 1 passes through, class 0 is paced; the port is shut until 10 us.
    let cap = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    let mut setup = Setup::new(&[(cap, FREE), (cap, FREE)]);
    setup.profile.classes[1].priority = 1;
    setup.profile.classes[0].max_hold = Nanos(200_000);
    setup.profile.classes[1].max_hold = Nanos(100_000);
    let mut words = StopWords::default();
    words.classes[1] = StopWord::Passthrough;
    let mut world = World::new(&setup);
    let first = [
        at(0, Action::Words(words)),
        // An empty bucket.
        at(0, arrives(0, packet(1, 1_514))),
    ];
    world.run_until(&first, Nanos(500));
    world.rations = vec![Ration { room: 0, accepted: 0 }];
    let second = [at(1_000, arrives(0, packet(1, 1_514))), at(2_000, arrives(0, packet(0, 1_514)))];
    world.run_until(&second, Nanos(10_000));
    world.rations.clear();
    world.run(&[]);
    use Release::{MaxHold, Passthrough};
    assert_eq!(world.story(), [(0, 1, Passthrough), (101_056, 2, MaxHold), (202_048, 3, MaxHold)]);
}

#[test]
fn stale_begins_one_ns_beyond_max_hold() {
    for (end, drops) in [(1_000, 0), (1_001, 1)] {
        let mut setup = narrow();
        setup.profile.classes[0].max_hold = Nanos(1_000);
        let mut world = World::new(&setup);
        world.rations = vec![Ration { room: 0, accepted: 0 }];
        world.run_until(&[at(0, arrives(0, order())), at(end, Action::EndStale)], Nanos(end));
        assert_eq!(world.drops.len(), drops, "at {end}");
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Nothing is held for longer than `max_hold` and a slot beyond what it and the packets ahead
    /// of it wished for, while the port accepts; and unlimited never flushes.
    #[test]
    fn nothing_is_held_longer_than_max_hold(
        setup in scenario::setup(),
        script in scenario::arrivals(120),
    ) {
        let mut world = World::new(&setup);
        world.run(&script);
        let mut hold = [Nanos::ZERO; scenario::FLOWS as usize];
        for d in &world.departures {
            let max_hold = setup.profile.classes[usize::from(d.packet.class)].max_hold;
            let hold = &mut hold[d.flow as usize];
            *hold = (*hold).max(d.packet.wanted().saturating_add(max_hold));
            prop_assert!(d.at < hold.saturating_add(setup.slot), "{d:?}");
            if d.release == Release::MaxHold {
                prop_assert!(max_hold != Nanos::MAX && d.at - d.packet.wanted() >= max_hold);
            }
        }
    }

    /// `end_stale` ends what is older than its class allows, to the ns, and nothing else: exempt
    /// packets stay.
    #[test]
    fn end_stale_ends_exactly_what_is_older(
        mut setup in scenario::setup(),
        script in scenario::arrivals(60),
        later in 0u64..300_000,
    ) {
        for class in &mut setup.profile.classes {
            class.drops_when_full = false;
            class.closed = false;
        }
        let end = script.last().unwrap().0 + Nanos(later);
        let mut world = World::new(&setup);
        world.rations = vec![Ration { room: 0, accepted: 0 }];
        world.run_until(&script, end);
        prop_assert!(world.departures.is_empty());
        world.run_until(&[(end, Action::EndStale)], end);
        let mut stale = Vec::new();
        for (id, (arrival, action)) in (1..).zip(&script) {
            let Action::Packet { packet, .. } = action else { continue };
            let max_hold = setup.profile.classes[usize::from(packet.class)].max_hold;
            let old = max_hold != Nanos::MAX && end > *arrival + packet.due + max_hold;
            if old && !packet.is_exempt() {
                stale.push((id, DropReason::Stale));
            }
        }
        world.drops.sort_unstable();
        prop_assert_eq!(&world.drops, &stale);
        world.rations.clear();
        world.run(&[]);
        prop_assert_eq!(world.departures.len() + stale.len(), script.len());
    }
}

fn all(word: StopWord) -> Action {
    Action::Words(StopWords { all: word, ..StopWords::default() })
}

/// `narrow`, its class declared as orders in datagrams.
fn orders() -> Setup {
    let mut setup = narrow();
    setup.classes[0] = class(Kind::Order, None);
    setup
}

#[test]
fn a_halt_ends_orders_and_replaces_and_what_stood_behind_them_passes() {
    let replace = PacketMeta { kind: Kind::Replace as u8, ..order() };
    let mut world = World::new(&orders());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(0, replace)),
        at(0, arrives(0, PacketMeta { flags: flags::EXEMPT | flags::BARE, ..packet(0, 60) })),
        at(0, arrives(1, packet(0, 1_514))),
        at(10_000, all(StopWord::Halt)),
        at(20_000, arrives(2, order())),
        at(20_000, arrives(2, cancel(0, 60))),
        at(30_000, all(StopWord::Running)),
        at(40_000, arrives(3, order())),
    ]);
    let halted = |id| (id, DropReason::Halted);
    assert_eq!(world.drops, [halted(2), halted(3), halted(6)]);
    use Release::{Exempt, Governed};
    let debt = 1_230_400 + 2 * 67_200;
    assert_eq!(
        world.story(),
        [
            (0, 1, Governed),
            (10_000, 4, Exempt),
            (20_000, 7, Exempt),
            (debt, 5, Governed),
            (debt + 1_230_400, 8, Governed),
        ]
    );
}

#[test]
fn an_order_that_a_cancel_has_released_is_halted_all_the_same() {
    let mut world = World::new(&orders());
    world.rations = vec![Ration { room: 0, accepted: 0 }];
    let script = [
        at(0, arrives(0, order())),
        at(0, arrives(0, cancel(0, 60))),
        at(0, arrives(0, order())),
        at(100, all(StopWord::Halt)),
    ];
    world.run_until(&script, Nanos(200));
    assert_eq!(world.drops, [(1, DropReason::Halted), (3, DropReason::Halted)]);
    world.rations.clear();
    world.run(&[]);
    assert_eq!(world.ids(), [2]);
}

#[test]
fn nothing_is_cut_out_of_a_tcp_stream() {
    let tcp = |kind: Kind, flags: u8| PacketMeta {
        kind: kind as u8,
        flags: flags | flags::TCP | flags::PAYLOAD,
        ..packet(0, 200)
    };
    for (kind, mixed, ended) in [
        // A session that may carry orders ends whole, tagged cancels too; segments without payload pass.
        (Kind::Mixed, Some(HaltMixed::Block), vec![1, 2, 3]),
        (Kind::Order, Some(HaltMixed::Block), vec![1, 2, 3]),
        (Kind::Order, None, vec![1, 2, 3]),
        // Or passes whole.
        (Kind::Mixed, Some(HaltMixed::Pass), vec![]),
        (Kind::Order, Some(HaltMixed::Pass), vec![]),
        // A session declared to carry cancels only is not touched.
        (Kind::Cancel, None, vec![]),
    ] {
        let mut setup = Setup::new(&[(FREE, FREE)]);
        setup.classes[0] = class(kind, mixed);
        let mut world = World::new(&setup);
        world.run(&[
            at(0, all(StopWord::Halt)),
            at(10, arrives(0, tcp(Kind::Order, 0))),
            at(10, arrives(0, tcp(Kind::Mixed, 0))),
            at(10, arrives(0, tcp(Kind::Cancel, flags::EXEMPT))),
            at(10, arrives(0, bare(0))),
        ]);
        let drops: Vec<u64> = world.drops.iter().map(|(id, _)| *id).collect();
        assert_eq!(drops, ended, "{kind:?} {mixed:?}");
        assert_eq!(world.departures.len(), 4 - ended.len());
    }
}

#[test]
fn a_datagram_is_halted_by_its_own_kind_in_whatever_class() {
    for kind in [Kind::Order, Kind::Other, Kind::Mixed, Kind::MarketData] {
        let mut setup = Setup::new(&[(FREE, FREE)]);
        setup.classes[0] = class(kind, Some(HaltMixed::Pass));
        let mut world = World::new(&setup);
        world.run(&[
            at(0, all(StopWord::Halt)),
            at(1, arrives(0, order())),
            at(2, arrives(0, PacketMeta { kind: Kind::Exit as u8, ..cancel(0, 60) })),
        ]);
        assert_eq!(world.drops, [(1, DropReason::Halted)], "{kind:?}");
        assert_eq!(world.ids(), [2]);
    }
    // From the venue nothing is stopped.
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.classes[0] = model::config::Class { from: Side::Venue, ..class(Kind::Order, None) };
    let mut world = World::new(&setup);
    world.run(&[at(0, all(StopWord::Halt)), at(1, arrives(0, order()))]);
    assert_eq!(world.ids(), [1]);
}

#[test]
fn the_strictest_word_of_a_packets_scopes_holds() {
    let venue = 1u8;
    let scopes = |all, own_venue: StopWord, own_class: StopWord| {
        let mut words = StopWords { all, ..StopWords::default() };
        words.venues[usize::from(venue)] = own_venue;
        words.classes[0] = own_class;
        words
    };
    let to = |venue, id_class| Action::Packet {
        flow: u32::from(id_class),
        venue,
        packet: PacketMeta { class: id_class, ..order() },
    };
    let cap = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    use StopWord::{Halt, Passthrough, Running};
    let words = [Running, Passthrough, Halt];
    for (a, v, c) in words
        .into_iter()
        .flat_map(|a| words.map(|v| (a, v)))
        .flat_map(|(a, v)| words.map(|c| (a, v, c)))
    {
        let mut setup = Setup::new(&[(cap, FREE), (cap, FREE)]);
        setup.classes = vec![class(Kind::Order, None), class(Kind::Order, None)];
        let mut world = World::new(&setup);
        world.run(&[
            at(0, Action::Words(scopes(a, v, c))),
            at(1, to(venue, 0)),
            at(1, to(venue, 0)),
            // The other class, another venue: only `all` applies.
            at(1, to(0, 1)),
            at(1, to(0, 1)),
        ]);
        for (ids, word) in [([1, 2], a.max(v).max(c)), ([3, 4], a)] {
            let left: Vec<_> = world
                .departures
                .iter()
                .filter(|d| ids.contains(&d.id()))
                .map(|d| (d.at.0, d.release))
                .collect();
            let expected: &[_] = match word {
                Running => {
                    &[(1, Release::Governed), (1_230_401u64.div_ceil(64) * 64, Release::Governed)]
                }
                Passthrough => &[(1, Release::Passthrough), (1, Release::Passthrough)],
                Halt => &[],
            };
            assert_eq!(left, expected, "{a:?} {v:?} {c:?}");
        }
    }
}

#[test]
fn passthrough_releases_at_once_and_its_debts_stay() {
    let mut world = World::new(&narrow());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(1, PacketMeta { jitter_ns: 9_000, ..order() })),
        at(1_000, all(StopWord::Passthrough)),
        at(2_000, arrives(0, order())),
        at(3_000, all(StopWord::Running)),
        at(4_000, arrives(1, order())),
    ]);
    use Release::{Governed, Passthrough};
    // Four largest frames have left: the fifth conforms at class and port after all of them.
    assert_eq!(
        world.story(),
        [
            (0, 1, Governed),
            (1_000, 2, Passthrough),
            (1_000, 3, Passthrough),
            (2_000, 4, Passthrough),
            (4 * 1_230_400, 5, Governed),
        ]
    );
}

#[test]
fn a_word_that_is_cleared_before_the_port_took_the_packets_paces_them_again() {
    let mut world = World::new(&narrow());
    world.rations = vec![Ration { room: 0, accepted: 0 }];
    let script = [
        at(0, all(StopWord::Passthrough)),
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(1_000, all(StopWord::Running)),
    ];
    world.run_until(&script, Nanos(1_500));
    world.rations.clear();
    world.run(&[]);
    let labels: Vec<_> = world.departures.iter().map(|d| d.release).collect();
    assert_eq!(labels, [Release::Governed, Release::Governed]);
    let gap = world.departures[1].at - world.departures[0].at;
    assert!(gap >= Nanos(1_230_400 - 64) && gap < Nanos(1_230_400 + 64), "{gap}");
}

#[test]
fn a_drain_begins_with_groups_that_hold_an_exempt_packet_and_keeps_their_order() {
    let mut world = World::new(&narrow());
    world.rations = vec![Ration { room: 0, accepted: 0 }];
    let script = [
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(0, arrives(1, order())),
        at(0, arrives(2, order())),
        // Waits behind its own flow: the flow holds an exempt packet that releases nothing forward.
        at(0, arrives(2, bare(0))),
        at(0, arrives(2, order())),
        at(0, arrives(3, order())),
        at(0, arrives(3, cancel(0, 60))),
        at(1_000, Action::Drain),
    ];
    world.run_until(&script, Nanos(1_000));
    assert!(world.departures.is_empty());
    world.rations = vec![Ration { room: u64::MAX, accepted: 1 }];
    // Time for five packets, one each 700 ns; then it ends.
    world.run_until(&[], Nanos(1_000 + 5 * 700));
    assert_eq!(world.ids(), [4, 5, 6, 7, 8]);
    let end = world.now;
    world.run(&[(end, Action::Stop)]);
    let stopped = |id| (id, DropReason::Stopped);
    assert_eq!(world.drops, [stopped(1), stopped(2), stopped(3)]);
    assert!(!world.pacer.is_due());
}

#[test]
fn what_arrives_in_a_drain_leaves_at_once() {
    let mut world = World::new(&narrow());
    world.run(&[
        at(0, arrives(0, order())),
        at(0, arrives(0, order())),
        at(1_000, Action::Drain),
        at(2_000, arrives(0, order())),
    ]);
    use Release::{Drain, Governed};
    assert_eq!(world.story(), [(0, 1, Governed), (1_000, 2, Drain), (2_000, 3, Drain)]);
}
