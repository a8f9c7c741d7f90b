//! Who goes first: flows of a class, classes of a port, packets of one time.

mod support;

use model::meta::PacketMeta;
use model::time::Nanos;
use proptest::prelude::*;
use support::world::{Setup, WIRE_LEN_MAX, World, arrives, bits, packet};
use support::{cases, scenario};

const FREE: (model::profile::Caps, model::profile::Caps) = (
    model::profile::Caps { bits: None, messages: None },
    model::profile::Caps { bits: None, messages: None },
);

/// A port of 100 Mbit/s on which `classes` unlimited classes meet.
fn shared_port(classes: usize) -> Setup {
    let mut setup = Setup::new(&vec![FREE; classes]);
    setup.profile.egress[0].port = bits(100_000_000, u64::from(WIRE_LEN_MAX));
    setup
}

proptest! {
    #![proptest_config(cases(500))]

    /// While two flows of a class are backlogged, each is within one largest frame of half of what
    /// has left, whatever their packet sizes and whatever the port refuses.
    #[test]
    fn flows_share_by_bytes(
        a in prop::collection::vec(1u16..1_515, 40),
        b in prop::collection::vec(1u16..1_515, 40),
        same in prop::option::of((60u16..1_515, 60u16..1_515)),
        rations in scenario::rations(),
        capped_class in any::<bool>(),
    ) {
        let mut setup = shared_port(1);
        if capped_class {
            setup.profile.classes[0].class = bits(50_000_000, 2_000);
        }
        let mut script = Vec::new();
        for (a, b) in a.into_iter().zip(b) {
            let (a, b) = same.unwrap_or((a, b));
            script.push((Nanos::ZERO, arrives(0, packet(0, a))));
            script.push((Nanos::ZERO, arrives(1, packet(0, b))));
        }
        let mut world = World::new(&setup);
        world.rations = rations;
        world.run(&script);
        let mut left = [40u32; 2];
        let mut bytes = [0i64; 2];
        for d in &world.departures {
            bytes[d.flow as usize] += i64::from(d.packet.wire_len());
            left[d.flow as usize] -= 1;
            if left.contains(&0) {
                break;
            }
            prop_assert!((bytes[0] - bytes[1]).abs() <= 2 * i64::from(WIRE_LEN_MAX), "{bytes:?}");
        }
    }

    /// Packets that become due at the same time leave in the order of their arrival, whichever
    /// level of the wheel they waited on, and behind a class bucket as well.
    #[test]
    fn equal_deadlines_are_first_in_first_out(
        order in Just((0u32..8).collect::<Vec<_>>()).prop_shuffle(),
        gaps in prop::collection::vec(0u64..400_000, 8),
        capped in any::<bool>(),
    ) {
        let due = 4_000_000u64;
        let mut setup = Setup::new(&[FREE]);
        if capped {
            setup.profile.classes[0].class = bits(1_000_000_000, u64::from(WIRE_LEN_MAX));
        }
        let mut at = 0;
        let script: Vec<_> = order
            .iter()
            .zip(gaps)
            .map(|(&flow, gap)| {
                at += gap;
                (Nanos(at), arrives(flow, PacketMeta { due: Nanos(due - at), ..packet(0, 1_514) }))
            })
            .collect();
        let mut world = World::new(&setup);
        world.run(&script);
        prop_assert_eq!(world.ids(), (1..=8).collect::<Vec<_>>());
        prop_assert!(world.departures[0].at == Nanos(due));
        prop_assert!(capped || world.departures.iter().all(|d| d.at == Nanos(due)));
    }
}

#[test]
fn a_class_of_higher_priority_goes_first() {
    let mut setup = shared_port(2);
    setup.profile.classes[1].priority = 1;
    // Odd ids: flow 0, class 1. Even ids: flow 1, class 0. A packet takes 82 us of the port.
    let mut script: Vec<_> =
        (0..6).map(|i| (Nanos::ZERO, arrives(i % 2, packet(1 - i as u8 % 2, 1_000)))).collect();
    // When 3 has just gone and 5 waits, one more for class 0.
    script.push((Nanos(300_000), arrives(1, packet(0, 1_000))));
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(world.ids(), [2, 4, 6, 1, 3, 7, 5]);
}

#[test]
fn an_urgent_small_packet_does_not_wait_for_the_time_of_a_large_one() {
    let mut setup = shared_port(2);
    setup.profile.classes[1].priority = 1;
    // Bucket empty at 0; the second large frame conforms at 123,040 ns, a small one at 6,720 ns.
    let script = [
        (Nanos(0), arrives(0, packet(1, 1_514))),
        (Nanos(0), arrives(0, packet(1, 1_514))),
        (Nanos(1_000), arrives(1, packet(0, 60))),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    let times: Vec<_> = world.departures.iter().map(|d| (d.id(), d.at.0)).collect();
    assert_eq!(times, [(1, 0), (3, 6_720), (2, 129_792)]);
}

#[test]
fn the_port_does_not_wait_for_a_class_that_lost_its_turn_to_a_cancel() {
    let mut setup = shared_port(2);
    let messages = Some(model::profile::Bucket::new(1_000, 2));
    setup.profile.classes[0].class = model::profile::Caps { bits: None, messages };
    setup.profile.classes[1].priority = 1;
    // The port waits until 123,040 ns for the second frame of class 0. Then a cancel takes the
    // message that this frame needed, and the small frame of class 1 conforms at 13,440 ns.
    let script = [
        (Nanos(0), arrives(0, packet(0, 1_514))),
        (Nanos(0), arrives(1, packet(0, 1_514))),
        (Nanos(0), arrives(2, packet(1, 60))),
        (Nanos(1_000), arrives(3, support::world::cancel(0, 60))),
    ];
    let mut world = World::new(&setup);
    world.run(&script);
    let times: Vec<_> = world.departures.iter().map(|d| (d.id(), d.at.0)).collect();
    assert_eq!(times, [(1, 0), (4, 1_000), (3, 13_440), (2, 1_000_000)]);
}

#[test]
fn classes_of_equal_priority_take_turns() {
    let setup = shared_port(3);
    // A turn lasts one largest frame.
    let script: Vec<_> = (0..3u8)
        .flat_map(|class| (0..4).map(move |_| arrives(u32::from(class), packet(class, 1_514))))
        .map(|action| (Nanos::ZERO, action))
        .collect();
    let mut world = World::new(&setup);
    world.run(&script);
    let turns: Vec<u8> = world.departures.iter().map(|d| d.packet.class).collect();
    for round in turns.chunks(3) {
        assert_eq!(round, &turns[..3], "{turns:?}");
        assert!((0..3).all(|class| round.contains(&class)), "{turns:?}");
    }
}

#[test]
fn a_class_that_must_wait_does_not_hold_the_next_one() {
    let mut setup = shared_port(2);
    setup.profile.classes[0].class = bits(10_000_000, u64::from(WIRE_LEN_MAX));
    setup.profile.classes[1].priority = 1;
    let script: Vec<_> = (0..8)
        .map(|i| (Nanos::ZERO, arrives(u32::from(i >= 4), packet(u8::from(i >= 4), 1_514))))
        .collect();
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(world.ids(), [1, 5, 6, 7, 8, 2, 3, 4]);
}

#[test]
fn a_higher_class_lifts_the_whole_flow_until_it_is_empty() {
    let mut setup = shared_port(2);
    setup.profile.classes[1].priority = 1;
    let mut script = Vec::new();
    for _ in 0..4 {
        script.push((Nanos::ZERO, arrives(0, packet(1, 1_000))));
        script.push((Nanos::ZERO, arrives(1, packet(1, 1_000))));
    }
    // 1, 3, 5, 7 are flow 0's. Before any of the rest has left, 9 lifts it.
    script.push((Nanos(1_000), arrives(0, packet(0, 1_000))));
    // A lower class joins the lifted flow and goes with it: the order inside a flow is sacred.
    script.push((Nanos(2_000), arrives(0, packet(1, 1_000))));
    // Long after: empty in between, so back in its own class, beside flow 1's new backlog.
    for flow in [1, 1, 0, 0] {
        script.push((Nanos(5_000_000), arrives(flow, packet(1, 1_000))));
    }
    let mut world = World::new(&setup);
    world.run(&script);
    assert_eq!(world.pacer.counters().flow_lifted, 1);
    let ids = world.ids();
    assert_eq!(ids[..1], [1]);
    // Flow 1 had nothing but its place behind: everything of flow 0 goes first.
    assert_eq!(ids[1..6], [3, 5, 7, 9, 10]);
    assert_eq!(ids[6..10], [2, 4, 6, 8]);
    // Flow 1's turn lasts one largest frame: one packet of 1,024 wire bytes each.
    assert_eq!(ids[10..], [11, 13, 12, 14]);
}
