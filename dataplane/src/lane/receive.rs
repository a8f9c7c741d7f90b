//! The first half of a turn: RX -> classify -> pacer.

use model::drop_reason::DropReason;
use model::kind::Side;
use model::kpi::{FlowKpi, Leaving};
use model::meta::StampSource;
use model::pacer::{CLASS_LINES, Pacer, Seat};
use model::time::Nanos;

use super::release::Held;
use super::rows::drop_packet;
use super::stages::{self, Stage};
use super::{Core, Lane, kpi_cost};
use crate::batch::Batch;
use crate::channel::Event;
use crate::classify::{Classify, Flows};
use crate::hand_over::Ended;
use crate::intent::groups::Queues;
use crate::mbuf::{Mbuf, MbufFifo, prefetch, prefetch_at, prefetch_lines};
use crate::port::{Rx, Tx};
use crate::sampler::Sampler;
use crate::segment::{Passed, SegmentStage, tso_request};

/// The record of a class is fetched so many packets ahead.
const FETCH_AHEAD: usize = 4;
/// A class that stays past its budget raises one alarm in so long.
const BUDGET_ALARM: Nanos = Nanos::from_millis(1);

/// The pacer's flows, and what the KPIs keep of them.
pub(super) struct LaneFlows<'a> {
    pub(super) pacer: &'a mut Pacer<MbufFifo>,
    pub(super) kpis: &'a [FlowKpi],
}

impl Flows for LaneFlows<'_> {
    fn new_flow(&mut self, seat: Seat) -> Option<u32> {
        self.pacer.new_group(seat)
    }

    #[inline(always)]
    fn soon(&self, flow: u32) {
        let record = self.pacer.flow_record(flow);
        let start = std::ptr::from_ref(record).cast::<u8>();
        for line in (0..size_of_val(record)).step_by(64) {
            prefetch_at(start.wrapping_add(line));
        }
        prefetch(&self.kpis[flow as usize]);
    }
}

impl Queues for LaneFlows<'_> {
    fn is_empty(&self, flow: u32) -> bool {
        self.pacer.is_flow_empty(flow)
    }

    fn new_group(&mut self, seat: Seat) -> Option<u32> {
        self.pacer.new_group(seat)
    }

    fn joins(&mut self, flow: u32) {
        self.pacer.leave_group(flow);
    }
}

/// The way into the pacer, and past it for a packet that nothing holds.
struct Entrance<'a> {
    pacer: &'a mut Pacer<MbufFifo>,
    leaving: &'a mut Vec<Leaving>,
    held: &'a mut Vec<Held>,
    departures: &'a mut Batch,
    /// Wire bytes that packets may still take which nothing holds.
    room: u64,
    /// Wire bytes that such packets have taken.
    direct_bytes: u64,
    /// The pacer's short way is open.
    is_open: bool,
    tx_burst: usize,
    from: Side,
    port: u8,
}

impl Entrance<'_> {
    /// Lets packets of a burst out as they came, from the front on, `packets` being those from place `first`
    /// on; up to the first of which somebody else wants something, or that something holds. Returns how
    /// many.
    // By itself: nothing that all the other cases need takes a register from the loop.
    #[inline(never)]
    fn pass<S: Classify>(
        &mut self,
        now: Nanos,
        sampler: &mut Sampler,
        (classifier, segmenter, source): (&S, &SegmentStage, StampSource),
        (first, packets): (usize, &mut [Mbuf]),
    ) -> usize {
        let room =
            self.tx_burst.saturating_sub(self.leaving.len()).min(sampler.next_none() as usize);
        let mut passed = 0;
        for (i, packet) in (first..).zip(packets.iter_mut()).take(room) {
            if let Some(class) = classifier.class_soon(i + FETCH_AHEAD)
                && let Some(record) = self.pacer.class_record(class)
            {
                prefetch_lines(record, CLASS_LINES);
            }
            let Ok(entry) = classifier.verdict(i, packet) else { break };
            if packet.rx_stamp().is_some() || !segmenter.is_fit(packet) {
                break;
            }
            let arrived = classifier.describe(i, &entry, (now, source), packet);
            let meta = packet.meta_mut();
            let wire_len = u64::from(meta.wire_len());
            if arrived != now
                || meta.wanted() != now
                || wire_len > self.room
                || sampler.keeps_kind(meta.kind)
                || !self.pacer.admit_open(now, entry.flow, entry.meta.venue, meta)
            {
                break;
            }
            self.room -= wire_len;
            self.direct_bytes += wire_len;
            self.leaving.push(Leaving::new(entry.flow, false, meta));
            passed += 1;
        }
        sampler.pass(passed as u32);
        passed
    }

    /// Takes a classified packet in, whose arrival is counted here unless `counted` says that it is: of
    /// one that leaves as it came arrival and departure are counted in one. `is_new`: it has arrived now,
    /// and nobody wants anything of it.
    #[inline(always)]
    fn enter(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        (flow, venue): (u32, u8),
        mut packet: Mbuf,
        (counted, is_new): (bool, bool),
    ) {
        let meta = packet.meta_mut();
        let taken = core.sampler.takes(meta.kind, now);
        if taken != 0 {
            meta.flags |= taken;
            let backlog = self.pacer.class_queued_bytes(meta.class);
            packet.set_note(u32::try_from(backlog).unwrap_or(u32::MAX));
        }
        let meta = packet.meta_mut();
        let wire_len = u64::from(meta.wire_len());
        if self.is_open
            && wire_len <= self.room
            && (is_new || meta.wanted() == now)
            && self.leaving.len() < self.tx_burst
            && self.pacer.admit_open(now, flow, venue, meta)
        {
            self.room -= wire_len;
            self.direct_bytes += wire_len;
            let is_aside = !is_new || taken != 0 || counted;
            if is_aside {
                if !counted {
                    self.count_arrival(now, core, &packet);
                }
                self.held.push(Held::admitted(now, &packet));
            }
            self.leaving.push(Leaving::new(flow, is_aside, packet.meta()));
            let pushed = self.departures.push(packet);
            debug_assert!(pushed.is_ok());
            return;
        }
        if !counted {
            self.count_arrival(now, core, &packet);
        }
        if let Err((packet, reason)) = self.pacer.enqueue(now, flow, venue, packet) {
            drop_packet(core, now, self.from, self.port, true, &packet, reason);
        }
        self.is_open = self.pacer.is_short_way_open();
    }

    /// Not `meta.len`: a capture may hold frames that are longer than it can say.
    #[inline]
    fn count_arrival(&self, now: Nanos, core: &mut Core<'_>, packet: &Mbuf) {
        core.aggregates.on_arrival(self.port, Some(packet.meta().class), packet.len(), now);
    }

    /// Takes a super-frame in: whole, in segments, or not at all.
    #[cold]
    fn enter_cut(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        place: (u32, u8),
        (segmenter, tx): (&mut SegmentStage, &mut impl Tx),
        packet: Mbuf,
    ) {
        self.count_arrival(now, core, &packet);
        let (class, len) = (packet.meta().class, packet.len());
        match segmenter.pass(packet) {
            Ok(Passed::Whole(mut packet)) => {
                // Before the pacer has it, so that what the driver refuses has cost nothing.
                if tso_request(&packet).is_some() && !tx.prepare(&mut packet) {
                    let reason = DropReason::SegmentUnsupported;
                    drop_packet(core, now, self.from, self.port, true, &packet, reason);
                    return;
                }
                self.enter(now, core, place, packet, (true, false));
            }
            Ok(Passed::Cut(cut)) => {
                let lengths = cut.segments.as_slice().iter().map(Mbuf::len);
                core.aggregates.on_segmented(self.port, class, len, lengths);
                for segment in cut.segments {
                    self.enter(now, core, place, segment, (true, false));
                }
            }
            Err((packet, reason)) => {
                if reason == DropReason::PoolEmpty {
                    core.link.alarm(Event::PoolAlarm { at: now, packets: 1 });
                }
                drop_packet(core, now, self.from, self.port, true, &packet, reason);
            }
        }
    }
}

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// RX -> classify -> pacer. Returns how many packets came.
    pub fn receive(&mut self, now: Nanos, core: &mut Core<'_>) -> usize {
        stages::mark(&mut self.stages, Stage::Turn);
        kpi_cost::begin_turn(&mut self.kpi_cost, core.aggregates);
        // Here, where no flow has a packet between pacer and port.
        if now >= self.next_age {
            self.age(now);
        }
        if self.paths.is_some() {
            self.tend_paths(now, core);
        }
        let received = self.parts.rx.rx_burst(now, &mut self.arrivals);
        stages::received(&mut self.stages, received);
        kpi_cost::received(&mut self.kpi_cost, received);
        self.count_missed(now, core);
        self.count_ended_elsewhere(core);
        if let Some(desk) = &mut self.intent {
            // Now, not before: a record goes ahead of its bytes, and these may just have come.
            desk.poll(now);
        }
        if received == 0 {
            return 0;
        }
        core.aggregates.on_received(self.parts.tx_port, received as u64);
        if let Some(desk) = &mut self.intent {
            desk.open(&mut self.arrivals);
        }
        // What time has made due, and room that it has made, was there before what arrives now.
        self.parts.pacer.poll(now);
        if self.parts.inflight.source().reports() {
            self.completed |= self.complete(now, core);
        }
        self.reserve.look(self.parts.pacer.queued_packets() > 0);
        let room = self.room_for_direct();
        let burst = self.arrivals.len();
        let mut flows = LaneFlows { pacer: &mut self.parts.pacer, kpis: &self.flow_kpis };
        self.parts.classifier.classify(&self.arrivals, &mut flows);
        if core.link.tap_mut().is_some() {
            self.tap_received(now, core);
        }
        if core.connections.is_some() {
            self.note_acknowledgements(core);
            self.begin_connections(now, core);
        }
        stages::mark(&mut self.stages, Stage::Classify);
        if self.is_plain() {
            self.enter_burst::<true>(now, room, core);
        } else {
            self.enter_burst::<false>(now, room, core);
        }
        self.look_at_budgets(now, core);
        self.reserve.alarm(now, |event| core.link.alarm(event));
        stages::mark(&mut self.stages, Stage::Admit);
        burst
    }

    /// Whether nothing but the classifier and the pacer has a say in what a burst becomes.
    fn is_plain(&self) -> bool {
        self.intent.is_none()
            && !self.parts.pacer.is_parted()
            && !self.parts.rx.writes_arrival()
            && !self.reserve.is_low()
    }

    /// classify -> pacer, or past it, for each packet of the burst. `PLAIN`: see [`Lane::is_plain`]; what
    /// has no say is not asked.
    #[inline(always)]
    fn enter_burst<const PLAIN: bool>(&mut self, now: Nanos, room: u64, core: &mut Core<'_>) {
        let parts = &mut self.parts;
        let port = parts.tx_port;
        let held_back = !PLAIN && parts.rx.writes_arrival();
        let is_parted = !PLAIN && parts.pacer.is_parted();
        let mut entrance = Entrance {
            is_open: parts.pacer.is_short_way_open(),
            pacer: &mut parts.pacer,
            leaving: &mut self.leaving,
            held: &mut self.held,
            departures: &mut self.departures,
            room,
            direct_bytes: 0,
            tx_burst: self.tx_burst,
            from: self.from,
            port,
        };
        let mut packets = self.arrivals.drain();
        // The short way is tried again where it was of use.
        let (mut i, mut passes) = (0, PLAIN);
        loop {
            if passes && entrance.is_open {
                let by = (&parts.classifier, &parts.segmenter, parts.clock_source);
                let passed = entrance.pass(now, core.sampler, by, (i, packets.as_mut_slice()));
                let moved = packets.move_front(passed, entrance.departures);
                debug_assert_eq!(moved, passed);
                (i, passes) = (i + passed, passed > 0);
            }
            let Some(mut packet) = packets.next() else { break };
            let place = i;
            i += 1;
            if let Some(class) = parts.classifier.class_soon(place + FETCH_AHEAD)
                && let Some(record) = entrance.pacer.class_record(class)
            {
                prefetch_lines(record, CLASS_LINES);
            }
            let len = packet.len();
            let mut refused = None;
            if !PLAIN && let Some(desk) = &self.intent {
                refused = desk.end_of(place);
                core.aggregates.on_stripped(port, desk.stripped_bytes(place));
            }
            let verdict = refused.map_or_else(|| parts.classifier.verdict(place, &packet), Err);
            let entry = match verdict {
                Ok(entry) => entry,
                Err(reason) => {
                    core.aggregates.on_arrival(port, None, len, now);
                    drop_packet(core, now, self.from, port, false, &packet, reason);
                    continue;
                }
            };
            let arrival = match packet.rx_stamp() {
                // It came before it was delivered, and others may have come since.
                _ if held_back => (packet.meta().arrival, parts.clock_source),
                Some(stamp) if parts.carried_is_gateway_time => {
                    // A capture may step back; a packet cannot arrive before the one ahead of it.
                    self.stamps_backwards += u64::from(Nanos(stamp) < self.last_arrival);
                    self.last_arrival = self.last_arrival.max(Nanos(stamp));
                    (self.last_arrival, StampSource::Capture)
                }
                Some(stamp) => match self.stamps.arrival(stamp, now) {
                    Some((at, source)) => {
                        // Two models of a clock may overlap by their error: as above.
                        self.last_arrival = self.last_arrival.max(at).min(now);
                        (self.last_arrival, source)
                    }
                    None => (now, parts.clock_source),
                },
                None => (now, parts.clock_source),
            };
            let arrived = parts.classifier.describe(place, &entry, arrival, &mut packet);
            let (mut flow, mut venue) = (entry.flow, entry.meta.venue);
            let meta = packet.meta_mut();
            if !PLAIN
                && let Some(desk) = &mut self.intent
                && let Some(parsed) = parts.classifier.parsed(place)
            {
                let mut flows = LaneFlows { pacer: entrance.pacer, kpis: &self.flow_kpis };
                flow = desk.apply(place, &parsed, flow, &mut flows, meta, &mut venue);
                entrance.is_open = entrance.pacer.is_short_way_open();
                if flow != entry.flow {
                    // A group holds several connections, each with sequence numbers of its own.
                    meta.set_segment_bytes(0);
                }
            }
            if is_parted {
                meta.class = entrance.pacer.class_in_arm(flow, meta.class);
            }
            if !PLAIN && let Some(reason) = self.reserve.end_of(meta) {
                core.aggregates.on_arrival(port, Some(meta.class), len, now);
                drop_packet(core, now, self.from, port, true, &packet, reason);
                continue;
            }
            if parts.segmenter.is_fit(&packet) {
                let meta = packet.meta();
                let is_new =
                    arrived == now && (PLAIN || meta.due == now && meta.dispatch_lag_ns == 0);
                entrance.enter(now, core, (flow, venue), packet, (false, is_new));
            } else {
                let by = (&mut parts.segmenter, &mut parts.tx);
                entrance.enter_cut(now, core, (flow, venue), by, packet);
            }
        }
        self.direct_bytes += entrance.direct_bytes;
    }

    /// The end of a drain: what still waits in front of the pacer (the core that receives did not end
    /// in time) is taken over, so that it ends in the books. Bounded by what waits now.
    pub fn receive_waiting(&mut self, now: Nanos, core: &mut Core<'_>) {
        let mut waiting = self.parts.rx.waiting() as usize;
        while waiting > 0 {
            match self.receive(now, core) {
                0 => return,
                received => waiting = waiting.saturating_sub(received),
            }
        }
    }

    /// Wire bytes that packets may take which nothing holds: none while others wait for the port.
    fn room_for_direct(&self) -> u64 {
        let free = self.parts.tx.link_up() && self.link_was_up && self.blocked_since.is_none();
        if free { self.room() } else { 0 }
    }

    fn count_missed(&mut self, now: Nanos, core: &mut Core<'_>) {
        let port = self.parts.tx_port;
        let mut missed = 0;
        while let Some(len) = self.parts.rx.take_missed() {
            core.aggregates.on_arrival(port, None, len, now);
            core.aggregates.on_drop(port, None, len, DropReason::PoolEmpty, now);
            missed += 1;
        }
        if missed > 0 {
            core.link.alarm(Event::PoolAlarm { at: now, packets: missed });
        }
    }

    /// What has ended on a core that receives for this one.
    #[inline]
    fn count_ended_elsewhere(&mut self, core: &mut Core<'_>) {
        let port = self.parts.tx_port;
        self.parts.rx.take_ended(|ended, count| match ended {
            Ended::Unclassified(reason) => {
                core.aggregates.on_ended_elsewhere(port, None, reason, count);
            }
            Ended::RingFull(class) => {
                let reason = DropReason::RingFull;
                core.aggregates.on_ended_elsewhere(port, Some(class), reason, count);
            }
        });
    }

    fn look_at_budgets(&mut self, now: Nanos, core: &mut Core<'_>) {
        let budgets = self.parts.pacer.counters();
        if budgets.over_budget != self.over_budget_seen {
            self.over_budget_seen = budgets.over_budget;
            if now >= self.next_budget_alarm {
                self.next_budget_alarm = now.saturating_add(BUDGET_ALARM);
                let class = budgets.over_budget_class;
                core.link.alarm(Event::Backpressure { class, at: now });
            }
        }
    }
}
