//! A few ordering groups under a table of their own: whole groups, in order, within what their class may
//! send, and under every word and limit of it.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::PacketMeta;
use model::pacer::Seat;
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::profile::{ArmTable, Bucket, Canary, Caps, ClassParams, Profile};
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use model::venue_limit::LimitScope;
use proptest::prelude::*;
use support::cases;
use support::drive::Drive;
use support::limited::limit;
use support::world::{Action, Setup, WIRE_LEN_MAX, arrives, bits, cancel, class, packet};

const FREE: Caps = Caps { bits: None, messages: None };
const CLASS: u8 = 0;
const TWIN: u8 = 1;
/// In the arm to compare.
const CONTROL: u8 = 2;
/// Wire bytes of the frames of these tests, and of the class's burst.
const LEN: u16 = 976;
const WIRE: u64 = 1_000;
const BURST: u64 = 20_000;
/// 100 Mbit/s: 80 us for a frame.
const RATE: u64 = 100_000_000;

/// One class of orders with a twin, `flows` groups.
fn orders(flows: u32) -> Setup {
    let mut setup = Setup::new(&[(FREE, bits(RATE, BURST))]);
    setup.classes = vec![class(Kind::Order, None)];
    (setup.flows, setup.twins) = (flows, vec![CLASS]);
    setup
}

fn order() -> PacketMeta {
    PacketMeta { kind: Kind::Order as u8, ..packet(CLASS, LEN) }
}

/// The class at 80 Mbit/s, `groups` at 10 Mbit/s, with `change` to what they get, and group 8 at another
/// 10 Mbit/s.
fn parted(setup: &Setup, groups: &[u64], change: impl FnOnce(&mut ClassParams)) -> Profile {
    let mut profile = Profile { index: 1, ..setup.profile.clone() };
    profile.classes[0].class.bits = Some(Bucket::new(RATE / 10 * 8, BURST - 4_000));
    let mut twin = setup.profile.classes[0];
    twin.class.bits = Some(Bucket::new(RATE / 10, 2_000));
    let control = ArmTable { classes: vec![twin], groups: vec![8] };
    change(&mut twin);
    let trial = ArmTable { classes: vec![twin], groups: groups.to_vec() };
    profile.canary = Some(Canary([trial, control]));
    profile
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

/// Ids in the order in which they left.
fn ids(drive: &Drive, flow: u32) -> Vec<u64> {
    let of = drive.left.iter().filter(|(_, released)| released.flow == flow);
    of.map(|(_, released)| released.packet.correlation_id).collect()
}

#[test]
fn the_chosen_groups_alone_go_by_the_table_of_the_canary() {
    let setup = orders(8);
    let slow = |twin: &mut ClassParams| twin.flow = bits(8_000_000, WIRE);
    let mut script = vec![at(0, Action::Profile(parted(&setup, &[2], slow)))];
    script.extend(
        [0, 1, 2, 7]
            .into_iter()
            .flat_map(|flow| (0..2).map(move |_| at(100, arrives(flow, order())))),
    );
    let mut drive = Drive::new(&setup);
    drive.run(&script, Nanos::from_millis(5));
    let of = |flow: u32| -> Vec<(u8, u64)> {
        let left = drive.left.iter().filter(|(_, released)| released.flow == flow);
        left.map(|(at, released)| (released.packet.class, at.0)).collect()
    };
    // The twin begins with nothing saved: 1,000 bytes take 800 us at 10 Mbit/s, of which 2,000 may be
    // owed; then its flow's own 8 Mbit/s, 1 ms for each, rounded up to a slot.
    let twin = of(1);
    assert_eq!(twin.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [TWIN, TWIN]);
    assert!((800_000..800_064).contains(&twin[0].1), "{twin:?}");
    assert!((1_800_000..1_800_128).contains(&twin[1].1), "{twin:?}");
    let control = of(7);
    assert_eq!(
        (control[0], control[1].0),
        ((CONTROL, twin[0].1), CONTROL),
        "as the class, less its share"
    );
    assert!((1_600_000..1_600_128).contains(&control[1].1), "{control:?}");
    for flow in [0, 2] {
        assert_eq!(of(flow), [(CLASS, 100), (CLASS, 100)], "flow {flow} is as it was");
    }
}

#[test]
fn a_group_that_comes_later_is_known_and_one_that_goes_is_forgotten() {
    let setup = orders(2);
    let mut drive = Drive::new(&setup);
    drive.pacer.leave_group(1);
    drive.pacer.set_profile(Nanos(0), &parted(&setup, &[1, 77], |_| {}));
    assert_eq!(drive.pacer.class_in_arm(0, CLASS), TWIN);
    assert!(drive.pacer.free_flow(Nanos(1), 0));
    assert_eq!(drive.pacer.roster().seats().count(), 0);
    let seat = |id| Seat { id, class: CLASS, venue: 3, label: 9 };
    let flow = drive.pacer.new_group(seat(78)).expect("there is one");
    assert_eq!(drive.pacer.class_in_arm(flow, CLASS), CLASS, "not chosen");
    assert!(drive.pacer.free_flow(Nanos(2), flow));
    let flow = drive.pacer.new_group(seat(77)).expect("there is one");
    assert_eq!(drive.pacer.class_in_arm(flow, CLASS), TWIN, "chosen before it came");
    assert_eq!(drive.pacer.roster().seats().collect::<Vec<_>>(), [seat(77)]);
    drive.pacer.leave_group(flow);
    assert_eq!(drive.pacer.class_in_arm(flow, CLASS), CLASS, "it queues elsewhere");
    assert_eq!(drive.pacer.roster().seats().count(), 0);
}

#[test]
fn what_waits_in_the_canary_goes_on_in_its_class_when_it_ends() {
    let setup = orders(2);
    let slow = |twin: &mut ClassParams| twin.class = bits(1_000_000, 2_000);
    let mut script = vec![at(0, Action::Profile(parted(&setup, &[2], slow)))];
    script.extend((0..10).map(|_| at(1_000, arrives(1, order()))));
    script.push(at(2_000, Action::Profile(setup.profile.clone())));
    script.push(at(3_000, arrives(1, order())));
    let mut drive = Drive::new(&setup);
    drive.run(&script, Nanos::from_millis(20));
    assert_eq!(ids(&drive, 1), (1..=11).collect::<Vec<u64>>(), "in order");
    // The class owes what the twin owed: nothing saved at 0, so 2,000 bytes at 1 Mbit/s are 16 ms, less
    // than its own 1.6 ms at most: B/R. From then on 80 us for each.
    let last = drive.left.last().map(|(at, _)| *at).expect("they left");
    assert!(last < Nanos(1_600_000 + 11 * 80_000), "{last}");
}

#[test]
fn words_and_limits_of_the_class_hold_for_its_twin() {
    let mut setup = orders(2);
    setup.limits = LimitsSpec {
        classes: vec![ClassLimits { participant: Some(0), session: None }],
        limits: vec![limit(LimitScope::Participant, 3, 1_000_000, 0)],
        start_full: false,
    };
    let free = |twin: &mut ClassParams| twin.class = FREE;
    let to = |flow, packet| Action::Packet { flow, venue: 0, packet };
    let mut script = vec![at(0, Action::Profile(parted(&setup, &[2], free)))];
    script.extend((0..8).map(|n| at(100, to(n % 2, order()))));
    let mut drive = Drive::new(&setup);
    drive.run(&script, Nanos(900_000));
    assert_eq!(drive.left.len(), 3, "one window for both arms");
    let mut words = StopWords::default();
    words.classes[0] = StopWord::Halt;
    let halt = [
        at(900_001, Action::Words(words)),
        at(900_002, to(1, order())),
        at(900_003, to(1, cancel(CLASS, 100))),
    ];
    drive.run(&halt, Nanos::from_millis(5));
    assert!(drive.ended.iter().all(|(_, _, why)| *why == DropReason::Halted));
    assert_eq!(drive.ended.len(), 6, "all that were held, and the one that came");
    assert_eq!(drive.left.len(), 4, "the cancel passes");
    assert_eq!(drive.left[3].1.packet.class, TWIN);
}

#[test]
fn an_exempt_packet_of_the_canary_waits_for_no_bucket() {
    let setup = orders(2);
    let tight = |twin: &mut ClassParams| {
        twin.class = bits(1_000, 2_000);
        twin.flow = bits(1_000, 2_000);
        twin.shaping.jitter_max = Nanos(50_000);
        (twin.shaping.hold_frames, twin.shaping.hold_time) = (4, Nanos::from_millis(1));
    };
    let script = [
        at(0, Action::Profile(parted(&setup, &[1, 2], tight))),
        at(100, arrives(0, order())),
        at(200, arrives(1, cancel(CLASS, LEN))),
        at(300, arrives(0, cancel(CLASS, LEN))),
    ];
    let mut drive = Drive::new(&setup);
    drive.run(&script, Nanos(300));
    let left: Vec<(u64, u64)> =
        drive.left.iter().map(|(at, r)| (at.0, r.packet.correlation_id)).collect();
    assert_eq!(left, [(200, 2), (300, 1), (300, 3)], "the order ahead of a cancel goes with it");
}

proptest! {
    #![proptest_config(cases(64))]

    /// Arms part, change and join at random under load: whole groups, nothing lost or reordered, and
    /// both arms together keep to the class's bucket in every window.
    #[test]
    fn arms_come_and_go_within_the_bucket_of_the_class(
        packets in prop::collection::vec((0..8_u32, 0..60_000_u64), 50..400),
        switches in prop::collection::vec((0..8_u64, 0..3_000_000_u64, any::<bool>()), 0..12),
    ) {
        let setup = orders(8);
        let mut script = Vec::new();
        let mut now = 0;
        for (flow, gap) in &packets {
            now += gap;
            script.push(at(now, arrives(*flow, order())));
        }
        let mut when = 0;
        for (group, gap, apart) in switches {
            when += gap;
            let profile = if apart {
                parted(&setup, &[group % 7 + 1], |_| {})
            } else {
                setup.profile.clone()
            };
            script.push(at(when, Action::Profile(profile)));
        }
        script.sort_by_key(|(at, _)| *at);
        let mut drive = Drive::new(&setup);
        drive.run(&script, Nanos(now + 4_000_000_000));
        prop_assert_eq!((drive.left.len(), drive.ended.len()), (packets.len(), 0));
        prop_assert_eq!(drive.pacer.queued_packets(), 0);
        for flow in 0..8 {
            let of = ids(&drive, flow);
            prop_assert!(of.is_sorted(), "flow {}: {:?}", flow, of);
        }
        // A bucket in bit-nanoseconds: what it holds drains at the rate and never passes the burst.
        let (mut held, mut last) = (0_u128, 0);
        for (at, released) in &drive.left {
            let drained = u128::from(at.0 - last) * u128::from(RATE);
            held = held.saturating_sub(drained);
            held += u128::from(released.packet.wire_len()) * 8_000_000_000;
            last = at.0;
            prop_assert!(held <= u128::from(BURST) * 8_000_000_000, "{held} at {at}");
        }
        prop_assert!(u64::from(order().wire_len()) == WIRE && WIRE < u64::from(WIRE_LEN_MAX));
    }
}
