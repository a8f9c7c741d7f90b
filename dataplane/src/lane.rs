//! One direction of a port pair: RX -> classify -> pacer -> TX -> stamp -> sample.
//!
//! [`Lane::receive`] and [`Lane::release`] are the two halves of a turn; the worker calls them for
//! each of its lanes. Both are bounded by one burst and allocate nothing.

use std::collections::VecDeque;

use model::config::Config;
use model::drop_reason::DropReason;
use model::inflight::{Alert, CompletionSource, InFlight};
use model::kind::Side;
use model::kpi::{Block, CoreAggregates, Departure, FlowKpi, InFlight as InFlightReading};
use model::meta::{PacketMeta, StampSource, flags};
use model::pacer::{Next, Pacer};
use model::profile::Profile;
use model::sample::{DepartureSource, End, Mode, Release, Sample};
use model::stop::StopWords;
use model::time::Nanos;

use crate::batch::Batch;
use crate::channel::{Event, WorkerLink};
use crate::classify::Classifier;
use crate::mbuf::{Mbuf, MbufFifo, ProbeRef};
use crate::port::{Rx, Tx};
use crate::sampler::Sampler;

/// While a port takes nothing, what has become too old is looked for so often. A look walks all flows.
const STUCK_LOOK: Nanos = Nanos::from_micros(500);
/// A class that stays past its budget raises one alarm in so long.
const BUDGET_ALARM: Nanos = Nanos::from_millis(1);

/// What a released packet leaves behind when the port has taken it.
struct Leaving {
    meta: PacketMeta,
    carried: Option<u64>,
    backlog_bytes: u32,
    eligible: Nanos,
    flow: u32,
    release: Release,
    bucket_held: bool,
}

impl Leaving {
    /// Of a packet that the pacer has let through at once.
    #[inline]
    fn admitted(now: Nanos, flow: u32, packet: &Mbuf) -> Self {
        Self {
            meta: *packet.meta(),
            carried: packet.rx_stamp(),
            backlog_bytes: packet.note(),
            eligible: now,
            flow,
            release: Release::Governed,
            bucket_held: false,
        }
    }
}

/// How the completions of the TX queue are learnt.
enum Completions {
    /// Nothing to learn, or the link model's own.
    None,
    /// The ring behind net_ring.
    RingCount,
    /// Extra references to what is in flight, oldest first; bounded by the TX descriptors.
    Refcount(VecDeque<ProbeRef>),
}

/// What a lane shares with the other lanes of its core.
pub struct Core<'a> {
    /// Aggregates of every packet.
    pub aggregates: &'a mut CoreAggregates,
    /// The way to control.
    pub link: &'a mut WorkerLink<Block>,
    /// Which packets leave a full sample.
    pub sampler: &'a mut Sampler,
}

/// What a lane is made of.
pub struct LaneParts<R, T> {
    /// Where packets come from.
    pub rx: R,
    /// Where they go.
    pub tx: T,
    /// Index of the ingress port in the config.
    pub rx_port: u8,
    /// Index of the egress port in the config.
    pub tx_port: u8,
    /// Its classifier.
    pub classifier: Classifier,
    /// Its pacer.
    pub pacer: Pacer<MbufFifo>,
    /// The account of the TX queue.
    pub inflight: InFlight,
    /// How departure times are made.
    pub departure_source: DepartureSource,
    /// What an arrival stamp is where the packet carries none.
    pub clock_source: StampSource,
    /// Stamps that packets carry are gateway time.
    pub carried_is_gateway_time: bool,
}

/// See the module.
pub struct Lane<R, T> {
    parts: LaneParts<R, T>,
    from: Side,
    flow_kpis: Box<[FlowKpi]>,
    completions: Completions,
    arrivals: Batch,
    departures: Batch,
    leaving: Vec<Leaving>,
    tx_burst: usize,
    last_arrival: Nanos,
    stamps_backwards: u64,
    /// Since when a due packet waits for the port.
    blocked_since: Option<Nanos>,
    /// Since when the port has taken nothing at all of what was due.
    stuck_since: Option<Nanos>,
    stuck_told: bool,
    stall_time: Nanos,
    next_look: Nanos,
    link_was_up: bool,
    draining: bool,
    over_budget_seen: u64,
    next_budget_alarm: Nanos,
}

impl<R: Rx, T: Tx> Lane<R, T> {
    /// A lane between two ports of `config`.
    pub fn new(config: &Config, parts: LaneParts<R, T>) -> Self {
        let flows = Classifier::flows_needed(config) as usize;
        let descriptors = usize::from(config.ports[usize::from(parts.tx_port)].tx_descriptors);
        let completions = match parts.inflight.source() {
            CompletionSource::RingCount => Completions::RingCount,
            CompletionSource::RefcountProbe => {
                Completions::Refcount(VecDeque::with_capacity(descriptors))
            }
            CompletionSource::Synchronous | CompletionSource::LinkModel => Completions::None,
        };
        let tx_burst = usize::from(config.ports[usize::from(parts.rx_port)].rx_burst);
        Self {
            from: config.ports[usize::from(parts.rx_port)].side,
            flow_kpis: vec![FlowKpi::default(); flows].into_boxed_slice(),
            completions,
            arrivals: Batch::new(),
            departures: Batch::new(),
            leaving: Vec::with_capacity(tx_burst),
            tx_burst,
            last_arrival: Nanos::ZERO,
            stamps_backwards: 0,
            blocked_since: None,
            stuck_since: None,
            stuck_told: false,
            stall_time: config.ports[usize::from(parts.tx_port)].stall_time,
            next_look: Nanos::ZERO,
            link_was_up: true,
            draining: false,
            over_budget_seen: 0,
            next_budget_alarm: Nanos::ZERO,
            parts,
        }
    }

    /// RX -> classify -> pacer. Returns how many packets came.
    pub fn receive(&mut self, now: Nanos, core: &mut Core<'_>) -> usize {
        let parts = &mut self.parts;
        let port = parts.tx_port;
        let received = parts.rx.rx_burst(now, &mut self.arrivals);
        let mut missed = 0;
        while let Some(len) = parts.rx.take_missed() {
            core.aggregates.on_arrival(port, None, len, now);
            core.aggregates.on_drop(port, None, len, DropReason::PoolEmpty, now);
            missed += 1;
        }
        if missed > 0 {
            core.link.alarm(Event::PoolAlarm { at: now, packets: missed });
        }
        if received == 0 {
            return 0;
        }
        // What time has made due was there before what arrives now.
        parts.pacer.poll(now);
        let port_is_free = parts.tx.link_up() && self.link_was_up && self.blocked_since.is_none();
        let mut room = parts.inflight.room();
        let (pacer, last_arrival, backwards) =
            (&mut parts.pacer, &mut self.last_arrival, &mut self.stamps_backwards);
        let verdicts = parts.classifier.classify(
            &mut self.arrivals,
            |carried| match carried {
                Some(stamp) if parts.carried_is_gateway_time => {
                    // A capture may step back; a packet cannot arrive before the one ahead of it.
                    *backwards += u64::from(Nanos(stamp) < *last_arrival);
                    *last_arrival = (*last_arrival).max(Nanos(stamp));
                    (*last_arrival, StampSource::Capture)
                }
                _ => (now, parts.clock_source),
            },
            || pacer.new_flow(),
        );
        for (mut packet, verdict) in self.arrivals.drain().zip(verdicts) {
            // Not `meta.len`: a capture may hold frames that are longer than it can say.
            let len = packet.len();
            let end = match *verdict {
                Err(reason) => {
                    core.aggregates.on_arrival(port, None, len, now);
                    Err((packet, reason))
                }
                Ok(to) => {
                    let class = packet.meta().class;
                    core.aggregates.on_arrival(port, Some(class), len, now);
                    if core.sampler.takes() {
                        packet.meta_mut().flags |= flags::SAMPLED;
                        let backlog = pacer.class_queued_bytes(class);
                        packet.set_note(u32::try_from(backlog).unwrap_or(u32::MAX));
                    }
                    if port_is_free
                        && self.leaving.len() < self.tx_burst
                        && pacer.admit(now, to.flow, to.venue, packet.meta_mut(), room)
                    {
                        room = room.saturating_sub(u64::from(packet.meta().wire_len()));
                        self.leaving.push(Leaving::admitted(now, to.flow, &packet));
                        let pushed = self.departures.push(packet);
                        debug_assert!(pushed.is_ok());
                        continue;
                    }
                    pacer.enqueue(now, to.flow, to.venue, packet)
                }
            };
            if let Err((packet, reason)) = end {
                drop_packet(core, now, self.from, port, verdict.is_ok(), &packet, reason);
            }
        }
        let budgets = parts.pacer.counters();
        if budgets.over_budget != self.over_budget_seen {
            self.over_budget_seen = budgets.over_budget;
            if now >= self.next_budget_alarm {
                self.next_budget_alarm = now.saturating_add(BUDGET_ALARM);
                let class = budgets.over_budget_class;
                core.link.alarm(Event::Backpressure { class, at: now });
            }
        }
        received
    }

    /// pacer -> TX -> stamp -> sample. `after_tx` reads the clock once the port has answered.
    /// Returns how many packets left.
    pub fn release(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        after_tx: impl FnOnce() -> Nanos,
    ) -> usize {
        let completed = self.complete(now, core);
        self.parts.pacer.poll(now);
        if self.parts.pacer.is_sweeping() {
            self.sweep(now, core);
        }
        let up = self.link_is_up(now, core);
        if self.leaving.is_empty() && !self.parts.pacer.is_due() {
            self.parts.inflight.set_waiting(now, false);
            self.note_offer(now, 0, false);
            return 0;
        }
        if !self.may_offer(now, up, core) {
            let probes = self.probes();
            self.take_back(now, 0, probes);
            self.leaving.clear();
            return 0;
        }
        // Less what was admitted at arrival.
        let mut room = self.leaving.iter().fold(self.parts.inflight.room(), |room, leaving| {
            room.saturating_sub(u64::from(leaving.meta.wire_len()))
        });
        let mut refused = false;
        while self.departures.len() < self.tx_burst {
            match self.parts.pacer.next(now, room) {
                Next::Packet(released) => {
                    let meta = released.packet.meta();
                    room = room.saturating_sub(u64::from(meta.wire_len()));
                    self.leaving.push(Leaving {
                        meta: *meta,
                        carried: released.packet.rx_stamp(),
                        backlog_bytes: released.packet.note(),
                        eligible: released.eligible,
                        flow: released.flow,
                        release: released.release,
                        bucket_held: released.bucket_held,
                    });
                    // The batch is empty at the start of a turn and holds more than a burst.
                    let pushed = self.departures.push(released.packet);
                    debug_assert!(pushed.is_ok());
                }
                Next::Ended(packet, reason) => {
                    let (from, port) = (self.from, self.parts.tx_port);
                    drop_packet(core, now, from, port, true, &packet, reason);
                }
                Next::NoRoom => {
                    refused = true;
                    break;
                }
                Next::Nothing => break,
            }
        }
        self.parts.inflight.set_waiting(now, refused);
        if self.leaving.is_empty() {
            self.note_offer(now, 0, refused);
            return 0;
        }

        let probes_from = self.take_probes();
        let accepted = self.parts.tx.tx_burst(now, &mut self.departures);
        let t_tx = after_tx();
        refused |= accepted < self.leaving.len();
        self.take_back(now, accepted, probes_from);
        for i in 0..accepted {
            self.stamp(i, t_tx, core);
        }
        self.leaving.clear();
        self.report_in_flight(core, completed || accepted > 0);
        self.note_offer(now, accepted, refused);
        accepted
    }

    /// When this lane has something to do without anyone calling: its source, its pacer, its port.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let parts = &self.parts;
        let pacer = match self.blocked_since {
            // Due packets wait for the port: time alone does not help them.
            Some(_) if parts.pacer.is_due() => None,
            _ => parts.pacer.next_event(now),
        };
        [parts.rx.next_event(), pacer, parts.inflight.next_event(), parts.tx.next_event()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Packets held.
    pub fn held(&self) -> u32 {
        self.parts.pacer.queued_packets()
    }

    /// New caps, at a burst boundary.
    pub fn set_profile(&mut self, now: Nanos, profile: &Profile) {
        self.parts.pacer.set_profile(now, profile);
        if let Some(egress) = profile.egress.get(usize::from(self.parts.tx_port)) {
            self.parts.inflight.set_limit(egress.inflight_limit_bytes);
        }
    }

    /// New stop words, at a burst boundary.
    pub fn set_words(&mut self, now: Nanos, words: &StopWords, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.set_words(now, words, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    /// Shutdown: nothing older than `max_hold` is released, the rest at once.
    pub fn begin_drain(&mut self, now: Nanos, core: &mut Core<'_>) {
        self.draining = true;
        self.end_stale(now, core);
        self.parts.pacer.begin_drain(now);
    }

    /// Ends what is still held.
    pub fn stop(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.stop(|packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    /// What is still below the TX queue is waited for no longer: references are given back.
    pub fn close(self) -> LaneParts<R, T> {
        self.parts
    }

    /// Capture stamps that went backwards and were moved up.
    pub const fn stamps_backwards(&self) -> u64 {
        self.stamps_backwards
    }

    /// Its parts, to read counters.
    pub const fn parts(&self) -> &LaneParts<R, T> {
        &self.parts
    }

    /// The next slice of a change of words, age or profile.
    #[cold]
    fn sweep(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.sweep(now, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    fn end_stale(&mut self, now: Nanos, core: &mut Core<'_>) {
        let (from, port) = (self.from, self.parts.tx_port);
        self.parts.pacer.end_stale(now, |packet, reason| {
            drop_packet(core, now, from, port, true, &packet, reason);
        });
    }

    /// Learns what has left below the TX queue. Returns whether anything has.
    fn complete(&mut self, now: Nanos, core: &mut Core<'_>) -> bool {
        let parts = &mut self.parts;
        let below = parts.inflight.packets();
        let done = match &mut self.completions {
            Completions::None => 0,
            Completions::RingCount => below.saturating_sub(parts.tx.ring_occupancy().unwrap_or(0)),
            Completions::Refcount(probes) => {
                if below > 0 {
                    parts.tx.reap(now);
                }
                let done = probes.iter().take_while(|probe| probe.is_done()).count();
                probes.drain(..done);
                done as u32
            }
        };
        let mut any = parts.inflight.on_completed(now, done).is_some();
        while parts.inflight.poll(now).is_some() {
            any = true;
        }
        while let Some(alert) = parts.inflight.take_alert() {
            let port = parts.tx_port;
            match alert {
                Alert::Stalled { .. } => {
                    core.aggregates.on_stall(port);
                    core.link.alarm(Event::TxStall { port, at: now });
                }
                Alert::Starved { at, .. } => {
                    core.aggregates.on_starvation(port);
                    core.link.alarm(Event::Starvation { port, at });
                }
                Alert::StallEnded { .. } => {
                    let from = self.from;
                    parts.pacer.end_stale(now, |packet, reason| {
                        drop_packet(core, now, from, port, true, &packet, reason);
                    });
                }
            }
        }
        any
    }

    /// A link that comes back finds nothing that is older than its `max_hold`.
    fn link_is_up(&mut self, now: Nanos, core: &mut Core<'_>) -> bool {
        let up = self.parts.tx.link_up();
        if up != self.link_was_up {
            self.link_was_up = up;
            core.link.alarm(Event::Link { port: self.parts.tx_port, up, at: now });
            if up {
                self.stuck_since = None;
                self.end_stale(now, core);
            }
        }
        up
    }

    /// Whether the port is worth asking. One that is down, that has taken nothing for `stall_time`, or
    /// that keeps a drain waiting must find nothing older than its `max_hold` when it takes packets
    /// again, and what it will never get must not fill the pool meanwhile.
    #[inline]
    fn may_offer(&mut self, now: Nanos, up: bool, core: &mut Core<'_>) -> bool {
        let stuck =
            self.stuck_since.is_some_and(|since| now.saturating_sub(since) >= self.stall_time);
        if up && !stuck && (!self.draining || self.blocked_since.is_none()) {
            return true;
        }
        self.look_at_waiting(now, up, stuck, core)
    }

    #[cold]
    fn look_at_waiting(&mut self, now: Nanos, up: bool, stuck: bool, core: &mut Core<'_>) -> bool {
        let inflight = &self.parts.inflight;
        // With bytes in flight the missing completions tell of the stall.
        if stuck && !self.stuck_told && (!inflight.source().reports() || inflight.packets() == 0) {
            self.stuck_told = true;
            core.aggregates.on_stall(self.parts.tx_port);
            core.link.alarm(Event::TxStall { port: self.parts.tx_port, at: now });
        }
        self.blocked_since.get_or_insert(now);
        if now < self.next_look && !self.draining {
            return false;
        }
        self.next_look = now.saturating_add(STUCK_LOOK);
        self.end_stale(now, core);
        up
    }

    /// References held to what is in flight.
    fn probes(&self) -> usize {
        match &self.completions {
            Completions::Refcount(probes) => probes.len(),
            _ => 0,
        }
    }

    /// References to what is about to be handed over. Returns how many there were before.
    fn take_probes(&mut self) -> usize {
        let Completions::Refcount(probes) = &mut self.completions else { return 0 };
        let before = probes.len();
        probes.extend(self.departures.iter().map(Mbuf::refcount_probe));
        before
    }

    /// What the port did not take goes back to the heads of its flows, last first, and is not
    /// charged.
    fn take_back(&mut self, now: Nanos, accepted: usize, probes_from: usize) {
        if let Completions::Refcount(probes) = &mut self.completions {
            probes.truncate(probes_from + accepted);
        }
        while let Some(packet) = self.departures.pop() {
            self.parts.pacer.undo(now, packet);
        }
        self.parts.pacer.commit(accepted);
    }

    fn stamp(&mut self, i: usize, t_tx: Nanos, core: &mut Core<'_>) {
        let Leaving { meta, carried, backlog_bytes, eligible, flow, release, bucket_held } =
            &self.leaving[i];
        let parts = &mut self.parts;
        let t_wire = parts.inflight.on_accepted(t_tx, meta.wire_len()).unwrap_or(t_tx);
        let link_wait = self
            .blocked_since
            .map_or(Nanos::ZERO, |since| t_tx.saturating_sub(since.max(meta.wanted())));
        core.aggregates.on_departure(
            &Departure {
                meta,
                port: parts.tx_port,
                t_eligible: *eligible,
                t_tx,
                t_wire,
                release: *release,
                bucket_held: *bucket_held,
                link_wait,
            },
            &mut self.flow_kpis[*flow as usize],
        );
        core.link.released(t_tx.saturating_sub(*eligible).saturating_sub(link_wait));
        if meta.has(flags::SAMPLED) {
            let mut row = row(core, meta, self.from, parts.tx_port, End::Sent(*release));
            row.flow = *flow;
            row.t_eligible = Some(*eligible);
            row.t_tx = Some(t_tx);
            row.t_wire = Some(t_wire);
            row.t_delivery = (self.from == Side::Venue).then_some(t_wire);
            row.t_carried = if parts.carried_is_gateway_time { None } else { *carried };
            row.departure_source = parts.departure_source;
            row.simulated_link = parts.inflight.source().is_simulated();
            row.backlog_bytes = u64::from(*backlog_bytes);
            core.link.sample(&row);
        }
    }

    fn report_in_flight(&mut self, core: &mut Core<'_>, changed: bool) {
        let inflight = &self.parts.inflight;
        if changed && inflight.source().reports() {
            core.aggregates.on_in_flight(
                self.parts.tx_port,
                InFlightReading {
                    packets: inflight.packets(),
                    bytes: inflight.bytes(),
                    limit_bytes: inflight.limit_bytes(),
                },
            );
        }
    }

    /// What became of the packets that were due: `refused` = some of them wait for the port.
    fn note_offer(&mut self, now: Nanos, accepted: usize, refused: bool) {
        self.blocked_since = refused.then(|| self.blocked_since.unwrap_or(now));
        if refused && accepted == 0 {
            self.stuck_since.get_or_insert(now);
        } else {
            (self.stuck_since, self.stuck_told) = (None, false);
        }
    }
}

/// Counts the end of a packet and keeps its row where it is sampled.
fn drop_packet(
    core: &mut Core<'_>,
    now: Nanos,
    from: Side,
    port: u8,
    has_class: bool,
    packet: &Mbuf,
    reason: DropReason,
) {
    let meta = packet.meta();
    core.aggregates.on_drop(port, has_class.then_some(meta.class), packet.len(), reason, now);
    if has_class && meta.has(flags::SAMPLED) {
        let row = row(core, meta, from, port, End::Dropped(reason));
        core.link.sample(&row);
    }
}

fn row(core: &mut Core<'_>, meta: &PacketMeta, from: Side, port: u8, end: End) -> Sample {
    let ago = |lag: u32| meta.arrival.saturating_sub(Nanos(u64::from(lag)));
    Sample {
        packet_id: core.sampler.next_row(),
        correlation_id: (meta.correlation_id != 0).then_some(meta.correlation_id),
        flow: 0,
        tcp_end_seq: meta.has(flags::TCP).then_some(meta.tcp_end_seq),
        class: meta.class,
        label: meta.label,
        kind: meta.kind(),
        urgency: meta.urgency,
        len: meta.len,
        messages: meta.messages,
        t_decision: (meta.decision_lag_ns != u32::MAX).then(|| ago(meta.decision_lag_ns)),
        t_dispatch: ago(meta.dispatch_lag_ns),
        t_due: meta.due,
        t_sched: Some(meta.sched),
        t_normal: (meta.normal_lag_ns != i32::MIN)
            .then(|| Nanos(meta.sched.0.saturating_add_signed(-i64::from(meta.normal_lag_ns)))),
        t_eligible: None,
        t_tx: None,
        t_wire: None,
        t_ingress: meta.arrival,
        t_carried: None,
        t_delivery: None,
        clock_error_ns: None,
        intent: meta.intent_source(),
        ingress_source: meta.stamp_source(),
        departure_source: DepartureSource::Tsc,
        simulated_link: false,
        from,
        port,
        queue: 0,
        backlog_bytes: 0,
        end,
        regime: None,
        profile: core.link.profile().index,
        mode: Mode::Observe,
        canary: None,
        weight: core.sampler.weight(),
    }
}
