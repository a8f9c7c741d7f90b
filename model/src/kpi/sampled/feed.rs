//! Figures of a class that comes from the venue: when it arrived and when it was delivered.

use super::coupling::{Coupling, CouplingTotals};
use super::gaps::Gaps;
use super::in_order::InOrder;
use super::spread::Spread;
use super::windows::REACH;
use crate::kpi::plan::{CANARY, CONTROL};
use crate::kpi::windows::burst_window;
use crate::meta::StampSource;
use crate::sample::Sample;
use crate::time::Nanos;

/// What is open of a class.
#[derive(Clone, Debug)]
pub struct Feed {
    arriving: InOrder<u32>,
    arrivals: Gaps,
    deliveries: Gaps,
    last_delivery: Option<Nanos>,
    /// Whether orders follow, by the arm that they are of.
    coupling: [Coupling; ARMS.len()],
}

/// Arms of a canary that orders are of; the first: those that are in none.
pub const ARMS: [Option<&str>; 3] = [None, Some(CANARY), Some(CONTROL)];

/// What is added up of a class.
#[derive(Clone, Debug, Default)]
pub struct FeedTotals {
    /// `delivery - ingress`, where not negative.
    pub delay: Spread,
    /// Where it is.
    pub negative: u64,
    /// Gaps between distinct arrivals.
    pub arrival_gaps: Spread,
    /// Gaps between distinct deliveries.
    pub delivery_gaps: Spread,
    /// Gaps between all deliveries.
    pub ingest_gaps: Spread,
    /// Rows whose arrival was stamped after something had bunched the packets.
    pub coalesced: u64,
    /// With orders, by [`ARMS`].
    pub coupling: [CouplingTotals; ARMS.len()],
    /// Rows of orders that stand for more packets than their own.
    pub orders_thinned: u64,
}

impl Feed {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            arriving: InOrder::default(),
            arrivals: Gaps::default(),
            deliveries: Gaps::default(),
            last_delivery: None,
            coupling: std::array::from_fn(|_| Coupling::new(burst_window(None))),
        }
    }

    /// The packet of `row` was delivered. `all` = every packet of the class leaves a row.
    pub fn deliver(&mut self, row: &Sample, delivery: Nanos, all: bool, totals: &mut FeedTotals) {
        let weight = u64::from(row.weight);
        match delivery.0.checked_sub(row.t_ingress.0) {
            Some(delay) => totals.delay.record(delay, weight),
            None => totals.negative += weight,
        }
        if !all {
            return;
        }
        let error = row.clock_error_ns.unwrap_or(0);
        let own_stamp = stamps_are_own(row.ingress_source);
        totals.coalesced += u64::from(!own_stamp);
        self.arriving.push(row.t_ingress.0, error);
        self.deliveries.record(delivery, error, &mut totals.delivery_gaps);
        if let Some(last) = self.last_delivery.replace(delivery) {
            totals.ingest_gaps.record(delivery.saturating_sub(last).0, 1);
        }
        self.coupling.iter_mut().for_each(|of_arm| of_arm.deliver(row.t_ingress, delivery));
    }

    /// The strategy handed an order over at `at`, in a group of this arm.
    pub fn order(&mut self, at: Nanos, arm: Option<&str>) {
        let of_arms = self.coupling.iter_mut().zip(ARMS);
        of_arms.filter(|(_, of)| *of == arm).for_each(|(coupling, _)| coupling.order(at));
    }

    /// Adds up what no row can change any more at `latest`.
    pub fn fold_before(&mut self, latest: Nanos, totals: &mut FeedTotals) {
        self.take_arrivals(latest.saturating_sub(REACH).0, totals);
        for (coupling, totals) in self.coupling.iter_mut().zip(&mut totals.coupling) {
            coupling.fold_before(latest, totals);
        }
    }

    /// Adds up everything: the end of a run.
    pub fn fold_all(&mut self, totals: &mut FeedTotals) {
        self.take_arrivals(u64::MAX, totals);
        for (coupling, totals) in self.coupling.iter_mut().zip(&mut totals.coupling) {
            coupling.fold_all(totals);
        }
    }

    fn take_arrivals(&mut self, end: u64, totals: &mut FeedTotals) {
        while let Some((at, error)) = self.arriving.pop_before(end) {
            self.arrivals.record(Nanos(at), error, &mut totals.arrival_gaps);
        }
    }
}

/// Whether each packet has a stamp of its own, taken before anything bunches packets.
pub const fn stamps_are_own(source: StampSource) -> bool {
    matches!(source, StampSource::Nic | StampSource::Capture | StampSource::Virtual)
}

impl FeedTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.delay.merge(&other.delay);
        self.negative += other.negative;
        self.arrival_gaps.merge(&other.arrival_gaps);
        self.delivery_gaps.merge(&other.delivery_gaps);
        self.ingest_gaps.merge(&other.ingest_gaps);
        self.coalesced += other.coalesced;
        for (mine, theirs) in self.coupling.iter_mut().zip(&other.coupling) {
            mine.merge(theirs);
        }
        self.orders_thinned += other.orders_thinned;
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let spreads = [
            &mut self.delay,
            &mut self.arrival_gaps,
            &mut self.delivery_gaps,
            &mut self.ingest_gaps,
        ];
        spreads.into_iter().for_each(Spread::clear);
        (self.negative, self.coalesced, self.orders_thinned) = (0, 0, 0);
        self.coupling = Default::default();
    }
}
