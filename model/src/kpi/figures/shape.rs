//! Series of the shape of a class in its windows.

use super::{Place, withdraw};
use crate::kpi::absent;
use crate::kpi::histogram::{Histogram, Quantile};
use crate::kpi::minimum;
use crate::kpi::report::{Entry, Inputs};
use crate::kpi::shape::Shape;
use crate::kpi::windows::burst_window;

/// Names of the three series.
pub(super) struct Names {
    factor: &'static str,
    flush: &'static str,
    drain: &'static str,
}

/// At the real departure.
pub(super) const AT_WIRE: Names = Names {
    factor: "segmentation_burst_factor",
    flush: "flush_compression_index",
    drain: "burst_drain_ratio",
};

/// As if under the operator-confirmed caps.
pub(super) const AT_NORMAL: Names = Names {
    factor: "segmentation_burst_factor_at_normal",
    flush: "flush_compression_index_at_normal",
    drain: "burst_drain_ratio_at_normal",
};

/// The three series of `shape`, the factor first; `entry` makes an empty one.
pub(super) fn of_shape(
    entry: impl Fn(&'static str) -> Entry,
    names: &Names,
    shape: &Shape,
    place: Place<'_>,
    inputs: &Inputs<'_>,
) -> [Entry; 3] {
    let mut factor = entry(names.factor);
    factor.n = shape.bursts.wire_packets;
    one(&mut factor, "factor", shape.segmentation_burst());
    let envelope = place.envelope_bytes(inputs, burst_window(place.class.cadence));
    let share = envelope.map(|bytes| shape.wire_bytes_max as f64 / bytes);
    let enough = factor.n >= minimum::ROW;
    factor.values.push(("envelope", share.filter(|_| enough)));
    if enough && share.is_none() {
        factor.absent.get_or_insert(absent::UNLIMITED);
    }

    let mut flush = entry(names.flush);
    flush.n = shape.bursts.wire_packets;
    one(&mut flush, "index", shape.flush_compression());

    let mut drain = entry(names.drain);
    drain.n = shape.bursts.eligible_windows;
    one(&mut drain, "ratio", shape.burst_drain());
    [factor, flush, drain]
}

/// What the factor was second by second: without whole seconds, or too few of them, absent.
pub(super) fn of_seconds(factor: &mut Entry, seconds: Option<&Histogram>) {
    let ratio = |ppm: u64| ppm as f64 / 1e6;
    let median = seconds.and_then(|seconds| seconds.quantile(Quantile::P50, 0)).map(ratio);
    let most = seconds.and_then(Histogram::max).map(ratio);
    factor.values.extend([("median_1s", median), ("max_1s", most)]);
    if median.is_none() {
        factor.absent.get_or_insert(absent::N_TOO_SMALL);
    }
}

/// The factor rests on due times, which are not mixed.
pub(super) fn unmixed(mut entry: Entry, mixed: bool) -> Entry {
    let rests_on_due = [AT_WIRE.factor, AT_NORMAL.factor].contains(&entry.name);
    if mixed && rests_on_due {
        withdraw(&mut entry, absent::MIXED_INTENT);
    }
    entry
}

/// One value or the reason of its absence.
fn one(entry: &mut Entry, name: &'static str, value: Result<f64, &'static str>) {
    entry.values.push((name, value.ok()));
    if let Err(reason) = value {
        entry.absent = Some(reason);
    }
}
