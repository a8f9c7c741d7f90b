//! Faults on purpose, below the hand-over of a sender: what a comparison must find. Messages pass through in
//! order; without a fault each passes at once.

use std::collections::VecDeque;

use model::time::Nanos;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::plan::below;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes for 2 ms of every second.
    Stall,
    /// One message in a hundred, drawn, does not pass.
    Loss,
    /// The arm paces at four fifths of the contract's rate.
    Rate,
    /// What comes passes together, every 10 ms.
    Flush,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stall, Self::Loss, Self::Rate, Self::Flush];
    const STALL: Nanos = Nanos::from_millis(2);
    const STALL_EVERY: Nanos = Nanos::from_secs(1);
    /// Into each second: a short block has one, and few of the pauses that a machine makes by itself.
    const STALL_AT: Nanos = Nanos::from_millis(150);
    const LOSS_ONE_IN: u64 = 100;
    const FLUSH_EVERY: Nanos = Nanos::from_millis(10);

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Loss => "loss",
            Self::Rate => "rate",
            Self::Flush => "flush",
        }
    }

    /// The rate of an arm that has it, of the contract's.
    pub const fn rate(self, contract: u64) -> u64 {
        match self {
            Self::Rate => contract / 5 * 4,
            Self::Stall | Self::Loss | Self::Flush => contract,
        }
    }
}

/// A stage that messages pass through.
#[derive(Debug)]
pub struct Faulty {
    fault: Option<Fault>,
    begin: Nanos,
    random: Pcg64Mcg,
    /// When each may pass, in order.
    held: VecDeque<(Nanos, u32)>,
}

impl Faulty {
    /// One that begins at `begin`.
    pub fn new(fault: Option<Fault>, begin: Nanos, seed: u64) -> Self {
        let random = Pcg64Mcg::seed_from_u64(seed);
        Self { fault, begin, random, held: VecDeque::with_capacity(1024) }
    }

    /// A message comes at `at`.
    pub fn take(&mut self, at: Nanos, number: u32) {
        let since = at.saturating_sub(self.begin);
        let passes = match self.fault {
            None | Some(Fault::Rate) => at,
            Some(Fault::Stall) => {
                let after = since.0 + Fault::STALL_EVERY.0 - Fault::STALL_AT.0;
                let into = Nanos(after % Fault::STALL_EVERY.0);
                let left = Fault::STALL.saturating_sub(into);
                at.saturating_add(left)
            }
            Some(Fault::Loss) if below(&mut self.random, Fault::LOSS_ONE_IN) == 0 => return,
            Some(Fault::Loss) => at,
            Some(Fault::Flush) => {
                let next = since.0.next_multiple_of(Fault::FLUSH_EVERY.0);
                self.begin.saturating_add(Nanos(next))
            }
        };
        // Nothing overtakes.
        let passes = self.held.back().map_or(passes, |(last, _)| passes.max(*last));
        self.held.push_back((passes, number));
    }

    /// The next message and when it passes, if it does by `now`.
    pub fn released(&mut self, now: Nanos) -> Option<(Nanos, u32)> {
        self.held.pop_front_if(|(at, _)| *at <= now)
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Nanos = Nanos(5_000_000_000);

    /// When messages that come every 100 us for a second pass, ns from the start.
    fn passed(fault: Option<Fault>) -> Vec<(u32, u64)> {
        let mut faulty = Faulty::new(fault, BEGIN, 7);
        for n in 0..10_000 {
            faulty.take(BEGIN.saturating_add(Nanos(100_000 * u64::from(n))), n);
        }
        let times = faulty.held.iter().map(|(at, n)| (*n, at.saturating_sub(BEGIN).0));
        times.collect()
    }

    #[test]
    fn each_fault_does_what_it_says() {
        for fault in [None, Some(Fault::Rate)] {
            assert!(passed(fault).iter().all(|(n, at)| *at == 100_000 * u64::from(*n)));
        }
        let stalled: Vec<_> = passed(Some(Fault::Stall))
            .into_iter()
            .filter(|(n, at)| *at != 100_000 * u64::from(*n))
            .collect();
        assert_eq!(stalled.len(), 20, "2 ms of one each 100 us");
        assert!(stalled.iter().all(|(_, at)| *at == 152_000_000), "{stalled:?}");
        let left = passed(Some(Fault::Loss)).len();
        assert!((9_800..=9_980).contains(&left), "{left} of 10,000");
        assert!(
            passed(Some(Fault::Flush))
                .iter()
                .all(|(n, at)| { at % 10_000_000 == 0 && *at >= 100_000 * u64::from(*n) })
        );
        assert_eq!(Fault::Rate.rate(1_000), 800);
        assert_eq!(Fault::Loss.rate(1_000), 1_000);
    }

    #[test]
    fn what_is_held_passes_in_order_and_in_time() {
        let mut faulty = Faulty::new(Some(Fault::Flush), BEGIN, 1);
        faulty.take(BEGIN.saturating_add(Nanos(1)), 0);
        faulty.take(BEGIN.saturating_add(Nanos(2)), 1);
        assert_eq!(faulty.released(BEGIN.saturating_add(Nanos(9_999_999))), None);
        let due = BEGIN.saturating_add(Nanos::from_millis(10));
        assert_eq!((faulty.released(due), faulty.released(due)), (Some((due, 0)), Some((due, 1))));
        assert!(faulty.is_empty());
    }
}
