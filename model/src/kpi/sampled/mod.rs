//! Figures from sample rows (tier 2): each row stands for `weight` packets.
//!
//! [`Sampled::add`] takes rows in the order in which a core made them. Sizes and delays need any
//! rows. Gaps, windows, bursts, levels and what is matched between packets need **every** packet of a
//! class: rows of weight 1. Where a row of another weight came, they are absent.
//!
//! What a later row can still change stays open for a second of gateway time, over
//! [`Sampled::clear`] and [`Sampled::merge`], which act on what is added up; [`Sampled::flush`] adds up
//! the rest at the end of a run.

mod acks;
mod causality;
mod coupling;
mod exact_again;
mod feed;
mod gaps;
mod in_order;
mod level;
mod phase;
mod runs;
mod spans;
mod spread;
mod timing;
mod urgency;
mod windows;

use std::collections::HashMap;

use self::acks::{Ack, Acks, Segment};
pub use self::acks::{AckShare, AckShares, AckTotals};
pub use self::causality::CausalityTotals;
use self::causality::{Causality, Seen};
pub use self::coupling::{Coupled, CouplingTotals};
use self::exact_again::ExactAgain;
pub use self::exact_again::ExactAgainTotals;
pub use self::feed::{ARMS, FeedTotals};
use self::feed::{Feed, stamps_are_own};
pub use self::level::LevelTotals;
pub use self::phase::Phase;
pub use self::runs::RunTotals;
pub use self::spread::Spread;
pub use self::timing::TimingTotals;
use self::timing::{Left, Timing};
pub use self::urgency::{Divergence, Urgencies};
use super::plan::KpiPlan;
use crate::kind::{Kind, Side};
use crate::meta::wire_len;
use crate::sample::{End, Sample};
use crate::time::Nanos;

/// What is open is looked through so often, in gateway time of the rows.
const FOLD_EVERY: Nanos = Nanos::from_millis(10);
/// Flows of a class whose hand-overs are followed. Of those beyond no gap is known.
const FLOWS_MAX: usize = 1 << 16;

/// What is added up of the rows of one core.
#[derive(Clone, Debug)]
pub struct Sampled {
    cells: Vec<SampledCell>,
    ports: Vec<SampledPort>,
    unplanned: u64,
    /// Of each cell, from its first row on.
    open: Vec<Option<Box<Open>>>,
    causality: Vec<Causality>,
    acks: Acks,
    /// Latest departure that was told, and when what is open is looked through next.
    latest: Nanos,
    next_fold: Nanos,
}

/// Rows of one class towards one egress port.
#[derive(Clone, Debug, Default)]
pub struct SampledCell {
    /// Position of the port in [`KpiPlan::ports`].
    pub port: usize,
    /// Class number.
    pub class: usize,
    /// Rows: how much evidence there is.
    pub rows: u64,
    /// Rows that stand for more packets than their own.
    pub thinned: u64,
    /// Wire bytes of the class that waited when the packet arrived, by weight.
    pub backlog_bytes: Spread,
    /// Frame bytes of each packet that the sender handed over.
    pub write_size: Spread,
    /// Time between hand-overs of a flow.
    pub inter_write: Spread,
    /// At the times at which packets left.
    pub wire: TimingTotals,
    /// At the times at which they would have left under the operator-confirmed caps.
    pub normal: TimingTotals,
    /// At the same times, what is counted of every packet at the real departure.
    pub exact_at_normal: ExactAgainTotals,
    /// Packets that ended without leaving, by weight.
    pub dropped: u64,
    /// Of a class from the venue.
    pub feed: FeedTotals,
    /// Of TCP connections that send in this class.
    pub acks: AckTotals,
    /// Share of compressed acknowledgements that an operator froze as usual.
    pub ack_baseline: Option<f64>,
    /// Bit `n`: a row had an arrival stamp of [`crate::meta::StampSource`] `n`.
    pub stamp_sources: u8,
    /// Bit `n`: a row had a due time of [`crate::meta::IntentSource`] `n`.
    pub intent_sources: u8,
}

/// Rows towards one egress port.
#[derive(Clone, Debug, Default)]
pub struct SampledPort {
    /// Bytes not sent by urgency.
    pub urgencies: Urgencies,
    /// Control packets among market data.
    pub causality: CausalityTotals,
    /// Rows from the venue that stand for more packets than their own.
    pub thinned: u64,
}

/// What is open of a cell.
#[derive(Clone, Debug)]
struct Open {
    wire: Timing,
    normal: Timing,
    exact_at_normal: ExactAgain,
    feed: Feed,
    /// When the last packet of each flow was handed over.
    writes: HashMap<u32, Nanos>,
}

impl Sampled {
    /// Nothing yet, for the classes and ports of `plan`.
    pub fn new(plan: &KpiPlan) -> Self {
        let cell = |(port, class)| SampledCell { port, class, ..SampledCell::default() };
        let cells: Vec<_> = plan.cells().map(cell).collect();
        Self {
            open: cells.iter().map(|_| None).collect(),
            ports: plan.ports.iter().map(|_| SampledPort::default()).collect(),
            causality: plan.ports.iter().map(|_| Causality::default()).collect(),
            cells,
            unplanned: 0,
            acks: Acks::default(),
            latest: Nanos::ZERO,
            next_fold: Nanos::ZERO,
        }
    }

    /// Adds one row. A row of weight 0 stands for nothing and is left out.
    pub fn add(&mut self, plan: &KpiPlan, row: &Sample) {
        let class = usize::from(row.class);
        let of_row =
            |cell: &SampledCell| cell.class == class && plan.ports[cell.port].index == row.port;
        let Some(place) = self.cells.iter().position(of_row) else {
            self.unplanned += 1;
            return;
        };
        if row.weight == 0 {
            return;
        }
        let port = self.cells[place].port;
        let open = self.open[place].get_or_insert_with(|| Open::new(plan, port, class));
        let cell = &mut self.cells[place];
        cell.count(row);
        if let (Some(wire), End::Sent(_)) = (row.t_wire, row.end) {
            let left = Left { tx: row.t_tx.unwrap_or(wire), wire };
            match row.from {
                Side::Inside => {
                    cell.depart(open, row, left, plan.classes[class].max_hold);
                    self.note_wait(port, row, left);
                    self.note_order(plan, row);
                }
                Side::Venue => self.deliver(plan, place, row, wire),
            }
            self.note_tcp(place, row, wire);
            self.latest = self.latest.max(wire);
        }
        if self.latest >= self.next_fold {
            self.next_fold = self.latest.saturating_add(FOLD_EVERY);
            self.fold();
        }
    }

    fn note_wait(&mut self, port: usize, row: &Sample, left: Left) {
        let wait = left.tx.saturating_sub(row.t_ingress).0;
        let bytes = wire_len(u32::from(row.len));
        self.ports[port].urgencies.record(row.urgency, bytes, wait, row.weight);
    }

    /// Orders of the core are compared with each feed that it delivers.
    fn note_order(&mut self, plan: &KpiPlan, row: &Sample) {
        if !row.kind.is_order_entry() || row.kind == Kind::Session {
            return;
        }
        let arm = plan.classes[usize::from(row.class)].arm;
        for (cell, open) in self.cells.iter_mut().zip(&mut self.open) {
            if plan.classes[cell.class].kind == Kind::MarketData {
                cell.feed.orders_thinned += u64::from(row.weight > 1);
                let open = open.get_or_insert_with(|| Open::new(plan, cell.port, cell.class));
                open.feed.order(row.t_dispatch, arm);
            }
        }
    }

    fn deliver(&mut self, plan: &KpiPlan, place: usize, row: &Sample, wire: Nanos) {
        let delivery = row.t_delivery.unwrap_or(wire);
        let cell = &mut self.cells[place];
        if let Some(open) = &mut self.open[place] {
            open.feed.deliver(row, delivery, row.weight == 1, &mut cell.feed);
        }
        let seen = Seen {
            arrived: row.t_ingress,
            delivered: delivery,
            error_ns: row.clock_error_ns.unwrap_or(0),
        };
        match plan.classes[cell.class].kind {
            Kind::MarketData => self.causality[cell.port].data(seen),
            _ => self.causality[cell.port].control(seen),
        }
        self.ports[cell.port].thinned += u64::from(row.weight > 1);
    }

    /// Both directions of a connection pass the same core.
    fn note_tcp(&mut self, place: usize, row: &Sample, wire: Nanos) {
        let Some(tcp) = row.tcp else { return };
        match row.from {
            Side::Inside if tcp.payload_bytes > 0 && row.weight == 1 => {
                let Some(end_seq) = row.tcp_end_seq else { return };
                let segment = Segment { end_seq, bytes: u32::from(tcp.payload_bytes), wire };
                self.acks.sent(tcp.connection, place, segment, &mut self.cells[place].acks);
            }
            Side::Inside => {}
            Side::Venue => {
                let Some(place) = self.acks.cell_of(tcp.connection) else { return };
                let totals = &mut self.cells[place].acks;
                totals.thinned += u64::from(row.weight > 1);
                let (Some(number), 1) = (tcp.ack, row.weight) else { return };
                let own_stamp = stamps_are_own(row.ingress_source);
                let ack = Ack { number, at: row.t_ingress, own_stamp };
                self.acks.acknowledged(tcp.connection, ack, totals);
            }
        }
    }

    fn fold(&mut self) {
        let latest = self.latest;
        for (cell, open) in self.cells.iter_mut().zip(&mut self.open) {
            if let Some(open) = open {
                open.wire.fold_before(latest, &mut cell.wire);
                open.normal.fold_before(latest, &mut cell.normal);
                open.exact_at_normal.fold_before(latest, &mut cell.exact_at_normal);
                open.feed.fold_before(latest, &mut cell.feed);
            }
        }
        for (port, causality) in self.ports.iter_mut().zip(&mut self.causality) {
            causality.fold_before(latest, &mut port.causality);
        }
    }

    /// Adds up what is still open: the end of a run.
    pub fn flush(&mut self) {
        for (cell, open) in self.cells.iter_mut().zip(&mut self.open) {
            if let Some(open) = open {
                open.wire.fold_all(&mut cell.wire);
                open.normal.fold_all(&mut cell.normal);
                open.exact_at_normal.fold_all(&mut cell.exact_at_normal);
                open.feed.fold_all(&mut cell.feed);
            }
        }
        for (port, causality) in self.ports.iter_mut().zip(&mut self.causality) {
            causality.fold_all(&mut port.causality);
        }
    }

    /// Adds what `other` has added up, made for the same plan. What is usual adds up to nothing.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.ports.iter_mut().zip(&other.ports) {
            mine.urgencies.merge(&theirs.urgencies);
            mine.causality.merge(&theirs.causality);
            mine.thinned += theirs.thinned;
        }
        self.unplanned += other.unplanned;
    }

    /// Forgets what is added up. What is open stays open.
    pub fn clear(&mut self) {
        self.cells.iter_mut().for_each(SampledCell::clear);
        for port in &mut self.ports {
            port.urgencies.clear();
            (port.causality, port.thinned) = (CausalityTotals::default(), 0);
        }
        self.unplanned = 0;
    }

    /// Takes over what is usual: the share of compressed acknowledgements of each class, by its number.
    pub fn set_ack_baselines(&mut self, usual: impl Fn(usize) -> Option<f64>) {
        for cell in &mut self.cells {
            cell.ack_baseline = usual(cell.class);
        }
    }

    /// One for each pair of port and class that packets can have.
    pub fn cells(&self) -> &[SampledCell] {
        &self.cells
    }

    /// One for each port of the plan.
    pub fn ports(&self) -> &[SampledPort] {
        &self.ports
    }

    /// Rows of a pair of port and class that the plan does not have. Must stay 0.
    pub const fn unplanned(&self) -> u64 {
        self.unplanned
    }
}

impl Open {
    fn new(plan: &KpiPlan, port: usize, class: usize) -> Box<Self> {
        let class = &plan.classes[class];
        let wire = Timing::new(class, plan.ports[port].link_bits_per_s);
        let exact_at_normal = ExactAgain::new(class);
        let (normal, feed, writes) = (wire.clone(), Feed::new(), HashMap::new());
        Box::new(Self { wire, normal, exact_at_normal, feed, writes })
    }
}

impl SampledCell {
    fn count(&mut self, row: &Sample) {
        let weight = u64::from(row.weight);
        self.rows += 1;
        self.thinned += u64::from(weight > 1);
        self.stamp_sources |= 1 << row.ingress_source as u8;
        self.intent_sources |= 1 << row.intent as u8;
        self.backlog_bytes.record(row.backlog_bytes, weight);
        self.dropped += if matches!(row.end, End::Dropped(_)) { weight } else { 0 };
        if row.from == Side::Inside {
            self.write_size.record(u64::from(row.len), weight);
        }
    }

    fn depart(&mut self, open: &mut Open, row: &Sample, left: Left, max_hold: Nanos) {
        let all = row.weight == 1;
        open.wire.depart(row, left, all, &mut self.wire);
        if let Some(left) = at_normal(row, left) {
            open.normal.depart(row, left, all, &mut self.normal);
            let times = (left.wire, max_hold);
            open.exact_at_normal.depart(row, times, all, &mut self.exact_at_normal);
        }
        let has_room = open.writes.len() < FLOWS_MAX || open.writes.contains_key(&row.flow);
        if all
            && has_room
            && let Some(last) = open.writes.insert(row.flow, row.t_dispatch)
            && let Some(gap) = row.t_dispatch.0.checked_sub(last.0)
        {
            self.inter_write.record(gap, 1);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.thinned += other.thinned;
        self.backlog_bytes.merge(&other.backlog_bytes);
        self.write_size.merge(&other.write_size);
        self.inter_write.merge(&other.inter_write);
        self.wire.merge(&other.wire);
        self.normal.merge(&other.normal);
        self.exact_at_normal.merge(&other.exact_at_normal);
        self.dropped += other.dropped;
        self.feed.merge(&other.feed);
        self.acks.merge(&other.acks);
        self.stamp_sources |= other.stamp_sources;
        self.intent_sources |= other.intent_sources;
    }

    fn clear(&mut self) {
        (self.rows, self.thinned, self.dropped) = (0, 0, 0);
        [&mut self.backlog_bytes, &mut self.write_size, &mut self.inter_write]
            .into_iter()
            .for_each(Spread::clear);
        self.wire.clear();
        self.normal.clear();
        self.exact_at_normal.clear();
        self.feed.clear();
        self.acks.clear();
        (self.stamp_sources, self.intent_sources) = (0, 0);
    }
}

/// When the packet of `row` would have left under the operator-confirmed caps: our deliberate delay is
/// taken out, and what port, driver, link or a late core added stays in.
fn at_normal(row: &Sample, left: Left) -> Option<Left> {
    let earlier = i128::from(row.t_normal?.0) - i128::from(row.t_sched?.0);
    let moved = |at: Nanos| {
        let at = (i128::from(at.0) + earlier).clamp(0, i128::from(u64::MAX));
        Nanos(at as u64)
    };
    Some(Left { tx: moved(left.tx), wire: moved(left.wire) })
}
