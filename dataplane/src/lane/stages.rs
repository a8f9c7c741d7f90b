//! Where the cycles of a lane go, stage by stage, for `[port.bench] stages = true`.
//!
//! A [`mark`] at the end of each stage books the cycles of the TSC since the mark before it. The
//! marks cost something themselves, which is measured once and taken off each stage: what they cost
//! together is a figure of its own. They still hinder the CPU from doing the end of one stage and the
//! start of the next at once, so the stages together come out dearer than the lane without marks.
//! Off, a mark is a test of an `Option`.

use crate::clock::tsc;

/// A part of a turn, in the order of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The rest of the turn: reports, clock, words of control, the other lanes of the core.
    Turn,
    /// The receiving port, and with it the flow mix of a bench.
    Receive,
    /// Parsing, rules and flow table; before that the wheel, completions and the pool reserve.
    Classify,
    /// The description of each packet, and its way into the pacer or past it.
    Admit,
    /// What the pacer lets go; completions and the in-flight limit.
    Release,
    /// The sending port.
    Send,
    /// The reading of the clock after it, the books of each packet, KPIs, rows.
    Count,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Turn,
        Self::Receive,
        Self::Classify,
        Self::Admit,
        Self::Release,
        Self::Send,
        Self::Count,
    ];

    /// For JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Receive => "receive",
            Self::Classify => "classify",
            Self::Admit => "admit",
            Self::Release => "release",
            Self::Send => "send",
            Self::Count => "count",
        }
    }
}

/// Cycles of the TSC, stage by stage.
#[derive(Clone, Debug)]
pub struct Stages {
    spent: [u64; Stage::ALL.len()],
    marks: [u64; Stage::ALL.len()],
    packets: u64,
    /// The TSC at the last mark; 0 before the first.
    last: u64,
}

/// What a mark costs, over so many of them.
const TRIALS: u64 = 10_000;

impl Stages {
    /// Nothing spent yet.
    pub(super) const fn new() -> Self {
        let none = [0; Stage::ALL.len()];
        Self { spent: none, marks: none, packets: 0, last: 0 }
    }

    #[inline(always)]
    fn mark(&mut self, stage: Stage) {
        let now = tsc::read().0;
        if self.last != 0 {
            self.spent[stage as usize] += now.wrapping_sub(self.last);
            self.marks[stage as usize] += 1;
        }
        self.last = now;
    }

    /// Packets received.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Cycles of all turns in `stage` with its marks, and how many marks those are.
    pub const fn of(&self, stage: Stage) -> (u64, u64) {
        (self.spent[stage as usize], self.marks[stage as usize])
    }

    /// Cycles that one mark takes on this CPU, as it is now: the least of ten trials.
    pub fn mark_cycles() -> f64 {
        let trial = || {
            let mut stages = Some(Box::new(Self::new()));
            for _ in 0..=TRIALS {
                mark(std::hint::black_box(&mut stages), Stage::Turn);
            }
            stages.map_or(0, |stages| stages.of(Stage::Turn).0)
        };
        let least = (0..10).map(|_| trial()).min().unwrap_or(0);
        least as f64 / TRIALS as f64
    }
}

/// `stage` ends here.
#[inline(always)]
pub(super) fn mark(stages: &mut Option<Box<Stages>>, stage: Stage) {
    if let Some(stages) = stages {
        stages.mark(stage);
    }
}

/// [`Stage::Receive`] ends here, with so many packets.
#[inline(always)]
pub(super) fn received(stages: &mut Option<Box<Stages>>, packets: usize) {
    if let Some(stages) = stages {
        stages.packets += packets as u64;
        stages.mark(Stage::Receive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_between_the_first_and_the_last_mark_is_booked_once() {
        let mut stages = Some(Box::new(Stages::new()));
        mark(&mut stages, Stage::Turn);
        let first = stages.as_ref().unwrap().last;
        received(&mut stages, 32);
        mark(&mut stages, Stage::Admit);
        mark(&mut stages, Stage::Count);
        mark(&mut stages, Stage::Turn);
        let stages = stages.unwrap();
        let all: u64 = Stage::ALL.iter().map(|&stage| stages.of(stage).0).sum();
        assert_eq!(all, stages.last - first);
        assert_eq!(stages.packets(), 32);
        assert_eq!(stages.of(Stage::Turn).1, 1, "the first mark ends nothing");
        assert_eq!(stages.of(Stage::Send), (0, 0));
    }

    #[test]
    fn off_nothing_is_booked() {
        let mut stages = None;
        mark(&mut stages, Stage::Turn);
        received(&mut stages, 1);
        assert!(stages.is_none());
        assert!(Stages::mark_cycles() > 0.0);
    }
}
