//! A set of whole numbers as disjoint stretches: which windows held something that waited.

use std::collections::BTreeMap;

/// Stretches `first..=last` that do not touch.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    last_of: BTreeMap<u64, u64>,
    /// What lies below is counted and forgotten.
    floor: u64,
}

impl Spans {
    /// Adds `first..=last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first.max(self.floor), last);
        if last < first {
            return;
        }
        // The one that begins before it, then all that begin in it or right behind it.
        if let Some((&begins, &ends)) = self.last_of.range(..=first).next_back()
            && ends.saturating_add(1) >= first
        {
            (first, last) = (begins, last.max(ends));
        }
        while let Some((&begins, &ends)) = self.last_of.range(first..).next()
            && begins <= last.saturating_add(1)
        {
            last = last.max(ends);
            self.last_of.remove(&begins);
        }
        self.last_of.insert(first, last);
    }

    /// Takes out what lies below `end` and returns how many numbers that were.
    pub fn take_below(&mut self, end: u64) -> u64 {
        let mut count = 0;
        while let Some((&first, &last)) = self.last_of.first_key_value()
            && first < end
        {
            self.last_of.pop_first();
            count += last.min(end - 1) - first + 1;
            if last >= end {
                self.last_of.insert(end, last);
            }
        }
        self.floor = self.floor.max(end);
        count
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> u64 {
        let count = self.last_of.iter().map(|(first, last)| last - first + 1).sum();
        self.last_of.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_counts_as_a_set_does() {
        let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
        let mut z = 7_u64;
        for n in 0..2_000 {
            z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let first = (z >> 33) % 400 + n / 4;
            let last = first + (z >> 50) % 9;
            spans.insert(first, last);
            set.extend(first.max(spans.floor)..=last);
            if n % 100 == 99 {
                let below = n / 4;
                let rest = set.split_off(&below);
                assert_eq!(spans.take_below(below), set.len() as u64, "step {n}");
                set = rest;
            }
        }
        assert_eq!(spans.take_all(), set.len() as u64);
    }
}
