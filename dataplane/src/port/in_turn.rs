//! Several sources as one, taken in turn: the RX queues of a port that one core polls, or the rings
//! of the cores that receive for it.

use std::ops::Add;

use model::kpi::Count;
use model::time::Nanos;

use super::Rx;
use crate::batch::Batch;
use crate::classify::FlowFigures;
use crate::hand_over::Ended;

/// See the module. A burst comes from one source; the next one begins behind it, so that no source
/// keeps another waiting for more than one burst of each.
pub struct InTurn<R> {
    sources: Vec<R>,
    /// Asked first.
    next: usize,
    /// The source of the last burst.
    last: usize,
}

impl<R: Rx> InTurn<R> {
    /// All of `sources`, at least one.
    pub const fn new(sources: Vec<R>) -> Self {
        Self { sources, next: 0, last: 0 }
    }

    /// Gives them back.
    pub fn into_sources(self) -> Vec<R> {
        self.sources
    }

    /// Them.
    pub fn sources(&self) -> &[R] {
        &self.sources
    }
}

impl<R: Rx> Rx for InTurn<R> {
    #[inline]
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        for _ in 0..self.sources.len() {
            let at = self.next;
            self.next = if at + 1 == self.sources.len() { 0 } else { at + 1 };
            let received = self.sources[at].rx_burst(now, into);
            if received > 0 {
                self.last = at;
                return received;
            }
        }
        0
    }

    fn next_event(&self) -> Option<Nanos> {
        self.sources.iter().filter_map(Rx::next_event).min()
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.sources.iter_mut().find_map(Rx::take_missed)
    }

    fn waiting(&self) -> u32 {
        self.sources.iter().map(Rx::waiting).sum()
    }

    fn hold_back(&mut self, may: bool) {
        self.sources.iter_mut().for_each(|source| source.hold_back(may));
    }

    fn close(&mut self) {
        self.sources.iter_mut().for_each(Rx::close);
    }

    fn is_dry(&self) -> bool {
        self.sources.iter().all(Rx::is_dry)
    }

    #[inline]
    fn writes_arrival(&self) -> bool {
        self.sources.get(self.last).is_some_and(Rx::writes_arrival)
    }

    #[inline]
    fn take_ended(&mut self, mut tell: impl FnMut(Ended, Count)) {
        self.sources.iter_mut().for_each(|source| source.take_ended(&mut tell));
    }

    fn flows_elsewhere(&self) -> FlowFigures {
        self.sources.iter().map(Rx::flows_elsewhere).fold(FlowFigures::default(), Add::add)
    }

    fn link_up(&self) -> bool {
        self.sources.iter().any(Rx::link_up)
    }
}
