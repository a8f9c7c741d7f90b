//! `t_normal`: while another profile is in force, what the operator-confirmed caps would have said.

mod support;

use model::meta::PacketMeta;
use model::profile::{Profile, Shaping};
use model::time::Nanos;
use proptest::prelude::*;
use support::cases;
use support::drive::Drive;
use support::world::{Action, Setup, arrives, bits, packet};

/// Tighter in every way: bursts of one packet, jitter, a release window, four in a flush.
fn tight(setup: &Setup) -> Profile {
    let mut profile = setup.profile.clone();
    profile.index = 1;
    profile.classes[0].class = bits(100_000_000, 1_600);
    profile.classes[0].flow = bits(50_000_000, 1_600);
    profile.classes[0].shaping = Shaping {
        jitter_max: Nanos(20_000),
        hold_frames: 4,
        hold_time: Nanos(100_000),
        fan_out: 4,
        ..Shaping::default()
    };
    profile
}

fn normal_times(packets: &[(Nanos, PacketMeta)]) -> Vec<(u64, Option<u64>)> {
    let time = |p: &PacketMeta| {
        let known = p.normal_lag_ns != i32::MIN;
        known.then(|| p.sched.0.saturating_add_signed(-i64::from(p.normal_lag_ns)))
    };
    let mut all: Vec<_> = packets.iter().map(|(_, p)| (p.correlation_id, time(p))).collect();
    all.sort_unstable();
    all
}

fn run(setup: &Setup, script: &[(Nanos, Action)]) -> Vec<(Nanos, PacketMeta)> {
    let mut drive = Drive::new(setup);
    drive.run(script, Nanos(1_000_000_000));
    drive.left.iter().map(|(at, released)| (*at, released.packet)).collect()
}

proptest! {
    #![proptest_config(cases(300))]

    /// Two pacers are given the same packets, one under the confirmed profile all the time, the other
    /// under a tight one from before the first: `t_normal` of the one is `t_sched` of the other, and
    /// after the return they go on as one.
    #[test]
    fn is_what_the_confirmed_profile_would_have_said(
        steps in prop::collection::vec((0u32..4, 60u32..1_400, 0u64..60_000), 1..80),
        back in 0usize..100,
    ) {
        let setup = Setup::new(&[(bits(100_000_000, 6_400), bits(200_000_000, 9_600))]);
        let mut plain = Vec::new();
        let mut changed = vec![(Nanos(0), Action::Profile(tight(&setup)))];
        let mut now = Nanos(1);
        for (k, (flow, len, gap)) in steps.iter().enumerate() {
            now = now + Nanos(*gap);
            if k == back {
                changed.push((now, Action::Profile(setup.profile.clone())));
            }
            plain.push((now, arrives(*flow, packet(0, *len as u16))));
            changed.push((now, arrives(*flow, packet(0, *len as u16))));
        }
        let (plain, changed) = (run(&setup, &plain), run(&setup, &changed));
        prop_assert_eq!(plain.len(), steps.len());
        let (plain, changed) = (normal_times(&plain), normal_times(&changed));
        // What comes after the return is judged by what the tight profile has left of the buckets.
        let under = back.min(steps.len());
        for k in 0..under {
            prop_assert_eq!(plain[k].1, changed[k].1, "packet {}", k);
        }
    }
}

/// 1,000 bytes at 100 Mbit/s take 80 us (1,024 with what the wire adds: 81.92). The class has a debt of
/// one packet when the tight profile comes: it stays a debt under the confirmed caps.
#[test]
fn goes_on_where_the_confirmed_profile_was_left() {
    let mut setup = Setup::new(&[(bits(1_000_000_000, 9_600), bits(100_000_000, 1_600))]);
    setup.profile.classes[0].flow = bits(1_000_000_000, 9_600);
    let tight = tight(&setup);
    let script = vec![
        (Nanos(1_000), arrives(0, packet(0, 1_000))),
        (Nanos(2_000), Action::Profile(tight)),
        (Nanos(3_000), arrives(0, packet(0, 1_000))),
        (Nanos(4_000), arrives(0, packet(0, 1_000))),
    ];
    let left = normal_times(&run(&setup, &script));
    let times: Vec<_> = left.iter().map(|(_, time)| time.unwrap()).collect();
    // TAT 1 us + 81.92, less the burst of 128 us, plus the packet: 1 + 163.84 - 128 = 36.84 us.
    assert_eq!(times, [1_000, 36_840, 118_760]);
}

/// The confirmed table is another one while the tight profile stays in force: from then on `t_normal` is by
/// the new rate. 1,024 bytes at 50 Mbit/s take 163.84 us.
#[test]
fn goes_by_the_new_table_from_when_it_is_confirmed() {
    let mut setup = Setup::new(&[(bits(1_000_000_000, 9_600), bits(100_000_000, 1_600))]);
    setup.profile.classes[0].flow = bits(1_000_000_000, 9_600);
    let tight = tight(&setup);
    let mut slower = setup.profile.clone();
    slower.classes[0].class = bits(50_000_000, 1_600);
    let mut drive = Drive::new(&setup);
    drive.run(
        &[(Nanos(1_000), Action::Profile(tight)), (Nanos(2_000), arrives(0, packet(0, 1_000)))],
        Nanos(2_000),
    );
    drive.pacer.set_confirmed(Nanos(2_000), &slower);
    let later = [
        (Nanos(2_000), arrives(0, packet(0, 1_000))),
        (Nanos(2_000), arrives(0, packet(0, 1_000))),
    ];
    drive.run(&later, Nanos(1_000_000_000));
    let left: Vec<_> = drive.left.iter().map(|(at, released)| (*at, released.packet)).collect();
    let times: Vec<_> = normal_times(&left).iter().map(|(_, time)| time.unwrap()).collect();
    // The burst is 256 us at the new rate; the TAT stays at 2 + 81.92. So the second conforms at once, as
    // 83.92 + 163.84 - 256 is past, and the third at 83.92 + 2 x 163.84 - 256 us.
    assert_eq!(times, [2_000, 2_000, 155_600]);
}
