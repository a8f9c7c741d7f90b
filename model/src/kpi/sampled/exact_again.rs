//! What a core counts of every packet at the real departure, from rows at the time at which the packet
//! would have left under the operator-confirmed caps.

use std::collections::HashMap;

use super::spread::Spread;
use super::windows::RowWindows;
use crate::kpi::open::idle_gap;
use crate::kpi::plan::ClassPlan;
use crate::kpi::shape::Shape;
use crate::kpi::windows::burst_window;
use crate::meta::wire_len;
use crate::sample::Sample;
use crate::time::Nanos;

/// Flows of a class whose gaps are followed. Of those beyond no gap is known.
const FLOWS_MAX: usize = 1 << 16;

/// What is open of a class.
#[derive(Clone, Debug)]
pub struct ExactAgain {
    idle_gap: Nanos,
    windows: RowWindows,
    /// Due time and departure of the last packet of each flow.
    flows: HashMap<u32, (Nanos, Nanos)>,
}

/// What is added up of a class.
#[derive(Clone, Debug, Default)]
pub struct ExactAgainTotals {
    /// `t_wire - t_dispatch`, where not negative.
    pub dispatch_to_wire: Spread,
    /// Where it is.
    pub negative_dispatch: u64,
    /// `t_wire - t_due`, where not negative.
    pub late: Spread,
    /// `t_due - t_wire`, where positive.
    pub early: Spread,
    /// `abs(gap at the wire - gap of due times)` in a flow.
    pub gap_error: Spread,
    /// Packets by weight.
    pub departed: u64,
    /// Of those, the ones that left within `max_hold` of `max(t_dispatch, t_due)`.
    pub in_time: u64,
    /// Windows of all packets.
    pub shape: Shape,
}

impl ExactAgain {
    /// Of `class`.
    pub fn new(class: &ClassPlan) -> Self {
        Self {
            idle_gap: idle_gap(class.cadence),
            windows: RowWindows::new(burst_window(class.cadence)),
            flows: HashMap::new(),
        }
    }

    /// The packet of `row` leaves at `wire`, of a class with that `max_hold`. `all` = every packet of the
    /// class leaves a row.
    pub fn depart(
        &mut self,
        row: &Sample,
        (wire, max_hold): (Nanos, Nanos),
        all: bool,
        totals: &mut ExactAgainTotals,
    ) {
        let weight = u64::from(row.weight);
        match wire.0.checked_sub(row.t_dispatch.0) {
            Some(delay) => totals.dispatch_to_wire.record(delay, weight),
            None => totals.negative_dispatch += weight,
        }
        match wire.0.checked_sub(row.t_due.0) {
            Some(late) => totals.late.record(late, weight),
            None => totals.early.record(row.t_due.0 - wire.0, weight),
        }
        totals.departed += weight;
        let asked = row.t_dispatch.max(row.t_due);
        totals.in_time += if wire.saturating_sub(asked) <= max_hold { weight } else { 0 };
        if all {
            let times = (row.t_ingress, row.t_due, wire);
            self.windows.depart(times, wire_len(u32::from(row.len)), &mut totals.shape);
            if let Some(error) = self.gap_error(row.flow, row.t_due, wire) {
                totals.gap_error.record(error, 1);
            }
        }
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
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut ExactAgainTotals) {
        self.windows.fold_before(latest, &mut totals.shape);
    }

    /// Adds up everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut ExactAgainTotals) {
        self.windows.fold_all(&mut totals.shape);
    }
}

impl ExactAgainTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.dispatch_to_wire.merge(&other.dispatch_to_wire);
        self.negative_dispatch += other.negative_dispatch;
        self.late.merge(&other.late);
        self.early.merge(&other.early);
        self.gap_error.merge(&other.gap_error);
        self.departed += other.departed;
        self.in_time += other.in_time;
        self.shape.merge(&other.shape);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        [&mut self.dispatch_to_wire, &mut self.late, &mut self.early, &mut self.gap_error]
            .into_iter()
            .for_each(Spread::clear);
        (self.negative_dispatch, self.departed, self.in_time) = (0, 0, 0);
        self.shape.clear();
    }
}
