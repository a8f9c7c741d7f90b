//! The second half of a turn: pacer -> TX -> stamp -> sample.

use std::ops::Range;

use model::kind::Side;
use model::kpi::{Departure, Plain, RECORD_LINES};
use model::meta::{PacketMeta, flags};
use model::pacer::{Next, Released};
use model::sample::{End, Release, TcpSeen};
use model::time::Nanos;

use super::receive::FETCH_AHEAD;
use super::rows::{drop_packet, row};
use super::stages::{self, Stage};
use super::{Core, Lane, tcp};
use crate::classify::Classify;
use crate::mbuf::{Mbuf, prefetch_lines};
use crate::port::{Rx, Tx};
use crate::segment::mark_ce as mark_ce_of;

/// What has to be known of a packet once the port has taken it, and with it its metadata. Of one
/// that left as it came, these few figures and the time of the turn say it all; the rest of any
/// other is kept aside.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    flow: u32,
    /// Its place in [`Lane::held`], [`Leaving::DIRECT`] = it left as it came.
    held: u32,
    /// When it departs, known when the port has taken it.
    t_wire: Nanos,
    wire_len: u32,
    // Not in the order of the metadata: two fields of it that were just written would be copied by one
    // load, and that waits until both are in the cache.
    messages: u16,
    len: u16,
    class: u8,
    urgency: u8,
    sources: u8,
}

/// The rest of a packet that has waited, or that leaves a row.
#[derive(Clone, Copy)]
pub(super) struct Held {
    meta: PacketMeta,
    carried: Option<u64>,
    backlog_bytes: u32,
    eligible: Nanos,
    release: Release,
    bucket_held: bool,
    /// When the NIC sends it, where it is told.
    launch: Option<Nanos>,
    /// Of a sampled packet: once it has left there is nothing to read any more.
    tcp: Option<TcpSeen>,
}

impl Leaving {
    pub(super) const DIRECT: u32 = u32::MAX;

    pub(super) const fn flow(&self) -> u32 {
        self.flow
    }

    /// Its length on the wire, and where to put when it departs.
    pub(super) fn in_flight(&mut self) -> (u32, &mut Nanos) {
        (self.wire_len, &mut self.t_wire)
    }

    /// What is counted of it where it left as it came.
    #[inline(always)]
    const fn plain(&self) -> Plain {
        Plain {
            t_wire: self.t_wire,
            wire_len: self.wire_len,
            len: self.len,
            messages: self.messages,
            class: self.class,
            urgency: self.urgency,
            sources: self.sources,
        }
    }

    #[inline(always)]
    pub(super) const fn new(flow: u32, held: u32, meta: &PacketMeta) -> Self {
        Self {
            flow,
            held,
            t_wire: Nanos::ZERO,
            wire_len: meta.wire_len(),
            len: meta.len,
            messages: meta.messages,
            class: meta.class,
            urgency: meta.urgency,
            sources: meta.sources,
        }
    }
}

impl Held {
    /// Of a packet that the pacer has let through at once.
    #[inline]
    pub(super) fn admitted(now: Nanos, packet: &Mbuf) -> Self {
        Self {
            meta: *packet.meta(),
            carried: packet.rx_stamp(),
            backlog_bytes: packet.note(),
            eligible: now,
            release: Release::Governed,
            bucket_held: false,
            launch: None,
            tcp: tcp::seen(packet.meta(), packet),
        }
    }
}

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// pacer -> TX -> stamp -> sample. `after_tx` reads the clock once the port has answered.
    /// Returns how many packets left.
    pub fn release(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        after_tx: impl FnOnce() -> Nanos,
    ) -> usize {
        let completed = self.complete(now, core) | std::mem::take(&mut self.completed);
        if let Some(row) = self.stamps.take(now, &mut self.parts.tx) {
            core.link.sample(&row);
        }
        // A NIC that sends at a given time gets packets so long before it.
        let ask = now.saturating_add(self.stamps.lead(now));
        self.parts.pacer.poll(ask);
        if self.parts.pacer.is_sweeping() {
            self.sweep(now, core);
        }
        let up = self.link_is_up(now, core);
        if self.leaving.is_empty() && !self.parts.pacer.is_due() {
            self.parts.inflight.set_waiting(now, false);
            self.note_offer(now, 0, false);
            stages::mark(&mut self.stages, Stage::Release);
            return 0;
        }
        // Of two paths each has a gate of its own.
        if self.paths.is_none() && !self.may_offer(now, up, core) {
            let probes = self.probes();
            self.take_back((now, ask), 0, probes, core);
            self.forget_leaving();
            stages::mark(&mut self.stages, Stage::Release);
            return 0;
        }
        let mut refused = self.choose(now, ask, core);
        self.parts.inflight.set_waiting(now, refused);
        if self.leaving.is_empty() {
            self.note_offer(now, 0, refused);
            stages::mark(&mut self.stages, Stage::Release);
            return 0;
        }

        let probes_from = self.take_probes();
        if self.stamps.may_mark() {
            self.mark_one();
        }
        if let Some(tap) = core.link.tap_mut() {
            tap.offer(&self.departures);
        }
        stages::mark(&mut self.stages, Stage::Release);
        let accepted = match self.paths {
            None => self.parts.tx.tx_burst(now, &mut self.departures),
            Some(_) => self.send_by_paths(now, core),
        };
        stages::mark(&mut self.stages, Stage::Send);
        let t_tx = after_tx();
        if core.link.tap_mut().is_some() {
            self.tap_sent(accepted, t_tx, core);
        }
        refused |= accepted < self.leaving.len();
        self.take_back((now, ask), accepted, probes_from, core);
        self.stamp(now, accepted, t_tx, core);
        self.forget_leaving();
        self.report_in_flight(core, completed || accepted > 0);
        self.note_offer(now, accepted, refused);
        stages::mark(&mut self.stages, Stage::Count);
        accepted
    }

    /// Fills the burst with what the pacer lets go. Returns whether a due packet found no room.
    fn choose(&mut self, now: Nanos, ask: Nanos, core: &mut Core<'_>) -> bool {
        let mut room = self.room();
        if ask > now {
            room = room.min(self.parts.inflight.room_for_time());
        }
        // What left as it came has taken some of it already.
        room = room.saturating_sub(self.direct_bytes);
        while self.departures.len() < self.tx_burst {
            match self.parts.pacer.next(ask, room) {
                Next::Packet(released) => {
                    room = room.saturating_sub(u64::from(released.packet.meta().wire_len()));
                    self.keep(now, released);
                }
                Next::Ended(packet, reason) => {
                    let (from, port) = (self.from, self.parts.tx_port);
                    drop_packet(core, now, from, port, true, &packet, reason);
                }
                Next::NoRoom => return true,
                Next::Nothing => return false,
            }
        }
        false
    }

    /// Wire bytes that may be handed over now.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        self.room_of_paths().unwrap_or_else(|| self.parts.inflight.room())
    }

    #[inline]
    fn keep(&mut self, now: Nanos, released: Released<Mbuf>) {
        let Released { mut packet, flow, release, eligible, bucket_held, mark_ce } = released;
        if mark_ce {
            self.ecn_marked += u64::from(mark_ce_of(packet.data_mut()));
        }
        self.leaving.push(Leaving::new(flow, self.held.len() as u32, packet.meta()));
        self.held.push(Held {
            meta: *packet.meta(),
            carried: packet.rx_stamp(),
            backlog_bytes: packet.note(),
            eligible,
            release,
            bucket_held,
            launch: None,
            tcp: tcp::seen(packet.meta(), &packet),
        });
        if let Some((at, raw)) = self.stamps.launch(release, eligible, now) {
            // The stamp that stood in the same field is kept above.
            packet.set_launch_time(raw);
            if let Some(held) = self.held.last_mut() {
                held.launch = Some(at);
            }
        }
        // The batch is empty at the start of a turn and holds more than a burst.
        let pushed = self.departures.push(packet);
        debug_assert!(pushed.is_ok());
    }

    /// What the port did not take goes back to the heads of its flows, last first, and is not
    /// charged.
    fn take_back(
        &mut self,
        (now, ask): (Nanos, Nanos),
        accepted: usize,
        probes_from: usize,
        core: &mut Core<'_>,
    ) {
        self.forget_probes(probes_from + accepted);
        while let Some(mut packet) = self.departures.pop() {
            let place = accepted + self.departures.len();
            if self.leaving[place].held == Leaving::DIRECT {
                // It came, and now it waits.
                let class = packet.meta().class;
                core.aggregates.on_arrival(self.parts.tx_port, Some(class), packet.len(), now);
            }
            if self.stamps.marks() {
                packet.clear_departure_marks();
                let held = self.leaving.get(place).and_then(|l| self.held.get(l.held as usize));
                if let Some(stamp) = held.and_then(|held| held.carried) {
                    packet.set_rx_stamp(stamp);
                }
            }
            self.parts.pacer.undo(ask, packet);
        }
        self.parts.pacer.commit(accepted);
    }

    /// Lets the NIC note when the first sampled packet of the burst leaves.
    fn mark_one(&mut self) {
        let sampled = |held: &Held| held.meta.has(flags::SAMPLED);
        let place = self
            .leaving
            .iter()
            .position(|leaving| self.held.get(leaving.held as usize).is_some_and(sampled));
        if let Some(packet) = place.and_then(|place| self.departures.get_mut(place)) {
            packet.mark_departure_stamp();
        }
        self.stamps.set_marked(place);
    }

    fn forget_leaving(&mut self) {
        self.leaving.clear();
        self.held.clear();
        self.direct_bytes = 0;
    }

    /// Counts the first `accepted` of those that were to leave, which the port took.
    fn stamp(&mut self, now: Nanos, accepted: usize, t_tx: Nanos, core: &mut Core<'_>) {
        match self.paths {
            None => self.count_in_flight(accepted, t_tx),
            Some(_) => self.count_by_paths(accepted, t_tx),
        }
        let mut some_direct = false;
        // Out of the lane for the while, so that what is kept of a packet need not be copied.
        let (leaving, held) = (std::mem::take(&mut self.leaving), std::mem::take(&mut self.held));
        let mut from = 0;
        while from < accepted {
            let (end, port) = self.run_from(from, accepted);
            some_direct |= self.stamp_run((from..end, port), (&leaving, &held), (now, t_tx), core);
            from = end;
        }
        (self.leaving, self.held) = (leaving, held);
        if some_direct {
            core.link.released(t_tx.saturating_sub(now));
        }
    }

    /// Counts those of a burst that one port took. Returns whether some of them left as they came.
    #[inline]
    fn stamp_run(
        &mut self,
        (run, port): (Range<usize>, u8),
        (leaving, held): (&[Leaving], &[Held]),
        (now, t_tx): (Nanos, Nanos),
        core: &mut Core<'_>,
    ) -> bool {
        let burst = core.aggregates.begin_burst(port, now, t_tx);
        let mut some_direct = false;
        for (place, of) in (run.start..).zip(&leaving[run]) {
            if let Some(ahead) = leaving.get(place + FETCH_AHEAD)
                && let Some(record) = core.aggregates.record(port, ahead.class)
            {
                prefetch_lines(record, RECORD_LINES);
            }
            if of.held == Leaving::DIRECT {
                some_direct = true;
                let flow = &mut self.flow_kpis[of.flow as usize];
                if !core.aggregates.on_plain(&burst, &of.plain(), flow) {
                    core.aggregates.on_odd_plain(&burst, &of.plain(), flow);
                }
            } else if let Some(held) = held.get(of.held as usize) {
                // A packet that the NIC keeps until its time leaves then, not when the NIC took it.
                let t_tx = held.launch.map_or(t_tx, |at| at.max(t_tx));
                let t_wire = of.t_wire.max(t_tx);
                self.stamp_held((place, port), of.flow, held, (t_tx, t_wire), core);
            }
        }
        some_direct
    }

    /// The account of the TX queue takes over what the port took, and says when each departs.
    fn count_in_flight(&mut self, accepted: usize, t_tx: Nanos) {
        let inflight = &mut self.parts.inflight;
        let accepted = &mut self.leaving[..accepted];
        if self.stamps.launches() {
            for leaving in accepted {
                let launch = self.held.get(leaving.held as usize).and_then(|held| held.launch);
                let t_wire = inflight.on_accepted_for(t_tx, leaving.wire_len, launch);
                leaving.t_wire = t_wire.unwrap_or(t_tx);
            }
        } else {
            inflight.on_burst_accepted(t_tx, accepted.iter_mut().map(Leaving::in_flight));
        }
    }

    fn stamp_held(
        &mut self,
        (place, port): (usize, u8),
        flow: u32,
        held: &Held,
        (t_tx, t_wire): (Nanos, Nanos),
        core: &mut Core<'_>,
    ) {
        let Held { meta, carried, backlog_bytes, eligible, release, bucket_held, tcp, .. } = held;
        let parts = &self.parts;
        let link_wait = self
            .blocked_since
            .map_or(Nanos::ZERO, |since| t_tx.saturating_sub(since.max(meta.wanted())));
        if port != parts.tx_port {
            core.aggregates.on_moved((parts.tx_port, port), meta);
        }
        core.aggregates.on_departure(
            &Departure {
                meta,
                port,
                t_eligible: *eligible,
                t_tx,
                t_wire,
                release: *release,
                bucket_held: *bucket_held,
                link_wait,
            },
            &mut self.flow_kpis[flow as usize],
        );
        core.link.released(t_tx.saturating_sub(*eligible).saturating_sub(link_wait));
        if meta.has(flags::SAMPLED) {
            let mut row = row(core, meta, self.from, port, End::Sent(*release));
            row.flow = flow;
            row.tcp = *tcp;
            row.t_eligible = Some(*eligible);
            row.t_tx = Some(t_tx);
            row.t_wire = Some(t_wire);
            row.t_delivery = (self.from == Side::Venue).then_some(t_wire);
            row.t_carried = if parts.carried_is_gateway_time { None } else { *carried };
            row.departure_source = parts.departure_source;
            row.simulated_link = parts.inflight.source().is_simulated();
            row.backlog_bytes = u64::from(*backlog_bytes);
            if !self.stamps.keeps(place, &row, t_tx) {
                core.link.sample(&row);
            }
        }
    }
}
