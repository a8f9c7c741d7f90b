//! Whether orders follow the deliveries of a feed: counts in windows and their correlation.
//!
//! Windows in which nothing happened are only counted; they are never made or walked.

use std::collections::{BTreeMap, VecDeque};

use super::windows::REACH;
use crate::kpi::minimum;
use crate::time::Nanos;

/// Orders are compared with deliveries in the same window and up to so many windows before.
pub const LAG_MAX: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    delivered: u64,
    arrived: u64,
    orders: u64,
}

/// The open windows of one feed.
#[derive(Clone, Debug)]
pub struct Coupling {
    width: u64,
    open: BTreeMap<u64, Counts>,
    /// The last folded windows that held something, newest last.
    recent: VecDeque<(u64, Counts)>,
    floor: u64,
}

/// Sums over the folded windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CouplingTotals {
    /// Windows from the first to the last that held something.
    windows: u64,
    /// Of those, the ones that held something.
    active: u64,
    delivered: Sums,
    arrived: Sums,
    orders: Sums,
    /// Sum over windows of orders x deliveries so many windows before.
    with_delivered: [u128; LAG_MAX + 1],
    with_arrived: [u128; LAG_MAX + 1],
}

/// Sum and sum of squares of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    sum: u128,
    squares: u128,
}

/// The figures of `decision_burst_coupling`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coupled {
    /// Highest correlation of orders with deliveries.
    pub coupling: f64,
    /// At so many windows before.
    pub lag: usize,
    /// Highest correlation of orders with arrivals.
    pub ingress: f64,
}

impl Coupling {
    /// Windows of `width`.
    pub fn new(width: Nanos) -> Self {
        let (open, recent) = (BTreeMap::new(), VecDeque::with_capacity(LAG_MAX + 1));
        Self { width: width.0.max(1), open, recent, floor: 0 }
    }

    /// A packet of the feed arrived and was delivered.
    pub fn deliver(&mut self, arrived: Nanos, delivered: Nanos) {
        self.at(arrived, |counts| counts.arrived += 1);
        self.at(delivered, |counts| counts.delivered += 1);
    }

    /// The strategy handed an order over at `at`.
    pub fn order(&mut self, at: Nanos) {
        self.at(at, |counts| counts.orders += 1);
    }

    /// What lies further back than windows are kept open is left out.
    fn at(&mut self, at: Nanos, count: impl FnOnce(&mut Counts)) {
        let window = at.0 / self.width;
        if window >= self.floor {
            count(self.open.entry(window).or_default());
        }
    }

    /// Folds what no row can reach any more at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut CouplingTotals) {
        let end = latest.saturating_sub(REACH).0 / self.width;
        if end > self.floor {
            self.floor = end;
            let later = self.open.split_off(&end);
            self.fold(later, totals);
        }
    }

    /// Folds everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut CouplingTotals) {
        self.fold(BTreeMap::new(), totals);
    }

    fn fold(&mut self, later: BTreeMap<u64, Counts>, totals: &mut CouplingTotals) {
        for (window, counts) in std::mem::replace(&mut self.open, later) {
            let before = self.recent.back().map_or(window.wrapping_sub(1), |(last, _)| *last);
            totals.windows += window.wrapping_sub(before);
            totals.active += 1;
            totals.delivered.add(counts.delivered);
            totals.arrived.add(counts.arrived);
            totals.orders.add(counts.orders);
            if self.recent.len() > LAG_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((window, counts));
            let orders = u128::from(counts.orders);
            for (earlier, counts) in &self.recent {
                let lag = window - earlier;
                if lag <= LAG_MAX as u64 {
                    totals.with_delivered[lag as usize] += orders * u128::from(counts.delivered);
                    totals.with_arrived[lag as usize] += orders * u128::from(counts.arrived);
                }
            }
        }
    }
}

impl Sums {
    fn add(&mut self, count: u64) {
        self.sum += u128::from(count);
        self.squares += u128::from(count) * u128::from(count);
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

impl CouplingTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.windows += other.windows;
        self.active += other.active;
        self.delivered.merge(&other.delivered);
        self.arrived.merge(&other.arrived);
        self.orders.merge(&other.orders);
        let pairs = self.with_delivered.iter_mut().chain(&mut self.with_arrived);
        for (mine, theirs) in pairs.zip(other.with_delivered.iter().chain(&other.with_arrived)) {
            *mine += theirs;
        }
    }

    /// Windows that held something.
    pub const fn active(&self) -> u64 {
        self.active
    }

    /// Whether any order was counted.
    pub const fn has_orders(&self) -> bool {
        self.orders.sum > 0
    }

    /// So many are needed.
    pub const fn active_min(&self) -> u64 {
        minimum::ACTIVE_WINDOWS
    }

    /// The figures; `None` with fewer than 50 active windows, or where one of the counts never varies.
    pub fn figures(&self) -> Option<Coupled> {
        if self.active < minimum::ACTIVE_WINDOWS {
            return None;
        }
        let (coupling, lag) = self.highest(&self.delivered, &self.with_delivered)?;
        let (ingress, _) = self.highest(&self.arrived, &self.with_arrived)?;
        Some(Coupled { coupling, lag, ingress })
    }

    /// The highest correlation and its lag, the shortest where several are equal.
    fn highest(&self, other: &Sums, products: &[u128]) -> Option<(f64, usize)> {
        let mut highest: Option<(f64, usize)> = None;
        for (lag, &products) in products.iter().enumerate() {
            let found = self.correlation(other, products)?;
            if highest.is_none_or(|(most, _)| found > most) {
                highest = Some((found, lag));
            }
        }
        highest
    }

    /// Pearson's, over all windows; what lies before the first and after the last is 0.
    fn correlation(&self, other: &Sums, products: u128) -> Option<f64> {
        let n = self.windows as i128;
        let spread = |sums: &Sums| n * sums.squares as i128 - sums.sum as i128 * sums.sum as i128;
        let (mine, theirs) = (spread(&self.orders), spread(other));
        let together = n * products as i128 - self.orders.sum as i128 * other.sum as i128;
        let varies = mine > 0 && theirs > 0;
        varies.then(|| together as f64 / ((mine as f64).sqrt() * (theirs as f64).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 windows of 10 ns. In every fourth one two packets are delivered, and one order follows in the
    /// window behind. They arrived one in each even window.
    fn hundred(order_behind: u64) -> (Coupling, CouplingTotals) {
        let mut coupling = Coupling::new(Nanos(10));
        for n in 0..25 {
            coupling.deliver(Nanos(n * 40 + 1), Nanos(n * 40 + 2));
            coupling.deliver(Nanos(n * 40 - u64::from(n > 0) * 20), Nanos(n * 40 + 3));
            coupling.order(Nanos(n * 40 + order_behind * 10 + 5));
        }
        (coupling, CouplingTotals::default())
    }

    /// Orders 1 in the same 25 of 97 windows in which 2 were delivered: correlation 1 at lag 0. Here the
    /// windows go from 0 to 96.
    #[test]
    fn what_follows_every_delivery_is_coupled() {
        let (mut coupling, mut totals) = hundred(0);
        coupling.fold_all(&mut totals);
        assert_eq!((totals.windows, totals.active), (97, 49));
        assert_eq!(totals.figures(), None, "49 active windows are too few");
        coupling.deliver(Nanos(1_001), Nanos(1_001));
        coupling.fold_all(&mut totals);
        assert_eq!((totals.windows, totals.active), (101, 50));
        let found = totals.figures().unwrap();
        assert_eq!(found.lag, 0);
        assert!(found.coupling > 0.95 && found.ingress < found.coupling, "{found:?}");
    }

    #[test]
    fn an_order_eight_windows_behind_is_seen_and_cutting_changes_nothing() {
        let (mut coupling, mut totals) = hundred(3);
        coupling.fold_all(&mut totals);
        let found = totals.figures().unwrap();
        assert_eq!(found.lag, 3);
        assert!(found.coupling > 0.9, "{found:?}");

        let (mut cut, mut first) = hundred(3);
        let mut second = CouplingTotals::default();
        cut.fold_before(Nanos(REACH.0 + 500), &mut first);
        assert!(first.windows > 0 && first.windows < totals.windows);
        cut.fold_all(&mut second);
        first.merge(&second);
        assert_eq!(first, totals);
    }

    #[test]
    fn a_constant_has_no_correlation() {
        let mut coupling = Coupling::new(Nanos(10));
        for n in 0..60 {
            coupling.deliver(Nanos(n * 10), Nanos(n * 10));
            coupling.order(Nanos(n * 10));
        }
        let mut totals = CouplingTotals::default();
        coupling.fold_all(&mut totals);
        assert_eq!((totals.active(), totals.figures()), (60, None));
    }
}
