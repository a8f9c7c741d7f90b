//! A block: everything that a core counted between two ticks. Blocks of one core add up.

use super::histogram::{Extent, Histogram};
use super::plain::{Extents, PlainRows};
use super::plan::{KpiPlan, PortPlan};
use super::shape::Shape;
use super::tally::{Levels, LimitTally, Tallies};
use crate::drop_reason::DropReason;
use crate::kind::Side;
use crate::sample::Release;

/// Most segments of one super-frame that are told apart.
pub(super) const SEGMENTS_MAX: usize = 64;

/// Packets and frame bytes (without FCS, preamble and gap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
}

impl Count {
    #[inline]
    pub(super) fn add(&mut self, bytes: u64) {
        self.add_n(bytes, 1);
    }

    /// `n` packets of `bytes` each.
    #[inline]
    pub(super) fn add_n(&mut self, bytes: u64, n: u64) {
        self.packets += n;
        self.bytes += bytes * n;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// The greatest admitted amounts in any 100 ms window of gateway time, in wire bytes and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmittedMax {
    /// Wire bytes.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

impl AdmittedMax {
    #[inline]
    pub(super) fn raise(&mut self, bytes: u64, messages: u64) {
        // Branches on purpose: for a stretch of packets they go one way.
        if bytes > self.bytes {
            self.bytes = bytes;
        }
        if messages > self.messages {
            self.messages = messages;
        }
    }
}

/// What is counted of one class on one egress port. Times in ns.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Position of the port in [`KpiPlan::ports`].
    pub port: usize,
    /// Class number.
    pub class: usize,
    /// Arrived.
    pub arrived: Count,
    /// Accepted by the egress port.
    pub departed: Count,
    /// Arrived for the other port of its pair and left by this one.
    pub moved_in: Count,
    /// Arrived for this port and left by the other one.
    pub moved_out: Count,
    /// Flows that leave by this port, where it is the second of its pair.
    pub flows: Option<u64>,
    /// Ended without leaving, by [`DropReason`].
    pub dropped: [Count; DropReason::COUNT],
    /// Departures by [`Release`].
    pub releases: [u64; Release::ALL.len()],
    /// Which times packets had that left as they came. What they are counted in stands in
    /// [`Block::plain`]; [`Block::merge`] adds both to the histograms that they belong to.
    pub(super) plain: Extents,
    /// `t_wire - t_dispatch`.
    pub dispatch_to_wire: Histogram,
    /// `t_sched - max(arrival, t_due)`.
    pub hold: Histogram,
    /// `dispatch_to_wire - due_wait - hold`, where not negative.
    pub rest: Histogram,
    /// `t_due - arrival`, of packets that carry an intent.
    pub due_wait: Histogram,
    /// `t_wire - t_due`, where not negative.
    pub release_late: Histogram,
    /// `t_due - t_wire`, where positive.
    pub release_early: Histogram,
    /// `t_tx - t_eligible` of governed releases, where not negative.
    pub pacer_error: Histogram,
    /// `abs(gap at the wire - gap of due times)` in a flow, where the due gap is no idle time.
    pub gap_error: Histogram,
    /// `t_tx - max(arrival, t_due)` less waits for the link, of exempt packets that carry something.
    pub exempt_hold: Histogram,
    /// Departures with `t_tx < t_eligible`. Must stay 0.
    pub early: u64,
    /// Departures with `t_wire < t_dispatch`: clocks that disagree. Not in the histogram.
    pub negative_dispatch: u64,
    /// Released before their own deadline because others had not used their share.
    pub negative_rest: u64,
    /// Left within `max_hold` of `max(t_dispatch, t_due)`.
    pub in_time: u64,
    /// Departures that a bucket had held.
    pub cap_hits: u64,
    /// Segments that super-frames were cut into, beyond those that came, and the bytes of their
    /// headers.
    pub segmented: Count,
    /// Super-frames by the segments that they were cut into.
    pub superframes: Box<[u64; SEGMENTS_MAX + 1]>,
    /// Departures of urgent packets.
    pub urgent: u64,
    /// Departures of urgent packets that a bucket had held.
    pub urgent_cap_hits: u64,
    /// Burst windows.
    pub bursts: Shape,
    /// Most that the class admitted in 100 ms.
    pub admitted: AdmittedMax,
    /// Most that one flow of the class admitted in 100 ms.
    pub admitted_flow: AdmittedMax,
    /// Packets waiting when the block was taken.
    pub backlog_packets: u64,
    /// Wire bytes waiting when the block was taken.
    pub backlog_bytes: u64,
    /// Most packets that waited.
    pub backlog_packets_max: u64,
    /// Most wire bytes that waited.
    pub backlog_bytes_max: u64,
    /// Bit `n`: a departure had an arrival stamp of [`crate::meta::StampSource`] `n`.
    pub stamp_sources: u8,
    /// Bit `n`: a departure had a due time of [`crate::meta::IntentSource`] `n`.
    pub intent_sources: u8,
}

/// What is counted of one egress port.
#[derive(Clone, Debug)]
pub struct PortBlock {
    /// Frames for this port that have no class, because they are malformed.
    pub unclassified: Count,
    /// Their ends, by [`DropReason`].
    pub unclassified_dropped: [Count; DropReason::COUNT],
    /// Bytes of intent shims that were taken out of frames for this port.
    pub bytes_stripped: u64,
    /// Most that the port admitted in 100 ms.
    pub admitted: AdmittedMax,
    /// Packets of each poll that received any, for this port.
    pub rx_burst: Histogram,
    /// Time since the last completion over the bytes completed, ps per byte.
    pub drain_ps_per_byte: Histogram,
    /// Packets below the TX queue.
    pub inflight_packets: Histogram,
    /// Wire bytes below the TX queue.
    pub inflight_bytes: Histogram,
    /// Bytes in flight over the limit, parts per million.
    pub inflight_ppm: Histogram,
    /// No completion for `stall_time` with bytes in flight.
    pub stalls: u64,
    /// The limit was reached, the ring had drained and packets were due.
    pub starvations: u64,
    /// What the lane that sends to the port counts by itself.
    pub tallies: Tallies,
    /// What stood in that lane when the block was taken; `None` = not told.
    pub levels: Option<Levels>,
    /// Of each venue limit, in the order of the plan; none on the side of the inside.
    pub limits: Vec<LimitTally>,
}

/// Where the cycles of a core went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreUse {
    /// TSC cycles in polls that moved a packet.
    pub busy_cycles: u64,
    /// TSC cycles in all polls.
    pub cycles: u64,
}

/// What a core counted between two ticks.
#[derive(Clone, Debug)]
pub struct Block {
    /// One for each pair of port and class that packets can have.
    pub cells: Vec<Cell>,
    /// Times of packets that left as they came, of all cells.
    pub(super) plain: PlainRows,
    /// One for each port of the plan.
    pub ports: Vec<PortBlock>,
    /// Cycles of the core.
    pub core: CoreUse,
    /// Calls that named a pair of port and class which the plan does not have. Must stay 0.
    pub unplanned: u64,
}

/// The sums of a run: the same counters, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Packets that arrived.
    pub packets_in: u64,
    /// Packets that left.
    pub packets_out: u64,
    /// Frame bytes that arrived.
    pub bytes_in: u64,
    /// Frame bytes that left.
    pub bytes_out: u64,
    /// Packets that segmentation added.
    pub segments_added: u64,
    /// Frame bytes of their headers.
    pub bytes_added: u64,
    /// Bytes of intent shims that were taken out.
    pub bytes_stripped: u64,
    /// By [`DropReason`].
    pub drops: [Count; DropReason::COUNT],
    /// Packets that wait.
    pub held: u64,
    /// Departures before their eligible time. Must be 0.
    pub early: u64,
    /// What lanes count by themselves.
    pub tallies: Tallies,
}

impl Cell {
    /// Whether nothing came, went or waits.
    pub fn is_silent(&self) -> bool {
        let ended = self.dropped.iter().map(|count| count.packets).sum::<u64>();
        self.arrived.packets + self.departed.packets + ended + self.backlog_packets == 0
    }

    fn new(port: usize, class: usize) -> Self {
        Self {
            port,
            class,
            arrived: Count::default(),
            departed: Count::default(),
            moved_in: Count::default(),
            moved_out: Count::default(),
            flows: None,
            dropped: [Count::default(); DropReason::COUNT],
            releases: [0; Release::ALL.len()],
            plain: [Extent::EMPTY; 3],
            dispatch_to_wire: Histogram::new(),
            hold: Histogram::new(),
            rest: Histogram::new(),
            due_wait: Histogram::new(),
            release_late: Histogram::new(),
            release_early: Histogram::new(),
            pacer_error: Histogram::new(),
            gap_error: Histogram::new(),
            exempt_hold: Histogram::new(),
            early: 0,
            negative_dispatch: 0,
            negative_rest: 0,
            in_time: 0,
            cap_hits: 0,
            segmented: Count::default(),
            superframes: Box::new([0; SEGMENTS_MAX + 1]),
            urgent: 0,
            urgent_cap_hits: 0,
            bursts: Shape::with_memory(),
            admitted: AdmittedMax::default(),
            admitted_flow: AdmittedMax::default(),
            backlog_packets: 0,
            backlog_bytes: 0,
            backlog_packets_max: 0,
            backlog_bytes_max: 0,
            stamp_sources: 0,
            intent_sources: 0,
        }
    }

    /// Packets that ended: departures and drops. What still waits has not yet had its chance.
    pub fn ended(&self) -> u64 {
        self.departed.packets + self.dropped.iter().map(|count| count.packets).sum::<u64>()
    }

    fn histograms(&mut self) -> [&mut Histogram; 9] {
        [
            &mut self.dispatch_to_wire,
            &mut self.hold,
            &mut self.rest,
            &mut self.due_wait,
            &mut self.release_late,
            &mut self.release_early,
            &mut self.pacer_error,
            &mut self.gap_error,
            &mut self.exempt_hold,
        ]
    }

    fn merge(&mut self, other: &Self) {
        self.arrived.merge(&other.arrived);
        self.departed.merge(&other.departed);
        self.moved_in.merge(&other.moved_in);
        self.moved_out.merge(&other.moved_out);
        self.flows = other.flows.or(self.flows);
        merge_counts(&mut self.dropped, &other.dropped);
        for (mine, theirs) in self.releases.iter_mut().zip(other.releases) {
            *mine += theirs;
        }
        self.dispatch_to_wire.merge(&other.dispatch_to_wire);
        self.hold.merge(&other.hold);
        self.rest.merge(&other.rest);
        self.due_wait.merge(&other.due_wait);
        self.release_late.merge(&other.release_late);
        self.release_early.merge(&other.release_early);
        self.pacer_error.merge(&other.pacer_error);
        self.gap_error.merge(&other.gap_error);
        self.exempt_hold.merge(&other.exempt_hold);
        self.early += other.early;
        self.negative_dispatch += other.negative_dispatch;
        self.negative_rest += other.negative_rest;
        self.in_time += other.in_time;
        self.cap_hits += other.cap_hits;
        self.segmented.merge(&other.segmented);
        for (mine, theirs) in self.superframes.iter_mut().zip(other.superframes.iter()) {
            *mine += theirs;
        }
        self.urgent += other.urgent;
        self.urgent_cap_hits += other.urgent_cap_hits;
        self.bursts.merge(&other.bursts);
        self.admitted.raise(other.admitted.bytes, other.admitted.messages);
        self.admitted_flow.raise(other.admitted_flow.bytes, other.admitted_flow.messages);
        // A level, not a count: the later block knows it.
        self.backlog_packets = other.backlog_packets;
        self.backlog_bytes = other.backlog_bytes;
        self.backlog_packets_max = self.backlog_packets_max.max(other.backlog_packets_max);
        self.backlog_bytes_max = self.backlog_bytes_max.max(other.backlog_bytes_max);
        self.stamp_sources |= other.stamp_sources;
        self.intent_sources |= other.intent_sources;
    }

    fn clear(&mut self) {
        for histogram in self.histograms() {
            histogram.clear();
        }
        self.arrived = Count::default();
        self.departed = Count::default();
        self.moved_in = Count::default();
        self.moved_out = Count::default();
        self.flows = None;
        self.dropped = [Count::default(); DropReason::COUNT];
        self.releases = [0; Release::ALL.len()];
        self.early = 0;
        self.negative_dispatch = 0;
        self.negative_rest = 0;
        self.in_time = 0;
        self.cap_hits = 0;
        self.segmented = Count::default();
        self.superframes.fill(0);
        self.urgent = 0;
        self.urgent_cap_hits = 0;
        self.bursts.clear();
        self.admitted = AdmittedMax::default();
        self.admitted_flow = AdmittedMax::default();
        self.backlog_packets = 0;
        self.backlog_bytes = 0;
        self.backlog_packets_max = 0;
        self.backlog_bytes_max = 0;
        self.stamp_sources = 0;
        self.intent_sources = 0;
    }
}

fn merge_counts(mine: &mut [Count], theirs: &[Count]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        mine.merge(theirs);
    }
}

impl PortBlock {
    fn new(plan: &KpiPlan, port: &PortPlan) -> Self {
        let limits = if port.side == Side::Venue { plan.limits.len() } else { 0 };
        Self {
            tallies: Tallies::default(),
            levels: None,
            limits: vec![LimitTally::default(); limits],
            unclassified: Count::default(),
            unclassified_dropped: [Count::default(); DropReason::COUNT],
            bytes_stripped: 0,
            admitted: AdmittedMax::default(),
            rx_burst: Histogram::new(),
            drain_ps_per_byte: Histogram::new(),
            inflight_packets: Histogram::new(),
            inflight_bytes: Histogram::new(),
            inflight_ppm: Histogram::new(),
            stalls: 0,
            starvations: 0,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.unclassified.merge(&other.unclassified);
        merge_counts(&mut self.unclassified_dropped, &other.unclassified_dropped);
        self.bytes_stripped += other.bytes_stripped;
        self.admitted.raise(other.admitted.bytes, other.admitted.messages);
        self.rx_burst.merge(&other.rx_burst);
        self.drain_ps_per_byte.merge(&other.drain_ps_per_byte);
        self.inflight_packets.merge(&other.inflight_packets);
        self.inflight_bytes.merge(&other.inflight_bytes);
        self.inflight_ppm.merge(&other.inflight_ppm);
        self.stalls += other.stalls;
        self.starvations += other.starvations;
        self.tallies.add(&other.tallies);
        self.levels = other.levels.or(self.levels);
        for (mine, theirs) in self.limits.iter_mut().zip(&other.limits) {
            mine.merge(theirs);
        }
    }

    fn clear(&mut self) {
        self.unclassified = Count::default();
        self.unclassified_dropped = [Count::default(); DropReason::COUNT];
        self.bytes_stripped = 0;
        self.admitted = AdmittedMax::default();
        self.rx_burst.clear();
        self.drain_ps_per_byte.clear();
        self.inflight_packets.clear();
        self.inflight_bytes.clear();
        self.inflight_ppm.clear();
        self.stalls = 0;
        self.starvations = 0;
        self.tallies = Tallies::default();
        self.levels = None;
        self.limits.fill(LimitTally::default());
    }
}

impl Block {
    /// An empty block for `plan`, with all of its memory present: about 480 KiB for each pair of
    /// port and class.
    pub fn new(plan: &KpiPlan) -> Self {
        let cells: Vec<_> = plan.cells().map(|(port, class)| Cell::new(port, class)).collect();
        Self {
            plain: PlainRows::new(cells.len()),
            cells,
            ports: plan.ports.iter().map(|port| PortBlock::new(plan, port)).collect(),
            core: CoreUse::default(),
            unplanned: 0,
        }
    }

    /// Adds `later`, the next block of the same core.
    pub fn merge(&mut self, later: &Self) {
        debug_assert!(self.fits(later), "blocks of one plan");
        for (cell, (mine, theirs)) in self.cells.iter_mut().zip(&later.cells).enumerate() {
            mine.merge(theirs);
            mine.add_plain(&later.plain, cell, &theirs.plain);
        }
        for (mine, theirs) in self.ports.iter_mut().zip(&later.ports) {
            mine.merge(theirs);
        }
        self.core.busy_cycles += later.core.busy_cycles;
        self.core.cycles += later.core.cycles;
        self.unplanned += later.unplanned;
    }

    /// Makes it as new, without giving memory back.
    pub fn clear(&mut self) {
        for (number, cell) in self.cells.iter_mut().enumerate() {
            cell.clear();
            self.plain.clear(number, &mut cell.plain);
        }
        self.ports.iter_mut().for_each(PortBlock::clear);
        self.core = CoreUse::default();
        self.unplanned = 0;
    }

    /// What is counted of packets that left as they came goes where it belongs.
    pub(super) fn settle_plain(&mut self, cell: usize) {
        let of = &mut self.cells[cell];
        let mut extents = of.plain;
        of.add_plain(&self.plain, cell, &extents);
        self.plain.clear(cell, &mut extents);
        of.plain = extents;
    }

    /// Whether `other` was made for a plan of the same shape.
    pub(super) fn fits(&self, other: &Self) -> bool {
        self.cells.len() == other.cells.len() && self.ports.len() == other.ports.len()
    }

    /// The sums over ports and classes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for port in &self.ports {
            totals.packets_in += port.unclassified.packets;
            totals.bytes_in += port.unclassified.bytes + port.bytes_stripped;
            totals.bytes_stripped += port.bytes_stripped;
            merge_counts(&mut totals.drops, &port.unclassified_dropped);
            totals.tallies.add(&port.tallies);
        }
        for cell in &self.cells {
            totals.packets_in += cell.arrived.packets;
            totals.bytes_in += cell.arrived.bytes;
            totals.segments_added += cell.segmented.packets;
            totals.bytes_added += cell.segmented.bytes;
            totals.packets_out += cell.departed.packets;
            totals.bytes_out += cell.departed.bytes;
            merge_counts(&mut totals.drops, &cell.dropped);
            totals.held += cell.backlog_packets;
            totals.early += cell.early;
        }
        totals
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            packets_in: 0,
            packets_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            segments_added: 0,
            bytes_added: 0,
            bytes_stripped: 0,
            drops: [Count::default(); DropReason::COUNT],
            held: 0,
            early: 0,
            tallies: Tallies::default(),
        }
    }
}

impl Totals {
    /// Adds the sums of another core.
    pub fn add(&mut self, other: &Self) {
        self.packets_in += other.packets_in;
        self.packets_out += other.packets_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.segments_added += other.segments_added;
        self.bytes_added += other.bytes_added;
        self.bytes_stripped += other.bytes_stripped;
        merge_counts(&mut self.drops, &other.drops);
        self.held += other.held;
        self.early += other.early;
        self.tallies.add(&other.tallies);
    }

    /// Name and count of each reason that occurred.
    pub fn drops_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.drops.iter().map(|count| count.packets);
        let named = DropReason::ALL.iter().map(|reason| reason.name()).zip(counts);
        named.filter(|(_, packets)| *packets > 0)
    }

    /// Packets that ended without leaving.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(|count| count.packets).sum()
    }
}
