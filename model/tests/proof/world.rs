//! The driver: virtual time, the real pacer and the real in-flight account, a device below them, and
//! the checker beside them.

use super::case::{Case, WIRE_LEN_MAX};
use super::check::Checker;
use super::device::{Device, Wire};
use super::rng::Rng;
use super::tally::Tally;
use super::traffic::Traffic;
use model::config::LinkModel;
use model::inflight::{CompletionSource, InFlight, Setup};
use model::meta::PacketMeta;
use model::pacer::{Fifo, HaltRule, Next, Pacer, PacerSpec, Released};
use model::sample::Release;
use model::stop::{StopWord, StopWords};
use model::time::Nanos;
use std::cell::Cell;
use std::collections::VecDeque;

pub const BURST: usize = 32;
const RETRY: u64 = 700;
/// Turns at one time after which the pacer is said never to be at rest.
const TURNS_MAX: u32 = 10_000;

thread_local! {
    /// What was queued last: how a packet looks once the pacer has taken it in.
    static PUSHED: Cell<PacketMeta> = const { Cell::new(EMPTY) };
}

const EMPTY: PacketMeta = PacketMeta {
    arrival: Nanos::ZERO,
    due: Nanos::ZERO,
    sched: Nanos::ZERO,
    correlation_id: 0,
    decision_lag_ns: 0,
    dispatch_lag_ns: 0,
    normal_lag_ns: 0,
    jitter_ns: 0,
    tcp_end_seq: 0,
    label: 0,
    len: 0,
    messages: 0,
    class: 0,
    kind: 0,
    urgency: 0,
    flags: 0,
    sources: 0,
    venue: 0,
};

#[derive(Default)]
pub struct Queue(VecDeque<PacketMeta>);

impl Fifo for Queue {
    type Packet = PacketMeta;

    fn meta(packet: &PacketMeta) -> &PacketMeta {
        packet
    }
    fn meta_mut(packet: &mut PacketMeta) -> &mut PacketMeta {
        packet
    }
    fn push_back(&mut self, packet: PacketMeta) {
        PUSHED.set(packet);
        self.0.push_back(packet);
    }
    fn push_front(&mut self, packet: PacketMeta) {
        self.0.push_front(packet);
    }
    fn pop_front(&mut self) -> Option<PacketMeta> {
        self.0.pop_front()
    }
    fn front(&self) -> Option<&PacketMeta> {
        self.0.front()
    }
}

pub struct World<'a> {
    case: &'a Case,
    rng: Rng,
    pacer: Pacer<Queue>,
    checker: Checker,
    traffic: Traffic,
    inflight: InFlight,
    device: Device,
    limit: Option<u64>,
    now: u64,
    /// When the core meant to look.
    wake: u64,
    blocked: bool,
    admitted: Vec<Released<PacketMeta>>,
    admitted_bytes: u64,
    until_change: u64,
}

impl<'a> World<'a> {
    pub fn new(case: &'a Case) -> Self {
        let profile = &case.profiles[0];
        let mut pacer = Pacer::new(
            &PacerSpec {
                twins: Vec::new(),
                slot: Nanos(case.slot),
                start: Nanos::ZERO,
                flows_max: case.row.flows,
                wire_len_max: WIRE_LEN_MAX,
                burst_max: BURST,
                halt: case.classes.iter().map(HaltRule::of).collect(),
                port: 0,
                seed: case.seed,
                limits: case.limits.clone(),
                follows_tcp: case.follows_tcp,
                two_paths: false,
            },
            profile,
        );
        (0..case.row.flows).for_each(|flow| assert_eq!(pacer.new_flow(), Some(flow)));
        let (source, link) = match case.wire {
            Wire::Synchronous | Wire::Refusing => (CompletionSource::Synchronous, None),
            Wire::Probed { .. } => (CompletionSource::RefcountProbe, None),
            Wire::Link { rate_bps, batch, delay_ns } => (
                CompletionSource::LinkModel,
                Some(LinkModel {
                    rate_bps,
                    completion_batch: batch,
                    completion_delay: Nanos(delay_ns),
                }),
            ),
        };
        let inflight = InFlight::new(Setup {
            source,
            limit_bytes: case.inflight_limit,
            packets_max: 4_096,
            stall_time: Nanos::from_millis(1),
            link,
        });
        Self {
            case,
            rng: Rng::new(case.seed ^ 0xd21e),
            pacer,
            checker: Checker::new(case.slot, case.row.flows, &case.classes, profile, &case.limits),
            traffic: Traffic::new(case),
            inflight: inflight.expect("a right setup"),
            device: Device::new(case.wire),
            limit: case.inflight_limit,
            now: 0,
            wake: 0,
            blocked: false,
            admitted: Vec::with_capacity(BURST),
            admitted_bytes: 0,
            until_change: case.changes,
        }
    }

    /// Until everything has left or ended.
    pub fn run(mut self) -> Tally {
        let (mut turns, mut before) = (0, 0);
        while self.advance() {
            turns = if self.now == before { turns + 1 } else { 0 };
            before = self.now;
            assert!(turns < TURNS_MAX, "never at rest at {before}");
        }
        assert_eq!(self.pacer.queued_packets(), 0, "held for ever");
        let tally = self.checker.finish();
        assert_eq!(tally.arrived, tally.departed() + tally.ends.iter().sum::<u64>());
        tally
    }

    fn advance(&mut self) -> bool {
        let paused = self.pacer.queued_packets() > self.case.backlog;
        if paused {
            self.traffic.next_at = self.traffic.next_at.max(self.now);
        }
        let arrival = (self.traffic.left > 0 && !paused).then_some(self.traffic.next_at);
        let event = if self.blocked {
            Some(self.device.next_event().unwrap_or(self.now + RETRY).max(self.now + 1))
        } else {
            self.pacer.next_event(Nanos(self.now)).map(|at| at.0)
        };
        let Some(wake) = arrival.into_iter().chain(event).min() else { return false };
        self.wake = wake.max(self.now);
        let late = if self.case.core_late > 0 && self.rng.percent(20) {
            self.rng.below(self.case.core_late)
        } else {
            0
        };
        self.now = self.wake + late;
        self.complete();
        if std::mem::take(&mut self.blocked) {
            self.checker.open_since = self.now;
        }
        self.pacer.poll(Nanos(self.now));
        self.change();
        while self.traffic.left > 0 && !paused && self.traffic.next_at <= self.now {
            self.arrive();
        }
        self.pacer.poll(Nanos(self.now));
        self.turn();
        true
    }

    fn complete(&mut self) {
        while let Some(count) = self.device.tell(self.now, &mut self.rng) {
            if let Wire::Probed { .. } = self.case.wire {
                self.inflight.on_completed(Nanos(self.now), count);
            }
        }
        while self.inflight.poll(Nanos(self.now)).is_some() {}
        assert_eq!(self.inflight.bytes(), self.device.bytes, "bytes in flight");
        if let Some(limit) = self.case.inflight_limit
            && self.rng.percent(1)
        {
            let floor = 8 * u64::from(WIRE_LEN_MAX);
            let limit = self.rng.between(floor, limit.max(floor));
            self.limit = Some(limit);
            self.inflight.set_limit(self.limit);
        }
    }

    fn arrive(&mut self) {
        let (flow, venue, mut p) = self.traffic.next(self.case);
        let now = Nanos(self.now);
        // What went at once was charged to the class that its group had then.
        if self.admitted.iter().any(|r| r.flow == flow) {
            self.turn();
        }
        self.until_change = self.until_change.saturating_sub(1);
        let room = self.inflight.room().saturating_sub(self.admitted_bytes);
        let tries = self.rng.percent(self.case.direct) && self.admitted.len() < BURST;
        let offered = PacketMeta { venue, ..p };
        if tries && self.pacer.admit(now, flow, venue, &mut p, room) {
            let kept = PacketMeta { venue, ..p };
            self.checker.arrive(self.now, flow, &offered, Ok(kept), true);
            self.admitted_bytes += u64::from(p.wire_len());
            self.admitted.push(Released {
                packet: p,
                flow,
                release: Release::Governed,
                eligible: now,
                bucket_held: false,
                mark_ce: false,
            });
            return;
        }
        let got = match self.pacer.enqueue(now, flow, venue, p) {
            Ok(()) => Ok(PUSHED.get()),
            Err((_, reason)) => Err(reason),
        };
        if let Ok(kept) = &got {
            self.checker.tally.retransmitted += u64::from(kept.messages < p.messages);
        }
        self.checker.arrive(self.now, flow, &offered, got, false);
    }

    fn change(&mut self) {
        let (now, case) = (Nanos(self.now), self.case);
        let over = self.traffic.left == 0 && !self.checker.draining;
        if over && case.seed % 3 == 0 && self.admitted.is_empty() {
            self.checker.begin_drain(self.now);
            self.pacer.begin_drain(now);
        }
        if case.changes == 0 || self.until_change > 0 || self.checker.draining {
            return;
        }
        self.until_change = 1 + self.rng.below(2 * case.changes);
        match self.rng.below(5) {
            0..2 => {
                let profile = &case.profiles[self.rng.below(case.profiles.len() as u64) as usize];
                self.checker.set_profile(self.now, profile);
                self.pacer.set_profile(now, profile);
            }
            2 => {
                let checker = &mut self.checker;
                self.pacer.end_stale(now, |p: PacketMeta, why| {
                    checker.end(now.0, Traffic::flow_of(p.correlation_id), p.correlation_id, why);
                });
            }
            _ => {
                let mut words = StopWords::default();
                if self.checker.words == words {
                    let word = self.rng.of(&[StopWord::Passthrough, StopWord::Halt]);
                    match self.rng.below(3) {
                        0 => words.all = word,
                        1 => words.venues[self.rng.below(3) as usize] = word,
                        _ => {
                            words.classes[self.rng.below(case.classes.len() as u64) as usize] =
                                word;
                        }
                    }
                    // It is taken back soon.
                    self.until_change = 1 + self.rng.below(50);
                }
                let checker = &mut self.checker;
                checker.set_words(now.0, &words);
                self.pacer.set_words(now, &words, |p: PacketMeta, why| {
                    checker.end(now.0, Traffic::flow_of(p.correlation_id), p.correlation_id, why);
                });
            }
        }
    }

    fn turn(&mut self) {
        let now = Nanos(self.now);
        loop {
            if self.pacer.is_sweeping() {
                let checker = &mut self.checker;
                self.pacer.sweep(now, |p: PacketMeta, why| {
                    checker.end(now.0, Traffic::flow_of(p.correlation_id), p.correlation_id, why);
                });
            }
            self.checker.sweeping = self.pacer.is_sweeping();
            let at_once = self.admitted.len();
            let mut offers = std::mem::replace(&mut self.admitted, Vec::with_capacity(BURST));
            let mut room =
                self.inflight.room().saturating_sub(std::mem::take(&mut self.admitted_bytes));
            let mut nothing = false;
            while offers.len() < BURST {
                match self.pacer.next(now, room) {
                    Next::Packet(released) => {
                        let bytes = u64::from(released.packet.wire_len());
                        assert!(bytes <= room, "more than there is room for");
                        room -= bytes;
                        let id = released.packet.correlation_id;
                        self.checker.offered(released.flow, id);
                        offers.push(released);
                    }
                    Next::Ended(p, why) => {
                        let id = p.correlation_id;
                        self.checker.end(self.now, Traffic::flow_of(id), id, why);
                    }
                    Next::NoRoom => {
                        self.blocked = true;
                        break;
                    }
                    Next::Nothing => {
                        nothing = true;
                        break;
                    }
                }
            }
            for (shared, of) in
                self.checker.limits.shared.iter_mut().zip(self.pacer.limit_figures())
            {
                *shared = of.sessions_shared > 0;
            }
            self.check_fan_out(&offers[at_once..]);
            let taken = match self.case.wire {
                Wire::Refusing if self.rng.percent(30) => self.rng.below(offers.len() as u64 + 1),
                Wire::Probed { .. } if self.rng.percent(2) => {
                    self.rng.below(offers.len() as u64 + 1)
                }
                _ => offers.len() as u64,
            } as usize;
            self.blocked |= taken < offers.len();
            let refused = offers.split_off(taken);
            for refused in refused.into_iter().rev() {
                self.checker.refused(refused.flow, refused.packet.correlation_id);
                self.pacer.undo(now, refused.packet);
            }
            self.pacer.commit(taken);
            for released in &offers {
                self.checker.depart(self.now, self.wake, released);
                let bytes = u64::from(released.packet.wire_len());
                self.inflight.on_accepted(now, released.packet.wire_len());
                self.device.accept(self.now, bytes, &mut self.rng);
                if let Some(limit) = self.limit {
                    assert!(
                        self.device.bytes <= limit,
                        "{} of {limit} in flight",
                        self.device.bytes
                    );
                    self.checker.tally.note_inflight(self.device.bytes, limit);
                }
            }
            self.checker.tally.blocked_turns += u64::from(self.blocked);
            if self.blocked || (nothing && !self.pacer.is_sweeping() && !self.pacer.is_due()) {
                return;
            }
        }
    }

    fn check_fan_out(&self, offers: &[Released<PacketMeta>]) {
        for (class, params) in self.checker.profile.classes.iter().enumerate() {
            let cap = usize::from(params.shaping.fan_out);
            if cap < BURST {
                let governed = offers.iter().filter(|r| r.release == Release::Governed);
                let of_class = governed.filter(|r| self.checker.class_of(r.flow) == class).count();
                assert!(
                    of_class <= cap,
                    "{of_class} packets of class {class} in one flush of {cap}"
                );
            }
        }
    }
}
