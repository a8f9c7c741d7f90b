//! Wire-time figures of a class for one choice of departure time: the real one, or the one that the
//! packet would have had under the operator-confirmed caps.

use std::collections::HashMap;

use super::in_order::InOrder;
use super::level::{Level, LevelTotals};
use super::phase::Phase;
use super::runs::{RunTotals, Runs};
use super::spread::Spread;
use super::windows::{REACH, RowWindows};
use crate::kind::Kind;
use crate::kpi::open::idle_gap;
use crate::kpi::plan::ClassPlan;
use crate::kpi::shape::Shape;
use crate::kpi::windows::burst_window;
use crate::meta::wire_len;
use crate::sample::Sample;
use crate::time::Nanos;

/// Flows of a class whose gaps are followed. Of those beyond no gap is known.
const FLOWS_MAX: usize = 1 << 16;

/// The times of one departure.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Acceptance by the port.
    pub tx: Nanos,
    /// Departure.
    pub wire: Nanos,
}

/// What is open of a class.
#[derive(Clone, Debug)]
pub struct Timing {
    cadence: Nanos,
    idle_gap: Nanos,
    max_hold: Nanos,
    link_bits_per_s: Option<u64>,
    windows: RowWindows,
    churn: RowWindows,
    churn_intent: RowWindows,
    /// Due time and departure of the last packet of each flow.
    flows: HashMap<u32, (Nanos, Nanos)>,
    waiting: Level,
    leaving: InOrder<u32>,
    runs: Runs,
}

/// What is added up of a class.
#[derive(Clone, Debug, Default)]
pub struct TimingTotals {
    /// `t_wire - t_dispatch`, where not negative.
    pub dispatch_to_wire: Spread,
    /// Where it is.
    pub negative_dispatch: u64,
    /// `t_wire - t_due`, where not negative.
    pub late: Spread,
    /// `t_due - t_wire`, where positive.
    pub early: Spread,
    /// `t_wire - t_decision`, where it is known and not negative.
    pub decision_to_wire: Spread,
    /// Where it is negative.
    pub negative_decision: u64,
    /// `abs(gap at the wire - gap of due times)` in a flow.
    pub gap_error: Spread,
    /// Places on the circle of the cadence.
    pub phase: Phase,
    /// Packets by weight, and those that left within `max_hold` of `max(t_dispatch, t_due)`.
    pub departed: u64,
    /// See `departed`.
    pub in_time: u64,
    /// Windows of all packets.
    pub shape: Shape,
    /// Windows of cancels and replaces: departures and due times.
    pub churn: Shape,
    /// The same with `t_dispatch` in place of the due time.
    pub churn_intent: Shape,
    /// Bytes that wait for the port.
    pub not_sent: LevelTotals,
    /// Bursts on the link.
    pub runs: RunTotals,
}

impl Timing {
    /// Of `class` on a link of so many bits per second, where that is known.
    pub fn new(class: &ClassPlan, link_bits_per_s: Option<u64>) -> Self {
        let windows = RowWindows::new(burst_window(class.cadence));
        Self {
            cadence: class.cadence.unwrap_or(Nanos::ZERO),
            idle_gap: idle_gap(class.cadence),
            max_hold: class.max_hold,
            link_bits_per_s,
            churn: windows.clone(),
            churn_intent: windows.clone(),
            windows,
            flows: HashMap::new(),
            waiting: Level::default(),
            leaving: InOrder::default(),
            runs: Runs::default(),
        }
    }

    /// The packet of `row` left at `left`. `all` = every packet of the class leaves a row; only then
    /// is there a next packet, and so a gap, a window or a level.
    pub fn depart(&mut self, row: &Sample, left: Left, all: bool, totals: &mut TimingTotals) {
        self.measure(row, left, totals);
        if !all {
            return;
        }
        let bytes = wire_len(u32::from(row.len));
        let Left { tx, wire } = left;
        let times = (row.t_ingress, row.t_due, wire);
        self.windows.depart(times, bytes, &mut totals.shape);
        if matches!(row.kind, Kind::Cancel | Kind::MassCancel | Kind::Replace) {
            self.churn.depart(times, bytes, &mut totals.churn);
            let times = (row.t_ingress, row.t_dispatch, wire);
            self.churn_intent.depart(times, bytes, &mut totals.churn_intent);
        }
        self.waiting.record(row.t_ingress, tx, bytes, &mut totals.not_sent);
        if self.link_bits_per_s.is_some() {
            self.leaving.push(wire.0, bytes);
        }
        if let Some(error) = self.gap_error(row.flow, row.t_due, wire) {
            totals.gap_error.record(error, 1);
        }
    }

    fn measure(&self, row: &Sample, Left { wire, .. }: Left, totals: &mut TimingTotals) {
        let weight = u64::from(row.weight);
        match wire.0.checked_sub(row.t_dispatch.0) {
            Some(delay) => totals.dispatch_to_wire.record(delay, weight),
            None => totals.negative_dispatch += weight,
        }
        match wire.0.checked_sub(row.t_due.0) {
            Some(late) => totals.late.record(late, weight),
            None => totals.early.record(row.t_due.0 - wire.0, weight),
        }
        if let Some(decision) = row.t_decision {
            match wire.0.checked_sub(decision.0) {
                Some(delay) => totals.decision_to_wire.record(delay, weight),
                None => totals.negative_decision += weight,
            }
        }
        totals.phase.record(self.cadence, row.t_due, wire, weight);
        totals.departed += weight;
        let asked = row.t_dispatch.max(row.t_due);
        totals.in_time += if wire.saturating_sub(asked) <= self.max_hold { weight } else { 0 };
    }

    /// By how much the gap to the flow's last packet differs from that of the due times, where that is
    /// no idle time.
    fn gap_error(&mut self, flow: u32, due: Nanos, wire: Nanos) -> Option<u64> {
        if self.flows.len() >= FLOWS_MAX && !self.flows.contains_key(&flow) {
            return None;
        }
        let (last_due, last_wire) = self.flows.insert(flow, (due, wire))?;
        // Spans of gateway time fit into i64; wrapping keeps their sign.
        let due_gap = due.0.wrapping_sub(last_due.0) as i64;
        let wire_gap = wire.0.wrapping_sub(last_wire.0) as i64;
        (due_gap.unsigned_abs() <= self.idle_gap.0).then(|| wire_gap.abs_diff(due_gap))
    }

    /// Adds up what no row can change any more once a packet has left at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut TimingTotals) {
        self.windows.fold_before(latest, &mut totals.shape);
        self.churn.fold_before(latest, &mut totals.churn);
        self.churn_intent.fold_before(latest, &mut totals.churn_intent);
        let end = latest.saturating_sub(REACH);
        self.waiting.fold_before(end, &mut totals.not_sent);
        self.take_runs(end.0, totals);
    }

    /// Adds up everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut TimingTotals) {
        self.windows.fold_all(&mut totals.shape);
        self.churn.fold_all(&mut totals.churn);
        self.churn_intent.fold_all(&mut totals.churn_intent);
        self.waiting.fold_all(&mut totals.not_sent);
        self.take_runs(u64::MAX, totals);
        self.runs.end(&mut totals.runs);
    }

    fn take_runs(&mut self, end: u64, totals: &mut TimingTotals) {
        let Some(rate) = self.link_bits_per_s else { return };
        while let Some((wire, bytes)) = self.leaving.pop_before(end) {
            self.runs.record(rate, Nanos(wire), bytes, &mut totals.runs);
        }
    }
}

impl TimingTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.dispatch_to_wire.merge(&other.dispatch_to_wire);
        self.negative_dispatch += other.negative_dispatch;
        self.late.merge(&other.late);
        self.early.merge(&other.early);
        self.decision_to_wire.merge(&other.decision_to_wire);
        self.negative_decision += other.negative_decision;
        self.gap_error.merge(&other.gap_error);
        self.phase.merge(&other.phase);
        self.departed += other.departed;
        self.in_time += other.in_time;
        self.shape.merge(&other.shape);
        self.churn.merge(&other.churn);
        self.churn_intent.merge(&other.churn_intent);
        self.not_sent.merge(&other.not_sent);
        self.runs.merge(&other.runs);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let spreads = [
            &mut self.dispatch_to_wire,
            &mut self.late,
            &mut self.early,
            &mut self.decision_to_wire,
            &mut self.gap_error,
        ];
        spreads.into_iter().for_each(Spread::clear);
        (self.negative_dispatch, self.negative_decision) = (0, 0);
        (self.departed, self.in_time) = (0, 0);
        self.phase.clear();
        [&mut self.shape, &mut self.churn, &mut self.churn_intent]
            .into_iter()
            .for_each(Shape::clear);
        self.not_sent.clear();
        self.runs.clear();
    }
}
