//! Two paths below one lane: which flow leaves by which, and what becomes of one that takes nothing.
//!
//! The pacer decides when a packet leaves, with every cap and limit counting both paths; here is decided
//! by which port. A flow moves by the rules of [`model::regime::path`] and between bursts only. Without
//! a second path a turn pays for this with a few tests, a packet with none.

use std::sync::Arc;

use model::config::{Config, SecondPath};
use model::inflight::InFlight;
use model::kind::{Kind, Side};
use model::kpi::Leaving;
use model::meta::{flags, wire_len};
use model::pacer::{Pacer, PathChoice};
use model::profile::Profile;
use model::regime::path::{self, Move, Path, Traffic};
use model::time::Nanos;

use super::completions::Completions;
use super::gate::Gate;
use super::rows::drop_packet;
use super::{Core, Lane, tcp};
use crate::batch::Batch;
use crate::channel::Event;
use crate::classify::Classify;
use crate::mbuf::MbufFifo;
use crate::paths::{Probe, ProbeSpec, Sent};
use crate::pool::Pool;
use crate::port::{Rx, Tx};

/// So often some flows are looked at whether they may move: a million in 25 s, 4,096 in 6 ms.
const WALK_EVERY: Nanos = Nanos::from_micros(100);
/// So many.
const WALK_FLOWS: u32 = 64;
/// Flows that are held for a move at a time.
const HOLDS_MAX: usize = 256;
/// What a second path is made of.
pub struct PathParts<T> {
    /// Its port.
    pub tx: T,
    /// Index of its port in the config.
    pub tx_port: u8,
    /// The account of its TX queue.
    pub inflight: InFlight,
    /// What is known of both paths.
    pub probes: [Arc<Probe>; 2],
    /// How they are asked.
    pub probe: ProbeSpec,
    /// The rules of moving.
    pub rules: SecondPath,
    /// Where requests lie.
    pub pool: Pool,
}

/// A flow that is held until what it sent has arrived.
#[derive(Clone, Copy)]
struct Hold {
    flow: u32,
    until: Nanos,
}

/// What happened, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Flows that moved to the second path.
    pub moved: u64,
    /// Flows that moved back.
    pub returned: u64,
    /// Holds that ended without a move.
    pub holds_given_up: u64,
    /// Requests sent, by path.
    pub probes_sent: [u64; 2],
}

/// See the module.
pub(super) struct Paths<T> {
    pub(super) parts: PathParts<T>,
    /// By class.
    wanted: Box<[bool]>,
    is_mixed: Box<[bool]>,
    from_inside: Box<[bool]>,
    /// By flow: when it moved to the second path, 0 = it is on the first.
    moved_at: Box<[Nanos]>,
    /// By flow: the class that it is counted in.
    counted_in: Box<[u8]>,
    /// Flows on the second path, by class.
    on_second: Box<[u32]>,
    moved: u32,
    holds: Vec<Hold>,
    cursor: u32,
    next_walk: Nanos,
    gates: [Gate; 2],
    stall_time: [Nanos; 2],
    /// The longest frame, wire bytes: a path with less room takes nothing.
    wire_len_max: u64,
    /// Of the burst under way: up to which place packets leave by which path.
    runs: Vec<(usize, PathChoice)>,
    run: Batch,
    rest: Batch,
    asked_at: Option<Nanos>,
    /// Flows that were given back.
    freed: Vec<u32>,
    pub(super) counters: PathCounters,
}

impl<T: Tx> Paths<T> {
    pub(super) fn new(config: &Config, flows: u32, tx_port: u8, parts: PathParts<T>) -> Self {
        let classes = config.classes.len();
        let ports = [usize::from(tx_port), usize::from(parts.tx_port)].map(|p| &config.ports[p]);
        let frame = ports.iter().map(|port| u32::from(port.frame_bytes_max)).max().unwrap_or(0);
        let burst = config.ports.iter().map(|port| usize::from(port.rx_burst)).max().unwrap_or(0);
        Self {
            wanted: vec![false; classes].into(),
            is_mixed: config.classes.iter().map(|class| class.kind == Kind::Mixed).collect(),
            from_inside: config.classes.iter().map(|class| class.from == Side::Inside).collect(),
            moved_at: vec![Nanos::ZERO; flows as usize].into(),
            counted_in: vec![0; flows as usize].into(),
            on_second: vec![0; classes].into(),
            moved: 0,
            holds: Vec::with_capacity(HOLDS_MAX),
            cursor: 0,
            next_walk: Nanos::ZERO,
            gates: [Gate::default(); 2],
            stall_time: ports.map(|port| port.stall_time),
            wire_len_max: u64::from(wire_len(frame)),
            runs: Vec::with_capacity(burst.max(1)),
            run: Batch::new(),
            rest: Batch::new(),
            asked_at: None,
            freed: Vec::with_capacity(HOLDS_MAX),
            counters: PathCounters::default(),
            parts,
        }
    }

    /// Flows of each class that leave by the second path.
    pub(super) fn on_second(&self) -> &[u32] {
        &self.on_second
    }

    /// Whether packets of a class leave by these paths at all.
    pub(super) fn may_leave(&self, class: usize) -> bool {
        self.from_inside[class]
    }

    /// Whether a path has answered lately.
    pub(super) fn is_alive(&self, now: Nanos, path: PathChoice) -> bool {
        let answered = self.parts.probes[path as usize].answered_at();
        answered.is_some_and(|at| now.saturating_sub(at) <= path::PROBE_AGE_MAX)
    }

    pub(super) fn note_freed(&mut self, flow: u32) {
        // As many as are aged in a turn, and the list is emptied in each.
        if self.freed.len() < self.freed.capacity() {
            self.freed.push(flow);
        }
    }

    pub(super) fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        for (wanted, params) in self.wanted.iter_mut().zip(&profile.classes) {
            *wanted = params.second_path;
        }
        self.next_walk = now;
    }

    fn is_walking(&self) -> bool {
        self.moved > 0 || self.wanted.contains(&true)
    }

    fn count(&mut self, flow: u32, class: u8, at: Nanos) {
        let place = flow as usize;
        if self.moved_at[place] != Nanos::ZERO {
            self.on_second[usize::from(self.counted_in[place])] -= 1;
            self.moved -= 1;
        }
        self.moved_at[place] = at;
        if at != Nanos::ZERO {
            self.counted_in[place] = class;
            self.on_second[usize::from(class)] += 1;
            self.moved += 1;
        }
    }

    /// Where a flow of `class` is to be: where it is not alive no path is chosen, and off a path that
    /// died there is no dwell.
    fn target(&self, now: Nanos, flow: u32, class: u8) -> PathChoice {
        let alive = self.is_alive(now, PathChoice::Second);
        let since = self.moved_at[flow as usize];
        let stays = since != Nanos::ZERO && now.saturating_sub(since) < self.parts.rules.dwell;
        if alive && (self.wanted[usize::from(class)] || stays) {
            PathChoice::Second
        } else {
            PathChoice::First
        }
    }

    /// The events that need nobody to call.
    fn next_event(&self, now: Nanos, pacer: &Pacer<MbufFifo>) -> Option<Nanos> {
        let walk = self.is_walking().then_some(self.next_walk);
        let holds = self.holds.iter().map(|hold| hold.until).min();
        let ask = Probe::next(self.asked_at);
        let of_gate = |path| self.gates[path as usize].next_event(now, pacer.waits_for_path(path));
        let gates = PathChoice::ALL.into_iter().filter_map(of_gate).min();
        [walk, holds, gates, self.parts.inflight.next_event(), self.parts.tx.next_event()]
            .into_iter()
            .flatten()
            .chain([ask])
            .min()
    }
}

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// Sends by a second path too from now on, before the first packet, in profile `profile`.
    #[must_use]
    pub fn with_second_path(
        mut self,
        config: &Config,
        profile: usize,
        parts: PathParts<T>,
    ) -> Self {
        let flows = self.parts.flows_max;
        let mut paths = Paths::new(config, flows, self.parts.tx_port, parts);
        paths.set_profile(Nanos::ZERO, &config.profiles[profile]);
        self.paths = Some(Box::new(paths));
        self
    }

    /// What the second path did.
    pub fn path_counters(&self) -> Option<PathCounters> {
        self.paths.as_ref().map(|paths| paths.counters)
    }

    pub(super) fn next_path_event(&self, now: Nanos) -> Option<Nanos> {
        self.paths.as_ref()?.next_event(now, &self.parts.pacer)
    }

    /// What a turn begins with that receives nothing any more.
    pub fn tend(&mut self, now: Nanos, core: &mut Core<'_>) {
        if self.paths.is_some() {
            self.tend_paths(now, core);
        }
    }

    /// Once in a turn, before the first packet of it is chosen: probes, gates, holds, moves.
    #[cold]
    pub(super) fn tend_paths(&mut self, now: Nanos, core: &mut Core<'_>) {
        let Some(mut paths) = self.paths.take() else { return };
        while let Some(completed) = paths.parts.inflight.poll(now) {
            let port = paths.parts.tx_port;
            core.aggregates.on_drained(port, completed.bytes, completed.since_last);
        }
        // A modelled link does not stall; its gate says when it takes nothing.
        while paths.parts.inflight.take_alert().is_some() {}
        while let Some(flow) = paths.freed.pop() {
            paths.count(flow, 0, Nanos::ZERO);
            if let Some(connections) = &mut core.connections {
                connections.forget(flow);
            }
        }
        self.ask_paths(now, &mut paths);
        self.look_at_gates(now, &mut paths, core);
        self.end_holds(now, &mut paths, core);
        if now >= paths.next_walk && paths.is_walking() && !self.draining {
            paths.next_walk = now.saturating_add(WALK_EVERY);
            self.walk(now, &mut paths, core);
        }
        self.paths = Some(paths);
    }

    /// Sends a request by each path.
    fn ask_paths(&mut self, now: Nanos, paths: &mut Paths<T>) {
        if !Probe::is_due(now, paths.asked_at) {
            return;
        }
        paths.asked_at = Some(now);
        let request = paths.parts.probe.request();
        for path in PathChoice::ALL {
            let up = match path {
                PathChoice::First => self.parts.tx.link_up(),
                PathChoice::Second => paths.parts.tx.link_up(),
            };
            let Some(packet) = paths.parts.pool.alloc_from(&request).filter(|_| up) else {
                continue;
            };
            let wire_len = wire_len(packet.len());
            let (tx, inflight) = match path {
                PathChoice::First => (&mut self.parts.tx, &mut self.parts.inflight),
                PathChoice::Second => (&mut paths.parts.tx, &mut paths.parts.inflight),
            };
            if inflight.room() < u64::from(wire_len) {
                continue;
            }
            let reference = match (path, &self.completions) {
                (PathChoice::First, Completions::Refcount(_)) => Some(packet.refcount_probe()),
                _ => None,
            };
            // The batch is empty between bursts.
            let pushed = paths.run.push(packet);
            debug_assert!(pushed.is_ok());
            if tx.tx_burst(now, &mut paths.run) == 1 {
                paths.counters.probes_sent[path as usize] += 1;
                inflight.on_accepted(now, wire_len);
                if let (Some(reference), Completions::Refcount(references)) =
                    (reference, &mut self.completions)
                {
                    references.push_back(reference);
                }
            }
            paths.run.clear();
        }
    }

    /// Which path takes packets now; flows that waited for one that does go on.
    fn look_at_gates(&mut self, now: Nanos, paths: &mut Paths<T>, core: &mut Core<'_>) {
        let from = self.from;
        for path in PathChoice::ALL {
            let (up, room, port) = match path {
                PathChoice::First => {
                    (self.parts.tx.link_up(), self.parts.inflight.room(), self.parts.tx_port)
                }
                PathChoice::Second => {
                    let parts = &paths.parts;
                    (parts.tx.link_up(), parts.inflight.room(), parts.tx_port)
                }
            };
            let (place, has_room) = (path as usize, room >= paths.wire_len_max);
            let look = paths.gates[place].look(now, up, has_room, paths.stall_time[place]);
            if look.got_stuck {
                core.aggregates.on_stall(port);
                core.link.alarm(Event::TxStall { port, at: now });
            }
            self.parts.pacer.set_path_closed(path, !look.is_open);
            if look.is_open || look.is_stuck {
                let how = (look.is_open, look.ends_stale);
                // In the books a packet waits at the port of the lane until it leaves.
                let books = self.parts.tx_port;
                self.parts.pacer.wake_path(now, path, how, |packet, reason| {
                    drop_packet(core, now, from, books, true, &packet, reason);
                });
            }
        }
    }

    fn end_holds(&mut self, now: Nanos, paths: &mut Paths<T>, core: &mut Core<'_>) {
        let mut at = 0;
        while let Some(hold) = paths.holds.get(at).copied() {
            if hold.until > now && self.parts.pacer.is_held(hold.flow) && !self.draining {
                at += 1;
                continue;
            }
            paths.holds.swap_remove(at);
            if self.parts.pacer.is_held(hold.flow) && !self.draining {
                self.decide(now, hold.flow, None, paths, core);
            }
            if self.parts.pacer.is_held(hold.flow) {
                let stays = self.parts.pacer.path_of(hold.flow);
                self.parts.pacer.set_path(now, hold.flow, stays);
            }
            // An exempt packet has ended it, or what it waited for is not so any more.
            let moved = self.parts.pacer.path_of(hold.flow)
                == paths.target(now, hold.flow, self.parts.pacer.flow_terms(hold.flow).0);
            paths.counters.holds_given_up += u64::from(!moved);
        }
    }

    /// No move is under way any more: flows stay where they are.
    pub(super) fn give_up_holds(&mut self, now: Nanos) {
        let Some(paths) = &mut self.paths else { return };
        for hold in paths.holds.drain(..) {
            if self.parts.pacer.is_held(hold.flow) {
                paths.counters.holds_given_up += 1;
                let stays = self.parts.pacer.path_of(hold.flow);
                self.parts.pacer.set_path(now, hold.flow, stays);
            }
        }
    }

    /// Looks at the next flows.
    fn walk(&mut self, now: Nanos, paths: &mut Paths<T>, core: &mut Core<'_>) {
        let made = self.parts.pacer.flows_made();
        for _ in 0..WALK_FLOWS.min(made) {
            paths.cursor = if paths.cursor + 1 < made { paths.cursor + 1 } else { 0 };
            if !self.parts.pacer.is_held(paths.cursor) {
                self.decide(now, paths.cursor, None, paths, core);
            }
        }
    }

    /// Moves a flow, holds it for a move, or leaves it where it is. `begins`: a connection of this class
    /// begins on it.
    fn decide(
        &mut self,
        now: Nanos,
        flow: u32,
        begins: Option<u8>,
        paths: &mut Paths<T>,
        core: &mut Core<'_>,
    ) {
        let pacer = &mut self.parts.pacer;
        let (of_flow, max_hold) = pacer.flow_terms(flow);
        let class = begins.unwrap_or(of_flow);
        let (current, target) = (pacer.path_of(flow), paths.target(now, flow, class));
        let (oldest_waiting, exempt_waits) = pacer.waiting_since(flow);
        let last_departure = self.flow_kpis[flow as usize].last_departure();
        // One that nobody has used yet says nothing of its class.
        let is_used = last_departure.is_some() || oldest_waiting.is_some() || begins.is_some();
        if current == target || !is_used {
            return;
        }
        let up = match target {
            PathChoice::First => self.parts.tx.link_up(),
            PathChoice::Second => paths.parts.tx.link_up(),
        };
        let probed_at = paths.parts.probes[target as usize].answered_at().filter(|_| up);
        let sent = core.connections.as_ref().map_or(Sent::Unknown, |known| known.sent(flow));
        let traffic = match sent {
            _ if begins.is_some() => Traffic::Tcp { unacknowledged: true, at_syn: true },
            Sent::Nothing => Traffic::Udp {
                last_departure,
                oldest_waiting,
                path_drain: paths.parts.rules.path_drain,
                // A cancel waits for no move.
                max_hold: if exempt_waits { Nanos::ZERO } else { max_hold },
            },
            Sent::Acknowledged => Traffic::Tcp { unacknowledged: false, at_syn: false },
            Sent::Unacknowledged | Sent::Unknown => {
                Traffic::Tcp { unacknowledged: true, at_syn: false }
            }
        };
        // Frames go by either path as they are.
        let to = Path { same_addresses: true, probed_at };
        let mixed = paths.is_mixed[usize::from(class)];
        match path::decide(now, to, traffic, mixed, paths.parts.rules.allow_session_move) {
            Move::Now => {
                pacer.set_path(now, flow, target);
                match target {
                    PathChoice::First => {
                        paths.count(flow, class, Nanos::ZERO);
                        paths.counters.returned += 1;
                    }
                    PathChoice::Second => {
                        paths.count(flow, class, now.max(Nanos(1)));
                        paths.counters.moved += 1;
                    }
                }
            }
            Move::HoldUntil(until) if paths.holds.len() < HOLDS_MAX && !pacer.is_held(flow) => {
                pacer.hold(flow);
                if pacer.is_held(flow) {
                    paths.holds.push(Hold { flow, until });
                }
            }
            Move::HoldUntil(_) | Move::Stay(_) => {}
        }
    }

    /// The SYNs of the burst that was just classified: a connection that begins may begin on either path.
    #[cold]
    pub(super) fn begin_connections(&mut self, now: Nanos, core: &mut Core<'_>) {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        const TCP: u8 = 6;
        let Some(mut paths) = self.paths.take() else { return };
        for i in 0..self.arrivals.len() {
            let Some(parsed) = self.parts.classifier.parsed(i) else { continue };
            if parsed.key.protocol != TCP || parsed.tcp_flags & (SYN | ACK) != SYN {
                continue;
            }
            let entry = self.arrivals.get(i).map(|packet| self.parts.classifier.verdict(i, packet));
            let Some(Ok(entry)) = entry else { continue };
            let flow = self.intent.as_ref().map_or(entry.flow, |desk| desk.flow_of(entry.flow));
            if flow != entry.flow || !self.parts.pacer.is_flow_empty(flow) {
                continue;
            }
            if let Some(connections) = &mut core.connections {
                connections.forget(flow);
            }
            self.decide(now, flow, Some(entry.meta.class), &mut paths, core);
        }
        self.paths = Some(paths);
    }

    /// Notes what the venue acknowledges in the burst that has just come from it.
    #[cold]
    pub(super) fn note_acknowledgements(&self, core: &mut Core<'_>) {
        let Some(connections) = core.connections.as_mut().filter(|_| self.from == Side::Venue)
        else {
            return;
        };
        for seen in self.arrivals.iter().filter_map(tcp::read) {
            if let Some(ack) = seen.ack {
                connections.acknowledged(seen.connection, ack);
            }
        }
    }

    /// Wire bytes that both paths still take.
    pub(super) fn room_of_paths(&self) -> Option<u64> {
        let paths = self.paths.as_ref()?;
        let rooms = [self.parts.inflight.room(), paths.parts.inflight.room()];
        // One without room for a frame is closed, and nobody is offered to it.
        rooms.into_iter().filter(|room| *room >= paths.wire_len_max).min().or(Some(0))
    }

    /// Offers the burst: each run of packets to the port of its path, in order, up to the first that is
    /// refused. Returns how many were taken.
    pub(super) fn send_by_paths(&mut self, now: Nanos, core: &mut Core<'_>) -> usize {
        let Some(paths) = self.paths.as_deref_mut() else { return 0 };
        paths.runs.clear();
        let (pacer, leaving) = (&self.parts.pacer, &self.leaving);
        if let Some(connections) = &mut core.connections {
            let sending = self.departures.iter().zip(leaving);
            for (packet, of) in
                sending.filter(|(packet, _)| packet.meta().has(flags::TCP | flags::PAYLOAD))
            {
                if let Some(seen) = tcp::read(packet) {
                    let end = packet.meta().tcp_end_seq;
                    connections.sending(of.flow, seen.connection, end);
                }
            }
        }
        let mut accepted = 0;
        while accepted < leaving.len() {
            let path = pacer.path_of(leaving[accepted].flow);
            let same = |of: &&Leaving| pacer.path_of(of.flow) == path;
            let length = leaving[accepted..].iter().take_while(same).count();
            self.departures.move_front(length, &mut paths.run);
            let tx = match path {
                PathChoice::First => &mut self.parts.tx,
                PathChoice::Second => &mut paths.parts.tx,
            };
            let taken = tx.tx_burst(now, &mut paths.run);
            accepted += taken;
            paths.runs.push((accepted, path));
            paths.gates[path as usize].offered(now, length, taken);
            if taken < length {
                // What it refused stands again before what was not offered.
                self.departures.move_front(usize::MAX, &mut paths.rest);
                paths.run.move_front(usize::MAX, &mut self.departures);
                paths.rest.move_front(usize::MAX, &mut self.departures);
                break;
            }
        }
        accepted
    }

    /// The path of the packets from `from` on, and where its run ends, at most `accepted`.
    #[inline]
    pub(super) fn run_from(&self, from: usize, accepted: usize) -> (usize, u8) {
        match &self.paths {
            None => (accepted, self.parts.tx_port),
            Some(paths) => {
                let run = paths.runs.iter().find(|(end, _)| *end > from);
                match run {
                    Some((end, PathChoice::Second)) => (*end, paths.parts.tx_port),
                    Some((end, PathChoice::First)) => (*end, self.parts.tx_port),
                    None => (accepted, self.parts.tx_port),
                }
            }
        }
    }

    /// Takes what left by either path into the account of its TX queue.
    pub(super) fn count_by_paths(&mut self, accepted: usize, t_tx: Nanos) {
        let mut from = 0;
        while from < accepted {
            let (end, port) = self.run_from(from, accepted);
            let run = self.leaving[from..end].iter_mut().map(Leaving::in_flight);
            let inflight = match &mut self.paths {
                Some(paths) if port == paths.parts.tx_port => &mut paths.parts.inflight,
                _ => &mut self.parts.inflight,
            };
            inflight.on_burst_accepted(t_tx, run);
            from = end;
        }
    }
}
