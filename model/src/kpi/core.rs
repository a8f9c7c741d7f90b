//! What a data core counts of every packet (tier 1, exact).
//!
//! The worker calls, for each packet, [`CoreAggregates::on_arrival`] once it has its class (or is
//! known to have none), then exactly one of [`CoreAggregates::on_departure`] and
//! [`CoreAggregates::on_drop`] with the same port and class. When control asks, it hands over the
//! block by [`CoreAggregates::swap`]; at the end of a run [`CoreAggregates::flush`] comes first.
//! Nothing here allocates after [`CoreAggregates::new`].
//!
//! Most packets leave in the turn in which they came, held by nothing. [`CoreAggregates::on_plains`]
//! counts the whole of such ones, arrival and departure, for a fraction of the work: one figure stands
//! for several, and sums go into the block only when it is handed over. They are never counted as waiting.

use super::block::{Block, Count, SEGMENTS_MAX};
use super::open::{Admitted, FlowKpi, Open};
use super::plan::KpiPlan;
use super::tally::{Levels, LimitTally, Tallies};
use crate::drop_reason::DropReason;
use crate::meta::{PacketMeta, wire_len};
use crate::pacer::limits::LimitFigures;
use crate::profile::Profile;
use crate::sample::Release;
use crate::time::Nanos;

/// Window of admitted rates.
pub(super) const RATE_WINDOW: Nanos = Nanos::from_millis(100);
/// Room for every number that a class may have: so none has to be checked.
pub(super) const CLASS_STRIDE: usize = u8::MAX as usize + 1;
/// No cell: the plan does not have the pair.
pub(super) const UNPLANNED: u16 = u16::MAX;

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

impl<'a> Departure<'a> {
    /// Of a packet that left `port` as it came: it arrived, was due and conformed at `at`, was accepted at
    /// `t_tx`, and departs at `t_wire`.
    pub(super) const fn at_once(
        meta: &'a PacketMeta,
        port: u8,
        (at, t_tx, t_wire): (Nanos, Nanos, Nanos),
    ) -> Self {
        Self {
            meta,
            port,
            t_eligible: at,
            t_tx,
            t_wire,
            release: Release::Governed,
            bucket_held: false,
            link_wait: Nanos::ZERO,
        }
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

/// The aggregates of one data core.
#[derive(Debug)]
pub struct CoreAggregates {
    pub(super) block: Box<Block>,
    pub(super) open: Box<[Open]>,
    /// Class of the config behind each of them.
    class_of: Box<[u8]>,
    pub(super) counts_only: bool,
    /// Position in the plan of each port of the config.
    port_of: Box<[u16]>,
    /// Cell of each (port of the config, class).
    pub(super) cell_of: Box<[u16]>,
    pub(super) urgent: u8,
    pub(super) rate_epoch: u32,
    pub(super) rate_until: Nanos,
    /// Packets whose sums are 32 bits wide so far, at most.
    pub(super) fresh_most: usize,
    /// What was last told of each port of the plan, and of its venue limits.
    told: Box<[(Tallies, Vec<LimitTally>)]>,
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
        let open = plan.cells().map(|(_, class)| Open::new(&plan.classes[class]));
        let class_of = plan.cells().map(|(_, class)| plan.class_of(class) as u8);
        let block = Box::new(Block::new(plan));
        let told = block.ports.iter().map(|port| (port.tallies, port.limits.clone()));
        Self {
            told: told.collect(),
            block,
            open: open.collect(),
            class_of: class_of.collect(),
            counts_only: false,
            port_of: port_of.into(),
            cell_of: cell_of.into(),
            urgent: plan.urgent,
            rate_epoch: 0,
            rate_until: Nanos::ZERO,
            fresh_most: 0,
        }
    }

    /// Counts arrivals, ends and departures, which is what proves that no packet is lost, and
    /// measures nothing: to see what measuring costs.
    #[must_use]
    pub fn counting_only(mut self, counts_only: bool) -> Self {
        self.counts_only = counts_only;
        self
    }

    /// From now on as [`Self::counting_only`] says, or not.
    pub const fn set_counts_only(&mut self, counts_only: bool) {
        self.counts_only = counts_only;
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
        self.open[cell].arrive(len, at);
    }

    /// `bytes` of intent were taken out of a frame for `port`; its arrival is counted without them.
    #[inline]
    pub fn on_stripped(&mut self, port: u8, bytes: u32) {
        match self.port(port) {
            Some(p) => self.block.ports[p].bytes_stripped += u64::from(bytes),
            None => self.block.unplanned += 1,
        }
    }

    /// A super-frame of `len` bytes that had arrived is replaced by segments of these lengths.
    pub fn on_segmented(
        &mut self,
        port: u8,
        class: u8,
        len: u32,
        segments: impl Iterator<Item = u32>,
    ) {
        let Some(cell) = self.cell(port, class) else {
            self.block.unplanned += 1;
            return;
        };
        let (block, open) = (&mut self.block.cells[cell], &mut self.open[cell]);
        let (mut count, mut bytes) = (0, 0);
        open.leave(wire_len(len));
        for segment in segments {
            open.wait(segment);
            count += 1;
            bytes += u64::from(segment);
        }
        block.superframes[usize::try_from(count).map_or(SEGMENTS_MAX, |n| n.min(SEGMENTS_MAX))] +=
            1;
        block.segmented.packets += u64::saturating_sub(count, 1);
        block.segmented.bytes += bytes.saturating_sub(u64::from(len));
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
        open.end(block, len, at);
    }

    /// Frames for the egress port `port` arrived on another core and ended there under `reason`.
    pub fn on_ended_elsewhere(
        &mut self,
        port: u8,
        class: Option<u8>,
        reason: DropReason,
        count: Count,
    ) {
        let (arrived, dropped) = match class {
            None => match self.port(port) {
                Some(p) => {
                    let port = &mut self.block.ports[p];
                    (&mut port.unclassified, &mut port.unclassified_dropped)
                }
                None => return self.block.unplanned += 1,
            },
            Some(class) => match self.cell(port, class) {
                Some(cell) => {
                    let cell = &mut self.block.cells[cell];
                    (&mut cell.arrived, &mut cell.dropped)
                }
                None => return self.block.unplanned += 1,
            },
        };
        arrived.merge(&count);
        dropped[reason as usize].merge(&count);
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
        if self.counts_only {
            return open.count_only(block, departure, flow);
        }
        open.depart(block, departure, self.urgent, self.rate_epoch, flow);
    }

    /// A frame that had arrived for one egress port is about to leave by another of the same pair.
    pub fn on_moved(&mut self, (from, to): (u8, u8), meta: &PacketMeta) {
        let len = u32::from(meta.len);
        match (self.cell(from, meta.class), self.cell(to, meta.class)) {
            (Some(from), Some(to)) => {
                self.open[from].leave(wire_len(len));
                self.open[to].wait(len);
                self.block.cells[from].moved_out.add(u64::from(len));
                self.block.cells[to].moved_in.add(u64::from(len));
            }
            _ => self.block.unplanned += 1,
        }
    }

    /// So many flows of `class` leave by `port`, which is the second of its pair.
    pub fn tell_flows(&mut self, port: u8, class: u8, flows: u64) {
        match self.cell(port, class) {
            Some(cell) => self.block.cells[cell].flows = Some(flows),
            None => self.block.unplanned += 1,
        }
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

    /// A poll for packets to `port` received `packets` of them, at least one.
    #[inline]
    pub fn on_received(&mut self, port: u8, packets: u64) {
        match self.port(port) {
            Some(port) => self.block.ports[port].rx_burst.record(packets),
            None => self.block.unplanned += 1,
        }
    }

    /// The device of `port` gave back `bytes`, the last completion being `since_last` ago.
    #[inline]
    pub fn on_drained(&mut self, port: u8, bytes: u64, since_last: Nanos) {
        let Some(port) = self.port(port) else {
            self.block.unplanned += 1;
            return;
        };
        let ps = since_last.0.saturating_mul(1_000);
        self.block.ports[port].drain_ps_per_byte.record(ps / bytes.max(1));
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

    /// This is the confirmed table from now on: what is in time is told by its `max_hold`.
    pub fn set_confirmed(&mut self, confirmed: &Profile) {
        for (open, class) in self.open.iter_mut().zip(&self.class_of) {
            if let Some(params) = confirmed.classes.get(usize::from(*class)) {
                open.set_max_hold(params.max_hold);
            }
        }
    }

    /// TSC cycles of polls since the last call: of those that moved a packet, and of all.
    #[inline]
    pub fn add_cycles(&mut self, busy: u64, all: u64) {
        self.block.core.busy_cycles += busy;
        self.block.core.cycles += all;
    }

    /// What the lane that sends to `port` has counted since its start, what stands in it, and what
    /// became of its venue limits. Called before [`Self::swap`], by one lane for each port. Returns what
    /// the tallies grew by since the last call.
    pub fn tell(
        &mut self,
        port: u8,
        tallies: &Tallies,
        levels: Levels,
        limits: impl Iterator<Item = LimitFigures>,
    ) -> Tallies {
        let Some(position) = self.port(port) else {
            self.block.unplanned += 1;
            return Tallies::default();
        };
        let block = &mut self.block.ports[position];
        let (told, limits_told) = &mut self.told[position];
        let added = tallies.since(told);
        *told = *tallies;
        block.tallies.add(&added);
        block.levels = Some(levels);
        for ((now, told), block) in limits.zip(limits_told).zip(&mut block.limits) {
            block.merge(&LimitTally {
                least_room: Some(now.least_room),
                waits: now.waits.saturating_sub(told.waits),
                messages: now.messages.saturating_sub(told.messages),
                sessions_shared: now.sessions_shared.saturating_sub(told.sessions_shared),
            });
            *told = LimitTally {
                least_room: None,
                waits: now.waits,
                messages: now.messages,
                sessions_shared: now.sessions_shared,
            };
        }
        added
    }

    /// Hands over the block and goes on with `empty`, which must be clear and made for the same
    /// plan. Windows that a due time can still reach at `now` stay open with the core.
    ///
    /// # Panics
    /// When `empty` was made for another plan.
    pub fn swap(&mut self, now: Nanos, empty: Box<Block>) -> Box<Block> {
        assert!(self.block.fits(&empty), "a block of the core's own plan");
        self.raise_port_admitted();
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.close(block, now);
        }
        std::mem::replace(&mut self.block, empty)
    }

    /// Closes every open window into the current block: the end of a run, before the last
    /// [`Self::swap`].
    pub fn flush(&mut self) {
        self.raise_port_admitted();
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.flush(block);
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
        let cell = *self.cell_of.get(pair(port, class))?;
        (cell != UNPLANNED).then_some(usize::from(cell))
    }

    #[cold]
    pub(super) fn begin_rate_window(&mut self, at: Nanos) {
        self.raise_port_admitted();
        for (block, open) in self.block.cells.iter_mut().zip(&mut self.open) {
            open.admitted().raise(&mut block.admitted);
            open.begin_rate_window();
        }
        for cell in 0..self.open.len() {
            if self.open[cell].is_brimful() {
                self.open[cell].settle(&mut self.block.cells[cell]);
                self.block.settle_plain(cell);
            }
        }
        self.rate_epoch = self.rate_epoch.wrapping_add(1).max(1);
        let window = at.0 / RATE_WINDOW.0;
        self.rate_until = Nanos((window + 1).saturating_mul(RATE_WINDOW.0));
    }

    /// What the ports have admitted so far stands in the block. A window that straddles two blocks is
    /// whole in the later one.
    fn raise_port_admitted(&mut self) {
        for (position, port) in self.block.ports.iter_mut().enumerate() {
            let mut sum = Admitted::default();
            for (cell, open) in self.block.cells.iter().zip(&mut self.open) {
                if cell.port == position {
                    let Admitted { bytes, messages } = open.admitted();
                    sum.bytes += bytes;
                    sum.messages += messages;
                }
            }
            sum.raise(&mut port.admitted);
        }
    }
}

/// Place of a port and a class in the table of cells.
#[inline]
pub(super) fn pair(port: u8, class: u8) -> usize {
    usize::from(port) * CLASS_STRIDE + usize::from(class)
}
