//! What a core knows of a class on a port beyond the block: what is open, and what goes into the
//! block in sums.

use super::block::{AdmittedMax, Block, Cell, Count};
use super::core::Departure;
use super::leaving::{Leaving, PlainBurst, Sums};
use super::plain::{BEYOND, PlainTotals, Plains, SETTLE_AT};
use super::plan::ClassPlan;
use super::windows::{BurstWindows, burst_window};
use crate::meta::{IntentSource, flags, wire_len};
use crate::sample::Release;
use crate::time::Nanos;

/// Largest due gap that is no idle time, for a class without a cadence.
const IDLE_GAP: Nanos = Nanos::from_millis(10);
/// With a cadence: so many periods.
const IDLE_PERIODS: u64 = 4;
/// Instead of a gap error: the packet is the first of its flow, or comes after an idle time.
const NO_GAP: u64 = u64::MAX;

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
    /// How long after `last_due` its last packet left, ns; negative where that was before.
    last_lag: i64,
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
        (self.epoch != 0).then(|| self.last_wire())
    }

    /// Since when nothing of it has left, as seen at `now`; of a flow from which nothing left yet, since
    /// it was first asked for.
    pub fn silent_since(&mut self, now: Nanos) -> Nanos {
        if self.last_wire() == Nanos::ZERO {
            // Without a packet (`epoch`) no gap is counted from it.
            self.leave(now, now);
        }
        self.last_wire()
    }

    fn last_wire(&self) -> Nanos {
        Nanos(self.last_due.0.wrapping_add_signed(self.last_lag))
    }

    /// One that was due at `due` leaves at `wire`.
    #[inline(always)]
    const fn leave(&mut self, due: Nanos, wire: Nanos) {
        self.last_due = due;
        self.last_lag = lag(due, wire);
    }
}

/// Spans of gateway time fit into i64; wrapping keeps their sign.
#[inline(always)]
const fn lag(due: Nanos, wire: Nanos) -> i64 {
    wire.0.wrapping_sub(due.0).cast_signed()
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

/// A class on a port. The figures of every packet stand first, in two lines.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Open {
    /// Of packets that left as they came in the window that is current, not yet in other sums.
    fresh: Sums,
    max_hold: Nanos,
    idle_gap: Nanos,
    admitted_flow: AdmittedMax,
    plains: Plains,
    windows: BurstWindows,
    totals: PlainTotals,
    admitted: Admitted,
    backlog_packets: u64,
    backlog_bytes: u64,
    backlog_packets_max: u64,
    backlog_bytes_max: u64,
    arrived: Count,
}

const _: () = assert!(
    std::mem::offset_of!(Open, windows) + BurstWindows::HOT_BYTES
        <= 64 * super::leaving::RECORD_LINES
);

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
            fresh: Sums::default(),
            plains: Plains::default(),
            totals: PlainTotals::default(),
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
        flow.leave(departure.meta.due, departure.t_wire);
        block.departed.add(u64::from(departure.meta.len));
        block.releases[departure.release as usize] += 1;
        block.early += u64::from(departure.t_tx < departure.t_eligible);
        self.leave(departure.meta.wire_len());
    }

    /// One arrives and leaves, and nothing but that is counted of it.
    #[inline]
    pub fn count_plain_only(&mut self, at: Nanos, packet: &Leaving, flow: &mut FlowKpi) {
        flow.leave(at, packet.t_wire);
        add(&mut self.fresh, &packet.sums);
    }

    /// One of `burst` arrives and leaves as it came, less than [`BEYOND`] later. Its class on its port has
    /// the number `cell`.
    #[inline(always)]
    pub fn depart_plain(
        &mut self,
        block: &mut Block,
        cell: usize,
        burst: &PlainBurst,
        packet: &Leaving,
        (urgent, epoch): (u8, u32),
        flow: &mut FlowKpi,
    ) {
        let (at, wire) = (burst.at, packet.t_wire);
        let delay = (wire - at).0;
        self.plains.note_traits(packet, &self.fresh, &mut self.totals, urgent);
        if delay > self.max_hold.0 {
            self.plains.late += 1;
        }
        let is_here = self.windows.is_current_for(at, wire);
        if is_here || self.enter_window(&mut block.cells[cell], at, packet) {
            add(&mut self.fresh, &packet.sums);
        }
        let [_, _, wire_bytes, messages] = packet.sums;
        let gap_error = self.note_gap(wire_bytes, messages, epoch, flow, at, wire);
        if gap_error >= BEYOND {
            std::hint::cold_path();
            if gap_error != NO_GAP {
                block.cells[cell].gap_error.record(gap_error);
            }
        }
        block.plain.measure(&mut self.plains, cell, delay as u32, &burst.pacer_error, gap_error);
    }

    /// A packet leaves that arrived in another window than the current one, or leaves in another. Returns
    /// whether it did both in the window that is current now; else its sums are where they belong.
    #[cold]
    fn enter_window(&mut self, block: &mut Cell, at: Nanos, packet: &Leaving) -> bool {
        if !self.windows.is_current(packet.t_wire) {
            self.settle_fresh();
            if self.backlog_packets == 0 {
                self.windows.begin_waiting(at);
            }
            self.windows.begin_window(packet.t_wire, &mut block.bursts);
        }
        let is_here = self.windows.is_current(at);
        if !is_here {
            self.add_sums(packet.sums);
            self.windows.depart_late(at, packet.wire_len(), &mut block.bursts);
        }
        is_here
    }

    /// What is fresh goes into the sums of 64 bits, and into its window.
    pub fn settle_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.add_sums(fresh);
        let [packets, _, wire_bytes, _] = fresh;
        self.windows.depart_here(packets, wire_bytes);
    }

    fn add_sums(&mut self, sums: Sums) {
        let [packets, bytes, wire_bytes, messages] = sums.map(u64::from);
        self.totals.packets += packets;
        self.totals.bytes += bytes;
        self.admitted.bytes += wire_bytes;
        self.admitted.messages += messages;
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
        let (due, wire) = (meta.due, departure.t_wire);
        if !self.windows.is_current(wire) {
            self.settle_fresh();
        }
        self.windows.depart(due, wire, meta.wire_len(), &mut block.bursts);
        self.leave(meta.wire_len());
        let messages = u32::from(meta.messages);
        self.admitted.bytes += u64::from(meta.wire_len());
        self.admitted.messages += u64::from(messages);
        let gap_error = self.note_gap(meta.wire_len(), messages, epoch, flow, due, wire);
        if gap_error != NO_GAP {
            block.gap_error.record(gap_error);
        }
    }

    /// Counts what was admitted of the flow. Returns by how much the gap to the flow's last packet differs
    /// from that of the due times, ns; [`NO_GAP`] where that is idle time.
    #[inline(always)]
    fn note_gap(
        &mut self,
        wire_bytes: u32,
        messages: u32,
        epoch: u32,
        flow: &mut FlowKpi,
        due: Nanos,
        wire: Nanos,
    ) -> u64 {
        let lag = lag(due, wire);
        let due_gap = due.0.wrapping_sub(flow.last_due.0);
        let mut error = lag.abs_diff(flow.last_lag);
        if flow.epoch != epoch {
            std::hint::cold_path();
            if flow.epoch == 0 {
                error = NO_GAP;
            }
            (flow.bytes, flow.messages, flow.epoch) = (0, 0, epoch);
        }
        if due_gap > self.idle_gap.0 {
            // After an idle time, or due before the last one.
            std::hint::cold_path();
            if due_gap.cast_signed().unsigned_abs() > self.idle_gap.0 {
                error = NO_GAP;
            }
        }
        (flow.last_due, flow.last_lag) = (due, lag);
        flow.bytes += u64::from(wire_bytes);
        flow.messages = flow.messages.saturating_add(messages);
        self.admitted_flow.raise(flow.bytes, flow.messages.into());
        error
    }

    /// What was admitted in the rate window that is open.
    pub fn admitted(&mut self) -> Admitted {
        self.settle_fresh();
        self.admitted
    }

    pub fn begin_rate_window(&mut self) {
        self.admitted = Admitted::default();
    }

    /// So many packets were counted that a cell might overflow: nobody has taken the block for long.
    pub const fn is_brimful(&self) -> bool {
        self.totals.packets >= SETTLE_AT
    }

    /// Puts what is kept in sums into the block.
    pub fn settle(&mut self, block: &mut Cell) {
        self.settle_fresh();
        let arrived = std::mem::take(&mut self.arrived);
        block.arrived.merge(&arrived);
        block.backlog_packets_max = block.backlog_packets_max.max(self.backlog_packets_max);
        block.backlog_bytes_max = block.backlog_bytes_max.max(self.backlog_bytes_max);
        let max = std::mem::take(&mut self.admitted_flow);
        block.admitted_flow.raise(max.bytes, max.messages);
        self.admitted.raise(&mut block.admitted);

        let (late, plains) = self.plains.settle(&mut block.plain, &mut self.totals);
        let counts = Count { packets: plains.packets, bytes: plains.bytes };
        block.arrived.merge(&counts);
        block.departed.merge(&counts);
        block.releases[Release::Governed as usize] += plains.packets;
        block.urgent += plains.urgent;
        block.in_time += plains.packets - late;
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

#[inline(always)]
fn add(sums: &mut Sums, more: &Sums) {
    for (sum, more) in sums.iter_mut().zip(more) {
        // No sum comes near its 32 bits: see `CoreAggregates::on_plains`.
        *sum = sum.wrapping_add(*more);
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
