//! Random setups and scripts. Rates and gaps are chosen so that a few dozen packets meet every
//! bucket: tens of Mbit/s to Gbit/s against gaps of microseconds.

use super::world::{Action, Ration, Setup, WIRE_LEN_MAX, bare, cancel, class, packet};
use model::config::HaltMixed;
use model::kind::Kind;
use model::meta::{PacketMeta, flags};
use model::pacer::NO_VENUE;
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Lateness, Profile, Shaping};
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use proptest::prelude::*;

pub const CLASSES: usize = 3;
pub const FLOWS: u32 = 6;
const VENUES: u8 = 2;

/// Unlimited, or a rate that is no round number and a burst of at least one largest frame.
pub fn caps() -> impl Strategy<Value = Caps> {
    let wire = (10_000_000u64..3_000_000_000, u64::from(WIRE_LEN_MAX)..8_000);
    let messages = (20_000u64..2_000_000, 2u64..6, prop_oneof![Just(0), 1u64..3_000]);
    let bucket = |(rate_per_s, burst)| Bucket::new(rate_per_s, burst);
    let with_slack = |(rate_per_s, burst, slack)| Bucket { rate_per_s, burst, slack: Nanos(slack) };
    (
        prop::option::weighted(0.7, wire.prop_map(bucket)),
        prop::option::weighted(0.3, messages.prop_map(with_slack)),
    )
        .prop_map(|(bits, messages)| Caps { bits, messages })
}

fn class_params() -> impl Strategy<Value = ClassParams> {
    let max_hold = prop_oneof![
        2 => Just(Nanos::MAX),
        2 => (1u64..200_000).prop_map(Nanos),
        1 => Just(Nanos::from_millis(1)),
    ];
    let queue = prop_oneof![
        3 => Just((u32::MAX, u64::MAX)),
        1 => (1u32..12, 1_000u64..12_000),
    ];
    (caps(), caps(), 0u8..3, max_hold, queue, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(flow, class, priority, max_hold, (queue_packets, queue_bytes), drops, closed)| {
            ClassParams {
                flow,
                class,
                priority,
                max_hold,
                queue_packets,
                queue_bytes,
                drops_when_full: drops,
                closed,
                second_path: false,
                shaping: Default::default(),
            }
        },
    )
}

pub fn profile() -> impl Strategy<Value = Profile> {
    (prop::collection::vec(class_params(), CLASSES), caps(), 0u16..2).prop_map(
        |(classes, port, index)| Profile {
            name: String::new(),
            index,
            classes,
            egress: vec![EgressParams { port, inflight_limit_bytes: None }],
            canary: None,
            venue_limits: vec![],
        },
    )
}

/// Everything that shapes a class beside its caps; `ends` = what is late may end.
fn shaping(ends: bool) -> impl Strategy<Value = Shaping> {
    let reserved = (1_000_000u64..500_000_000, u64::from(WIRE_LEN_MAX)..8_000)
        .prop_map(|(rate_per_s, burst)| Bucket::new(rate_per_s, burst));
    let lateness = prop_oneof![
        4 => Just(Lateness::CatchUp),
        2 => Just(Lateness::ReAnchor),
        2 => Just(Lateness::SendNow),
        2 => Just(if ends { Lateness::Drop } else { Lateness::CatchUp }),
    ];
    let windows = prop_oneof![
        3 => Just((1u16, 0u64)),
        1 => (2u16..5, 1u64..40_000),
    ];
    let at_entry = (
        prop_oneof![3 => Just(0u64), 1 => 1u64..20_000],
        windows,
        prop_oneof![3 => Just(u64::MAX), 1 => 0u64..60_000],
        any::<bool>(),
    );
    let arbitration = (
        prop::option::weighted(0.3, reserved),
        1u8..5,
        prop_oneof![2 => Just(0u64), 1 => 100_000u64..50_000_000],
    );
    let fan_out = prop_oneof![3 => Just(u16::MAX), 1 => 1u16..4];
    let ecn = prop_oneof![Just(u64::MAX), 0u64..50_000];
    (arbitration, lateness, 0u64..100_000, at_entry, fan_out, ecn).prop_map(
        move |((reserved, weight, floor), lateness, late_after, at_entry, fan_out, ecn)| {
            let (jitter_max, (hold_frames, hold_time), horizon, horizon_drops) = at_entry;
            Shaping {
                reserved,
                weight,
                flow_floor_bits_per_s: floor,
                lateness,
                late_after: Nanos(late_after),
                jitter_max: Nanos(jitter_max),
                hold_frames,
                hold_time: Nanos(hold_time),
                fan_out,
                horizon: Nanos(horizon),
                horizon_drops: horizon_drops && ends,
                ecn_threshold: Nanos(ecn),
                ..Shaping::default()
            }
        },
    )
}

/// A profile of shaped classes.
pub fn shaped_profile(ends: bool) -> impl Strategy<Value = Profile> {
    (profile(), prop::collection::vec(shaping(ends), CLASSES)).prop_map(
        |(mut profile, shapings)| {
            for (class, shaping) in profile.classes.iter_mut().zip(shapings) {
                class.shaping = shaping;
            }
            profile
        },
    )
}

/// A setup of shaped classes.
pub fn shaped_setup(ends: bool) -> impl Strategy<Value = Setup> {
    (setup(), shaped_profile(ends)).prop_map(|(setup, profile)| Setup { profile, ..setup })
}

/// A script whose profiles shape.
pub fn shaped_script(most: usize, ends: bool) -> impl Strategy<Value = Vec<(Nanos, Action)>> {
    (script(most), prop::collection::vec(shaped_profile(ends), 4)).prop_map(
        |(mut script, profiles)| {
            let mut profiles = profiles.into_iter().cycle();
            for (_, action) in &mut script {
                if let (Action::Profile(profile), Some(shaped)) = (action, profiles.next()) {
                    *profile = shaped;
                }
            }
            script
        },
    )
}

pub fn setup() -> impl Strategy<Value = Setup> {
    let kinds = prop_oneof![
        Just((Kind::Other, None)),
        Just((Kind::Order, None)),
        Just((Kind::Order, Some(HaltMixed::Block))),
        Just((Kind::Mixed, Some(HaltMixed::Block))),
        Just((Kind::Mixed, Some(HaltMixed::Pass))),
        Just((Kind::Cancel, None)),
    ];
    (prop::collection::vec(kinds, CLASSES), profile(), 6u32..13).prop_map(
        |(kinds, profile, slot_log2)| Setup {
            twins: Vec::new(),
            slot: Nanos(1 << slot_log2),
            flows: FLOWS,
            classes: kinds.into_iter().map(|(kind, halt)| class(kind, halt)).collect(),
            profile,
            limits: Default::default(),
            follows_tcp: false,
        },
    )
}

/// Any packet: governed or exempt, due now or later, with or without jitter.
pub fn any_packet() -> impl Strategy<Value = PacketMeta> {
    let class = 0..CLASSES as u8;
    let len = prop_oneof![Just(60u16), 60u16..1515, Just(1514u16)];
    let shape = (class, len).prop_flat_map(|(class, len)| {
        prop_oneof![
            12 => Just(packet(class, len)),
            3 => Just(PacketMeta { kind: Kind::Order as u8, ..packet(class, len) }),
            2 => Just(PacketMeta { kind: Kind::Mixed as u8, ..packet(class, len) }),
            1 => Just(PacketMeta {
                flags: flags::TCP | flags::PAYLOAD,
                ..packet(class, len)
            }),
            2 => Just(cancel(class, len)),
            1 => Just(PacketMeta {
                flags: flags::TCP | flags::PAYLOAD | flags::EXEMPT,
                ..cancel(class, len)
            }),
            2 => Just(bare(class)),
        ]
    });
    let ahead = prop_oneof![6 => Just(0u64), 1 => 0u64..100_000];
    let jitter = prop_oneof![6 => Just(0u32), 1 => 0u32..20_000];
    (shape, ahead, jitter, 0u16..3).prop_map(|(shape, due, jitter, messages)| PacketMeta {
        due: Nanos(due),
        jitter_ns: if shape.is_exempt() { 0 } else { jitter },
        messages: if shape.messages == 0 { 0 } else { messages },
        ..shape
    })
}

pub fn words() -> impl Strategy<Value = StopWords> {
    let word = || {
        prop_oneof![
            4 => Just(StopWord::Running),
            1 => Just(StopWord::Passthrough),
            1 => Just(StopWord::Halt),
        ]
    };
    (word(), prop::collection::vec(word(), 2), prop::collection::vec(word(), CLASSES)).prop_map(
        |(all, venues, classes)| {
            let mut words = StopWords { all, ..StopWords::default() };
            words.venues[..venues.len()].copy_from_slice(&venues);
            words.classes[..classes.len()].copy_from_slice(&classes);
            words
        },
    )
}

fn arrival() -> impl Strategy<Value = Action> {
    // A flow goes to one venue.
    (0..FLOWS, any_packet()).prop_map(|(flow, packet)| Action::Packet {
        flow,
        venue: if flow % 3 == 2 { NO_VENUE } else { flow as u8 % VENUES },
        packet,
    })
}

/// Gaps before each action: mostly bursts, sometimes idle long enough for every bucket to fill.
fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0u64), 8 => 0u64..3_000, 2 => 0u64..60_000, 1 => 0u64..2_000_000]
}

fn timed(actions: Vec<(u64, Action)>) -> Vec<(Nanos, Action)> {
    let mut at = Nanos::ZERO;
    actions
        .into_iter()
        .map(|(gap, action)| {
            at = at + Nanos(gap);
            (at, action)
        })
        .collect()
}

/// Arrivals only.
pub fn arrivals(most: usize) -> impl Strategy<Value = Vec<(Nanos, Action)>> {
    prop::collection::vec((gap(), arrival()), 1..most).prop_map(timed)
}

/// Arrivals, switches of profile and stop words, stale ends; a drain and a stop at times.
pub fn script(most: usize) -> impl Strategy<Value = Vec<(Nanos, Action)>> {
    let action = prop_oneof![
        60 => arrival(),
        2 => profile().prop_map(Action::Profile),
        2 => words().prop_map(Action::Words),
        2 => Just(Action::EndStale),
    ];
    let end = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Action::Drain)),
        1 => Just(Some(Action::Stop)),
    ];
    let tail = prop::collection::vec((gap(), arrival()), 0..10);
    (prop::collection::vec((gap(), action), 1..most), end, tail).prop_map(
        |(mut actions, end, tail)| {
            actions.extend(end.map(|end| (100, end)));
            actions.extend(tail);
            timed(actions)
        },
    )
}

/// A port that often takes less than it is offered, yet sometimes everything.
pub fn rations() -> impl Strategy<Value = Vec<Ration>> {
    let room = prop_oneof![Just(u64::MAX), 0u64..5_000];
    let accepted = prop_oneof![Just(usize::MAX), 0usize..4];
    prop::collection::vec((room, accepted), 1..12).prop_map(|rations| {
        rations
            .into_iter()
            .map(|(room, accepted)| Ration { room, accepted })
            .chain([Ration { room: u64::MAX, accepted: usize::MAX }])
            .collect()
    })
}
