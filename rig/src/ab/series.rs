//! What plots of a block are made of: bounded numbers of points.

use model::kind::Side;
use model::time::Nanos;

use super::contract::ORDER_FLOW;
use super::passage::{Passage, Passages};
use super::result::{Backlog, Passage as Shown, Raster, Series};

/// Quantiles of a distribution.
const QUANTILES: usize = 201;
/// Messages of a timeline.
const TIMELINE: usize = 120;
const WINDOW: Nanos = Nanos::from_micros(250);
/// Windows of a raster: 100 ms.
const WINDOWS: usize = 400;
const LEVEL_EVERY: Nanos = Nanos::from_micros(100);
/// Levels: 40 ms.
const LEVELS: usize = 400;
/// A due gap beyond this is idle time, and no gap.
pub(super) const GAP_MAX: Nanos = Nanos::from_millis(10);

/// Those of the orders of a block that began at `began`.
pub fn series(passages: &Passages, began: Nanos) -> Series {
    let orders: Vec<&Passage> = passages.of(Side::Inside, ORDER_FLOW).collect();
    let since = |at: Nanos| at.saturating_sub(began);
    let left = || orders.iter().filter_map(|p| Some((*p, p.wire?.departure)));
    let signed = |later: Nanos, earlier: Nanos| later.0 as i64 - earlier.0 as i64;
    let shown = |p: &&Passage| Shown {
        due_ns: since(p.due).0,
        dispatch_ns: since(p.dispatch).0,
        wire_ns: p.wire.map(|wire| since(wire.departure).0),
    };
    let mut raster = vec![0; WINDOWS];
    for departure in &passages.frames {
        if let Some(count) = raster.get_mut((since(*departure).0 / WINDOW.0) as usize) {
            *count += 1;
        }
    }
    let waits = |at: Nanos| {
        let waits =
            |p: &&&Passage| p.dispatch <= at && p.wire.is_none_or(|wire| wire.departure > at);
        orders.iter().filter(waits).count() as u32
    };
    let levels = (0..LEVELS as u64).map(|n| began.saturating_add(Nanos(n * LEVEL_EVERY.0)));
    Series {
        gap_error_ns: quantiles(gap_errors(&orders)),
        release_error_ns: quantiles(left().map(|(p, wire)| signed(wire, p.due)).collect()),
        dispatch_to_wire_ns: quantiles(left().map(|(p, wire)| signed(wire, p.dispatch)).collect()),
        timeline: orders.iter().take(TIMELINE).map(shown).collect(),
        raster: Raster { window_ns: WINDOW.0, packets: raster },
        backlog: Backlog { every_ns: LEVEL_EVERY.0, packets: levels.map(waits).collect() },
    }
}

/// Gap on the wire less due gap, of each two messages that follow each other and both left.
fn gap_errors(orders: &[&Passage]) -> Vec<i64> {
    let error = |two: &[&Passage]| {
        let due = two[1].due.0 as i64 - two[0].due.0 as i64;
        let wire = two[1].wire?.departure.0 as i64 - two[0].wire?.departure.0 as i64;
        (due.unsigned_abs() <= GAP_MAX.0).then_some(wire - due)
    };
    orders.windows(2).filter_map(error).collect()
}

/// Evenly from the least to the most; all of them where they are few.
fn quantiles(mut values: Vec<i64>) -> Vec<i64> {
    values.sort_unstable();
    if values.len() <= QUANTILES {
        return values;
    }
    let at = |n: usize| values[n * (values.len() - 1) / (QUANTILES - 1)];
    (0..QUANTILES).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_both_ends() {
        let found = quantiles((0..10_000).rev().collect());
        assert_eq!((found.len(), found[0], found[100], found[200]), (201, 0, 4_999, 9_999));
        assert_eq!(quantiles(vec![3, 1]), [1, 3]);
        assert!(quantiles(Vec::new()).is_empty());
    }
}
