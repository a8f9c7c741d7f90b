//! Packets that leave in one burst, and the count of those among them that left as they came.

use super::core::{CLASS_STRIDE, CoreAggregates, Departure, UNPLANNED, pair};
use super::open::{FlowKpi, Open};
use super::plain::{BEYOND, Counted};
use crate::meta::PacketMeta;
use crate::time::Nanos;

/// Cache lines of a class on a port that every packet touches.
pub(super) const RECORD_LINES: usize = 2;
/// So many packets ahead flows are fetched: of many, none is in a near cache.
const FETCH_AHEAD: usize = 4;
/// Packets of any length whose sums fit into 32 bits: half of what does.
const FRESH_MAX: usize = 1 << 15;

/// What has to be known of a packet once the port has taken it, and with it its metadata: half a cache
/// line. Of one that left as it came, this and the time of its burst say it all.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Leaving {
    /// What is added up.
    pub(super) sums: Sums,
    /// When it departs, known when the port has taken it.
    pub t_wire: Nanos,
    /// Its flow.
    pub flow: u32,
    urgency: u8,
    sources: u8,
    /// As in [`PacketMeta`].
    pub class: u8,
    /// It has waited, or leaves a row: the worker keeps the rest of it aside, in the order of the burst.
    pub is_aside: bool,
}

/// Packets (1), frame bytes, wire bytes, messages: added in one instruction.
pub(super) type Sums = [u32; 4];

/// What packets of one burst have in common that left as they came; from
/// [`CoreAggregates::begin_burst`].
#[derive(Clone, Copy, Debug)]
pub struct PlainBurst {
    pub(super) at: Nanos,
    t_tx: Nanos,
    port: u8,
    pub(super) pacer_error: Counted,
    /// Departures from so long after `at` on are not counted with the rest.
    beyond: u64,
}

impl Leaving {
    /// Of a packet of `flow`.
    #[inline(always)]
    pub const fn new(flow: u32, is_aside: bool, meta: &PacketMeta) -> Self {
        Self {
            sums: [1, meta.len as u32, meta.wire_len(), meta.messages as u32],
            t_wire: Nanos::ZERO,
            flow,
            // Not in the order of the metadata: two fields of it that were just written would be copied by
            // one load, and that waits until both are in the cache.
            sources: meta.sources,
            urgency: meta.urgency,
            class: meta.class,
            is_aside,
        }
    }

    /// Its length on the wire, and where to put when it departs.
    #[inline(always)]
    pub const fn in_flight(&mut self) -> (u32, &mut Nanos) {
        (self.sums[2], &mut self.t_wire)
    }

    /// Bytes that it occupies on the wire.
    pub const fn wire_len(&self) -> u32 {
        self.sums[2]
    }

    pub(super) const fn len(&self) -> u16 {
        self.sums[1] as u16
    }

    pub(super) const fn messages(&self) -> u16 {
        self.sums[3] as u16
    }

    pub(super) const fn urgency(&self) -> u8 {
        self.urgency
    }

    pub(super) const fn sources(&self) -> u8 {
        self.sources
    }

    /// Urgency and sources.
    #[inline(always)]
    pub(super) const fn traits(&self) -> u16 {
        u16::from_ne_bytes([self.urgency, self.sources])
    }

    /// Its metadata, as far as they are counted, of a packet that arrived and was due at `at`.
    pub(super) fn meta(&self, at: Nanos) -> PacketMeta {
        PacketMeta {
            arrival: at,
            due: at,
            sched: at,
            class: self.class,
            len: self.len(),
            messages: self.messages(),
            urgency: self.urgency,
            sources: self.sources,
            ..PacketMeta::default()
        }
    }
}

impl CoreAggregates {
    /// A burst of packets that arrived, were due and conformed at `at` was accepted by `port` at `t_tx`.
    #[inline]
    pub fn begin_burst(&mut self, port: u8, at: Nanos, t_tx: Nanos) -> PlainBurst {
        if t_tx >= self.rate_until {
            self.begin_rate_window(t_tx);
        }
        let pacer_error = t_tx.0.wrapping_sub(at.0);
        let beyond = if pacer_error < BEYOND { BEYOND } else { 0 };
        let pacer_error = self.block.plain.pacer_error(pacer_error as u32);
        PlainBurst { at, t_tx, port, pacer_error, beyond }
    }

    /// Counts packets of `burst` from the front of `leaving` on, arrival and departure in one, up to the
    /// first that is kept aside or is for [`CoreAggregates::on_odd_plain`]. Returns how many it has counted.
    /// `fetch` is told the flow that comes into use soon.
    // By itself: nothing that the rare cases need takes a register from the loop.
    #[inline(never)]
    pub fn on_plains(
        &mut self,
        burst: &PlainBurst,
        leaving: &[Leaving],
        flows: &mut [FlowKpi],
        fetch: impl Fn(&FlowKpi),
    ) -> usize {
        self.fresh_most += leaving.len();
        if self.fresh_most > FRESH_MAX {
            self.settle_fresh();
        }
        let block = &mut *self.block;
        let first = pair(burst.port, 0);
        let of_port = self.cell_of.get(first..).and_then(<[u16]>::first_chunk::<CLASS_STRIDE>);
        let cell_of = of_port.unwrap_or(&[UNPLANNED; CLASS_STRIDE]);
        for (place, packet) in leaving.iter().enumerate() {
            if let Some(ahead) = leaving.get(place + FETCH_AHEAD)
                && let Some(flow) = flows.get(ahead.flow as usize)
            {
                fetch(flow);
            }
            let delay = packet.t_wire.0.wrapping_sub(burst.at.0);
            if packet.is_aside || delay >= burst.beyond {
                return place;
            }
            // An unplanned pair has a number that no cell has.
            let cell = usize::from(cell_of[usize::from(packet.class)]);
            let Some(open) = self.open.get_mut(cell) else {
                block.unplanned += 1;
                continue;
            };
            let flow = &mut flows[packet.flow as usize];
            if self.counts_only {
                open.count_plain_only(burst.at, packet, flow);
                continue;
            }
            open.depart_plain(block, cell, burst, packet, (self.urgent, self.rate_epoch), flow);
        }
        leaving.len()
    }

    /// What [`CoreAggregates::on_plains`] does not count: a clock went back, or the core was away for
    /// seconds.
    #[cold]
    pub fn on_odd_plain(&mut self, burst: &PlainBurst, packet: &Leaving, flow: &mut FlowKpi) {
        let &PlainBurst { at, t_tx, port, .. } = burst;
        let meta = packet.meta(at);
        self.on_arrival(port, Some(meta.class), u32::from(meta.len), at);
        self.on_departure(&Departure::at_once(&meta, port, (at, t_tx, packet.t_wire)), flow);
    }

    /// No sum of what was counted last comes near its 32 bits.
    #[cold]
    fn settle_fresh(&mut self) {
        self.fresh_most = 0;
        self.open.iter_mut().for_each(Open::settle_fresh);
    }
}
