//! Stalls of the data cores, each with the turns around it and what the machine did meanwhile.
//!
//! A data core hands over what it keeps ([`dataplane::turns`]); [`StallLog`] adds what only control can know and
//! keeps the last of them.

use std::collections::VecDeque;

use dataplane::turns::{Stall, TurnRow};
use model::time::Nanos;
use serde_json::{Value, json};

use crate::cpu_times::Meanwhile;
use crate::log_limit::LogLimit;

/// Stalls that are kept, over all cores; the oldest go.
const KEPT_MAX: usize = 256;
/// A stall of this length is worth a line in the log: longer than the work of any burst.
const LOGGED: Nanos = Nanos::from_millis(10);

/// What control knows of the moment.
pub(crate) struct Seen {
    /// Index of the core.
    pub(crate) core: usize,
    /// Its CPU.
    pub(crate) cpu: Option<usize>,
    /// Buffers that nobody used just then, where there is a pool.
    pub(crate) pool_free: Option<u64>,
    /// What the machine did.
    pub(crate) meanwhile: Meanwhile,
}

struct Kept {
    number: u64,
    stall: Stall,
    seen: Seen,
}

/// See the module.
#[derive(Default)]
pub(crate) struct StallLog {
    kept: VecDeque<Kept>,
    taken: u64,
    log: LogLimit,
}

impl StallLog {
    /// Keeps one more.
    pub(crate) fn add(&mut self, stall: Stall, seen: Seen, now: Nanos) {
        if stall.turn.length >= LOGGED
            && let Some(n) = self.log.due("core stalled", 1, now)
        {
            let (core, length_ns) = (seen.core, stall.turn.length.0);
            tracing::warn!(core, length_ns, n, likely = likely(&stall, &seen), "core stalled");
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.taken += 1;
        self.kept.push_back(Kept { number: self.taken, stall, seen });
    }

    /// The last `max` of them, the newest last.
    pub(crate) fn to_json(&self, max: usize) -> Value {
        let skipped = self.kept.len().saturating_sub(max);
        self.kept.iter().skip(skipped).map(kept_json).collect()
    }
}

fn kept_json(kept: &Kept) -> Value {
    let Kept { number, stall, seen } = kept;
    let rows = |rows: &[TurnRow]| rows.iter().map(row_json).collect::<Vec<_>>();
    let mut shown = row_json(&stall.turn);
    shown["number"] = json!(number);
    shown["core"] = json!(seen.core);
    shown["cpu"] = json!(seen.cpu);
    shown["likely"] = json!(likely(stall, seen));
    shown["pool_free"] = json!(seen.pool_free);
    shown["host"] = json!({
        "over_ns": seen.meanwhile.over,
        "steal_ns": seen.meanwhile.steal_ns,
        "waited_ns": seen.meanwhile.waited_ns,
        "switches": seen.meanwhile.switches,
    });
    shown["before"] = json!(rows(stall.before()));
    shown["after"] = json!(rows(stall.after()));
    shown
}

fn row_json(row: &TurnRow) -> Value {
    json!({
        "at_ns": row.ended_at,
        "length_ns": row.length,
        "packets": row.packets,
        "held": row.held,
    })
}

/// Who had the CPU, as far as what was counted says: at least half of the stall has to be accounted for.
fn likely(stall: &Stall, seen: &Seen) -> &'static str {
    let explains = |ns: Option<u64>| ns.is_some_and(|ns| ns > 0 && ns >= stall.turn.length.0 / 2);
    if explains(seen.meanwhile.steal_ns) {
        "hypervisor"
    } else if explains(seen.meanwhile.waited_ns) {
        "other_thread"
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(steal_ns: Option<u64>, waited_ns: Option<u64>) -> Seen {
        let meanwhile = Meanwhile { over: Nanos(9), steal_ns, waited_ns, switches: Some(2) };
        Seen { core: 1, cpu: Some(3), pool_free: Some(77), meanwhile }
    }

    fn stall(at: u64) -> Stall {
        let row = |at: u64, length: u64| TurnRow {
            ended_at: Nanos(at),
            length: Nanos(length),
            packets: 4,
            held: Some(5),
        };
        let mut stall = Stall::new(row(at, 1_000));
        stall.follow(row(at + 60, 60));
        stall
    }

    #[test]
    fn a_stall_says_who_likely_had_the_cpu() {
        let half = 500;
        for (steal, waited, wanted) in [
            (Some(10_000_000), Some(half), "hypervisor"),
            (Some(0), Some(half), "other_thread"),
            (None, Some(half), "other_thread"),
            (Some(0), Some(half - 1), "unknown"),
            (None, None, "unknown"),
        ] {
            assert_eq!(likely(&stall(1), &seen(steal, waited)), wanted, "{steal:?} {waited:?}");
        }
    }

    #[test]
    fn the_last_are_kept_and_shown_with_their_neighbours() {
        let mut log = StallLog::default();
        for at in 0..=KEPT_MAX as u64 {
            log.add(stall(at), seen(Some(0), None), Nanos(at));
        }
        let all = log.to_json(usize::MAX);
        let all = all.as_array().unwrap();
        assert_eq!((all.len(), &all[0]["number"]), (KEPT_MAX, &json!(2)));
        let last = log.to_json(1);
        assert_eq!(
            last,
            json!([{
                "number": 257, "core": 1, "cpu": 3, "likely": "unknown", "pool_free": 77,
                "at_ns": 256, "length_ns": 1_000, "packets": 4, "held": 5,
                "host": {"over_ns": 9, "steal_ns": 0, "waited_ns": null, "switches": 2},
                "before": [],
                "after": [{"at_ns": 316, "length_ns": 60, "packets": 4, "held": 5}],
            }])
        );
    }
}
