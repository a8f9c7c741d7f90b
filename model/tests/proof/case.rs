//! One random world: its classes, caps, limits, port, and what comes in.

use super::device::Wire;
use super::rng::Rng;
use model::config::{Class, HaltMixed};
use model::kind::{Kind, Side};
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Lateness, Profile, Shaping};
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};

/// Most messages of a packet.
pub const MESSAGES_MAX: u16 = 2;
/// Wire bytes of the largest frame (1514 bytes).
pub const WIRE_LEN_MAX: u32 = 1538;
pub const VENUES: u8 = 3;

/// What a row of the table fixes; the rest is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub lateness: Lateness,
    pub jitter: bool,
    pub flows: u32,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub row: Row,
    pub seed: u64,
    pub packets: u64,
    pub slot: u64,
    pub classes: Vec<Class>,
    pub profiles: Vec<Profile>,
    pub limits: LimitsSpec,
    pub follows_tcp: bool,
    pub wire: Wire,
    pub inflight_limit: Option<u64>,
    /// The core comes up to so many ns late; 0 = never.
    pub core_late: u64,
    /// Mean gap of arrivals, ns.
    pub gap: u64,
    /// Nothing comes while more packets than this are held.
    pub backlog: u32,
    /// Percent of arrivals that try the short way.
    pub direct: u64,
    /// Profiles and words change every so many packets; 0 = never.
    pub changes: u64,
    pub exempt: u64,
}

impl Case {
    pub fn draw(row: Row, seed: u64, packets: u64) -> Self {
        let mut rng = Rng::new(seed);
        let r = &mut rng;
        let count = r.between(2, 6) as usize;
        let kinds = [
            (Kind::Other, None),
            (Kind::Order, Some(HaltMixed::Block)),
            (Kind::Order, None),
            (Kind::Mixed, Some(HaltMixed::Block)),
            (Kind::Mixed, Some(HaltMixed::Pass)),
            (Kind::Cancel, None),
        ];
        let classes: Vec<Class> = (0..count).map(|_| class(r.of(&kinds))).collect();
        let changes = if r.percent(40) { r.between(200, 3_000) } else { 0 };
        let slot = 1 << r.between(6, 12);
        let kinds_of = if changes > 0 { 3 } else { 1 };
        let profiles =
            (0..kinds_of).map(|index| profile(r, row, count, index, slot)).collect::<Vec<_>>();
        let wire = match r.below(10) {
            0..4 => Wire::Synchronous,
            4 | 5 => Wire::Refusing,
            6 | 7 => Wire::Link {
                rate_bps: r.of(&[1_000_000_000, 10_000_000_000, 25_000_000_000]),
                batch: r.between(1, 8) as u32,
                delay_ns: r.between(100, 20_000),
            },
            _ => Wire::Probed { stall_ns: r.between(10_000, 3_000_000) },
        };
        Self {
            row,
            seed,
            packets,
            slot,
            limits: limits(r, count),
            classes,
            profiles,
            follows_tcp: r.percent(60),
            inflight_limit: matches!(wire, Wire::Link { .. } | Wire::Probed { .. })
                .then(|| r.between(8 * u64::from(WIRE_LEN_MAX), 60_000)),
            wire,
            core_late: if r.percent(30) { r.between(1, 50_000) } else { 0 },
            gap: r.between(100, 3_000),
            backlog: r.between(20, 3_000) as u32,
            direct: r.of(&[0, 30, 100]),
            changes,
            exempt: r.of(&[0, 3, 10]),
        }
    }
}

fn class((kind, halt_mixed): (Kind, Option<HaltMixed>)) -> Class {
    Class { may_carry_tcp: true, halt_mixed, ..Class::new("", Side::Inside, kind) }
}

fn caps(r: &mut Rng, slow: u64, fast: u64) -> Caps {
    let wire_len_max = u64::from(WIRE_LEN_MAX);
    let bits = r
        .percent(70)
        .then(|| Bucket::new(r.between(slow, fast), r.between(wire_len_max, 4 * wire_len_max)));
    let messages = r.percent(30).then(|| Bucket {
        slack: Nanos(if r.percent(50) { r.between(1, 20_000) } else { 0 }),
        ..Bucket::new(r.between(slow / 4_000, fast / 4_000), r.between(4, 12))
    });
    Caps { bits, messages }
}

fn profile(r: &mut Rng, row: Row, classes: usize, index: u16, slot: u64) -> Profile {
    let class = |r: &mut Rng| {
        // Many flows share what few have.
        let most = if row.flows > 1_000 { 200_000_000 } else { 3_000_000_000 };
        ClassParams {
            flow: caps(r, 5_000_000, most),
            class: caps(r, 50_000_000, 4_000_000_000),
            priority: r.below(4) as u8,
            max_hold: if r.percent(40) { Nanos(r.between(0, 1_000_000)) } else { Nanos::MAX },
            queue_packets: if r.percent(20) { r.between(5, 500) as u32 } else { u32::MAX },
            queue_bytes: u64::MAX,
            drops_when_full: r.percent(50),
            closed: index > 0 && r.percent(5),
            second_path: false,
            shaping: shaping(r, row, slot),
        }
    };
    Profile {
        name: String::new(),
        index,
        classes: (0..classes).map(|_| class(r)).collect(),
        canary: None,
        venue_limits: vec![],
        egress: vec![EgressParams {
            port: caps(r, 500_000_000, 12_000_000_000),
            inflight_limit_bytes: None,
        }],
    }
}

fn shaping(r: &mut Rng, row: Row, slot: u64) -> Shaping {
    let lateness = if r.percent(75) { row.lateness } else { Lateness::CatchUp };
    let window = r.percent(15);
    Shaping {
        reserved: r.percent(25).then(|| {
            Bucket::new(r.between(1_000_000, 500_000_000), r.between(WIRE_LEN_MAX.into(), 8_000))
        }),
        weight: r.between(1, 5) as u8,
        flow_floor_bits_per_s: r.of(&[0, 0, 8_000, 10_000_000]),
        lateness,
        late_after: Nanos(match lateness {
            Lateness::CatchUp => u64::MAX,
            Lateness::ReAnchor => r.of(&[slot, 2 * slot, 20_000]),
            Lateness::Drop | Lateness::SendNow => r.between(1_000, 300_000),
        }),
        jitter_max: Nanos(if row.jitter && r.percent(80) { r.between(1, 20_000) } else { 0 }),
        hold_frames: if window { r.between(2, 6) as u16 } else { 1 },
        hold_time: Nanos(if window { r.between(1, 40_000) } else { 0 }),
        fan_out: if r.percent(20) { r.between(1, 4) as u16 } else { u16::MAX },
        horizon: Nanos(if r.percent(20) { r.between(1_000, 60_000) } else { u64::MAX }),
        horizon_drops: r.percent(50),
        ecn_threshold: Nanos(if r.percent(50) { r.between(0, 50_000) } else { u64::MAX }),
        segment_most: Default::default(),
        rx_hold_off: false,
        rows_in_full: false,
    }
}

fn limits(r: &mut Rng, classes: usize) -> LimitsSpec {
    let mut spec =
        LimitsSpec { classes: vec![ClassLimits::default(); classes], ..Default::default() };
    if r.percent(50) {
        return spec;
    }
    let mut scopes = Vec::new();
    if r.percent(50) {
        scopes.push(LimitScope::Venue(r.below(VENUES.into()) as u8));
    }
    if r.percent(40) {
        scopes.push(LimitScope::Participant);
    }
    if r.percent(40) {
        scopes.push(LimitScope::Session);
    }
    for scope in scopes {
        let (messages_max, per) = (r.between(20, 200) as u32, r.between(50_000, 2_000_000));
        let cancel_reserve = r.between(0, u64::from(messages_max) / 4) as u32;
        let orders = u64::from(messages_max - cancel_reserve);
        let burst = orders / 2;
        let index = spec.limits.len();
        spec.limits.push(VenueLimit {
            name: format!("{scope:?}"),
            scope,
            messages_max,
            per: Nanos(per),
            counts_cancels: r.percent(50),
            cancel_reserve,
            // burst + rate x per <= orders
            bucket: Bucket::new(((orders - burst) * 1_000_000_000 / per).max(1), burst),
        });
        for class in &mut spec.classes {
            match scope {
                LimitScope::Participant if r.percent(60) => class.participant = Some(index as u8),
                LimitScope::Session if r.percent(60) => class.session = Some(index as u8),
                _ => {}
            }
        }
    }
    spec
}
