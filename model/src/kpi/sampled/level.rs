//! How much waits, weighted by time: made from the stretch in which each packet waited.
//!
//! Only where every packet leaves a row. Changes are kept in the order of time and added up once no
//! row can bring an earlier one; stretches in which nothing changes cost nothing.

use std::collections::BTreeMap;

use crate::kpi::histogram::Histogram;
use crate::time::Nanos;

/// Changes of the level that are not yet added up.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// Time of a change and by how much, bytes.
    changes: BTreeMap<u64, i64>,
    /// Up to here everything is added up, and what stood there. `None` = nothing came yet.
    done: Option<(u64, i64)>,
}

/// What is added up of a level.
#[derive(Clone, Debug, Default)]
pub struct LevelTotals {
    /// Bytes, each as often as it stood for ns.
    bytes: Option<Histogram>,
    /// Packets that waited.
    packets: u64,
    /// Packets that had begun to wait before what was added up already.
    late: u64,
}

impl Level {
    /// `bytes` waited from `from` until `until`.
    pub fn record(&mut self, from: Nanos, until: Nanos, bytes: u32, totals: &mut LevelTotals) {
        totals.packets += 1;
        let (bytes, mut from) = (i64::from(bytes), from.0);
        if let Some((done, _)) = self.done
            && from < done
        {
            totals.late += 1;
            from = done;
        }
        if until.0 > from {
            *self.changes.entry(from).or_default() += bytes;
            *self.changes.entry(until.0).or_default() -= bytes;
        } else {
            // It did not wait, but time runs from here on.
            self.changes.entry(from).or_default();
        }
    }

    /// Adds up what lies before `end`.
    pub fn fold_before(&mut self, end: Nanos, totals: &mut LevelTotals) {
        let later = self.changes.split_off(&end.0);
        let changes = std::mem::replace(&mut self.changes, later);
        for (at, change) in changes {
            self.stand_until(at, totals);
            if let Some((_, level)) = &mut self.done {
                *level += change;
            }
        }
        if self.done.is_some() {
            self.stand_until(end.0, totals);
        }
    }

    /// Adds up everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut LevelTotals) {
        if let Some((&last, _)) = self.changes.last_key_value() {
            self.fold_before(Nanos(last), totals);
            // What changes at the very end lasts no time.
            self.changes.clear();
            self.done = None;
        }
    }

    fn stand_until(&mut self, at: u64, totals: &mut LevelTotals) {
        let (since, level) = self.done.unwrap_or((at, 0));
        if at > since {
            let level = u64::try_from(level).unwrap_or(0);
            totals.bytes.get_or_insert_default().record_n(level, at - since);
        }
        self.done = Some((at.max(since), level));
    }
}

impl LevelTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        if let Some(bytes) = &other.bytes {
            self.bytes.get_or_insert_default().merge(bytes);
        }
        self.packets += other.packets;
        self.late += other.late;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if let Some(bytes) = &mut self.bytes {
            bytes.clear();
        }
        (self.packets, self.late) = (0, 0);
    }

    /// Bytes by ns; `None` before any time has passed.
    pub const fn bytes(&self) -> Option<&Histogram> {
        self.bytes.as_ref()
    }

    /// Packets that waited, or left at once.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets whose wait could not be placed in full.
    pub const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 bytes wait from 10 to 40, 50 from 20 to 30: 0 never, 100 for 20 ns, 150 for 10 ns.
    #[test]
    fn each_level_counts_as_long_as_it_stood() {
        let (mut level, mut totals) = (Level::default(), LevelTotals::default());
        level.record(Nanos(20), Nanos(30), 50, &mut totals);
        level.record(Nanos(10), Nanos(40), 100, &mut totals);
        level.fold_all(&mut totals);
        let bytes = totals.bytes().unwrap();
        assert_eq!((bytes.count(), bytes.sum()), (30, 100 * 20 + 150 * 10));
        assert_eq!((bytes.min(), bytes.max()), (Some(100), Some(150)));
        assert_eq!((totals.packets(), totals.late()), (2, 0));
    }

    /// Folded at 25 and later, in two intervals: the same sums, and an hour of nothing is one step.
    #[test]
    fn folding_in_between_changes_nothing() {
        let hour = Nanos(3_600_000_000_000);
        let (mut level, mut totals) = (Level::default(), LevelTotals::default());
        level.record(Nanos(10), Nanos(40), 100, &mut totals);
        level.fold_before(Nanos(25), &mut totals);
        assert_eq!(totals.bytes().unwrap().count(), 15);
        level.record(hour, Nanos(hour.0 + 5), 7, &mut totals);
        level.record(Nanos(20), Nanos(45), 1, &mut totals);
        level.fold_all(&mut totals);
        let bytes = totals.bytes().unwrap();
        assert_eq!(bytes.count(), hour.0 + 5 - 10);
        // The one that came too late counts from 25 on.
        assert_eq!((bytes.sum(), totals.late()), (100 * 30 + 20 + 7 * 5, 1));
    }

    #[test]
    fn without_a_wait_there_is_no_time_to_weigh() {
        let (mut level, mut totals) = (Level::default(), LevelTotals::default());
        level.fold_all(&mut totals);
        level.record(Nanos(5), Nanos(5), 84, &mut totals);
        level.fold_all(&mut totals);
        assert!(totals.bytes().is_none());
        assert_eq!(totals.packets(), 1);
    }
}
