//! Is a data core alive? Told from a mark that the core changes with every poll.
//!
//! Time counts as stillness only while control itself was there to look: if the whole machine or
//! process was stopped, control wakes up first, and a core must not be called stuck for that.

use model::time::Nanos;

/// What a look at the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It moves.
    Moves,
    /// It moves again, after standing still for so long.
    Recovered(Nanos),
    /// It has stood still for so long.
    Still(Nanos),
}

/// The watch over one core.
#[derive(Debug)]
pub struct CoreWatch {
    /// Most that one look may add, whatever time it comes after the last.
    step_max: Nanos,
    mark: Option<u64>,
    looked_at: Nanos,
    still: Nanos,
    /// When it was last seen to move.
    moved_at: Nanos,
}

impl CoreWatch {
    /// A watch that is looked at every `tick`.
    pub fn new(tick: Nanos) -> Self {
        Self {
            step_max: tick.saturating_add(tick),
            mark: None,
            looked_at: Nanos::ZERO,
            still: Nanos::ZERO,
            moved_at: Nanos::ZERO,
        }
    }

    /// Looks at the mark.
    pub fn look(&mut self, mark: u64, now: Nanos) -> Seen {
        let step = now.saturating_sub(self.looked_at).min(self.step_max);
        self.looked_at = now;
        if self.mark != Some(mark) {
            let first = self.mark.is_none();
            self.mark = Some(mark);
            self.moved_at = now;
            let still = std::mem::replace(&mut self.still, Nanos::ZERO);
            return if first || still == Nanos::ZERO {
                Seen::Moves
            } else {
                Seen::Recovered(still)
            };
        }
        self.still = self.still.saturating_add(step);
        Seen::Still(self.still)
    }

    /// How long ago it was last seen to move.
    pub fn since_moved(&self, now: Nanos) -> Nanos {
        now.saturating_sub(self.moved_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn stillness_adds_up_and_ends_with_the_next_move() {
        let mut watch = CoreWatch::new(MS(100));
        assert_eq!(watch.look(1, MS(1_000)), Seen::Moves);
        assert_eq!(watch.look(2, MS(1_100)), Seen::Moves);
        assert_eq!(watch.look(2, MS(1_200)), Seen::Still(MS(100)));
        assert_eq!(watch.look(2, MS(1_350)), Seen::Still(MS(250)));
        assert_eq!(watch.since_moved(MS(1_350)), MS(250));
        assert_eq!(watch.look(3, MS(1_400)), Seen::Recovered(MS(250)));
        assert_eq!(watch.look(4, MS(1_500)), Seen::Moves);
    }

    #[test]
    fn pause_of_control_itself_is_not_held_against_the_core() {
        let mut watch = CoreWatch::new(MS(100));
        watch.look(1, MS(100));
        assert_eq!(watch.look(1, MS(60_000)), Seen::Still(MS(200)));
        assert_eq!(watch.look(2, MS(60_100)), Seen::Recovered(MS(200)));
    }
}
