//! The driver for venue limits: a pacer, a port that may refuse, and beside it nothing but the list
//! of what left. Every limit is checked by counting that list, window by window.

use super::queue::Queue;
use super::scenario;
use super::world::{Action, Ration, Setup};
use model::drop_reason::DropReason;
use model::meta::{PacketMeta, flags};
use model::pacer::limits::{ClassLimits, LimitsSpec};
use model::pacer::{NO_VENUE, Next, Pacer, Released};
use model::profile::{Bucket, Profile};
use model::sample::Release;
use model::time::Nanos;
use model::venue_limit::{LimitScope, VenueLimit};
use proptest::prelude::*;

/// A refused packet is offered again so much later.
const RETRY: Nanos = Nanos(700);
const TURNS_MAX: u32 = 300_000;
const BURST_MAX: usize = 8;

/// What left: when, with which label, and itself.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub at: Nanos,
    pub flow: u32,
    pub release: Release,
    pub eligible: Nanos,
    pub packet: PacketMeta,
    /// Place in `in_force` of the limits that let it go.
    limits: usize,
}

pub struct Limited {
    pub setup: Setup,
    pub pacer: Pacer<Queue>,
    pub now: Nanos,
    pub rations: Vec<Ration>,
    pub late: Vec<u64>,
    /// Every so many-th arrival tries the short way first; 0 = none does.
    pub direct: usize,
    pub left: Vec<Left>,
    pub ends: Vec<(Nanos, u64, DropReason)>,
    pub turns: u32,
    /// The limits from the start on.
    in_force: Vec<Vec<VenueLimit>>,
    arrived: u64,
    admitted: Vec<Released<PacketMeta>>,
}

impl Limited {
    pub fn new(setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            pacer: setup.pacer(BURST_MAX),
            now: Nanos::ZERO,
            rations: Vec::new(),
            late: Vec::new(),
            direct: 0,
            left: Vec::new(),
            ends: Vec::new(),
            turns: 0,
            in_force: vec![setup.limits.limits.clone()],
            arrived: 0,
            admitted: Vec::new(),
        }
    }

    /// Runs a script to its end and on until nothing will happen any more.
    pub fn run(&mut self, script: &[(Nanos, Action)]) {
        self.run_until(script, Nanos::MAX);
        assert_eq!(self.pacer.queued_packets(), 0, "held for ever");
        assert_eq!(self.arrived as usize, self.left.len() + self.ends.len());
        self.check();
    }

    pub fn run_until(&mut self, script: &[(Nanos, Action)], end: Nanos) {
        let mut script = script.iter().peekable();
        loop {
            let due = self.pacer.is_due();
            let event = if due { Some(self.now + RETRY) } else { self.pacer.next_event(self.now) };
            let action = script.peek().map(|(at, _)| *at);
            let Some(at) = event.into_iter().chain(action).min().filter(|&at| at <= end) else {
                return;
            };
            self.turns += 1;
            assert!(self.turns < TURNS_MAX, "never at rest");
            let late = match self.late.len() {
                0 => 0,
                n => self.late[self.turns as usize % n],
            };
            self.now = self.now.max(at) + Nanos(late);
            self.pacer.poll(self.now);
            while let Some((at, action)) = script.next_if(|(at, _)| *at <= self.now) {
                self.act(*at, action);
            }
            self.turn();
        }
    }

    fn act(&mut self, at: Nanos, action: &Action) {
        if matches!(action, Action::Profile(_)) && !self.admitted.is_empty() {
            // At a burst boundary: what was admitted is offered first.
            self.turn();
        }
        let (now, ends) = (self.now, &mut self.ends);
        let mut on_drop = |p: PacketMeta, why| ends.push((now, p.correlation_id, why));
        match action {
            Action::Packet { flow, venue, packet } => {
                self.arrived += 1;
                let mut packet = PacketMeta {
                    arrival: at,
                    due: at + packet.due,
                    correlation_id: self.arrived,
                    ..*packet
                };
                let direct = self.direct > 0 && (self.arrived as usize).is_multiple_of(self.direct);
                let room = self.admitted.len() < BURST_MAX;
                if direct && room && self.pacer.admit(now, *flow, *venue, &mut packet, u64::MAX) {
                    self.admitted.push(Released {
                        packet,
                        flow: *flow,
                        release: Release::Governed,
                        eligible: now,
                        bucket_held: false,
                        mark_ce: false,
                    });
                } else if let Err((p, why)) = self.pacer.enqueue(now, *flow, *venue, packet) {
                    on_drop(p, why);
                }
            }
            Action::Profile(profile) => {
                self.pacer.set_profile(now, profile);
                if profile.index == 0 {
                    self.note_limits(profile);
                }
            }
            Action::Words(words) => self.pacer.set_words(now, words, on_drop),
            Action::EndStale => self.pacer.end_stale(now, on_drop),
            Action::Drain => self.pacer.begin_drain(now),
            Action::Stop => self.pacer.stop(on_drop),
        }
    }

    /// Another profile is confirmed while one that is not stays in force.
    pub fn confirm(&mut self, confirmed: &Profile) {
        self.pacer.set_confirmed(self.now, confirmed);
        self.note_limits(confirmed);
    }

    fn note_limits(&mut self, confirmed: &Profile) {
        if !confirmed.venue_limits.is_empty() {
            self.in_force.push(confirmed.venue_limits.clone());
        }
    }

    fn turn(&mut self) {
        let now = self.now;
        let ration = match self.rations.len() {
            0 => Ration { room: u64::MAX, accepted: usize::MAX },
            n => self.rations[self.turns as usize % n],
        };
        self.pacer.poll(now);
        let ends = &mut self.ends;
        self.pacer.sweep(now, |p, why| ends.push((now, p.correlation_id, why)));
        loop {
            let mut offers = std::mem::take(&mut self.admitted);
            let mut room = ration.room;
            while offers.len() < BURST_MAX {
                match self.pacer.next(now, room) {
                    Next::Packet(released) => {
                        room -= u64::from(released.packet.wire_len());
                        offers.push(released);
                    }
                    Next::Ended(p, why) => self.ends.push((now, p.correlation_id, why)),
                    Next::NoRoom | Next::Nothing => break,
                }
            }
            let refused = offers.split_off(ration.accepted.min(offers.len()));
            refused.iter().rev().for_each(|r| self.pacer.undo(now, r.packet));
            self.pacer.commit(offers.len());
            let full = offers.len() == BURST_MAX;
            for Released { packet, flow, release, eligible, .. } in offers {
                assert!(eligible <= now, "early: {packet:?}");
                let limits = self.in_force.len() - 1;
                self.left.push(Left { at: now, flow, release, eligible, packet, limits });
            }
            if !full {
                return;
            }
        }
    }

    /// Times and ids.
    pub fn story(&self) -> Vec<(u64, u64)> {
        self.left.iter().map(|l| (l.at.0, l.packet.correlation_id)).collect()
    }

    /// Ids that ended, and why.
    pub fn ended(&self) -> Vec<(u64, DropReason)> {
        self.ends.iter().map(|&(_, id, why)| (id, why)).collect()
    }

    /// Counts every window of every limit over everything that left.
    pub fn check(&self) {
        let spec = &self.setup.limits;
        for (index, limit) in spec.limits.iter().enumerate() {
            let of = |l: &Left| instance(self, index, limit, l);
            let counted: Vec<(&Left, u32)> =
                self.left.iter().filter_map(|l| Some((l, of(l)?))).collect();
            for (n, (last, whose)) in counted.iter().enumerate() {
                let inside: u32 = counted[..=n]
                    .iter()
                    .filter(|(l, w)| w == whose && l.at.0 + limit.per.0 > last.at.0)
                    .map(|(l, _)| u32::from(l.packet.messages))
                    .sum();
                let exempt = last.packet.is_exempt();
                let limit = &self.in_force[last.limits][index];
                let cap = limit.messages_max - if exempt { 0 } else { limit.cancel_reserve };
                assert!(inside <= cap, "{inside} of {cap} in the window to {last:?}: {limit:?}");
            }
            if self.in_force.len() == 1 {
                check_pace(limit, &counted);
            }
            let figures = self.pacer.limit_figures().nth(index).expect("one for each limit");
            let messages: u64 = counted.iter().map(|(l, _)| u64::from(l.packet.messages)).sum();
            assert_eq!(figures.messages, messages, "what was refused is not counted");
        }
    }
}

/// For whom `limit` counts the departure, if it does.
fn instance(world: &Limited, index: usize, limit: &VenueLimit, l: &Left) -> Option<u32> {
    let own = world.setup.limits.classes[usize::from(l.packet.class)];
    let index = Some(index as u8);
    let counts = l.packet.messages > 0 && (limit.counts_cancels || !l.packet.is_exempt());
    let whose = match limit.scope {
        LimitScope::Venue(v) => (l.packet.venue != NO_VENUE && l.packet.venue == v).then_some(0),
        LimitScope::Participant => (own.participant == index).then_some(0),
        LimitScope::Session => (own.session == index).then_some(l.flow),
    };
    whose.filter(|_| counts)
}

/// In `1/R` ns: a packet that is not exempt leaves no earlier than `TAT + L/R - B/R`, where exempt
/// ones pay as well.
fn check_pace(limit: &VenueLimit, counted: &[(&Left, u32)]) {
    let rate = i128::from(limit.bucket.rate_per_s);
    let mut tats: std::collections::BTreeMap<u32, i128> = Default::default();
    for (l, whose) in counted {
        let now = i128::from(l.at.0) * rate;
        let cost = i128::from(l.packet.messages) * 1_000_000_000;
        let tat = tats.entry(*whose).or_insert(i128::MIN / 2);
        if !l.packet.is_exempt() {
            let burst = i128::from(limit.bucket.burst) * 1_000_000_000;
            assert!(*tat + cost - burst <= now, "faster than the pace: {l:?} {limit:?}");
        }
        *tat = (*tat).max(now) + cost;
    }
}

/// A UDP order of `messages` messages.
pub fn order(class: u8, messages: u16) -> PacketMeta {
    let kind = model::kind::Kind::Order as u8;
    PacketMeta { kind, messages, ..super::world::packet(class, 100) }
}

/// The same in a TCP segment.
pub fn tcp_order(class: u8, messages: u16) -> PacketMeta {
    PacketMeta { flags: flags::PAYLOAD | flags::TCP, ..order(class, messages) }
}

/// A pace that never binds.
const NO_PACE: Bucket = Bucket::new(400_000_000_000, 1_000_000);

/// A limit of `messages_max` in `per` ns, without a pace.
pub fn limit(scope: LimitScope, messages_max: u32, per: u64, cancel_reserve: u32) -> VenueLimit {
    VenueLimit {
        name: "of a test".into(),
        scope,
        messages_max,
        per: Nanos(per),
        counts_cancels: true,
        cancel_reserve,
        bucket: NO_PACE,
    }
}

/// Limits of every scope over the classes of the scenario, small enough to bind all the time.
pub fn some_limits() -> impl Strategy<Value = LimitsSpec> {
    let one = (2u32..14, 2_000u64..400_000, 0u32..6, prop::bool::weighted(0.8), 1u64..8);
    let scopes = [
        LimitScope::Venue(0),
        LimitScope::Venue(1),
        LimitScope::Venue(0),
        LimitScope::Participant,
        LimitScope::Session,
    ];
    let own = prop::collection::vec((any::<bool>(), any::<bool>()), scenario::CLASSES);
    (prop::collection::vec(one, scopes.len()), own).prop_map(move |(list, own)| LimitsSpec {
        limits: scopes
            .into_iter()
            .zip(list)
            .map(|(scope, (max, per, reserve, counts, burst))| {
                let reserve = reserve.min(max - 1);
                let burst = burst.min(u64::from(max - reserve));
                let left = u64::from(max - reserve) - burst;
                let rate_per_s = (left * 1_000_000_000 / per).max(2_000);
                VenueLimit {
                    counts_cancels: counts,
                    bucket: Bucket::new(rate_per_s, burst),
                    ..limit(scope, max, per, reserve)
                }
            })
            .collect(),
        classes: own
            .into_iter()
            .map(|(participant, session)| ClassLimits {
                participant: participant.then_some(3),
                session: session.then_some(4),
            })
            .collect(),
        start_full: false,
    })
}

/// A setup with such limits, or with TCP followed, or both.
pub fn limited_setup(setup: impl Strategy<Value = Setup>) -> impl Strategy<Value = Setup> {
    (setup, some_limits(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(setup, limits, follows_tcp, start_full)| {
            let limits = LimitsSpec { start_full, ..limits };
            Setup { limits, follows_tcp, ..setup }
        },
    )
}

/// The script with every TCP segment of a flow being the next of its connection, or one that came
/// before, again.
pub fn with_segments(
    script: impl Strategy<Value = Vec<(Nanos, Action)>>,
) -> impl Strategy<Value = Vec<(Nanos, Action)>> {
    const BYTES: u32 = 100;
    let steps = prop::collection::vec((any::<bool>(), 0u32..4, any::<bool>()), 1..40);
    (script, steps).prop_map(|(mut script, steps)| {
        let mut next = [0u32; scenario::FLOWS as usize];
        let mut steps = steps.into_iter().cycle();
        for (_, action) in &mut script {
            let Action::Packet { flow, packet, .. } = action else { continue };
            let Some((is_segment, back, again)) = steps.next() else { continue };
            if is_segment && !packet.is_exempt() {
                packet.flags |= flags::TCP | flags::PAYLOAD;
            }
            if packet.has(flags::TCP | flags::PAYLOAD) {
                let next = &mut next[*flow as usize];
                let n = if again && *next > back { *next - 1 - back } else { *next };
                *next = (*next).max(n + 1);
                packet.tcp_end_seq = (n * BYTES).wrapping_sub(1_000);
                packet.set_segment_bytes(BYTES);
            }
        }
        script
    })
}
