//! The driver: virtual time, a port that may take less than it is offered, the oracle beside it.

use super::oracle::{Drops, Oracle};
use super::queue::Queue;
use model::config::{Class, HaltMixed};
use model::drop_reason::DropReason;
use model::kind::{Kind, Side};
use model::meta::{PacketMeta, flags};
use model::pacer::limits::LimitsSpec;
use model::pacer::{HaltRule, NO_VENUE, Next, Pacer, PacerSpec, Released, Seat};
use model::profile::{Bucket, Caps, ClassParams, EgressParams, Profile};
use model::sample::Release;
use model::stop::StopWords;
use model::time::Nanos;
use std::fmt;

/// Wire bytes of the largest frame of the tests (1514 bytes).
pub const WIRE_LEN_MAX: u32 = 1538;
/// A refused packet is offered again so much later.
const RETRY: Nanos = Nanos(700);
/// Far more turns than any script needs: a loop that never ends is found here.
const TURNS_MAX: u32 = 200_000;

/// What a pacer is built from, and what the oracle is told of it.
#[derive(Clone, Debug)]
pub struct Setup {
    pub slot: Nanos,
    pub flows: u32,
    pub classes: Vec<Class>,
    pub profile: Profile,
    pub limits: LimitsSpec,
    /// Classes that have a twin; flow `n` is the group `n + 1` then.
    pub twins: Vec<u8>,
    pub follows_tcp: bool,
}

impl Setup {
    /// Classes of the given caps on an unlimited port: kind `other`, priority 0, unlimited hold and
    /// queue, slot 64 ns.
    pub fn new(classes: &[(Caps, Caps)]) -> Self {
        Self {
            slot: Nanos(64),
            flows: 8,
            classes: classes.iter().map(|_| class(Kind::Other, None)).collect(),
            profile: Profile {
                name: "normal".into(),
                index: 0,
                classes: classes
                    .iter()
                    .map(|&(flow, class)| ClassParams { flow, class, ..ClassParams::default() })
                    .collect(),
                egress: vec![EgressParams::default()],
                canary: None,
                venue_limits: vec![],
            },
            limits: LimitsSpec::default(),
            twins: Vec::new(),
            follows_tcp: false,
        }
    }

    /// A pacer of this setup, its flows taken.
    pub fn pacer(&self, burst_max: usize) -> Pacer<Queue> {
        let mut pacer = Pacer::new(
            &PacerSpec {
                twins: self.twins.clone(),
                slot: self.slot,
                start: Nanos::ZERO,
                flows_max: self.flows,
                wire_len_max: WIRE_LEN_MAX,
                burst_max,
                halt: self.classes.iter().map(HaltRule::of).collect(),
                port: 0,
                seed: 7,
                limits: self.limits.clone(),
                follows_tcp: self.follows_tcp,
                two_paths: false,
            },
            &self.profile,
        );
        for flow in 0..self.flows {
            let seat = Seat { id: u64::from(flow) + 1, class: 0, venue: NO_VENUE, label: 0 };
            assert_eq!(pacer.new_group(seat), Some(flow));
        }
        pacer
    }
}

/// A class from inside that may carry TCP.
pub fn class(kind: Kind, halt_mixed: Option<HaltMixed>) -> Class {
    Class { may_carry_tcp: true, halt_mixed, ..Class::new("", Side::Inside, kind) }
}

/// Caps over wire bytes only.
pub fn bits(rate_per_s: u64, burst: u64) -> Caps {
    Caps { bits: Some(Bucket::new(rate_per_s, burst)), messages: None }
}

/// A datagram with payload: `len` bytes, one message, kind `other`.
pub fn packet(class: u8, len: u16) -> PacketMeta {
    PacketMeta { len, messages: 1, class, flags: flags::PAYLOAD, ..PacketMeta::default() }
}

/// The same of an exempt kind.
pub fn cancel(class: u8, len: u16) -> PacketMeta {
    PacketMeta {
        kind: Kind::Cancel as u8,
        flags: flags::PAYLOAD | flags::EXEMPT,
        ..packet(class, len)
    }
}

/// A TCP segment without payload: exempt, and releases nothing forward.
pub fn bare(class: u8) -> PacketMeta {
    PacketMeta { flags: flags::EXEMPT | flags::BARE | flags::TCP, messages: 0, ..packet(class, 60) }
}

/// What happens from outside at a time.
#[derive(Clone)]
pub enum Action {
    /// Arrives now: `arrival` is set, `due` is how far its wish lies ahead, and its id is counted.
    Packet {
        flow: u32,
        venue: u8,
        packet: PacketMeta,
    },
    Profile(Profile),
    Words(StopWords),
    EndStale,
    Drain,
    Stop,
}

impl fmt::Debug for Action {
    /// On one line, so that a failing script can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet { flow, venue, packet: p } => write!(
                f,
                "flow {flow} venue {venue} class {} {:?} flags {:#b} len {} messages {} due +{} jitter {}",
                p.class,
                p.kind(),
                p.flags,
                p.len,
                p.messages,
                p.due.0,
                p.jitter_ns,
            ),
            Self::Profile(profile) => write!(f, "{profile:?}"),
            Self::Words(w) => write!(
                f,
                "words all {:?} venues {:?} classes {:?}",
                w.all,
                &w.venues[..2],
                &w.classes[..4]
            ),
            Self::EndStale => f.write_str("end stale"),
            Self::Drain => f.write_str("drain"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

/// A packet without a venue.
pub fn arrives(flow: u32, packet: PacketMeta) -> Action {
    Action::Packet { flow, venue: NO_VENUE, packet }
}

/// One turn of a port that does not take everything: bytes of room, then packets accepted.
#[derive(Clone, Copy, Debug)]
pub struct Ration {
    pub room: u64,
    pub accepted: usize,
}

/// A departure: when, its flow and label, itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    pub at: Nanos,
    pub flow: u32,
    pub release: Release,
    pub eligible: Nanos,
    pub packet: PacketMeta,
}

impl Departure {
    pub fn id(&self) -> u64 {
        self.packet.correlation_id
    }
}

pub struct World {
    pub pacer: Pacer<Queue>,
    pub oracle: Oracle,
    pub now: Nanos,
    /// What the port takes in each turn, again and again; empty = everything.
    pub rations: Vec<Ration>,
    /// How late the core is in each turn, ns, again and again; empty = never.
    pub late: Vec<u64>,
    pub departures: Vec<Departure>,
    /// Ids that ended, with the reason, as they ended.
    pub drops: Drops,
    pub arrived: u64,
    burst_max: usize,
    turns: u32,
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        let burst_max = 8;
        Self {
            pacer: setup.pacer(burst_max),
            oracle: Oracle::new(setup.slot, setup.flows, &setup.classes, &setup.profile, 0),
            now: Nanos::ZERO,
            rations: Vec::new(),
            late: Vec::new(),
            departures: Vec::new(),
            drops: Vec::new(),
            arrived: 0,
            burst_max,
            turns: 0,
        }
    }

    /// Runs a script, ordered by time, until nothing will happen any more, then closes the books.
    /// Ids are given from 1 in the order of arrival.
    pub fn run(&mut self, script: &[(Nanos, Action)]) {
        self.run_until(script, Nanos::MAX);
        assert_eq!(self.pacer.queued_packets(), 0, "held for ever");
        self.close();
    }

    /// The same, but not beyond `end`.
    pub fn run_until(&mut self, script: &[(Nanos, Action)], end: Nanos) {
        let mut script = script.iter().peekable();
        loop {
            let event = if self.pacer.is_due() {
                Some(self.now + RETRY)
            } else {
                self.pacer.next_event(self.now)
            };
            let action = script.peek().map(|(at, _)| *at);
            let Some(at) = event.into_iter().chain(action).min().filter(|&at| at <= end) else {
                self.now = self.now.max(if end == Nanos::MAX { Nanos::ZERO } else { end });
                return;
            };
            self.turns += 1;
            assert!(self.turns < TURNS_MAX, "never at rest");
            let late = match self.late.len() {
                0 => 0,
                n => self.late[self.turns as usize % n],
            };
            self.now = self.now.max(at) + Nanos(late);
            while let Some((at, action)) = script.next_if(|(at, _)| *at <= self.now) {
                self.act(*at, action);
            }
            self.turn();
        }
    }

    fn act(&mut self, at: Nanos, action: &Action) {
        let now = self.now;
        let mut drops = Drops::new();
        let mut on_drop =
            |p: PacketMeta, reason: DropReason| drops.push((p.correlation_id, reason));
        match action {
            Action::Packet { flow, venue, packet } => {
                self.arrived += 1;
                let packet = PacketMeta {
                    arrival: at,
                    due: at + packet.due,
                    correlation_id: self.arrived,
                    ..*packet
                };
                let got = self.pacer.enqueue(now, *flow, *venue, packet);
                let got = got.map_err(|(back, reason)| {
                    assert_eq!(back, packet);
                    drops.push((packet.correlation_id, reason));
                    reason
                });
                self.oracle.arrive(now, *flow, *venue, &packet, got);
            }
            Action::Profile(profile) => {
                self.pacer.set_profile(now, profile);
                self.oracle.set_profile(now, profile);
            }
            Action::Words(words) => {
                self.pacer.set_words(now, words, &mut on_drop);
                self.oracle.set_words(now, words, &drops);
            }
            Action::EndStale => {
                self.pacer.end_stale(now, &mut on_drop);
                self.oracle.end_stale(now, &drops);
            }
            Action::Drain => {
                self.pacer.begin_drain(now);
                self.oracle.begin_drain();
            }
            Action::Stop => {
                self.pacer.stop(&mut on_drop);
                self.oracle.stop(now, &drops);
            }
        }
        self.drops.extend(drops);
        self.oracle.check_counters(&self.pacer);
    }

    /// One turn of the loop as the data plane does it, repeated while bursts are full.
    fn turn(&mut self) {
        let ration = match self.rations.len() {
            0 => Ration { room: u64::MAX, accepted: usize::MAX },
            n => self.rations[self.turns as usize % n],
        };
        self.pacer.poll(self.now);
        loop {
            let mut room = ration.room;
            let mut offers: Vec<Released<PacketMeta>> = Vec::new();
            let nothing = loop {
                if offers.len() == self.burst_max {
                    break false;
                }
                match self.pacer.next(self.now, room) {
                    Next::Packet(released) => {
                        let wire_len = u64::from(released.packet.wire_len());
                        assert!(wire_len <= room, "more than there is room for");
                        room -= wire_len;
                        offers.push(released);
                    }
                    Next::Ended(packet, reason) => {
                        panic!("the oracle knows no such end: {reason:?} of {packet:?}")
                    }
                    Next::NoRoom => break false,
                    Next::Nothing => break true,
                }
            };
            let accepted = ration.accepted.min(offers.len());
            let refused = offers.split_off(accepted);
            for released in refused.iter().rev() {
                self.pacer.undo(self.now, released.packet);
            }
            self.pacer.commit(accepted);
            for released in &offers {
                self.oracle.depart(self.now, released);
                self.departures.push(Departure {
                    at: self.now,
                    flow: released.flow,
                    release: released.release,
                    eligible: released.eligible,
                    packet: released.packet,
                });
            }
            self.oracle.check_counters(&self.pacer);
            if nothing && refused.is_empty() {
                self.oracle.nothing(self.now);
                assert!(!self.pacer.is_due(), "due, yet there was nothing");
                return;
            }
            if accepted < self.burst_max || !refused.is_empty() {
                assert!(self.pacer.is_due(), "a refused packet is still due");
                return;
            }
        }
    }

    /// In = out + drops + held, each packet once; every window of every node conforms.
    pub fn close(&self) {
        let mut ended: Vec<u64> = self.departures.iter().map(Departure::id).collect();
        ended.extend(self.drops.iter().map(|(id, _)| id));
        ended.sort_unstable();
        let once = ended.len();
        ended.dedup();
        assert_eq!(ended.len(), once, "a packet ended twice");
        assert_eq!(self.arrived as usize, once + self.pacer.queued_packets() as usize);
        self.oracle.check_windows();
    }

    /// Ids in the order of departure.
    pub fn ids(&self) -> Vec<u64> {
        self.departures.iter().map(Departure::id).collect()
    }

    /// Departures in short: time, id, label.
    pub fn story(&self) -> Vec<(u64, u64, Release)> {
        self.departures.iter().map(|d| (d.at.0, d.id(), d.release)).collect()
    }
}
