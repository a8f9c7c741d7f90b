//! A driver without an account of its own, for what a test works out by hand: virtual time, a port
//! that takes everything unless it is told otherwise.

use super::queue::Queue;
use super::world::{Action, Setup};
use model::drop_reason::DropReason;
use model::meta::PacketMeta;
use model::pacer::{Next, Pacer, Released};
use model::sample::Release;
use model::time::Nanos;

/// Packets between two commits.
const BURST: usize = 8;
/// What is due and could not leave is offered again so much later.
const RETRY: Nanos = Nanos(64);
const TURNS_MAX: u32 = 1_000_000;

pub struct Drive {
    pub pacer: Pacer<Queue>,
    pub now: Nanos,
    /// When, and what.
    pub left: Vec<(Nanos, Released<PacketMeta>)>,
    pub ended: Vec<(Nanos, u64, DropReason)>,
    arrived: u64,
}

impl Drive {
    pub fn new(setup: &Setup) -> Self {
        let (left, ended) = (Vec::new(), Vec::new());
        Self { pacer: setup.pacer(BURST), now: Nanos::ZERO, left, ended, arrived: 0 }
    }

    /// Runs a script, ordered by time, up to `end`. Ids are given from 1 in the order of arrival.
    pub fn run(&mut self, script: &[(Nanos, Action)], end: Nanos) -> &mut Self {
        let mut script = script.iter().peekable();
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "never at rest");
            let event = match self.pacer.next_event(self.now) {
                Some(at) if at <= self.now => Some(self.now + RETRY),
                at => at,
            };
            let action = script.peek().map(|(at, _)| *at);
            let Some(at) = event.into_iter().chain(action).min().filter(|&at| at <= end) else {
                self.now = end.max(self.now);
                break;
            };
            self.now = self.now.max(at);
            self.pacer.poll(self.now);
            while let Some((_, action)) = script.next_if(|(at, _)| *at <= self.now) {
                self.act(action);
            }
            self.turn();
        }
        self
    }

    pub fn act(&mut self, action: &Action) {
        let (now, ended) = (self.now, &mut self.ended);
        let mut on_drop = |p: PacketMeta, why| ended.push((now, p.correlation_id, why));
        match action {
            Action::Packet { flow, venue, packet } => {
                self.arrived += 1;
                let packet = PacketMeta {
                    arrival: now,
                    due: now + packet.due,
                    correlation_id: self.arrived,
                    class: self.pacer.class_in_arm(*flow, packet.class),
                    ..*packet
                };
                if let Err((packet, why)) = self.pacer.enqueue(now, *flow, *venue, packet) {
                    on_drop(packet, why);
                }
            }
            Action::Profile(profile) => self.pacer.set_profile(now, profile),
            Action::Words(words) => self.pacer.set_words(now, words, on_drop),
            Action::EndStale => self.pacer.end_stale(now, on_drop),
            Action::Drain => self.pacer.begin_drain(now),
            Action::Stop => self.pacer.stop(on_drop),
        }
    }

    /// One flush, and again while there was something.
    fn turn(&mut self) {
        let now = self.now;
        let ended = &mut self.ended;
        self.pacer.sweep(now, |p, why| ended.push((now, p.correlation_id, why)));
        while self.flush(BURST) == BURST {}
    }

    /// Offers at most `most` packets; the port takes them.
    pub fn flush(&mut self, most: usize) -> usize {
        let mut accepted = 0;
        while accepted < most {
            match self.pacer.next(self.now, u64::MAX) {
                Next::Packet(released) => {
                    self.left.push((self.now, released));
                    accepted += 1;
                }
                Next::Ended(p, why) => self.ended.push((self.now, p.correlation_id, why)),
                Next::NoRoom | Next::Nothing => break,
            }
        }
        self.pacer.commit(accepted);
        accepted
    }

    /// Departures in short: time, id, label.
    pub fn story(&self) -> Vec<(u64, u64, Release)> {
        self.left.iter().map(|(at, r)| (at.0, r.packet.correlation_id, r.release)).collect()
    }

    /// Wire bytes that left, by class.
    pub fn bytes(&self, class: u8) -> u64 {
        let of = |p: &PacketMeta| if p.class == class { u64::from(p.wire_len()) } else { 0 };
        self.left.iter().map(|(_, r)| of(&r.packet)).sum()
    }
}
