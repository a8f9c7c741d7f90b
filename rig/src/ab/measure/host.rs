//! What a block cost the host.

use model::kpi::absent;

use super::{Around, INSIDE_ONLY, plain};
use crate::ab::result::{CpuTime, Kpi, Totals};

/// CPU time, of everything that ran on the host.
pub(super) fn of_host(around: &Around<'_>, totals: &Totals) -> [Kpi; 4] {
    let sum = |part: fn(&CpuTime) -> u64| around.cpu.iter().map(part).sum::<u64>();
    let (user, system, interrupt) =
        (sum(|c| c.user_ns), sum(|c| c.system_ns), sum(|c| c.interrupt_ns));
    let busy = user + system + interrupt;
    let all = busy + sum(|c| c.idle_ns) + sum(|c| c.steal_ns);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let why = |value: Option<f64>, why: &str| value.is_none().then(|| why.to_owned());
    let named = |name: &str, value| (name.to_owned(), value);

    let mut cpu = plain("cpu_ns_per_packet");
    cpu.n = totals.delivered;
    let per_packet = |ns| share(ns, totals.delivered);
    cpu.values = vec![
        named("mean", per_packet(busy)),
        named("user", per_packet(user)),
        named("system", per_packet(system)),
        named("softirq", per_packet(interrupt)),
    ];
    cpu.absent = why(per_packet(busy), absent::NO_PACKETS);

    let mut used = plain("core_busy_ratio");
    used.n = around.cpu.len() as u64;
    used.values = vec![named("ratio", share(busy, all))];
    used.absent = why(share(busy, all), absent::NO_INTERVAL);

    let mut cycles = plain("cycles_per_packet");
    cycles.values = vec![named("mean", None)];
    cycles.absent = Some(INSIDE_ONLY.to_owned());

    let mut waits = plain("run_queue_delay_ns");
    let (wait_ns, slices) = around.run_queue.unwrap_or_default();
    let span = around.ended.saturating_sub(around.began).0;
    let known = around.run_queue.is_some();
    waits.n = slices;
    waits.values = vec![
        named("mean", share(wait_ns, slices).filter(|_| known)),
        named("share", share(wait_ns, span).filter(|_| known)),
    ];
    waits.absent = match (known, slices) {
        (false, _) => Some(absent::NOT_TOLD.to_owned()),
        (true, 0) => Some(absent::N_TOO_SMALL.to_owned()),
        _ => None,
    };
    [cpu, used, cycles, waits]
}
