//! What a core knows of a class on a port beyond the block: what is open, and what goes into the
//! block in sums.

use super::block::{AdmittedMax, Cell, Count};
use super::core::{Departure, Plain};
use super::plain::{BEYOND, Counted, Places, Plains, SETTLE_AT};
use super::plan::ClassPlan;
use super::windows::{BurstWindows, burst_window};
use crate::meta::{IntentSource, flags, wire_len};
use crate::sample::Release;
use crate::time::Nanos;

/// Largest due gap that is no idle time, for a class without a cadence.
const IDLE_GAP: Nanos = Nanos::from_millis(10);
/// With a cadence: so many periods.
const IDLE_PERIODS: u64 = 4;

/// Largest due gap that is no idle time.
pub(super) fn idle_gap(cadence: Option<Nanos>) -> Nanos {
    cadence.map_or(IDLE_GAP, |period| Nanos(period.0.saturating_mul(IDLE_PERIODS)))
}

/// What the KPIs remember of a flow between its packets: half a cache line. The worker keeps one for
/// each flow, starts it as `FlowKpi::default()` and hands it in at each departure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
pub struct FlowKpi {
    last_due: Nanos,
    last_wire: Nanos,
    /// Admitted since its rate window began, wire bytes.
    bytes: u64,
    /// The same, messages.
    messages: u32,
    /// Its rate window; 0 = no packet yet.
    epoch: u32,
}

impl FlowKpi {
    /// When its last packet left, `None` = none has.
    pub fn last_departure(&self) -> Option<Nanos> {
        (self.epoch != 0).then_some(self.last_wire)
    }

    /// Since when nothing of it has left, as seen at `now`; of a flow from which nothing left yet, since
    /// it was first asked for.
    pub fn silent_since(&mut self, now: Nanos) -> Nanos {
        if self.last_wire == Nanos::ZERO {
            // Without a packet (`epoch`) no gap is counted from it.
            self.last_wire = now;
        }
        self.last_wire
    }
}

/// What was admitted since a rate window began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    pub bytes: u64,
    pub messages: u64,
}

impl Admitted {
    #[inline]
    pub fn raise(self, max: &mut AdmittedMax) {
        max.raise(self.bytes, self.messages);
    }
}

/// A class on a port. The figures of every packet stand first, in [`super::core::RECORD_LINES`] lines.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Open {
    plains: Plains,
    max_hold: Nanos,
    idle_gap: Nanos,
    backlog_packets: u64,
    admitted: Admitted,
    admitted_flow: AdmittedMax,
    windows: BurstWindows,
    backlog_bytes: u64,
    backlog_packets_max: u64,
    backlog_bytes_max: u64,
    arrived: Count,
}

impl Open {
    pub fn new(class: &ClassPlan) -> Self {
        Self {
            arrived: Count::default(),
            backlog_packets: 0,
            backlog_bytes: 0,
            backlog_packets_max: 0,
            backlog_bytes_max: 0,
            max_hold: class.max_hold,
            idle_gap: idle_gap(class.cadence),
            plains: Plains::default(),
            admitted: Admitted::default(),
            admitted_flow: AdmittedMax::default(),
            windows: BurstWindows::new(burst_window(class.cadence)),
        }
    }

    /// Packets are in time within `max_hold` from now on.
    pub const fn set_max_hold(&mut self, max_hold: Nanos) {
        self.max_hold = max_hold;
    }

    #[inline]
    pub fn arrive(&mut self, len: u32, at: Nanos) {
        self.arrived.add(u64::from(len));
        if self.backlog_packets == 0 {
            self.windows.begin_waiting(at);
        }
        self.wait(len);
    }

    /// One more waits.
    #[inline]
    pub fn wait(&mut self, len: u32) {
        self.backlog_packets += 1;
        self.backlog_bytes += u64::from(wire_len(len));
        self.backlog_packets_max = self.backlog_packets_max.max(self.backlog_packets);
        self.backlog_bytes_max = self.backlog_bytes_max.max(self.backlog_bytes);
    }

    /// One that waited ends at `at` without leaving.
    pub fn end(&mut self, block: &mut Cell, len: u32, at: Nanos) {
        self.windows.end_waiting(at, &mut block.bursts);
        self.leave(wire_len(len));
    }

    #[inline]
    pub fn leave(&mut self, wire_bytes: u32) {
        self.backlog_packets = self.backlog_packets.saturating_sub(1);
        self.backlog_bytes = self.backlog_bytes.saturating_sub(u64::from(wire_bytes));
    }

    /// One that waited leaves, and nothing but that is counted of it.
    pub fn count_only(&mut self, block: &mut Cell, departure: &Departure<'_>, flow: &mut FlowKpi) {
        flow.last_wire = departure.t_wire;
        block.departed.add(u64::from(departure.meta.len));
        block.releases[departure.release as usize] += 1;
        block.early += u64::from(departure.t_tx < departure.t_eligible);
        self.leave(departure.meta.wire_len());
    }

    /// One arrives and leaves, and nothing but that is counted of it.
    #[inline]
    pub fn count_plain_only(&mut self, plain: &Plain, flow: &mut FlowKpi) {
        flow.last_wire = plain.t_wire;
        self.plains.packets += 1;
        self.plains.bytes += u64::from(plain.len);
    }

    /// One arrives at `at` and leaves as it came, less than [`BEYOND`] later. Returns where its times are
    /// counted.
    #[inline(always)]
    pub fn depart_plain(
        &mut self,
        block: &mut Cell,
        (at, pacer_error): (Nanos, &Counted),
        plain: &Plain,
        (urgent, epoch, cell): (u8, u32, usize),
        flow: &mut FlowKpi,
    ) -> Places {
        let wire = plain.t_wire;
        let idle = self.backlog_packets == 0;
        let wire_bytes = plain.wire_len;
        self.windows.depart_at_once(at, wire, wire_bytes, idle, &mut block.bursts);
        let gap_error = self.admit(wire_bytes, plain.messages, epoch, flow, at, wire);
        let gap_error = gap_error.and_then(|error| {
            if error >= BEYOND {
                block.gap_error.record(error);
            }
            (error < BEYOND).then_some(Counted::new(error as u32))
        });
        let delay = (wire - at).0;
        let plains = &mut self.plains;
        plains.packets += 1;
        plains.bytes += u64::from(plain.len);
        // Branches on purpose: they nearly always go one way, and then nothing is written.
        if plain.urgency >= urgent {
            plains.urgent += 1;
        }
        if delay > self.max_hold.0 {
            plains.late += 1;
        }
        let source = 1 << (plain.sources & 63);
        if plains.sources & source == 0 {
            plains.sources |= source;
        }
        plains.measure(cell, Counted::new(delay as u32), pacer_error, gap_error)
    }

    /// One leaves.
    pub fn depart(
        &mut self,
        block: &mut Cell,
        departure: &Departure<'_>,
        urgent: u8,
        epoch: u32,
        flow: &mut FlowKpi,
    ) {
        let meta = departure.meta;
        block.count(departure, urgent, self.max_hold);
        block.measure(departure);
        self.windows.depart(meta.due, departure.t_wire, meta.wire_len(), &mut block.bursts);
        self.leave(meta.wire_len());
        let (due, wire) = (meta.due, departure.t_wire);
        if let Some(error) = self.admit(meta.wire_len(), meta.messages, epoch, flow, due, wire) {
            block.gap_error.record(error);
        }
    }

    /// Counts what was admitted, of the class and of the flow. Returns by how much the gap to the
    /// flow's last packet differs from that of the due times, where that is no idle time.
    #[inline]
    fn admit(
        &mut self,
        wire_bytes: u32,
        messages: u16,
        epoch: u32,
        flow: &mut FlowKpi,
        due: Nanos,
        wire: Nanos,
    ) -> Option<u64> {
        self.admitted.bytes += u64::from(wire_bytes);
        self.admitted.messages += u64::from(messages);
        let last = *flow;
        let (mut bytes, mut in_messages) = (last.bytes, last.messages);
        if last.epoch != epoch {
            (bytes, in_messages) = (0, 0);
        }
        bytes += u64::from(wire_bytes);
        in_messages = in_messages.saturating_add(u32::from(messages));
        self.admitted_flow.raise(bytes, u64::from(in_messages));
        *flow = FlowKpi { last_due: due, last_wire: wire, bytes, messages: in_messages, epoch };
        // Spans of gateway time fit into i64; wrapping keeps their sign.
        let due_gap = due.0.wrapping_sub(last.last_due.0) as i64;
        let wire_gap = wire.0.wrapping_sub(last.last_wire.0) as i64;
        let counts = last.epoch != 0 && due_gap.unsigned_abs() <= self.idle_gap.0;
        counts.then(|| wire_gap.abs_diff(due_gap))
    }

    /// What was admitted in the rate window that is open.
    pub const fn admitted(&self) -> Admitted {
        self.admitted
    }

    pub fn begin_rate_window(&mut self) {
        self.admitted = Admitted::default();
    }

    /// So many packets were counted that a cell might overflow: nobody has taken the block for long.
    pub const fn is_brimful(&self) -> bool {
        self.plains.packets >= SETTLE_AT
    }

    /// Puts what is kept in sums into the block.
    pub fn settle(&mut self, block: &mut Cell) {
        let arrived = std::mem::take(&mut self.arrived);
        block.arrived.merge(&arrived);
        block.backlog_packets_max = block.backlog_packets_max.max(self.backlog_packets_max);
        block.backlog_bytes_max = block.backlog_bytes_max.max(self.backlog_bytes_max);
        let max = std::mem::take(&mut self.admitted_flow);
        block.admitted_flow.raise(max.bytes, max.messages);
        self.admitted.raise(&mut block.admitted);

        let plains = self.plains.settle(&mut block.plain);
        let counts = Count { packets: plains.packets, bytes: plains.bytes };
        block.arrived.merge(&counts);
        block.departed.merge(&counts);
        block.releases[Release::Governed as usize] += plains.packets;
        block.urgent += plains.urgent;
        block.in_time += plains.packets - plains.late;
        let mut sources = plains.sources;
        while sources != 0 {
            let byte = sources.trailing_zeros();
            block.stamp_sources |= 1 << (byte & 0xf);
            block.intent_sources |= 1 << (byte >> 4);
            sources &= sources - 1;
        }
    }

    /// The block is about to be handed over at `now`.
    pub fn close(&mut self, block: &mut Cell, now: Nanos) {
        self.settle(block);
        self.windows.fold_before(now, &mut block.bursts);
        block.backlog_packets = self.backlog_packets;
        block.backlog_bytes = self.backlog_bytes;
        self.backlog_packets_max = self.backlog_packets;
        self.backlog_bytes_max = self.backlog_bytes;
    }

    /// The end of a run: every window goes into the block.
    pub fn flush(&mut self, block: &mut Cell) {
        self.settle(block);
        self.windows.fold_all(&mut block.bursts);
    }
}

impl Cell {
    #[inline]
    fn count(&mut self, departure: &Departure<'_>, urgent: u8, max_hold: Nanos) {
        let meta = departure.meta;
        self.departed.add(u64::from(meta.len));
        self.releases[departure.release as usize] += 1;
        self.stamp_sources |= 1 << meta.stamp_source() as u8;
        self.intent_sources |= 1 << meta.intent_source() as u8;
        self.early += u64::from(departure.t_tx < departure.t_eligible);
        let is_urgent = meta.urgency >= urgent;
        self.cap_hits += u64::from(departure.bucket_held);
        self.urgent += u64::from(is_urgent);
        self.urgent_cap_hits += u64::from(departure.bucket_held && is_urgent);
        let asked = meta.dispatched().max(meta.due);
        self.in_time += u64::from(departure.t_wire.saturating_sub(asked) <= max_hold);
    }

    #[inline]
    fn measure(&mut self, departure: &Departure<'_>) {
        let (meta, wire) = (departure.meta, departure.t_wire);
        let wanted = meta.wanted();
        let due_wait = meta.due.saturating_sub(meta.arrival).0;
        let hold = meta.sched.saturating_sub(wanted).0;
        self.hold.record(hold);

        let dispatched = meta.dispatched();
        if wire >= dispatched {
            let total = (wire - dispatched).0;
            self.dispatch_to_wire.record(total);
            match total.checked_sub(due_wait.saturating_add(hold)) {
                Some(rest) => self.rest.record(rest),
                None => self.negative_rest += 1,
            }
        } else {
            self.negative_dispatch += 1;
        }
        if meta.intent_source() != IntentSource::Implicit {
            self.due_wait.record(due_wait);
        }

        if wire >= meta.due {
            self.release_late.record((wire - meta.due).0);
        } else {
            self.release_early.record((meta.due - wire).0);
        }
        // Other releases are not the pacer's choice of time; a packet that is early is counted.
        if departure.release == Release::Governed && departure.t_tx >= departure.t_eligible {
            self.pacer_error.record((departure.t_tx - departure.t_eligible).0);
        }
        // Exempt for its kind, or as SYN, FIN or RST; a bare acknowledgement may wait its turn.
        if meta.flags & (flags::EXEMPT | flags::BARE) == flags::EXEMPT {
            let wait = departure.t_tx.saturating_sub(wanted);
            self.exempt_hold.record(wait.saturating_sub(departure.link_wait).0);
        }
    }
}
