//! The second half of a turn: pacer -> TX -> stamp -> sample.

use model::kind::Side;
use model::kpi::{Departure, Plain};
use model::meta::{PacketMeta, flags, wire_len};
use model::pacer::{Next, Released};
use model::sample::{End, Release};
use model::time::Nanos;

use super::rows::{drop_packet, row};
use super::{Core, Lane};
use crate::mbuf::Mbuf;
use crate::port::{Rx, Tx};

/// What has to be known of a packet once the port has taken it, and with it its metadata. Of one
/// that left as it came, these few figures and the time of the turn say it all; the rest of any
/// other is kept aside.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    flow: u32,
    /// Its place in [`Lane::held`], [`Leaving::DIRECT`] = it left as it came.
    held: u32,
    len: u16,
    messages: u16,
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
}

impl Leaving {
    pub(super) const DIRECT: u32 = u32::MAX;

    #[inline(always)]
    pub(super) const fn new(flow: u32, held: u32, meta: &PacketMeta) -> Self {
        Self {
            flow,
            held,
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
        }
    }
}

impl<R: Rx, T: Tx> Lane<R, T> {
    /// pacer -> TX -> stamp -> sample. `after_tx` reads the clock once the port has answered.
    /// Returns how many packets left.
    pub fn release(
        &mut self,
        now: Nanos,
        core: &mut Core<'_>,
        after_tx: impl FnOnce() -> Nanos,
    ) -> usize {
        let completed = self.complete(now, core) | std::mem::take(&mut self.completed);
        self.parts.pacer.poll(now);
        if now >= self.next_age {
            self.age(now);
        }
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
            self.forget_leaving();
            return 0;
        }
        let mut refused = self.choose(now, core);
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
        self.stamp(now, accepted, t_tx, core);
        self.forget_leaving();
        self.report_in_flight(core, completed || accepted > 0);
        self.note_offer(now, accepted, refused);
        accepted
    }

    /// Fills the burst with what the pacer lets go. Returns whether a due packet found no room.
    fn choose(&mut self, now: Nanos, core: &mut Core<'_>) -> bool {
        // What left as it came has taken some of it already.
        let mut room = self.parts.inflight.room().saturating_sub(self.direct_bytes);
        while self.departures.len() < self.tx_burst {
            match self.parts.pacer.next(now, room) {
                Next::Packet(released) => {
                    room = room.saturating_sub(u64::from(released.packet.meta().wire_len()));
                    self.keep(released);
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

    #[inline]
    fn keep(&mut self, released: Released<Mbuf>) {
        let Released { packet, flow, release, eligible, bucket_held, .. } = released;
        self.leaving.push(Leaving::new(flow, self.held.len() as u32, packet.meta()));
        self.held.push(Held {
            meta: *packet.meta(),
            carried: packet.rx_stamp(),
            backlog_bytes: packet.note(),
            eligible,
            release,
            bucket_held,
        });
        // The batch is empty at the start of a turn and holds more than a burst.
        let pushed = self.departures.push(packet);
        debug_assert!(pushed.is_ok());
    }
    /// What the port did not take goes back to the heads of its flows, last first, and is not
    /// charged.
    fn take_back(&mut self, now: Nanos, accepted: usize, probes_from: usize) {
        self.forget_probes(probes_from + accepted);
        while let Some(packet) = self.departures.pop() {
            self.parts.pacer.undo(now, packet);
        }
        self.parts.pacer.commit(accepted);
    }

    fn forget_leaving(&mut self) {
        self.leaving.clear();
        self.held.clear();
        self.direct_bytes = 0;
    }

    /// Counts the first `accepted` of those that were to leave, which the port took.
    fn stamp(&mut self, now: Nanos, accepted: usize, t_tx: Nanos, core: &mut Core<'_>) {
        let port = self.parts.tx_port;
        let mut some_direct = false;
        for i in 0..accepted {
            let leaving = self.leaving[i];
            let len = u32::from(leaving.len);
            let t_wire = self.parts.inflight.on_accepted(t_tx, wire_len(len)).unwrap_or(t_tx);
            let Some(held) = self.held.get(leaving.held as usize) else {
                some_direct = true;
                let plain = Plain {
                    at: now,
                    t_tx,
                    t_wire,
                    port,
                    class: leaving.class,
                    len: leaving.len,
                    messages: leaving.messages,
                    urgency: leaving.urgency,
                    sources: leaving.sources,
                };
                core.aggregates.on_plain(&plain, &mut self.flow_kpis[leaving.flow as usize]);
                continue;
            };
            let held = *held;
            self.stamp_held(leaving.flow, &held, t_tx, t_wire, core);
        }
        if some_direct {
            core.link.released(t_tx.saturating_sub(now));
        }
    }

    fn stamp_held(
        &mut self,
        flow: u32,
        held: &Held,
        t_tx: Nanos,
        t_wire: Nanos,
        core: &mut Core<'_>,
    ) {
        let Held { meta, carried, backlog_bytes, eligible, release, bucket_held } = held;
        let parts = &self.parts;
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
            &mut self.flow_kpis[flow as usize],
        );
        core.link.released(t_tx.saturating_sub(*eligible).saturating_sub(link_wait));
        if meta.has(flags::SAMPLED) {
            let mut row = row(core, meta, self.from, parts.tx_port, End::Sent(*release));
            row.flow = flow;
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
}
