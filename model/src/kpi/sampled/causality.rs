//! Whether control packets keep their place among the market data around them.

use std::collections::VecDeque;

use super::windows::REACH;
use crate::time::Nanos;

/// A control packet is compared with market data that arrived no further away than this.
const NEAR: u64 = 1_000_000;

/// A packet from the venue.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Arrival.
    pub arrived: Nanos,
    /// Delivery.
    pub delivered: Nanos,
    /// Error of its stamps.
    pub error_ns: u32,
}

/// Packets towards one port that wait for their neighbours, in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Causality {
    data: VecDeque<Seen>,
    control: VecDeque<Seen>,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CausalityTotals {
    /// Control packets with market data near them.
    pub near: u64,
    /// Of those, the ones whose place among it differs between arrival and delivery.
    pub drifted: u64,
}

impl Causality {
    /// A market-data packet.
    pub fn data(&mut self, seen: Seen) {
        insert(&mut self.data, seen);
    }

    /// A control packet.
    pub fn control(&mut self, seen: Seen) {
        insert(&mut self.control, seen);
    }

    /// Judges the control packets whose neighbours are all known at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut CausalityTotals) {
        let end = latest.saturating_sub(REACH);
        while let Some(&first) = self.control.front()
            && first.arrived < end
        {
            self.control.pop_front();
            self.judge(first, totals);
        }
        let oldest = self.control.front().map_or(end, |first| first.arrived.min(end));
        let keep_from = oldest.0.saturating_sub(NEAR);
        while self.data.front().is_some_and(|first| first.arrived.0 < keep_from) {
            self.data.pop_front();
        }
    }

    /// Judges everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut CausalityTotals) {
        self.fold_before(Nanos::MAX, totals);
        while let Some(rest) = self.control.pop_front() {
            self.judge(rest, totals);
        }
        self.data.clear();
    }

    fn judge(&self, control: Seen, totals: &mut CausalityTotals) {
        let from = control.arrived.0.saturating_sub(NEAR);
        let until = control.arrived.0.saturating_add(NEAR);
        let first = self.data.partition_point(|data| data.arrived.0 < from);
        let mut near = self.data.range(first..).take_while(|data| data.arrived.0 <= until);
        let mut any = false;
        let drifted = near.any(|data| {
            any = true;
            is_reversed(&control, data)
        });
        totals.near += u64::from(any);
        totals.drifted += u64::from(drifted);
    }
}

impl CausalityTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.near += other.near;
        self.drifted += other.drifted;
    }
}

/// Whether two packets were delivered in another order than they arrived in, both beyond the error of
/// their stamps.
fn is_reversed(a: &Seen, b: &Seen) -> bool {
    let error = u64::from(a.error_ns.max(b.error_ns));
    let clearly_before = |a: Nanos, b: Nanos| b.0.saturating_sub(a.0) > error;
    clearly_before(a.arrived, b.arrived) && clearly_before(b.delivered, a.delivered)
        || clearly_before(b.arrived, a.arrived) && clearly_before(a.delivered, b.delivered)
}

fn insert(into: &mut VecDeque<Seen>, seen: Seen) {
    let at = into.partition_point(|other| other.arrived <= seen.arrived);
    into.insert(at, seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(arrived: u64, delivered: u64, error_ns: u32) -> Seen {
        Seen { arrived: Nanos(arrived), delivered: Nanos(delivered), error_ns }
    }

    /// Data arrives at 100,000 and is delivered at 300,000. A control packet that arrives at 150,000 and
    /// is delivered at 200,000 has overtaken it; one that is delivered at 300,001 has not; one that
    /// arrives 1 ms and 1 ns later has no data near it.
    #[test]
    fn an_overtaking_control_packet_has_drifted() {
        let (mut causality, mut totals) = (Causality::default(), CausalityTotals::default());
        causality.control(seen(150_000, 200_000, 0));
        causality.control(seen(150_000, 300_001, 0));
        causality.control(seen(1_100_001, 1_100_001, 0));
        causality.data(seen(100_000, 300_000, 0));
        causality.fold_all(&mut totals);
        assert_eq!(totals, CausalityTotals { near: 2, drifted: 1 });
    }

    /// The arrivals differ by 50,000: an error of 50,000 does not tell their order, one less does.
    #[test]
    fn what_the_stamps_cannot_tell_is_not_drift() {
        for (error, drifted) in [(50_000, 0), (49_999, 1)] {
            let (mut causality, mut totals) = (Causality::default(), CausalityTotals::default());
            causality.data(seen(100_000, 300_000, 0));
            causality.control(seen(150_000, 200_000, error));
            causality.fold_all(&mut totals);
            assert_eq!(totals, CausalityTotals { near: 1, drifted }, "{error}");
        }
    }

    #[test]
    fn a_control_packet_waits_for_data_that_is_told_later() {
        let (mut causality, mut totals) = (Causality::default(), CausalityTotals::default());
        causality.control(seen(150_000, 200_000, 0));
        causality.fold_before(REACH, &mut totals);
        causality.data(seen(100_000, 300_000, 0));
        assert_eq!(totals.near, 0);
        causality.fold_before(Nanos(REACH.0 + 150_001), &mut totals);
        assert_eq!(totals, CausalityTotals { near: 1, drifted: 1 });
    }
}
