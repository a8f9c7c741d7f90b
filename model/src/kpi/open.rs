//! What a core knows of a class on a port beyond the block: what is open, and what goes into the
//! block in sums.

use super::block::{AdmittedMax, Cell, Count};
use super::core::{Departure, Plain};
use super::plan::ClassPlan;
use super::windows::{BurstWindows, burst_window};
use crate::meta::{IntentSource, flags, wire_len};
use crate::sample::Release;
use crate::time::Nanos;

/// Largest due gap that is no idle time, for a class without a cadence.
const IDLE_GAP: Nanos = Nanos::from_millis(10);
/// With a cadence: so many periods.
const IDLE_PERIODS: u64 = 4;

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
    /// When its last packet left, zero before the first one.
    pub const fn last_wire(&self) -> Nanos {
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

/// Departures that left as they came, in sums.
#[derive(Clone, Copy, Debug, Default)]
struct Plains {
    departed: Count,
    urgent: u64,
    in_time: u64,
    /// Bit `n`: one had the sources byte `n`.
    sources: u64,
}

/// A class on a port. The figures of every packet stand first.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Open {
    arrived: Count,
    backlog_packets: u64,
    backlog_bytes: u64,
    backlog_packets_max: u64,
    backlog_bytes_max: u64,
    max_hold: Nanos,
    idle_gap: Nanos,
    plains: Plains,
    admitted: Admitted,
    admitted_flow: AdmittedMax,
    windows: BurstWindows,
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
            idle_gap: class
                .cadence
                .map_or(IDLE_GAP, |period| Nanos(period.0.saturating_mul(IDLE_PERIODS))),
            plains: Plains::default(),
            admitted: Admitted::default(),
            admitted_flow: AdmittedMax::default(),
            windows: BurstWindows::new(burst_window(class.cadence)),
        }
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

    /// One leaves, and nothing but that is counted of it.
    #[inline]
    pub fn count_only(&mut self, len: u16, wire: Nanos, flow: &mut FlowKpi) {
        flow.last_wire = wire;
        self.plains.departed.add(u64::from(len));
        self.leave(wire_len(u32::from(len)));
    }

    /// One leaves as it came; neither time is before `plain.at`.
    #[inline]
    pub fn depart_plain(
        &mut self,
        block: &mut Cell,
        plain: &Plain,
        urgent: u8,
        epoch: u32,
        flow: &mut FlowKpi,
    ) {
        let delay = (plain.t_wire - plain.at).0;
        self.plains.departed.add(u64::from(plain.len));
        self.plains.urgent += u64::from(plain.urgency >= urgent);
        self.plains.in_time += u64::from(delay <= self.max_hold.0);
        self.plains.sources |= 1 << (plain.sources & 63);
        block.plain_delay.record(delay);
        block.pacer_error.record((plain.t_tx - plain.at).0);
        self.windows.depart(plain.at, plain.t_wire, &mut block.bursts);
        let wire_bytes = wire_len(u32::from(plain.len));
        self.leave(wire_bytes);
        let gap = self.admit(wire_bytes, plain.messages, epoch, flow, plain.at, plain.t_wire);
        if let Some(error) = gap {
            block.gap_error.record(error);
        }
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
        self.windows.depart(meta.due, departure.t_wire, &mut block.bursts);
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

    /// Puts what is kept in sums into the block.
    pub fn settle(&mut self, block: &mut Cell) {
        let arrived = std::mem::take(&mut self.arrived);
        block.arrived.packets += arrived.packets;
        block.arrived.bytes += arrived.bytes;
        block.backlog_packets_max = block.backlog_packets_max.max(self.backlog_packets_max);
        block.backlog_bytes_max = block.backlog_bytes_max.max(self.backlog_bytes_max);
        let max = std::mem::take(&mut self.admitted_flow);
        block.admitted_flow.raise(max.bytes, max.messages);
        self.admitted.raise(&mut block.admitted);

        let Plains { departed, urgent, in_time, mut sources } = std::mem::take(&mut self.plains);
        block.departed.packets += departed.packets;
        block.departed.bytes += departed.bytes;
        block.releases[Release::Governed as usize] += departed.packets;
        block.urgent += urgent;
        block.in_time += in_time;
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
