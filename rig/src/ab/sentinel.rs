//! What a block is measured in: how much of its time an idle CPU misses, and where CPU time went.

use std::fs;
use std::io;
use std::thread;

use model::time::Nanos;

use super::clock::now;
use super::cpu;
use super::result::{CpuTime, Void, VoidRule};
use crate::kernel::files::{CpuTicks, ticks_by_cpu};

/// The sentinel looks for so long.
const LOOK: Nanos = Nanos::from_millis(15);
/// So many times at most.
const LOOKS_MAX: usize = 10;
/// Between two looks at the clock lie some 50 ns. More than this is time that somebody took.
const GAP: Nanos = Nanos::from_micros(5);
/// A tick of `/proc/stat`: what it counts in a block may be so much too much, begun before.
pub const TICK_NS: u64 = 10_000_000;

/// Waits until a thread on each of `cpus` misses no more than `most` of its time, as far as that comes soon:
/// what the block before has left to the kernel (memory of a device that is given back) goes on for a
/// while. Gives what was missed last, which is what a block is judged by.
///
/// # Errors
/// A CPU cannot be had.
pub fn settle(cpus: &[usize], most: f64) -> io::Result<Vec<f64>> {
    for _ in 1..LOOKS_MAX {
        let shares = stolen(cpus)?;
        if shares.iter().all(|share| *share <= most) {
            return Ok(shares);
        }
    }
    stolen(cpus)
}

/// The share of its time that a thread misses on each of `cpus`, which does nothing but look at the clock.
fn stolen(cpus: &[usize]) -> io::Result<Vec<f64>> {
    let look = |on: usize| {
        cpu::take(on)?;
        Ok(stolen_here(now))
    };
    thread::scope(|scope| {
        let looks: Vec<_> = cpus.iter().map(|cpu| scope.spawn(move || look(*cpu))).collect();
        let joined = looks.into_iter().map(|look| look.join());
        joined.map(|look| look.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn stolen_here(mut now: impl FnMut() -> Nanos) -> f64 {
    let began = now();
    let (mut last, mut stolen) = (began, Nanos::ZERO);
    while last.saturating_sub(began) < LOOK {
        let next = now();
        let gap = next.saturating_sub(last);
        if gap > GAP {
            stolen = stolen.saturating_add(gap);
        }
        last = next;
    }
    stolen.0 as f64 / last.saturating_sub(began).0 as f64
}

/// Where the time of each CPU went so far.
#[derive(Clone, Debug, Default)]
pub struct Ticks(Vec<(u32, CpuTicks)>);

impl Ticks {
    /// Until now.
    pub fn read() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self(ticks_by_cpu(&text).unwrap_or_default())
    }

    /// From `earlier` until this.
    pub fn since(&self, earlier: &Self) -> Vec<CpuTime> {
        let of = |(cpu, ticks): &(u32, CpuTicks)| {
            let before = earlier.0.iter().find(|(known, _)| known == cpu)?.1;
            let spent = ticks.since(&before);
            Some(CpuTime {
                cpu: *cpu,
                user_ns: spent.user * TICK_NS,
                system_ns: spent.system * TICK_NS,
                interrupt_ns: (spent.irq + spent.softirq) * TICK_NS,
                idle_ns: spent.idle * TICK_NS,
                steal_ns: spent.steal * TICK_NS,
            })
        };
        self.0.iter().filter_map(of).collect()
    }
}

/// What the rule says of a block on `cpus` in which this was found.
pub fn judge(
    rule: &VoidRule,
    cpus: &[usize],
    stolen: &[f64],
    steal: &[f64],
    late_p99_ns: Option<u64>,
    capture_drops: u64,
) -> Vec<Void> {
    let ppm = |share: f64| (share * 1e6) as u64;
    let over = |most: f64, shares: &[f64]| -> Vec<(u32, u64)> {
        let found = cpus.iter().zip(shares).filter(|(_, share)| **share > most);
        found.map(|(cpu, share)| (*cpu as u32, ppm(*share))).collect()
    };
    let sentinel = over(rule.sentinel_stolen_max, stolen).into_iter();
    let sentinel = sentinel.map(|(cpu, ppm)| Void::SentinelStolen { cpu, ppm });
    let steal = over(rule.steal_max, steal).into_iter().map(|(cpu, ppm)| Void::Steal { cpu, ppm });
    let late = late_p99_ns.filter(|p99| *p99 > rule.sender_late_p99_max_ns);
    let late = late.map(|p99_ns| Void::SenderLate { p99_ns });
    let drops = (capture_drops > 0).then_some(Void::CaptureDrops { frames: capture_drops });
    sentinel.chain(steal).chain(late).chain(drops).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that goes on by 50 ns, and once by 3 ms.
    #[test]
    fn time_that_is_missed_is_counted() {
        let mut at = 1_000_000_u64;
        let mut looks = 0;
        let share = stolen_here(|| {
            looks += 1;
            at += if looks == 100 { 3_000_000 } else { 50 };
            Nanos(at)
        });
        assert!((share - 0.2).abs() < 0.001, "3 of 15 ms: {share}");
        at = 1;
        assert_eq!(
            stolen_here(|| {
                at += 50;
                Nanos(at)
            }),
            0.0
        );
    }

    #[test]
    fn each_part_of_the_rule_voids() {
        let rule = VoidRule {
            sentinel_stolen_max: 0.02,
            steal_max: 0.01,
            sender_late_p99_max_ns: 50_000,
            repeats_max: 2,
        };
        let judged = |stolen: [f64; 2], steal: [f64; 2], late, drops| {
            judge(&rule, &[0, 1], &stolen, &steal, late, drops)
        };
        assert_eq!(judged([0.02, 0.0], [0.01, 0.0], Some(50_000), 0), []);
        assert_eq!(judged([0.0, 0.0], [0.0, 0.0], None, 0), []);
        let stolen = judged([0.0, 0.03], [0.0; 2], None, 0);
        assert_eq!(stolen, [Void::SentinelStolen { cpu: 1, ppm: 30_000 }]);
        assert_eq!(judged([0.0; 2], [0.5, 0.0], None, 0), [Void::Steal { cpu: 0, ppm: 500_000 }]);
        let late = judged([0.0; 2], [0.0; 2], Some(50_001), 0);
        assert_eq!(late, [Void::SenderLate { p99_ns: 50_001 }]);
        assert_eq!(judged([0.0; 2], [0.0; 2], None, 3), [Void::CaptureDrops { frames: 3 }]);
    }
}
