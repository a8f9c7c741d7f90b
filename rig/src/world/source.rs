//! Where a lane of a world receives from: a port, or both paths of its pair.

use dataplane::batch::Batch;
use dataplane::paths::ProbeRx;
use dataplane::port::Rx;
use dataplane::port::in_turn::InTurn;
use model::time::Nanos;

/// See the module's text.
pub enum Source<R> {
    /// A port.
    One(R),
    /// Both paths.
    Both(InTurn<ProbeRx<R>>),
}

impl<R> Source<R> {
    /// The port, where it is one.
    pub fn one(self) -> Option<R> {
        match self {
            Self::One(rx) => Some(rx),
            Self::Both(_) => None,
        }
    }
}

impl<R: Rx> Rx for Source<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        match self {
            Self::One(rx) => rx.rx_burst(now, into),
            Self::Both(rx) => rx.rx_burst(now, into),
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        match self {
            Self::One(rx) => rx.next_event(),
            Self::Both(rx) => rx.next_event(),
        }
    }

    fn take_missed(&mut self) -> Option<u32> {
        match self {
            Self::One(rx) => rx.take_missed(),
            Self::Both(rx) => rx.take_missed(),
        }
    }

    fn waiting(&self) -> u32 {
        match self {
            Self::One(rx) => rx.waiting(),
            Self::Both(rx) => rx.waiting(),
        }
    }

    fn hold_back(&mut self, may: bool) {
        match self {
            Self::One(rx) => rx.hold_back(may),
            Self::Both(rx) => rx.hold_back(may),
        }
    }

    fn close(&mut self) {
        match self {
            Self::One(rx) => rx.close(),
            Self::Both(rx) => rx.close(),
        }
    }

    fn is_dry(&self) -> bool {
        match self {
            Self::One(rx) => rx.is_dry(),
            Self::Both(rx) => rx.is_dry(),
        }
    }

    fn writes_arrival(&self) -> bool {
        match self {
            Self::One(rx) => rx.writes_arrival(),
            Self::Both(rx) => rx.writes_arrival(),
        }
    }
}
