//! The second half of a turn: pacer -> TX -> stamp -> sample.

use model::kind::Side;
use model::kpi::{Departure, Leaving};
use model::meta::{PacketMeta, flags};
use model::pacer::{Next, Released};
use model::sample::{End, Release, TcpSeen};
use model::time::Nanos;

use super::rows::{drop_packet, row};
use super::stages::{self, Stage};
use super::{Core, Lane, tcp};
use crate::classify::Classify;
use crate::mbuf::{Mbuf, prefetch};
use crate::port::{Rx, Tx};
use crate::segment::mark_ce as mark_ce_of;
use crate::worker::Words;

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
    /// Returns how many packets left: none where `words` have changed since the turn began, so that a core
    /// that stood still between the two does not send what a halt should end.
    pub fn release(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        words: &impl Words,
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
            return self.keep_all(now, ask, core);
        }
        let mut refused = self.choose(now, ask, core);
        self.parts.inflight.set_waiting(now, refused);
        if self.leaving.is_empty() {
            self.note_offer(now, 0, refused);
            stages::mark(&mut self.stages, Stage::Release);
            return 0;
        }

        if words.have_changed() {
            std::hint::cold_path();
            return self.keep_all(now, ask, core);
        }
        let probes_from = self.take_probes();
        if self.stamps.may_mark() {
            self.mark_one();
        }
        if let Some(tap) = core.link.tap_mut() {
            tap.offer(now, &self.departures);
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
        self.leaving.push(Leaving::new(flow, true, packet.meta()));
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
            let held = if self.leaving[place].is_aside { self.held.pop() } else { None };
            if held.is_none() {
                // It came, and now it waits.
                let class = packet.meta().class;
                core.aggregates.on_arrival(self.parts.tx_port, Some(class), packet.len(), now);
            }
            if self.stamps.marks() {
                packet.clear_departure_marks();
                if let Some(stamp) = held.and_then(|held| held.carried) {
                    packet.set_rx_stamp(stamp);
                }
            }
            self.parts.pacer.undo(ask, packet);
        }
        self.parts.pacer.commit(accepted);
    }

    /// Nothing of the burst is offered to the port. Returns 0: nothing left.
    fn keep_all(&mut self, now: Nanos, ask: Nanos, core: &mut Core<'_>) -> usize {
        let probes = self.probes();
        self.take_back((now, ask), 0, probes, core);
        self.forget_leaving();
        stages::mark(&mut self.stages, Stage::Release);
        0
    }

    /// Lets the NIC note when the first sampled packet of the burst leaves.
    fn mark_one(&mut self) {
        let aside = (0..).zip(&self.leaving).filter(|(_, leaving)| leaving.is_aside);
        let place = aside
            .zip(&self.held)
            .find_map(|((place, _), held)| held.meta.has(flags::SAMPLED).then_some(place));
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
        let (mut from, mut aside) = (0, held.iter());
        while from < accepted {
            let (end, port) = self.run_from(from, accepted);
            let run = (&leaving[from..end], from, port);
            some_direct |= self.stamp_run(run, &mut aside, (now, t_tx), core);
            from = end;
        }
        (self.leaving, self.held) = (leaving, held);
        if some_direct {
            core.link.released(t_tx.saturating_sub(now));
        }
    }

    /// Counts those of a burst that one port took, which stand from `first` on in it; `held` goes on with
    /// the rest of those that are kept aside. Returns whether some of them left as they came.
    fn stamp_run<'a>(
        &mut self,
        (leaving, first, port): (&[Leaving], usize, u8),
        held: &mut impl Iterator<Item = &'a Held>,
        (now, t_tx): (Nanos, Nanos),
        core: &mut Core<'_>,
    ) -> bool {
        let burst = core.aggregates.begin_burst(port, now, t_tx);
        let (mut place, mut some_direct) = (0, false);
        while let Some(rest) = leaving.get(place..) {
            let plain = core.aggregates.on_plains(&burst, rest, &mut self.flow_kpis, prefetch);
            some_direct |= plain > 0;
            place += plain;
            let Some(of) = leaving.get(place) else { break };
            if !of.is_aside {
                some_direct = true;
                let flow = &mut self.flow_kpis[of.flow as usize];
                core.aggregates.on_odd_plain(&burst, of, flow);
            } else if let Some(held) = held.next() {
                // A packet that the NIC keeps until its time leaves then, not when the NIC took it.
                let t_tx = held.launch.map_or(t_tx, |at| at.max(t_tx));
                let t_wire = of.t_wire.max(t_tx);
                self.stamp_held((first + place, port), of.flow, held, (t_tx, t_wire), core);
            }
            place += 1;
        }
        some_direct
    }

    /// The account of the TX queue takes over what the port took, and says when each departs.
    fn count_in_flight(&mut self, accepted: usize, t_tx: Nanos) {
        let inflight = &mut self.parts.inflight;
        let accepted = &mut self.leaving[..accepted];
        if self.stamps.launches() {
            let mut held = self.held.iter();
            for leaving in accepted {
                let held = if leaving.is_aside { held.next() } else { None };
                let launch = held.and_then(|held| held.launch);
                let t_wire = inflight.on_accepted_for(t_tx, leaving.wire_len(), launch);
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
