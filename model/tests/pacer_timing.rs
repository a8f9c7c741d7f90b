//! When a packet leaves: the contract in numbers worked out by hand, and how late it may be.

mod support;

use model::meta::PacketMeta;
use model::profile::{Bucket, Caps, Profile};
use model::sample::Release;
use model::time::Nanos;
use proptest::prelude::*;
use support::drive::Drive;
use support::world::{Action, Setup, WIRE_LEN_MAX, World, arrives, bits, packet};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };

/// Frames of 1,000 bytes: 1,024 wire bytes, 81.92 us at 100 Mbit/s.
fn frame() -> PacketMeta {
    packet(0, 1_000)
}

fn times(world: &World) -> Vec<u64> {
    world.departures.iter().map(|d| d.at.0).collect()
}

#[test]
fn each_level_paces_by_its_own_rate_and_burst() {
    let cap = bits(100_000_000, 2_048);
    // Two frames of burst, then one each 81,920 ns, which is a multiple of the slot of 64 ns.
    let expected = [0, 0, 81_920, 163_840, 245_760];
    let script: Vec<_> =
        (0..5).map(|i| (Nanos::ZERO, arrives(0, PacketMeta { messages: i, ..frame() }))).collect();

    let mut at_port = Setup::new(&[(FREE, FREE)]);
    at_port.profile.egress[0].port = cap;
    for setup in [Setup::new(&[(cap, FREE)]), Setup::new(&[(FREE, cap)]), at_port] {
        let mut world = World::new(&setup);
        world.run(&script);
        assert_eq!(times(&world), expected);
        assert!(world.departures.iter().all(|d| d.eligible == d.at));
        assert_eq!(world.pacer.counters().bucket_held, 3);
    }
}

#[test]
fn messages_are_paced_by_the_same_rule() {
    // 100,000 messages/s, burst 3: packets of 2 leave at 0, 10 us (its second message), 30 us.
    let messages = Some(Bucket::new(100_000, 3));
    let setup = Setup::new(&[(Caps { bits: None, messages }, FREE)]);
    let script: Vec<_> = (0..3)
        .map(|_| (Nanos::ZERO, arrives(0, PacketMeta { messages: 2, ..frame() })))
        .chain([(Nanos(20_000), arrives(1, PacketMeta { messages: 0, ..frame() }))])
        .collect();
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(
        world.departures.iter().map(|d| (d.id(), d.eligible.0)).collect::<Vec<_>>(),
        [(1, 0), (2, 10_000), (4, 20_000), (3, 30_000)]
    );
}

#[test]
fn a_packet_of_more_messages_than_the_burst_leaves_alone_and_those_behind_it_pay() {
    const MS: u64 = 1_000_000;
    let full = |messages| PacketMeta { messages, ..frame() };
    let caps = |burst| Caps { bits: None, messages: Some(Bucket::new(100_000, burst)) };
    // 10 us a message. Four packets are there when a profile makes the burst 1. The bucket has been empty
    // for (4 - 1) x 10 us and more, so packet 1 leaves at once. Packet 2 conforms (4 + 4 - 1) x 10 us
    // later, at 1,070,000, and leaves in a slot of 64 ns, at 1,070,016. Packet 3 conforms as long after
    // that and leaves at 1,140,032, packet 4 with its one message (4 + 1 - 1) x 10 us after that. Packet 5
    // finds the bucket empty again.
    let script = |shorter: Profile| {
        let mut script: Vec<_> = [4, 4, 4, 1]
            .map(|messages| (Nanos(MS), arrives(0, full(messages))))
            .into_iter()
            .chain([(Nanos(3 * MS), arrives(0, full(4)))])
            .collect();
        script.insert(1, (Nanos(MS), Action::Profile(shorter)));
        script
    };
    let of = |level: usize, burst| {
        let at = |n| if n == level { caps(burst) } else { FREE };
        let mut setup = Setup::new(&[(at(0), at(1))]);
        setup.profile.egress[0].port = at(2);
        setup
    };
    for level in 0..3 {
        let mut world = Drive::new(&of(level, 8));
        let mut shorter = of(level, 1).profile;
        shorter.index = 1;
        world.run(&script(shorter), Nanos(10 * MS));
        let left = world.left.iter().map(|(_, r)| (r.packet.correlation_id, r.eligible.0));
        let expected = [(1, MS), (2, 1_070_000), (3, 1_140_016), (4, 1_180_032), (5, 3 * MS)];
        assert_eq!(left.collect::<Vec<_>>(), expected, "level {level}");
        assert_eq!(world.pacer.queued_packets(), 0);
    }
}

#[test]
fn a_late_core_loses_no_rate_within_the_burst() {
    let setup = Setup::new(&[(bits(100_000_000, 4_096), FREE)]);
    let script: Vec<_> = (0..40).map(|_| (Nanos::ZERO, arrives(0, frame()))).collect();
    let mut world = World::new(&setup);
    // Lateness up to (B - L)/R = 245,760 ns costs nothing.
    world.late = vec![150_000, 0, 200_000, 13];
    world.run(&script);
    // 4 frames of burst, 36 more at 81,920 ns each: the last is due then and leaves within the
    // lateness of the core.
    let last = world.departures.last().unwrap();
    assert!((36 * 81_920..36 * 81_920 + 200_064).contains(&last.at.0), "{}", last.at);
}

#[test]
fn nothing_leaves_before_its_sender_wants_it() {
    let setup = Setup::new(&[(FREE, FREE)]);
    let wish = |due| PacketMeta { due: Nanos(due), ..frame() };
    let script = [
        (Nanos(100), arrives(0, wish(6_300))),
        // Behind it in its flow, and wanted before it.
        (Nanos(200), arrives(0, wish(0))),
        // An exempt packet has a wish as well, alone or releasing others forward.
        (Nanos(300), arrives(1, PacketMeta { due: Nanos(5_000), ..support::world::cancel(0, 60) })),
        (Nanos(400), arrives(2, wish(2_000))),
        (Nanos(500), arrives(2, support::world::cancel(0, 60))),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(
        world.story(),
        [
            (2_432, 4, Release::Forward),
            (2_432, 5, Release::Exempt),
            (5_312, 3, Release::Exempt),
            (6_400, 1, Release::Governed),
            (6_400, 2, Release::Governed),
        ]
    );
}

#[test]
fn a_packet_that_goes_away_takes_its_place_in_the_queue_for_a_bucket_with_it() {
    // Class bucket: 1,024 bytes of burst are gone at 0. A largest frame of flow 0 would conform at
    // 123,040 ns and the class sleeps until then; then its flow is lifted out of the class.
    let mut setup = Setup::new(&[(FREE, FREE), (FREE, bits(100_000_000, 1_538))]);
    setup.profile.classes[1].priority = 1;
    let script = [
        (Nanos(0), arrives(0, packet(1, 1_514))),
        (Nanos(0), arrives(0, packet(1, 1_514))),
        (Nanos(0), arrives(1, packet(1, 60))),
        (Nanos(1_000), arrives(0, packet(0, 60))),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    // The small frame of flow 1 conforms after 84 bytes' worth: 6,720 ns.
    assert_eq!(
        world.story(),
        [
            (0, 1, Release::Governed),
            (1_000, 2, Release::Governed),
            (1_000, 4, Release::Governed),
            (6_720, 3, Release::Governed),
        ]
    );
}

/// `profile` with the flow caps of class 0 replaced.
fn with_flow_caps(profile: &Profile, flow: Caps) -> Profile {
    let mut profile = profile.clone();
    profile.classes[0].flow = flow;
    profile.index = 1;
    profile
}

#[test]
fn a_new_profile_acts_on_what_is_queued() {
    let setup = Setup::new(&[(bits(100_000_000, 1_538), FREE)]);
    let mut script: Vec<_> = (0..6).map(|_| (Nanos::ZERO, arrives(0, frame()))).collect();
    // Half the rate at 100 us; ten times the rate at 500 us.
    let slower = with_flow_caps(&setup.profile, bits(50_000_000, 1_538));
    let faster = with_flow_caps(&setup.profile, bits(1_000_000_000, 1_538));
    script.push((Nanos(100_000), Action::Profile(slower)));
    script.push((Nanos(500_000), Action::Profile(faster)));
    let mut world = World::new(&setup);
    world.run(&script);
    // By hand. 1: 0, TAT 81,920. 2: TAT + (1,024 - 1,538) x 80 = 40,800, TAT 163,840.
    // Slower: TAT + (1,024 - 1,538) x 160 = 81,600, not before 100,000: TAT 327,680.
    // 4: 327,680 - 82,240 = 245,440, TAT 491,520. 5: 409,280, TAT 655,360.
    // Faster at 500,000: B/R = 12,304, TAT is clamped to 512,304: 6 at 512,304 - 4,112 = 508,192.
    let eligible: Vec<u64> = world.departures.iter().map(|d| d.eligible.0).collect();
    assert_eq!(eligible, [0, 40_800, 81_600, 245_440, 409_280, 508_192]);
    assert_eq!(world.ids(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(world.departures[2].at, Nanos(100_000));
}

#[test]
fn taking_a_limit_off_for_a_moment_does_not_fill_its_bucket() {
    let setup = Setup::new(&[(bits(100_000_000, 1_538), FREE)]);
    let off = with_flow_caps(&setup.profile, FREE);
    let script = [
        (Nanos(0), arrives(0, frame())),
        (Nanos(100), Action::Profile(off)),
        (Nanos(200), Action::Profile(setup.profile.clone())),
        (Nanos(300), arrives(0, frame())),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(world.departures[1].eligible, Nanos(40_800));
}

#[test]
fn caps_that_do_not_change_forgive_nothing() {
    // Exempt packets drove the port far below an empty bucket; the same caps under a new profile
    // must not fill it up.
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.profile.egress[0].port = bits(100_000_000, 1_538);
    let mut script: Vec<_> =
        (0..4).map(|_| (Nanos(0), arrives(1, support::world::cancel(0, 1_000)))).collect();
    script.push((Nanos(10), Action::Profile(with_flow_caps(&setup.profile, bits(1 << 30, 1_538)))));
    script.push((Nanos(20), arrives(0, frame())));
    let mut world = World::new(&setup);
    world.run(&script);
    // TAT 327,680; 327,680 - 514 x 80.
    assert_eq!(world.departures[4].eligible, Nanos(286_560));
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// One flow under buckets on all three levels: a governed packet leaves in the first slot that
    /// begins at or after its time.
    #[test]
    fn one_flow_is_late_by_less_than_a_slot(
        mut setup in scenario::setup(),
        packets in prop::collection::vec((0u64..60_000, 60u16..1_515, 0u32..5_000, 0u64..20_000), 1..80),
    ) {
        setup.profile.classes[0].queue_packets = u32::MAX;
        setup.profile.classes[0].queue_bytes = u64::MAX;
        setup.profile.classes[0].closed = false;
        let mut at = 0;
        let script: Vec<_> = packets
            .into_iter()
            .map(|(gap, len, jitter_ns, due)| {
                at += gap;
                let packet = PacketMeta { jitter_ns, due: Nanos(due), ..packet(0, len) };
                (Nanos(at), arrives(0, packet))
            })
            .collect();
        let max_hold = setup.profile.classes[0].max_hold;
        let mut world = World::new(&setup);
        world.run(&script);
        let mut head_since = Nanos::ZERO;
        for d in &world.departures {
            let could = match d.release {
                // A packet ahead of it may have had a later wish or a larger jitter.
                Release::Governed => d.eligible.max(head_since),
                Release::MaxHold => d.packet.wanted().saturating_add(max_hold).max(head_since),
                other => panic!("{other:?}"),
            };
            prop_assert!(d.at >= could && d.at - could < setup.slot, "{d:?}");
            head_since = d.at;
        }
    }

    /// Flows that share nothing limited do not hold each other: the same bound for each.
    #[test]
    fn flows_with_their_own_buckets_do_not_hold_each_other(
        flow in scenario::caps(),
        slot_log2 in 6u32..13,
        packets in prop::collection::vec((0u64..20_000, 0u32..8, 60u16..1_515), 1..100),
    ) {
        let mut setup = Setup::new(&[(flow, FREE)]);
        setup.slot = Nanos(1 << slot_log2);
        let mut at = 0;
        let script: Vec<_> = packets
            .into_iter()
            .map(|(gap, flow, len)| {
                at += gap;
                (Nanos(at), arrives(flow, packet(0, len)))
            })
            .collect();
        let mut world = World::new(&setup);
        world.run(&script);
        for d in &world.departures {
            prop_assert_eq!(d.release, Release::Governed);
            prop_assert!(d.at - d.eligible < setup.slot, "{d:?}");
        }
    }

    /// A queue meets new caps: the oracle checks the envelope of the new caps from the switch on;
    /// here, that nothing is lost and the order holds, however many switches there are.
    #[test]
    fn switches_on_a_backlog_lose_and_reorder_nothing(
        setup in scenario::setup(),
        profiles in prop::collection::vec((0u64..300_000, scenario::profile()), 1..6),
        packets in prop::collection::vec((0u32..6, 60u16..1_515), 20..80),
    ) {
        let mut setup = setup;
        let open = |profile: &mut Profile| {
            for class in &mut profile.classes {
                class.drops_when_full = false;
                class.closed = false;
            }
        };
        open(&mut setup.profile);
        let mut script: Vec<_> = packets
            .into_iter()
            .map(|(flow, len)| (Nanos::ZERO, arrives(flow, packet(flow as u8 % 3, len))))
            .collect();
        let mut at = 0;
        for (gap, mut profile) in profiles {
            at += gap;
            open(&mut profile);
            script.push((Nanos(at), Action::Profile(profile)));
        }
        let mut world = World::new(&setup);
        world.run(&script);
        prop_assert!(world.drops.is_empty());
        for flow in 0..scenario::FLOWS {
            let ids: Vec<u64> =
                world.departures.iter().filter(|d| d.flow == flow).map(|d| d.id()).collect();
            prop_assert!(ids.is_sorted());
        }
    }
}

#[test]
fn a_closed_class_refuses_only_what_is_new_and_not_exempt() {
    let setup = Setup::new(&[(bits(100_000_000, u64::from(WIRE_LEN_MAX)), FREE)]);
    let mut closed = setup.profile.clone();
    closed.classes[0].closed = true;
    let script = [
        (Nanos(0), arrives(0, frame())),
        (Nanos(0), arrives(0, frame())),
        (Nanos(10), Action::Profile(closed)),
        (Nanos(20), arrives(0, frame())),
        (Nanos(30), arrives(1, support::world::cancel(0, 60))),
        (Nanos(40), Action::Profile(setup.profile.clone())),
        (Nanos(50), arrives(2, frame())),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(world.drops, [(3, model::drop_reason::DropReason::ProfileClosed)]);
    assert_eq!(world.ids(), [1, 4, 5, 2]);
}
