//! Windows of a class as its rows tell them: packets and bytes that left and were due in each.
//!
//! Rows come roughly in the order of departure, and times at `normal` in any order, so windows stay
//! open for [`REACH`] and stand in a map: an empty window is never made, walked or folded.

use std::collections::BTreeMap;

use super::spans::Spans;
use crate::kpi::shape::Shape;
use crate::time::Nanos;

/// A time this far behind the latest departure still finds its place.
pub const REACH: Nanos = Nanos::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    wire: u64,
    wire_bytes: u64,
    due: u64,
    due_bytes: u64,
}

/// The open windows.
#[derive(Clone, Debug)]
pub struct RowWindows {
    width: u64,
    open: BTreeMap<u64, Counts>,
    eligible: Spans,
    /// Windows below this number are folded.
    floor: u64,
}

impl RowWindows {
    /// Windows of `width`, at least 1 ns.
    pub fn new(width: Nanos) -> Self {
        let width = width.0.max(1);
        Self { width, open: BTreeMap::new(), eligible: Spans::default(), floor: 0 }
    }

    /// A packet of `bytes` that waited from `from` on and was due at `due` leaves at `wire`.
    pub fn depart(
        &mut self,
        (from, due, wire): (Nanos, Nanos, Nanos),
        bytes: u32,
        shape: &mut Shape,
    ) {
        let (from, due, wire) = (from.0 / self.width, due.0 / self.width, wire.0 / self.width);
        let bytes = u64::from(bytes);
        self.eligible.insert(from.min(wire), wire);
        let reach = REACH.0 / self.width;
        if wire < self.floor || due < self.floor || due.abs_diff(wire) > reach {
            shape.bursts.late_packets += 1;
        }
        if wire >= self.floor {
            let window = self.open.entry(wire).or_default();
            window.wire += 1;
            window.wire_bytes += bytes;
        }
        if due >= self.floor && due.abs_diff(wire) <= reach {
            let window = self.open.entry(due).or_default();
            window.due += 1;
            window.due_bytes += bytes;
        }
    }

    /// Folds what no row can reach any more once a packet has left at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, shape: &mut Shape) {
        let end = latest.saturating_sub(REACH).0 / self.width;
        if end <= self.floor {
            return;
        }
        self.floor = end;
        let later = self.open.split_off(&end);
        let folded = std::mem::replace(&mut self.open, later);
        fold(folded, shape);
        shape.bursts.eligible_windows += self.eligible.take_below(end);
    }

    /// Folds everything: the end of a run.
    pub fn fold_all(&mut self, shape: &mut Shape) {
        fold(std::mem::take(&mut self.open), shape);
        shape.bursts.eligible_windows += self.eligible.take_all();
    }
}

fn fold(windows: BTreeMap<u64, Counts>, shape: &mut Shape) {
    for counts in windows.into_values() {
        shape.fold((counts.wire, counts.wire_bytes), (counts.due, counts.due_bytes));
    }
}
