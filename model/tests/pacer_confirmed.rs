//! `t_normal` over random caps and traffic, exempt packets among it, and as often as `normal` is left: the
//! `t_sched` that `normal` would have given. `pacer_normal.rs` has the worked cases.

mod support;

use model::profile::{Bucket, Caps, Profile, Shaping};
use model::time::Nanos;
use proptest::prelude::*;
use support::drive::Drive;
use support::world::{Action, Setup, WIRE_LEN_MAX, arrives, bits, cancel, packet};
use support::{cases, scenario};

const MS: u64 = 1_000_000;

/// The same with bursts of one largest frame or two messages, jitter and release windows.
fn tight(normal: &Profile) -> Profile {
    let mut tight = Profile { name: "tight".into(), index: 1, ..normal.clone() };
    let shorten = |caps: &mut Caps| {
        let least = |bucket: Bucket, burst| Bucket { burst, ..bucket };
        caps.bits = caps.bits.map(|bucket| least(bucket, u64::from(WIRE_LEN_MAX)));
        caps.messages = caps.messages.map(|bucket| least(bucket, 2));
    };
    for class in &mut tight.classes {
        shorten(&mut class.flow);
        shorten(&mut class.class);
        class.shaping = Shaping {
            jitter_max: Nanos(3_000),
            hold_frames: 3,
            hold_time: Nanos(20_000),
            ..Shaping::default()
        };
    }
    tight
}

/// Id and due time under `normal` of everything that left.
fn normal_times(drive: &Drive) -> Vec<(u64, u64)> {
    let of = |p: &model::meta::PacketMeta| {
        assert_ne!(p.normal_lag_ns, i32::MIN, "it is known");
        (p.correlation_id, p.sched.0.saturating_add_signed(-i64::from(p.normal_lag_ns)))
    };
    let mut all: Vec<_> = drive.left.iter().map(|(_, r)| of(&r.packet)).collect();
    all.sort_unstable();
    all
}

fn traffic() -> impl Strategy<Value = Vec<(u64, u32, u16, bool)>> {
    let gap = prop_oneof![3 => 0u64..2_000, 1 => 0u64..60_000];
    let one = (gap, 0..scenario::FLOWS, 60u16..1_514, prop::bool::weighted(0.1));
    prop::collection::vec(one, 1..120)
}

fn setup(caps: &[(Caps, Caps)]) -> Setup {
    Setup { flows: scenario::FLOWS, ..Setup::new(caps) }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Packets of two classes, some exempt, from the moment on at which `normal` is left; and once more
    /// after it was in force in between.
    #[test]
    fn is_known_under_every_profile(
        caps in prop::collection::vec((scenario::caps(), scenario::caps()), 2),
        traffic in traffic(),
    ) {
        let setup = setup(&caps);
        let tight = tight(&setup.profile);
        let mut packets = Vec::new();
        for begins in [0, 500 * MS] {
            let mut at = begins;
            for &(gap, flow, len, exempt) in &traffic {
                at += gap;
                let class = (flow % 2) as u8;
                let packet = if exempt { cancel(class, len) } else { packet(class, len) };
                packets.push((Nanos(at), arrives(flow, packet)));
            }
        }
        let changes = [(0, &tight), (200 * MS, &setup.profile), (400 * MS, &tight)];
        let changes = changes.map(|(at, p)| (Nanos(at), Action::Profile(p.clone())));
        let mut script: Vec<_> = changes.into_iter().chain(packets.clone()).collect();
        script.sort_by_key(|(at, _)| *at);
        let end = Nanos(10_000 * MS);
        let (mut under_normal, mut shaped) = (Drive::new(&setup), Drive::new(&setup));
        under_normal.run(&packets, end);
        shaped.run(&script, end);
        prop_assert_eq!(normal_times(&shaped), normal_times(&under_normal));
    }
}

/// A packet that leaves by the short way and one that is queued are scheduled alike.
#[test]
fn the_short_way_counts_too() {
    let caps = Caps { bits: Some(Bucket::new(80_000_000, 3_076)), messages: None };
    let setup = setup(&[(Caps::default(), caps)]);
    let mut drive = Drive::new(&setup);
    drive.act(&Action::Profile(tight(&setup.profile)));
    drive.run(&[], Nanos(1_000));
    let mut tight_only = tight(&setup.profile);
    tight_only.classes[0].shaping = Shaping::default();
    drive.act(&Action::Profile(tight_only));
    drive.run(&[], Nanos(2_000));
    // 1,538 bytes take 153.8 us at 80 Mbit/s. Under `normal` two may leave at once, here one.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut meta =
            model::meta::PacketMeta { arrival: drive.now, due: drive.now, ..packet(0, 1_514) };
        if drive.pacer.admit(drive.now, 0, model::pacer::NO_VENUE, &mut meta, u64::MAX) {
            drive.pacer.commit(1);
            seen.push((meta.sched.0, meta.normal_lag_ns));
        } else {
            drive.act(&arrives(0, packet(0, 1_514)));
        }
    }
    drive.run(&[], Nanos(MS));
    seen.extend(drive.left.iter().map(|(_, r)| (r.packet.sched.0, r.packet.normal_lag_ns)));
    assert_eq!(seen, [(2_000, 0), (155_800, 153_800), (309_600, 153_800)]);
}

/// A flow that goes on in another class, with other caps, and one that is given back and taken anew: what
/// was owed in the class before, or by who had it before, is not owed now.
#[test]
fn is_told_for_another_class_and_for_another_flow() {
    let of_class = |rate| (bits(rate, u64::from(WIRE_LEN_MAX)), Caps::default());
    let setup = setup(&[of_class(80_000_000), of_class(7_000_000)]);
    let alternate = |n: u64| (Nanos((n + 1) * 10 * MS), arrives(0, packet((n % 2) as u8, 1_000)));
    let packets: Vec<_> = (0..8).map(alternate).collect();
    let mut script = vec![(Nanos(0), Action::Profile(tight(&setup.profile)))];
    script.extend(packets.clone());
    let (mut under_normal, mut shaped) = (Drive::new(&setup), Drive::new(&setup));
    under_normal.run(&packets, Nanos(500 * MS));
    shaped.run(&script, Nanos(500 * MS));
    assert_eq!(normal_times(&shaped), normal_times(&under_normal));

    assert!(shaped.pacer.free_flow(shaped.now, 0));
    assert_eq!(shaped.pacer.new_flow(), Some(0));
    shaped.left.clear();
    shaped.act(&arrives(0, packet(0, 1_000)));
    shaped.run(&[], Nanos(600 * MS));
    assert_eq!(normal_times(&shaped)[0].1, 500 * MS);
}
