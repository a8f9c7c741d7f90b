//! Wire-time figures of a class that come from rows, for one choice of departure time: the real one,
//! or the one that the packet would have had under the operator-confirmed caps.

use super::in_order::InOrder;
use super::level::{Level, LevelTotals};
use super::phase::Phase;
use super::runs::{RunTotals, Runs};
use super::spread::Spread;
use super::windows::{REACH, RowWindows};
use crate::kind::Kind;
use crate::kpi::plan::ClassPlan;
use crate::kpi::shape::Shape;
use crate::kpi::windows::burst_window;
use crate::meta::wire_len;
use crate::sample::Sample;
use crate::time::Nanos;

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
    link_bits_per_s: Option<u64>,
    churn: RowWindows,
    churn_intent: RowWindows,
    waiting: Level,
    leaving: InOrder<u32>,
    runs: Runs,
}

/// What is added up of a class.
#[derive(Clone, Debug, Default)]
pub struct TimingTotals {
    /// `t_wire - t_decision`, where it is known and not negative.
    pub decision_to_wire: Spread,
    /// Where it is negative.
    pub negative_decision: u64,
    /// Places on the circle of the cadence.
    pub phase: Phase,
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
            link_bits_per_s,
            churn: windows.clone(),
            churn_intent: windows,
            waiting: Level::default(),
            leaving: InOrder::default(),
            runs: Runs::default(),
        }
    }

    /// The packet of `row` left at `left`. `all` = every packet of the class leaves a row; only then
    /// is there a next packet, and so a window, a burst or a level.
    pub fn depart(&mut self, row: &Sample, left: Left, all: bool, totals: &mut TimingTotals) {
        let Left { tx, wire } = left;
        let weight = u64::from(row.weight);
        if let Some(decision) = row.t_decision {
            match wire.0.checked_sub(decision.0) {
                Some(delay) => totals.decision_to_wire.record(delay, weight),
                None => totals.negative_decision += weight,
            }
        }
        totals.phase.record(self.cadence, row.t_due, wire, weight);
        if !all {
            return;
        }
        let bytes = wire_len(u32::from(row.len));
        if matches!(row.kind, Kind::Cancel | Kind::MassCancel | Kind::Replace) {
            let times = |due| (row.t_ingress, due, wire);
            self.churn.depart(times(row.t_due), bytes, &mut totals.churn);
            self.churn_intent.depart(times(row.t_dispatch), bytes, &mut totals.churn_intent);
        }
        self.waiting.record(row.t_ingress, tx, bytes, &mut totals.not_sent);
        if self.link_bits_per_s.is_some() {
            self.leaving.push(wire.0, bytes);
        }
    }

    /// Adds up what no row can change any more once a packet has left at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut TimingTotals) {
        self.churn.fold_before(latest, &mut totals.churn);
        self.churn_intent.fold_before(latest, &mut totals.churn_intent);
        let end = latest.saturating_sub(REACH);
        self.waiting.fold_before(end, &mut totals.not_sent);
        self.take_runs(end.0, totals);
    }

    /// Adds up everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut TimingTotals) {
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
        self.decision_to_wire.merge(&other.decision_to_wire);
        self.negative_decision += other.negative_decision;
        self.phase.merge(&other.phase);
        self.churn.merge(&other.churn);
        self.churn_intent.merge(&other.churn_intent);
        self.not_sent.merge(&other.not_sent);
        self.runs.merge(&other.runs);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.decision_to_wire.clear();
        self.negative_decision = 0;
        self.phase.clear();
        self.churn.clear();
        self.churn_intent.clear();
        self.not_sent.clear();
        self.runs.clear();
    }
}
