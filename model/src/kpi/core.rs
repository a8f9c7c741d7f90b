//! What a data core counts of every packet (tier 1, exact).
//!
//! The worker calls, for each packet, [`CoreAggregates::on_arrival`] once it has its class (or is
//! known to have none), then exactly one of [`CoreAggregates::on_departure`] and
//! [`CoreAggregates::on_drop`] with the same port and class. When control asks, it hands over the
//! block by [`CoreAggregates::swap`]; at the end of a run [`CoreAggregates::flush`] comes first.
//! Nothing here allocates after [`CoreAggregates::new`].
//!
//! Packets of one burst that nothing held have the same times. Such departures of a class on a port
//! are a run: what is counted of them is counted once, when the run ends, so that a burst costs one
//! look at the histograms and not one for each packet. The counters come out the same.

use super::block::{AdmittedMax, Block, Cell};
use super::plan::KpiPlan;
use super::windows::{BurstWindows, burst_window};
use crate::drop_reason::DropReason;
use crate::meta::{IntentSource, PacketMeta, flags, wire_len};
use crate::profile::CLASSES_MAX;
use crate::sample::Release;
use crate::time::Nanos;

/// Window of admitted rates.
pub(super) const RATE_WINDOW: Nanos = Nanos::from_millis(100);
/// Largest due gap that is no idle time, for a class without a cadence.
const IDLE_GAP: Nanos = Nanos::from_millis(10);
/// With a cadence: so many periods.
const IDLE_PERIODS: u64 = 4;
/// Room for every class number, a power of two.
const CLASS_STRIDE: usize = CLASSES_MAX.next_power_of_two();
/// No cell: the plan does not have the pair.
const UNPLANNED: u16 = u16::MAX;

/// A departure, told once the port has accepted the packet.
#[derive(Clone, Copy, Debug)]
pub struct Departure<'a> {
    /// Its metadata.
    pub meta: &'a PacketMeta,
    /// Index of the egress port in the config.
    pub port: u8,
    /// First ns at which every level conformed, given every earlier departure.
    pub t_eligible: Nanos,
    /// Acceptance by the port.
    pub t_tx: Nanos,
    /// Departure: stamped or modelled. Does not go back on one port.
    pub t_wire: Nanos,
    /// Why it was released.
    pub release: Release,
    /// A bucket had held it.
    pub bucket_held: bool,
    /// How long it waited for a venue limit, the in-flight limit or the link.
    pub link_wait: Nanos,
}

/// What the KPIs remember of a flow between its packets. The worker keeps one for each flow, starts
/// it as `FlowKpi::default()` and hands it in at each departure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKpi {
    last_due: Nanos,
    last_wire: Nanos,
    admitted: Admitted,
    /// Rate window of `admitted`; 0 = no packet yet.
    epoch: u32,
}

/// What was admitted since a rate window began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Admitted {
    bytes: u64,
    messages: u64,
}

impl Admitted {
    #[inline]
    fn add(&mut self, meta: &PacketMeta, n: u64) {
        self.bytes += u64::from(meta.wire_len()) * n;
        self.messages += u64::from(meta.messages) * n;
    }

    #[inline]
    fn raise(self, max: &mut AdmittedMax) {
        max.raise(self.bytes, self.messages);
    }
}

/// Bytes and packets below a TX queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Packets.
    pub packets: u32,
    /// Wire bytes.
    pub bytes: u64,
    /// The limit in wire bytes, `None` = not limited.
    pub limit_bytes: Option<u64>,
}

/// Departures that are alike and not counted yet: the first one, and how many.
#[derive(Clone, Copy, Debug)]
struct Run {
    n: u64,
    meta: PacketMeta,
    t_eligible: Nanos,
    t_tx: Nanos,
    t_wire: Nanos,
    link_wait: Nanos,
    release: Release,
    bucket_held: bool,
    port: u8,
}

impl Run {
    fn new() -> Self {
        Self {
            n: 0,
            meta: PacketMeta::default(),
            t_eligible: Nanos::ZERO,
            t_tx: Nanos::ZERO,
            t_wire: Nanos::ZERO,
            link_wait: Nanos::ZERO,
            release: Release::Governed,
            bucket_held: false,
            port: 0,
        }
    }

    /// Begins with `departure`, which is not counted in it yet.
    #[inline]
    fn begin(&mut self, departure: &Departure<'_>) {
        let &Departure { meta, port, t_eligible, t_tx, t_wire, release, bucket_held, link_wait } =
            departure;
        *self = Self {
            n: 0,
            meta: *meta,
            t_eligible,
            t_tx,
            t_wire,
            link_wait,
            release,
            bucket_held,
            port,
        };
    }

    /// Whether `departure` differs from the first one in nothing that is counted.
    #[inline]
    fn is_like(&self, departure: &Departure<'_>) -> bool {
        let (mine, meta) = (&self.meta, departure.meta);
        self.t_tx == departure.t_tx
            && self.t_wire == departure.t_wire
            && self.t_eligible == departure.t_eligible
            && mine.sched == meta.sched
            && mine.due == meta.due
            && mine.arrival == meta.arrival
            && mine.len == meta.len
            && mine.messages == meta.messages
            && mine.dispatch_lag_ns == meta.dispatch_lag_ns
            && mine.urgency == meta.urgency
            && (mine.flags ^ meta.flags) & !flags::SAMPLED == 0
            && mine.sources == meta.sources
            && self.release == departure.release
            && self.bucket_held == departure.bucket_held
            && self.link_wait == departure.link_wait
    }

    fn departure(&self) -> Departure<'_> {
        let &Self {
            ref meta, port, t_eligible, t_tx, t_wire, release, bucket_held, link_wait, ..
        } = self;
        Departure { meta, port, t_eligible, t_tx, t_wire, release, bucket_held, link_wait }
    }
}

/// What a core knows of a class on a port beyond the block.
#[derive(Clone, Debug)]
struct Open {
    run: Run,
    windows: BurstWindows,
    admitted: Admitted,
    backlog_packets: u64,
    backlog_bytes: u64,
    max_hold: Nanos,
    idle_gap: Nanos,
}

/// The aggregates of one data core.
#[derive(Debug)]
pub struct CoreAggregates {
    block: Box<Block>,
    open: Box<[Open]>,
    port_admitted: Box<[Admitted]>,
    /// Position in the plan of each port of the config.
    port_of: Box<[u16]>,
    /// Cell of each (port of the config, class).
    cell_of: Box<[u16]>,
    urgent: u8,
    rate_epoch: u32,
    rate_until: Nanos,
}

impl CoreAggregates {
    /// Takes all memory that it will ever need.
    pub fn new(plan: &KpiPlan) -> Self {
        let ports = plan.ports.iter().map(|port| usize::from(port.index) + 1).max().unwrap_or(0);
        let mut port_of = vec![UNPLANNED; ports];
        for (position, port) in plan.ports.iter().enumerate() {
            port_of[usize::from(port.index)] = position as u16;
        }
        let mut cell_of = vec![UNPLANNED; ports * CLASS_STRIDE];
        for (cell, (port, class)) in plan.cells().enumerate() {
            let place = pair(plan.ports[port].index, class as u8);
            cell_of[place] = cell as u16;
        }
        let open = plan.cells().map(|(_, class)| {
            let class = &plan.classes[class];
            Open {
                run: Run::new(),
                windows: BurstWindows::new(burst_window(class.cadence)),
                admitted: Admitted::default(),
                backlog_packets: 0,
                backlog_bytes: 0,
                max_hold: class.max_hold,
                idle_gap: class
                    .cadence
                    .map_or(IDLE_GAP, |period| Nanos(period.0.saturating_mul(IDLE_PERIODS))),
            }
        });
        Self {
            block: Box::new(Block::new(plan)),
            open: open.collect(),
            port_admitted: plan.ports.iter().map(|_| Admitted::default()).collect(),
            port_of: port_of.into(),
            cell_of: cell_of.into(),
            urgent: plan.urgent,
            rate_epoch: 0,
            rate_until: Nanos::ZERO,
        }
    }

    /// A frame of `len` bytes for the egress port `port` was classified at `at`; `class` is `None`
    /// when it is malformed. Captures hold frames longer than any [`PacketMeta::len`]: they are
    /// counted in full.
    #[inline]
    pub fn on_arrival(&mut self, port: u8, class: Option<u8>, len: u32, at: Nanos) {
        let Some(class) = class else {
            match self.port(port) {
                Some(p) => self.block.ports[p].unclassified.add(u64::from(len)),
                None => self.block.unplanned += 1,
            }
            return;
        };
        let Some(cell) = self.cell(port, class) else {
            self.block.unplanned += 1;
            return;
        };
        let (block, open) = (&mut self.block.cells[cell], &mut self.open[cell]);
        block.arrived.add(u64::from(len));
        if open.backlog_packets == 0 {
            open.count_run(block, &mut self.port_admitted, self.urgent);
            open.windows.begin_waiting(at);
        }
        open.backlog_packets += 1;
        open.backlog_bytes += u64::from(wire_len(len));
        block.backlog_packets_max = block.backlog_packets_max.max(open.backlog_packets);
        block.backlog_bytes_max = block.backlog_bytes_max.max(open.backlog_bytes);
    }

    /// A frame that had arrived ends at `at` under `reason`.
    #[inline]
    pub fn on_drop(
        &mut self,
        port: u8,
        class: Option<u8>,
        len: u32,
        reason: DropReason,
        at: Nanos,
    ) {
        let Some(class) = class else {
            match self.port(port) {
                Some(p) => {
                    let counts = &mut self.block.ports[p].unclassified_dropped;
                    counts[reason as usize].add(u64::from(len));
                }
                None => self.block.unplanned += 1,
            }
            return;
        };
        let Some(cell) = self.cell(port, class) else {
            self.block.unplanned += 1;
            return;
        };
        let (block, open) = (&mut self.block.cells[cell], &mut self.open[cell]);
        block.dropped[reason as usize].add(u64::from(len));
        open.count_run(block, &mut self.port_admitted, self.urgent);
        open.windows.end_waiting(at, &mut block.bursts);
        open.leave(wire_len(len));
    }

    /// A frame that had arrived was accepted by its egress port.
    #[inline]
    pub fn on_departure(&mut self, departure: &Departure<'_>, flow: &mut FlowKpi) {
        let meta = departure.meta;
        let Some(cell) = self.cell(departure.port, meta.class) else {
            self.block.unplanned += 1;
            return;
        };
        if departure.t_tx >= self.rate_until {
            self.begin_rate_window(departure.t_tx);
        }
        let (block, open) = (&mut self.block.cells[cell], &mut self.open[cell]);
        if !open.run.is_like(departure) {
            open.count_run(block, &mut self.port_admitted, self.urgent);
            open.run.begin(departure);
        }
        open.run.n += 1;
        open.leave(meta.wire_len());

        let is_first = flow.epoch == 0;
        if flow.epoch != self.rate_epoch {
            (flow.admitted, flow.epoch) = (Admitted::default(), self.rate_epoch);
        }
        flow.admitted.add(meta, 1);
        flow.admitted.raise(&mut block.admitted_flow);
        if !is_first {
            block.compare_gaps(departure, flow, open.idle_gap);
        }
        (flow.last_due, flow.last_wire) = (meta.due, departure.t_wire);
    }

    /// What is below the TX queue of `port`; called once for each poll that sent something or saw a
    /// completion, on ports that have completions.
    #[inline]
    pub fn on_in_flight(&mut self, port: u8, in_flight: InFlight) {
        let Some(port) = self.port(port) else {
            self.block.unplanned += 1;
            return;
        };
        let port = &mut self.block.ports[port];
        port.inflight_packets.record(u64::from(in_flight.packets));
        port.inflight_bytes.record(in_flight.bytes);
        if let Some(limit) = in_flight.limit_bytes {
            port.inflight_ppm.record(in_flight.bytes.saturating_mul(1_000_000) / limit.max(1));
        }
    }

    /// No completion came for `stall_time` with bytes in flight; called once for each stall.
    pub fn on_stall(&mut self, port: u8) {
        match self.port(port) {
            Some(port) => self.block.ports[port].stalls += 1,
            None => self.block.unplanned += 1,
        }
    }

    /// The in-flight limit was reached, the ring had drained and packets were due.
    pub fn on_starvation(&mut self, port: u8) {
        match self.port(port) {
            Some(port) => self.block.ports[port].starvations += 1,
            None => self.block.unplanned += 1,
        }
    }

    /// TSC cycles of polls since the last call: of those that moved a packet, and of all.
    #[inline]
    pub fn add_cycles(&mut self, busy: u64, all: u64) {
        self.block.core.busy_cycles += busy;
        self.block.core.cycles += all;
    }

    /// Hands over the block and goes on with `empty`, which must be clear and made for the same
    /// plan. Windows that a due time can still reach at `now` stay open with the core.
    ///
    /// # Panics
    /// When `empty` was made for another plan.
    pub fn swap(&mut self, now: Nanos, empty: Box<Block>) -> Box<Block> {
        assert!(self.block.fits(&empty), "a block of the core's own plan");
        self.count_runs();
        self.raise_admitted();
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.windows.fold_before(now, &mut block.bursts);
            block.backlog_packets = open.backlog_packets;
            block.backlog_bytes = open.backlog_bytes;
        }
        let full = std::mem::replace(&mut self.block, empty);
        for (block, open) in self.block.cells.iter_mut().zip(&self.open) {
            block.backlog_packets_max = open.backlog_packets;
            block.backlog_bytes_max = open.backlog_bytes;
        }
        full
    }

    /// Closes every open window into the current block: the end of a run, before the last
    /// [`Self::swap`].
    pub fn flush(&mut self) {
        self.count_runs();
        self.raise_admitted();
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.windows.fold_all(&mut block.bursts);
        }
    }

    /// Position of a port of the config in the plan.
    #[inline]
    fn port(&self, port: u8) -> Option<usize> {
        let position = *self.port_of.get(usize::from(port))?;
        (position != UNPLANNED).then_some(usize::from(position))
    }

    #[inline]
    fn cell(&self, port: u8, class: u8) -> Option<usize> {
        if usize::from(class) >= CLASS_STRIDE {
            return None;
        }
        let cell = *self.cell_of.get(pair(port, class))?;
        (cell != UNPLANNED).then_some(usize::from(cell))
    }

    #[cold]
    fn begin_rate_window(&mut self, at: Nanos) {
        self.count_runs();
        self.raise_admitted();
        self.open.iter_mut().for_each(|open| open.admitted = Admitted::default());
        self.port_admitted.fill(Admitted::default());
        self.rate_epoch = self.rate_epoch.wrapping_add(1).max(1);
        let window = at.0 / RATE_WINDOW.0;
        self.rate_until = Nanos((window + 1).saturating_mul(RATE_WINDOW.0));
    }

    /// Counts what is still in runs.
    fn count_runs(&mut self) {
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.count_run(block, &mut self.port_admitted, self.urgent);
        }
    }

    /// What was admitted so far stands in the block. A window that straddles two blocks is whole in
    /// the later one.
    fn raise_admitted(&mut self) {
        for (block, open) in self.block.cells.iter_mut().zip(&self.open) {
            open.admitted.raise(&mut block.admitted);
        }
        for (block, admitted) in self.block.ports.iter_mut().zip(&self.port_admitted) {
            admitted.raise(&mut block.admitted);
        }
    }
}

/// Place of a port and a class in the table of cells.
#[inline]
fn pair(port: u8, class: u8) -> usize {
    usize::from(port) * CLASS_STRIDE + usize::from(class)
}

impl Open {
    /// Ends the run, if there is one. Before anything that looks at what departures have left behind.
    fn count_run(&mut self, block: &mut Cell, port_admitted: &mut [Admitted], urgent: u8) {
        let n = std::mem::take(&mut self.run.n);
        if n == 0 {
            return;
        }
        let departure = self.run.departure();
        self.admitted.add(departure.meta, n);
        port_admitted[block.port].add(departure.meta, n);
        self.windows.depart(departure.meta.due, departure.t_wire, n as u32, &mut block.bursts);
        block.count(&departure, n, urgent, self.max_hold);
        block.measure(&departure, n);
    }

    #[inline]
    fn leave(&mut self, wire_bytes: u32) {
        self.backlog_packets = self.backlog_packets.saturating_sub(1);
        self.backlog_bytes = self.backlog_bytes.saturating_sub(u64::from(wire_bytes));
    }
}

impl Cell {
    #[inline]
    fn count(&mut self, departure: &Departure<'_>, n: u64, urgent: u8, max_hold: Nanos) {
        let meta = departure.meta;
        self.departed.add_n(u64::from(meta.len), n);
        self.releases[departure.release as usize] += n;
        self.stamp_sources |= 1 << meta.stamp_source() as u8;
        self.intent_sources |= 1 << meta.intent_source() as u8;
        self.early += n * u64::from(departure.t_tx < departure.t_eligible);
        let is_urgent = meta.urgency >= urgent;
        self.cap_hits += n * u64::from(departure.bucket_held);
        self.urgent += n * u64::from(is_urgent);
        self.urgent_cap_hits += n * u64::from(departure.bucket_held && is_urgent);
        let asked = dispatch(meta).max(meta.due);
        self.in_time += n * u64::from(departure.t_wire.saturating_sub(asked) <= max_hold);
    }

    #[inline]
    fn measure(&mut self, departure: &Departure<'_>, n: u64) {
        let (meta, wire) = (departure.meta, departure.t_wire);
        let wanted = meta.wanted();
        let due_wait = meta.due.saturating_sub(meta.arrival).0;
        let hold = meta.sched.saturating_sub(wanted).0;
        self.hold.record_n(hold, n);

        let dispatched = dispatch(meta);
        if wire >= dispatched {
            let total = (wire - dispatched).0;
            self.dispatch_to_wire.record_n(total, n);
            match total.checked_sub(due_wait.saturating_add(hold)) {
                Some(rest) => self.rest.record_n(rest, n),
                None => self.negative_rest += n,
            }
        } else {
            self.negative_dispatch += n;
        }
        if meta.intent_source() != IntentSource::Implicit {
            self.due_wait.record_n(due_wait, n);
        }

        if wire >= meta.due {
            self.release_late.record_n((wire - meta.due).0, n);
        } else {
            self.release_early.record_n((meta.due - wire).0, n);
        }
        // Other releases are not the pacer's choice of time; a packet that is early is counted.
        if departure.release == Release::Governed && departure.t_tx >= departure.t_eligible {
            self.pacer_error.record_n((departure.t_tx - departure.t_eligible).0, n);
        }
        // Exempt for its kind, or as SYN, FIN or RST; a bare acknowledgement may wait its turn.
        if meta.flags & (flags::EXEMPT | flags::BARE) == flags::EXEMPT {
            let wait = departure.t_tx.saturating_sub(wanted);
            self.exempt_hold.record_n(wait.saturating_sub(departure.link_wait).0, n);
        }
    }

    #[inline]
    fn compare_gaps(&mut self, departure: &Departure<'_>, flow: &FlowKpi, idle_gap: Nanos) {
        // Spans of gateway time fit into i64; wrapping keeps their sign.
        let due = departure.meta.due.0.wrapping_sub(flow.last_due.0) as i64;
        let wire = departure.t_wire.0.wrapping_sub(flow.last_wire.0) as i64;
        if due.unsigned_abs() <= idle_gap.0 {
            self.gap_error.record(wire.abs_diff(due));
        }
    }
}

/// When the strategy handed the packet over: intent, else arrival.
#[inline]
fn dispatch(meta: &PacketMeta) -> Nanos {
    meta.arrival.saturating_sub(Nanos(u64::from(meta.dispatch_lag_ns)))
}
