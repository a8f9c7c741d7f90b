//! Changes of words, profile and age under many flows: they hold at once, and are carried out in
//! slices. And flows that are given back.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::PacketMeta;
use model::pacer::Next;
use model::profile::{Caps, Profile};
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use proptest::prelude::*;
use support::drive::Drive;
use support::world::{Setup, WIRE_LEN_MAX, arrives, bare, bits, cancel, class, packet};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };
const FLOWS: u32 = 2_000;

/// One class of orders, each flow at 10 Mbit/s.
fn orders() -> Setup {
    let mut setup = Setup::new(&[(bits(10_000_000, u64::from(WIRE_LEN_MAX)), FREE)]);
    setup.flows = FLOWS;
    setup.classes[0] = class(Kind::Order, None);
    setup
}

fn order(len: u16) -> PacketMeta {
    PacketMeta { kind: Kind::Order as u8, ..packet(0, len) }
}

/// Every flow has sent a largest frame and holds one more, which conforms at 1,230,400 ns.
fn held(setup: &Setup) -> Drive {
    let mut drive = Drive::new(setup);
    for flow in 0..FLOWS {
        drive.act(&arrives(flow, order(1_514)));
        drive.act(&arrives(flow, order(1_514)));
    }
    drive.run(&[], Nanos::ZERO);
    while drive.flush(8) > 0 {}
    assert_eq!((drive.left.len(), drive.pacer.queued_packets()), (2_000, 2_000));
    drive.left.clear();
    drive
}

fn halt() -> StopWords {
    StopWords { all: StopWord::Halt, ..StopWords::default() }
}

#[test]
fn a_halt_ends_a_few_hundred_flows_at_a_time_and_lets_nothing_out_meanwhile() {
    let mut drive = held(&orders());
    drive.now = Nanos(1_230_464);
    drive.pacer.poll(drive.now);
    assert!(drive.pacer.is_due(), "all of them could leave");
    let mut drops = 0;
    drive.pacer.set_words(drive.now, &halt(), |_, why| {
        assert_eq!(why, DropReason::Halted);
        drops += 1;
    });
    assert_eq!(drops, 256);
    assert!(drive.pacer.is_sweeping());
    // What the walk has not reached ends when it would leave.
    for _ in 0..100 {
        let Next::Ended(packet, DropReason::Halted) = drive.pacer.next(drive.now, u64::MAX) else {
            panic!("a halted packet was offered");
        };
        assert_eq!(packet.kind(), Kind::Order);
    }
    let mut slices = 0;
    while drive.pacer.is_sweeping() {
        drive.pacer.sweep(drive.now, |_, _| drops += 1);
        slices += 1;
    }
    assert_eq!((drops + 100, slices), (2_000, 7), "2,000 flows are eight slices");
    assert!(matches!(drive.pacer.next(drive.now, u64::MAX), Next::Nothing));
    assert_eq!(drive.pacer.queued_bytes(), 0);
}

#[test]
fn an_exempt_packet_behind_halted_ones_passes_before_the_walk_is_there() {
    let mut drive = held(&orders());
    let last = FLOWS - 1;
    drive.pacer.set_words(Nanos(10), &halt(), |_, _| {});
    drive.now = Nanos(20);
    drive.act(&arrives(last, cancel(0, 60)));
    drive.act(&arrives(last - 1, bare(0)));
    drive.flush(8);
    let left: Vec<_> = drive.left.iter().map(|(_, r)| r.flow).collect();
    assert_eq!(left, [last], "a segment without payload lets nothing pass");
    assert_eq!(drive.ended.len(), 1);
    while drive.pacer.is_sweeping() {
        drive.pacer.sweep(Nanos(30), |_, _| {});
    }
    drive.flush(8);
    assert_eq!(drive.left.len(), 2);
}

#[test]
fn what_is_stale_does_not_leave_although_the_walk_has_not_reached_it() {
    let mut setup = orders();
    setup.profile.classes[0].max_hold = Nanos::from_millis(1);
    let mut drive = held(&setup);
    drive.now = Nanos(1_000_001);
    let mut stale = 0;
    drive.pacer.end_stale(drive.now, |_, why| {
        assert_eq!(why, DropReason::Stale);
        stale += 1;
    });
    drive.pacer.poll(drive.now + Nanos(64));
    while let Next::Ended(_, why) = drive.pacer.next(drive.now + Nanos(64), u64::MAX) {
        assert_eq!(why, DropReason::Stale);
        stale += 1;
    }
    assert_eq!((stale, drive.left.len()), (2_000, 0));
}

#[test]
fn a_stall_that_ends_again_and_again_walks_only_flows_that_hold_something() {
    let mut setup = orders();
    setup.profile.classes[0].max_hold = Nanos::from_millis(1);
    let mut drive = Drive::new(&setup);
    for flow in [3, 1_999] {
        drive.act(&arrives(flow, order(1_514)));
        drive.act(&arrives(flow, order(1_514)));
    }
    drive.flush(8);
    assert_eq!(drive.pacer.queued_packets(), 2);
    // Nothing can be so old: no walk.
    drive.pacer.end_stale(Nanos::from_millis(1), |_, _| panic!("nothing is stale"));
    assert!(!drive.pacer.is_sweeping());
    let mut stale = 0;
    drive.pacer.end_stale(Nanos(1_000_001), |_, why| {
        assert_eq!(why, DropReason::Stale);
        stale += 1;
    });
    assert!(!drive.pacer.is_sweeping(), "two flows of 2,000 are one slice");
    assert_eq!((stale, drive.pacer.queued_packets()), (2, 0));
}

#[test]
fn a_tighter_profile_holds_for_flows_that_the_walk_has_not_reached() {
    let setup = orders();
    let mut slower = setup.profile.clone();
    slower.index = 1;
    // A tenth: 12.304 ms a frame. TAT 1,230,400 becomes at most now + B/R.
    slower.classes[0].flow = bits(1_000_000, u64::from(WIRE_LEN_MAX));
    let mut drive = held(&setup);
    drive.now = Nanos(1_230_464);
    drive.pacer.poll(drive.now);
    assert!(drive.pacer.is_due());
    drive.pacer.set_profile(drive.now, &slower);
    assert_eq!(drive.flush(8), 8, "a full bucket of the new rate lets one go");
    drive.left.clear();
    for flow in 0..FLOWS {
        drive.act(&arrives(flow, order(1_514)));
    }
    drive.run(&[], Nanos(13_000_000));
    // Each flow once, at the change; not twice before 1,230,464 + 12,304,000.
    let mut flows: Vec<u32> = drive.left.iter().map(|(_, r)| r.flow).collect();
    flows.sort_unstable();
    let count = flows.len();
    flows.dedup();
    assert_eq!((count, flows.len()), (1_992, 1_992));
    drive.run(&[], Nanos(13_600_000));
    assert_eq!(drive.left.len(), 3_992);
}

proptest! {
    #![proptest_config(cases(300))]

    /// However many profiles follow each other before the walk is over: the levels of a flow are what
    /// they would be had every change reached it at once. (Flow 0 of a small pacer is reached at
    /// once, flow 900 of a large one later, or when it is touched.)
    #[test]
    fn a_flow_that_missed_changes_makes_up_for_each(
        profiles in prop::collection::vec((scenario::profile(), 0u64..50_000), 1..12),
        packets in prop::collection::vec((scenario::any_packet(), 0u64..100_000), 1..20),
        first in prop::collection::vec(scenario::any_packet(), 0..4),
    ) {
        let run = |flows: u32, flow: u32| {
            let mut setup = Setup::new(&[(FREE, FREE); 3]);
            setup.flows = flows;
            setup.profile = free_classes(profiles[0].0.clone());
            let mut drive = Drive::new(&setup);
            for p in &first {
                drive.act(&arrives(flow, *p));
            }
            drive.run(&[], Nanos(1_000));
            for (profile, gap) in &profiles {
                drive.now = drive.now + Nanos(*gap);
                drive.pacer.set_profile(drive.now, &free_classes(profile.clone()));
            }
            for (p, gap) in &packets {
                let until = drive.now + Nanos(*gap);
                drive.act(&arrives(flow, *p));
                drive.run(&[], until);
            }
            drive.run(&[], Nanos(60_000_000_000));
            drive.left.iter().map(|(_, r)| (r.packet, r.eligible, r.release)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(1, 0), run(1_000, 900));
    }
}

/// The caps of flows alone, and nothing that ends.
fn free_classes(mut profile: Profile) -> Profile {
    for class in &mut profile.classes {
        class.class = FREE;
        class.closed = false;
        class.drops_when_full = false;
        class.max_hold = Nanos::MAX;
    }
    profile.egress[0].port = FREE;
    profile
}

#[test]
fn a_flow_is_given_back_when_it_is_as_good_as_new() {
    let mut setup = orders();
    setup.flows = 2;
    let mut drive = Drive::new(&setup);
    assert_eq!((drive.pacer.flows_used(), drive.pacer.new_flow()), (2, None));
    drive.act(&arrives(1, order(1_514)));
    assert!(!drive.pacer.free_flow(Nanos::ZERO, 1), "it holds a packet");
    assert!(matches!(drive.pacer.next(Nanos::ZERO, u64::MAX), Next::Packet(_)));
    assert!(!drive.pacer.free_flow(Nanos(1_230_400), 1), "the port may give it back");
    drive.pacer.commit(1);
    // Full again when TAT, 1,230,400, has come.
    assert!(!drive.pacer.free_flow(Nanos(1_230_399), 1));
    assert!(drive.pacer.free_flow(Nanos(1_230_400), 1));
    assert!(!drive.pacer.free_flow(Nanos(1_230_400), 1), "it is free already");
    assert!(!drive.pacer.free_flow(Nanos(1_230_400), 7), "there is none");
    assert_eq!(drive.pacer.flows_used(), 1);
    assert_eq!(drive.pacer.new_flow(), Some(1));
    assert_eq!(drive.pacer.new_flow(), None);
    drive.now = Nanos(1_230_400);
    drive.act(&arrives(1, order(1_514)));
    assert_eq!(drive.flush(8), 1);
}

#[test]
fn a_cancel_behind_an_admitted_packet_that_came_back_still_releases_it() {
    let mut setup = Setup::new(&[(bits(10_000_000, u64::from(WIRE_LEN_MAX)), FREE)]);
    setup.flows = 1;
    let mut drive = Drive::new(&setup);
    let mut order = PacketMeta { correlation_id: 1, ..packet(0, 1_514) };
    assert!(drive.pacer.admit(Nanos::ZERO, 0, 0, &mut order, u64::MAX));
    drive.act(&arrives(0, packet(0, 1_514)));
    drive.act(&arrives(0, cancel(0, 60)));
    // The port is shut: all that was offered comes back.
    let mut offers = vec![order];
    while let Next::Packet(released) = drive.pacer.next(Nanos::ZERO, u64::MAX) {
        offers.push(released.packet);
    }
    assert_eq!(offers.len(), 3);
    offers.into_iter().rev().for_each(|packet| drive.pacer.undo(Nanos::ZERO, packet));
    drive.pacer.commit(0);
    // When it opens, both orders go with the cancel, which waits for no bucket.
    assert_eq!(drive.flush(8), 3);
}
