//! What the KPIs cost, for `[port.bench] kpis_in_turn = true`.
//!
//! For a few milliseconds everything is measured, for as long nothing is, and so on: the cycles of
//! each are booked apart. Two runs one after the other differ by more than the KPIs cost on a machine
//! that others use too; stretches that lie so close to each other do not.

use model::kpi::CoreAggregates;

use crate::clock::tsc;

/// So many turns with a packet make a stretch: some 12 ms under full load.
const STRETCH_TURNS: u32 = 4096;
/// At the start of a stretch the caches still hold what the one before it needed.
const UNBOOKED_TURNS: u32 = 64;

/// Cycles of the TSC, and the packets that they were spent for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Cycles.
    pub cycles: u64,
    /// Packets.
    pub packets: u64,
}

/// What was spent with KPIs, and without.
#[derive(Clone, Debug)]
pub struct KpiCost {
    spent: [Spent; 2],
    measures: bool,
    turns: u32,
    /// The TSC when the turn began, and its packets.
    turn: Option<(u64, u64)>,
}

impl KpiCost {
    pub(super) const fn new() -> Self {
        let spent = [Spent { cycles: 0, packets: 0 }; 2];
        Self { spent, measures: true, turns: 0, turn: None }
    }

    /// A turn ended at `now`, the next one begins. Returns whether things are measured in it, where
    /// that changes.
    fn turn(&mut self, now: u64) -> Option<bool> {
        let (began, packets) = self.turn.replace((now, 0))?;
        if packets == 0 {
            return None;
        }
        self.turns += 1;
        if self.turns > UNBOOKED_TURNS {
            let spent = &mut self.spent[usize::from(self.measures)];
            spent.cycles += now.wrapping_sub(began);
            spent.packets += packets;
        }
        if self.turns < STRETCH_TURNS {
            return None;
        }
        self.turns = 0;
        self.measures = !self.measures;
        Some(self.measures)
    }

    /// With everything measured.
    pub const fn with(&self) -> Spent {
        self.spent[1]
    }

    /// With packets counted and nothing measured.
    pub const fn without(&self) -> Spent {
        self.spent[0]
    }
}

/// A turn begins.
#[inline(always)]
pub(super) fn begin_turn(cost: &mut Option<Box<KpiCost>>, aggregates: &mut CoreAggregates) {
    if let Some(cost) = cost
        && let Some(measures) = cost.turn(tsc::read().0)
    {
        aggregates.set_counts_only(!measures);
    }
}

/// So many packets came in the turn.
#[inline(always)]
pub(super) fn received(cost: &mut Option<Box<KpiCost>>, packets: usize) {
    if let Some((_, of_turn)) = cost.as_mut().and_then(|cost| cost.turn.as_mut()) {
        *of_turn += packets as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_with_and_without_take_turns_and_are_booked_apart() {
        let mut cost = KpiCost::new();
        let (mut now, mut changes) = (5, Vec::new());
        assert_eq!(cost.turn(now), None, "nothing ends where the first turn begins");
        for turn in 0..3 * STRETCH_TURNS {
            cost.turn.as_mut().unwrap().1 += 32;
            // Twice as dear with KPIs.
            now += if cost.measures { 2_000 } else { 1_000 };
            changes.extend(cost.turn(now).map(|measures| (turn + 1, measures)));
        }
        let at = |stretches| stretches * STRETCH_TURNS;
        assert_eq!(changes, [(at(1), false), (at(2), true), (at(3), false)]);
        let booked = u64::from(STRETCH_TURNS - UNBOOKED_TURNS);
        assert_eq!(cost.without(), Spent { cycles: 1_000 * booked, packets: 32 * booked });
        assert_eq!(cost.with(), Spent { cycles: 2 * 2_000 * booked, packets: 2 * 32 * booked });
    }

    #[test]
    fn idle_turns_are_nobodys() {
        let mut cost = KpiCost::new();
        for now in 1..=2 * u64::from(STRETCH_TURNS) {
            assert_eq!(cost.turn(now), None);
        }
        assert_eq!((cost.with(), cost.without()), (Spent::default(), Spent::default()));
    }
}
