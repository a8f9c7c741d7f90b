//! Series of the queues of a port: how it is filled, how it drains, how both swing.

use super::{Q, fill, withdraw};
use crate::kpi::absent;
use crate::kpi::histogram::Histogram;
use crate::kpi::minimum;
use crate::kpi::oscillation::QueueSteps;
use crate::kpi::plan::CompletionFigures;
use crate::kpi::report::{Entry, Inputs};

pub(super) fn of_port(inputs: &Inputs<'_>, position: usize, entries: &mut Vec<Entry>) {
    let (port, plan) = (&inputs.block.ports[position], &inputs.plan.ports[position]);
    let of = |name, part| {
        let mut entry = Entry::blank(name);
        entry.labels.port = Some(plan.name.clone());
        entry.labels.part = part;
        entry
    };
    let mut received = of("rx_burst_packets", None);
    fill(&mut received, &port.rx_burst, &[Q::P50, Q::P95, Q::P99], minimum::ROW);
    entries.push(received);

    let [mut limit, mut in_flight] = of_steps(inputs.steps.get(position));
    limit.labels.port = Some(plan.name.clone());
    in_flight.labels.port = Some(plan.name.clone());

    let mut jitter = of("drain_interval_jitter_ns", None);
    jitter.n = port.drain_ps_per_byte.count();
    let value = jitter_ns(&port.drain_ps_per_byte);
    jitter.values = vec![("value", value)];
    if value.is_none() {
        let none = jitter.n == 0;
        jitter.absent = Some(if none { absent::NO_PACKETS } else { absent::N_TOO_SMALL });
    }
    for mut entry in [limit, in_flight, jitter] {
        entry.simulated = plan.completion == CompletionFigures::Simulated;
        if plan.completion == CompletionFigures::Absent {
            entry.structural_zero = false;
            withdraw(&mut entry, absent::SYNCHRONOUS);
        }
        entries.push(entry);
    }
}

/// How the byte limit of a queue swings, and what is in flight; `None` = not followed.
pub(in crate::kpi) fn of_steps(steps: Option<&QueueSteps>) -> [Entry; 2] {
    let of = |part| {
        let mut entry = Entry::blank("limit_oscillation_score");
        entry.labels.part = Some(part);
        entry
    };
    let (mut limit, mut in_flight) = (of("limit"), of("in_flight"));
    let score = steps.and_then(|steps| steps.limit.score());
    let swings = steps.and_then(|steps| steps.in_flight.score());
    limit.n = steps.map_or(0, |steps| steps.limit.pairs());
    in_flight.n = steps.map_or(0, |steps| steps.in_flight.pairs());
    let changes = steps.filter(|_| limit.n > 0).map(|steps| steps.limit.changes());
    // A limit that nobody moves has no score because it cannot.
    limit.structural_zero = changes == Some(0);
    limit.values = vec![("score", score), ("changes", changes.map(|n| n as f64))];
    in_flight.values = vec![("inflight_oscillation", swings)];
    if score.is_none() {
        let why = if limit.n == 0 { absent::NO_LIMIT } else { absent::N_TOO_SMALL };
        limit.absent = Some(why);
    }
    if swings.is_none() {
        in_flight.absent = Some(absent::N_TOO_SMALL);
    }
    [limit, in_flight]
}

/// p95 - p50, ns per byte.
fn jitter_ns(ps_per_byte: &Histogram) -> Option<f64> {
    let of = |q| ps_per_byte.quantile(q, minimum::DRAINS);
    of(Q::P95).zip(of(Q::P50)).map(|(p95, p50)| (p95 - p50) as f64 / 1e3)
}
