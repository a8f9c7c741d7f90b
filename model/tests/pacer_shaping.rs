//! Jitter, TX release windows, capped flushes, horizon, ECN.

mod support;

use model::drop_reason::DropReason;
use model::kind::Kind;
use model::meta::PacketMeta;
use model::profile::{Caps, Shaping};
use model::sample::Release::{Exempt, Forward, Governed, MaxHold, Passthrough};
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use proptest::prelude::*;
use support::drive::Drive;
use support::world::{Action, Setup, WIRE_LEN_MAX, arrives, bits, cancel, packet};
use support::{cases, scenario};

const FREE: Caps = Caps { bits: None, messages: None };

fn shaped(shaping: Shaping) -> Setup {
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.profile.classes[0].shaping = shaping;
    setup
}

fn at(ns: u64, action: Action) -> (Nanos, Action) {
    (Nanos(ns), action)
}

mod jitter {
    use super::*;

    fn jittered() -> Setup {
        shaped(Shaping { jitter_max: Nanos(10_000), ..Shaping::default() })
    }

    #[test]
    fn delays_each_packet_by_its_own_offset_and_never_leaves_earlier() {
        let script: Vec<_> =
            (0..200).map(|k| at(k * 20_000, arrives(k as u32 % 8, packet(0, 100)))).collect();
        let mut drive = Drive::new(&jittered());
        drive.run(&script, Nanos(10_000_000));
        assert_eq!(drive.left.len(), 200);
        let mut offsets = Vec::new();
        for (at, r) in &drive.left {
            let p = r.packet;
            assert!(p.jitter_ns <= 10_000);
            assert_eq!(r.eligible, p.arrival + Nanos(p.jitter_ns.into()));
            assert_eq!((p.sched, p.normal_lag_ns), (r.eligible, i32::MIN));
            assert!(*at >= r.eligible && *at - r.eligible < Nanos(64));
            offsets.push(p.jitter_ns);
        }
        offsets.sort_unstable();
        offsets.dedup();
        assert!(offsets.len() > 150 && offsets[0] < 500 && offsets[offsets.len() - 1] > 9_500);
        // The same seed, the same offsets.
        let mut again = Drive::new(&jittered());
        again.run(&script, Nanos(10_000_000));
        assert_eq!(again.story(), drive.story());
    }

    #[test]
    fn spares_exempt_and_mixed_packets_and_keeps_the_order_of_a_flow() {
        let mixed = PacketMeta { kind: Kind::Mixed as u8, ..packet(0, 100) };
        let mut script = vec![at(0, arrives(1, cancel(0, 100))), at(0, arrives(2, mixed))];
        script.extend((0..50).map(|k| at(k * 100, arrives(0, packet(0, 100)))));
        let mut drive = Drive::new(&jittered());
        drive.run(&script, Nanos(10_000_000));
        assert_eq!(drive.story()[..2], [(0, 1, Exempt), (0, 2, Governed)]);
        let ids: Vec<u64> = drive.left.iter().map(|(_, r)| r.packet.correlation_id).collect();
        assert!(ids[2..].is_sorted(), "{ids:?}");
    }
}

mod release_windows {
    use super::*;

    fn windowed(hold_frames: u16, hold_time: u64) -> Setup {
        shaped(Shaping { hold_frames, hold_time: Nanos(hold_time), ..Shaping::default() })
    }

    #[test]
    fn open_by_number_or_by_time_whichever_comes_first() {
        let script = [
            at(0, arrives(0, packet(0, 100))),
            at(1_000, arrives(1, packet(0, 100))),
            // The third opens it.
            at(2_000, arrives(0, packet(0, 100))),
            // The next window begins with this one and lasts 6,400 ns.
            at(5_000, arrives(2, packet(0, 100))),
            at(6_000, arrives(2, packet(0, 100))),
        ];
        let mut drive = Drive::new(&windowed(3, 6_400));
        drive.run(&script, Nanos(100_000));
        let story = drive.story();
        let mut first: Vec<_> = story[..3].iter().map(|row| (row.0, row.1)).collect();
        first.sort_unstable();
        assert_eq!(first, [(2_000, 1), (2_000, 2), (2_000, 3)]);
        // 11,400 rounded up to a slot.
        assert_eq!(story[3..], [(11_456, 4, Governed), (11_456, 5, Governed)]);
        for (_, r) in &drive.left {
            let opened = Nanos(if r.packet.correlation_id <= 3 { 2_000 } else { 11_400 });
            assert_eq!((r.eligible, r.packet.sched), (opened, opened));
            assert_eq!(Nanos(r.packet.normal_lag_ns as u64), opened - r.packet.arrival);
        }
    }

    /// A port that takes nothing for a ms is not a window's hold: each packet was held until its own window
    /// opened, or as long as a window lasts where the flow does not remember which that was.
    #[test]
    fn hold_nothing_beyond_their_time_whatever_the_port_does() {
        let mut drive = Drive::new(&windowed(2, 6_400));
        for k in 0..10_u64 {
            drive.now = Nanos(k * 100_000);
            drive.pacer.poll(drive.now);
            drive.act(&arrives(0, packet(0, 100)));
        }
        drive.now = Nanos(1_000_000);
        drive.pacer.poll(drive.now);
        while drive.flush(8) > 0 {}
        assert_eq!(drive.left.len(), 10);
        for (_, r) in &drive.left {
            assert_eq!(r.packet.sched, r.packet.arrival + Nanos(6_400));
        }
    }

    #[test]
    fn caps_hold_for_what_an_open_window_lets_go() {
        let mut setup = windowed(2, 5_000);
        setup.profile.classes[0].class = bits(10_000_000, u64::from(WIRE_LEN_MAX));
        let script = vec![at(0, arrives(0, packet(0, 1_514))); 3];
        let mut drive = Drive::new(&setup);
        drive.run(&script, Nanos(10_000_000));
        // 3 begins a window of its own, which opens at 5,000, long before the bucket lets it go.
        let eligible: Vec<u64> = drive.left.iter().map(|(_, r)| r.eligible.0).collect();
        assert_eq!(eligible, [0, 1_230_400, 2_460_800]);
    }

    #[test]
    fn hold_neither_exempt_packets_nor_what_is_released_with_them() {
        let script = [
            at(0, arrives(0, packet(0, 100))),
            at(10, arrives(1, cancel(0, 100))),
            at(20, arrives(0, cancel(0, 100))),
            // The window of the first is over: this one begins another, alone.
            at(1_000, arrives(2, packet(0, 100))),
        ];
        let mut drive = Drive::new(&windowed(2, 6_400));
        drive.run(&script, Nanos(100_000));
        assert_eq!(
            drive.story(),
            [(10, 2, Exempt), (20, 1, Forward), (20, 3, Exempt), (7_424, 4, Governed)]
        );
    }

    #[test]
    fn end_where_max_hold_or_a_word_says_so() {
        let mut setup = windowed(9, 1_000_000);
        setup.profile.classes[0].max_hold = Nanos(6_400);
        let mut drive = Drive::new(&setup);
        drive.run(&[at(0, arrives(0, packet(0, 100)))], Nanos(100_000));
        assert_eq!(drive.story(), [(6_400, 1, MaxHold)]);
        let words = StopWords { all: StopWord::Passthrough, ..StopWords::default() };
        let script = [at(200_000, arrives(0, packet(0, 100))), at(200_100, Action::Words(words))];
        drive.run(&script, Nanos(300_000));
        assert_eq!(drive.story()[1..], [(200_100, 2, Passthrough)]);
    }

    #[test]
    fn a_profile_that_takes_the_window_away_opens_it() {
        let setup = windowed(9, 1_000_000);
        let mut profile = setup.profile.clone();
        profile.classes[0].shaping = Shaping::default();
        let script = [at(0, arrives(0, packet(0, 100))), at(1_000, Action::Profile(profile))];
        let mut drive = Drive::new(&setup);
        drive.run(&script, Nanos(100_000));
        assert_eq!(drive.story(), [(1_000, 1, Governed)]);
    }
}

#[test]
fn a_capped_flush_leaves_the_rest_of_the_class_for_the_next_and_room_for_others() {
    let mut setup = Setup::new(&[(FREE, FREE), (FREE, FREE)]);
    setup.profile.classes[0].shaping.fan_out = 2;
    setup.profile.classes[1].priority = 1;
    let mut drive = Drive::new(&setup);
    for flow in 0..6 {
        drive.act(&arrives(flow, packet(u8::from(flow == 5), 100)));
    }
    // An exempt packet of the class is not counted.
    drive.act(&arrives(6, cancel(0, 100)));
    let mut flushes = Vec::new();
    while drive.pacer.is_due() {
        let before = drive.left.len();
        drive.flush(8);
        let classes: Vec<u8> = drive.left[before..].iter().map(|(_, r)| r.packet.class).collect();
        flushes.push(classes);
    }
    assert_eq!(flushes, [vec![0, 0, 0, 1], vec![0, 0], vec![0]]);
}

#[test]
fn what_is_due_beyond_the_horizon_is_moved_to_it_or_ends() {
    let due = |ahead| PacketMeta { due: Nanos(ahead), ..packet(0, 100) };
    let horizon = Shaping { horizon: Nanos(64_000), ..Shaping::default() };
    for (drops, rows) in [(false, vec![(65_024, 1), (65_024, 2)]), (true, vec![(65_024, 1)])] {
        let mut drive = Drive::new(&shaped(Shaping { horizon_drops: drops, ..horizon }));
        let script = [at(1_000, arrives(0, due(64_000))), at(1_000, arrives(1, due(64_001)))];
        drive.run(&script, Nanos(1_000_000));
        let story: Vec<_> = drive.story().iter().map(|row| (row.0, row.1)).collect();
        assert_eq!(story, rows);
        let ends: Vec<_> = drive.ended.iter().map(|end| (end.1, end.2)).collect();
        assert_eq!(ends, [(2, DropReason::Horizon)][..usize::from(drops)]);
        assert_eq!(drive.pacer.counters().horizon_capped, u64::from(!drops));
    }
}

#[test]
fn what_waited_beyond_the_threshold_is_to_be_marked() {
    let mut setup = shaped(Shaping { ecn_threshold: Nanos(1_000_000), ..Shaping::default() });
    setup.profile.classes[0].class = bits(12_304_000, u64::from(WIRE_LEN_MAX));
    let mut script = vec![at(0, arrives(0, packet(0, 1_514))); 4];
    script.push(at(0, arrives(0, cancel(0, 60))));
    let mut drive = Drive::new(&setup);
    drive.run(&script[..4], Nanos(10_000_000));
    // Out at 0, 1, 2 and 3 ms: not before it has waited longer than 1 ms.
    let marked: Vec<bool> = drive.left.iter().map(|(_, r)| r.mark_ce).collect();
    assert_eq!(marked[2..], [true, true]);
    assert!(!marked[0]);
    let waited = drive.left[1].0;
    assert_eq!(marked[1], waited > Nanos(1_000_000), "{waited}");
}

proptest! {
    #![proptest_config(cases(3_000))]

    /// Whatever shapes the classes: each packet ends once, flows keep their order, nothing governed
    /// leaves before it is eligible, and everything comes to an end.
    #[test]
    fn nothing_is_lost_swapped_or_early(
        setup in scenario::shaped_setup(true),
        script in scenario::shaped_script(100, true),
    ) {
        let arrived = script.iter().filter(|(_, a)| matches!(a, Action::Packet { .. })).count();
        let mut drive = Drive::new(&setup);
        drive.run(&script, Nanos(60_000_000_000));
        prop_assert_eq!(drive.pacer.queued_packets(), 0);
        prop_assert_eq!(drive.left.len() + drive.ended.len(), arrived);
        let mut last = [0; scenario::FLOWS as usize];
        for (at, r) in &drive.left {
            let last = &mut last[r.flow as usize];
            prop_assert!(r.packet.correlation_id > *last, "{:?}", r.packet);
            *last = r.packet.correlation_id;
            prop_assert!(*at >= r.eligible, "{:?} at {at}", r.packet);
            prop_assert!(r.eligible >= r.packet.wanted());
        }
    }
}
