//! What a late departure means: catch-up, re-anchor, drop, send-now.

mod support;

use model::drop_reason::DropReason;
use model::profile::{Caps, ClassParams, Lateness, Shaping};
use model::sample::Release::{Governed, Late, MaxHold};
use model::time::Nanos;
use support::drive::Drive;
use support::world::{Action, Setup, WIRE_LEN_MAX, arrives, bits, cancel, packet};

const FREE: Caps = Caps { bits: None, messages: None };

/// One class, each of its flows at 12.304 Mbit/s (a largest frame in 1 ms) with a burst of four.
fn setup(lateness: Lateness, late_after: u64) -> Setup {
    let mut setup = Setup::new(&[(bits(12_304_000, 4 * u64::from(WIRE_LEN_MAX)), FREE)]);
    setup.profile.classes[0].shaping.lateness = lateness;
    setup.profile.classes[0].shaping.late_after = Nanos(late_after);
    setup
}

/// One frame in each ms from 0 on, on flow 0.
fn paced(frames: u64) -> Vec<(Nanos, Action)> {
    (0..frames).map(|k| (Nanos(k * 1_000_000), arrives(0, packet(0, 1_514)))).collect()
}

/// The core is away from 1.5 ms to 5.2 ms, while five frames arrive; then it goes on to 12 ms.
fn stall(setup: &Setup) -> Drive {
    let mut drive = Drive::new(setup);
    let script = paced(10);
    drive.run(&script[..2], Nanos(1_500_000));
    for (at, action) in &script[2..6] {
        drive.now = *at;
        drive.act(action);
    }
    drive.now = Nanos(5_200_000);
    drive.run(&script[6..], Nanos(12_000_000));
    drive
}

fn times(drive: &Drive) -> Vec<u64> {
    drive.left.iter().map(|(at, _)| at.0).collect()
}

#[test]
fn catch_up_makes_up_what_the_burst_allows() {
    let drive = stall(&setup(Lateness::CatchUp, 64));
    let late = 5_200_000 + 64;
    assert_eq!(
        times(&drive)[..7],
        [0, 1_000_000, late, late, late, late, late + 1_000_000],
        "four frames at once after the stall, for the bucket was full, and then its pace"
    );
}

#[test]
fn re_anchor_makes_up_nothing() {
    let drive = stall(&setup(Lateness::ReAnchor, 64));
    let times = times(&drive);
    assert_eq!(times[..3], [0, 1_000_000, 5_200_064]);
    // Every further one a whole gap after the one before, rounded up to a slot of 64 ns.
    for pair in times[2..].windows(2) {
        assert!((1_000_000..1_000_064).contains(&(pair[1] - pair[0])), "{times:?}");
    }
    assert_eq!(times.len(), 9, "5.2 to 11.2 ms");
}

#[test]
fn what_arrives_after_a_re_anchor_is_measured_against_the_new_schedule() {
    let drive = stall(&setup(Lateness::ReAnchor, 64));
    // 7 and 8 arrived at 6 and 7 ms. Frame 3 had left at 5.2 ms: four frames of debt and its own
    // gap, so 7 is scheduled for 6.2 ms, and 8 for 7.2 ms.
    let sched = |id| {
        let mut left = drive.left.iter().map(|(_, r)| r.packet);
        left.find(|p| p.correlation_id == id).unwrap().sched.0
    };
    assert_eq!((sched(7), sched(8)), (6_200_064, 7_200_064));
}

#[test]
fn drop_ends_what_is_late_when_it_would_leave_and_while_it_waits() {
    // A burst of one frame; late after 1.5 ms. Three at once: due at 0, 1 and 2 ms by the schedule.
    let mut setup = setup(Lateness::Drop, 1_500_000);
    setup.profile.classes[0].flow = bits(12_304_000, u64::from(WIRE_LEN_MAX));
    let mut drive = Drive::new(&setup);
    let script = vec![(Nanos(0), arrives(0, packet(0, 1_514))); 4];
    drive.run(&script, Nanos(0));
    // The core is away until 3.2 ms: frame 2 was to leave at 1 ms and is 2.2 ms late.
    drive.now = Nanos(3_200_000);
    drive.run(&[], Nanos(10_000_000));
    assert_eq!(drive.ended, [(Nanos(3_200_064), 2, DropReason::Late)]);
    assert_eq!(
        drive.story(),
        [(0, 1, Governed), (3_200_064, 3, Governed), (4_200_064, 4, Governed)],
        "1.2 ms late is not late"
    );

    // At a port that is shared: it ends at its deadline, not when the port has time.
    let mut setup = Setup::new(&[(FREE, FREE)]);
    setup.profile.egress[0].port = bits(1_230_400, u64::from(WIRE_LEN_MAX));
    setup.profile.classes[0].shaping.lateness = Lateness::Drop;
    setup.profile.classes[0].shaping.late_after = Nanos(100_000);
    let mut drive = Drive::new(&setup);
    let script = [
        (Nanos(0), arrives(0, packet(0, 1_514))),
        (Nanos(0), arrives(0, packet(0, 1_514))),
        (Nanos(0), arrives(1, cancel(0, 1_514))),
    ];
    drive.run(&script, Nanos(100_000_000));
    // 100,000 ns and one more, rounded up to a slot. The cancel is never late.
    assert_eq!(
        drive.ended,
        [(Nanos(100_032), 1, DropReason::Late), (Nanos(100_032), 2, DropReason::Late)]
    );
    assert_eq!(drive.left.len(), 1);
}

#[test]
fn a_packet_of_a_class_that_drops_nothing_is_not_dropped_in_the_flow_of_one_that_does() {
    let mut setup = Setup::new(&[(FREE, FREE), (FREE, FREE)]);
    setup.profile.egress[0].port = bits(1_230_400, u64::from(WIRE_LEN_MAX));
    setup.profile.classes[1].priority = 1;
    setup.profile.classes[0].shaping.lateness = Lateness::Drop;
    setup.profile.classes[0].shaping.late_after = Nanos(100_000);
    let mut drive = Drive::new(&setup);
    // 2 and 3 wait for the port; 4 lifts their flow into class 0.
    let script = [
        (Nanos(0), arrives(0, packet(1, 1_514))),
        (Nanos(0), arrives(1, packet(1, 1_514))),
        (Nanos(0), arrives(1, packet(1, 1_514))),
        (Nanos(1_000), arrives(1, packet(0, 1_514))),
    ];
    drive.run(&script, Nanos(100_000_000));
    let ids: Vec<u64> = drive.story().iter().map(|row| row.1).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(drive.ended.iter().map(|e| (e.1, e.2)).collect::<Vec<_>>(), [(4, DropReason::Late)]);
}

#[test]
fn send_now_waits_for_no_bucket_once_it_is_late_and_is_charged() {
    let mut setup = setup(Lateness::SendNow, 200_000);
    setup.profile.classes[0].flow = FREE;
    setup.classes.push(setup.classes[0].clone());
    let patient = ClassParams { shaping: Shaping::default(), ..setup.profile.classes[0] };
    setup.profile.classes.push(patient);
    // The port alone holds: a largest frame in 10 ms.
    setup.profile.egress[0].port = bits(1_230_400, u64::from(WIRE_LEN_MAX));
    let mut drive = Drive::new(&setup);
    let mut script = vec![(Nanos(0), arrives(0, packet(0, 1_514))); 3];
    script.push((Nanos(5_000_000), arrives(1, packet(0, 1_514))));
    script.push((Nanos(6_000_000), arrives(2, packet(1, 60))));
    drive.run(&script, Nanos(100_000_000));
    assert_eq!(
        drive.story()[..4],
        [(0, 1, Governed), (200_000, 2, Late), (200_000, 3, Late), (5_200_000, 4, Late)]
    );
    // Each was charged: TAT is 40 ms, and 84 wire bytes (546,164 ns) conform 10 ms before their end.
    let (at, released) = &drive.left[4];
    assert_eq!(released.eligible, Nanos(30_546_164));
    assert!(*at >= released.eligible && *at - released.eligible < Nanos(64));
}

/// A slot of 65,536 ns, a port of 100 Mbit/s that packet 1 takes until 123,040 ns, and packet 2 of
/// class 1, which is late from 100,001 ns on: its timer fires at 131,072 ns, but the port is asked at
/// 125,000 ns, for then packet 4 comes.
fn late_within_a_slot(max_hold: Nanos, third: u8) -> Drive {
    let mut setup = Setup::new(&[(FREE, FREE); 2]);
    setup.slot = Nanos(65_536);
    setup.profile.egress[0].port = bits(100_000_000, u64::from(WIRE_LEN_MAX));
    setup.profile.classes[1].priority = 1;
    setup.profile.classes[1].max_hold = max_hold;
    setup.profile.classes[1].shaping.lateness = Lateness::Drop;
    setup.profile.classes[1].shaping.late_after = Nanos(100_000);
    let mut drive = Drive::new(&setup);
    let script = [
        (Nanos(0), arrives(0, packet(0, 1_514))),
        (Nanos(0), arrives(1, packet(1, 1_514))),
        (Nanos(90_000), arrives(1, packet(third, 60))),
        (Nanos(125_000), arrives(2, packet(1, 60))),
    ];
    drive.run(&script, Nanos(10_000_000));
    drive
}

#[test]
fn a_late_packet_ends_in_a_group_that_was_lifted_into_a_class_that_drops_nothing() {
    let drive = late_within_a_slot(Nanos::MAX, 0);
    assert_eq!(drive.ended, [(Nanos(125_000), 2, DropReason::Late)]);
    assert_eq!(drive.story()[..2], [(0, 1, Governed), (125_000, 3, Governed)]);
}

#[test]
fn what_is_late_and_has_reached_its_hold_leaves_for_its_hold() {
    let drive = late_within_a_slot(Nanos(110_000), 1);
    assert!(drive.ended.iter().all(|ended| ended.1 != 2));
    assert_eq!(drive.story()[..2], [(0, 1, Governed), (125_000, 2, MaxHold)]);
}

/// Two heads get too old in one slot of 1,024 ns, that of flow 0 at 1,534 ns and that of flow 1, which
/// came later, at 1,344 ns.
#[test]
fn what_gets_too_old_in_one_slot_leaves_oldest_first() {
    let caps = bits(8_000, u64::from(WIRE_LEN_MAX));
    let mut setup = Setup::new(&[(FREE, caps), (FREE, caps)]);
    setup.slot = Nanos(1_024);
    for (class, max_hold) in setup.profile.classes.iter_mut().zip([500, 300]) {
        class.max_hold = Nanos(max_hold);
    }
    let mut drive = Drive::new(&setup);
    let script = [
        (Nanos(1_030), arrives(2, packet(0, 1_514))),
        (Nanos(1_030), arrives(3, packet(1, 1_514))),
        (Nanos(1_034), arrives(0, packet(0, 60))),
        (Nanos(1_044), arrives(1, packet(1, 60))),
    ];
    drive.run(&script, Nanos(1_000_000));
    assert_eq!(drive.story()[2..], [(2_048, 4, MaxHold), (2_048, 3, MaxHold)]);
}
