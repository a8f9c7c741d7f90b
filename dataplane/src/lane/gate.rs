//! Whether one of two paths is offered packets.
//!
//! A path that refuses sits out a turn, so that what waits for it does not keep the other's packets from
//! leaving; then it is asked again, but not twice at one moment.

use model::time::Nanos;

/// In virtual time, where nothing else happens, a path that refused is asked again after so long, or an
/// eighth of the time that it has been refusing.
const ASK_AGAIN: Nanos = Nanos::from_micros(10);
/// At the latest after so long.
const ASK_AGAIN_MAX: Nanos = Nanos::from_millis(1);

/// See the module's text.
#[derive(Clone, Copy, Default)]
pub(super) struct Gate {
    refused_at: Option<Nanos>,
    /// It has sat out a turn since.
    sat_out: bool,
    /// Since when it has taken nothing of what was due.
    stuck_since: Option<Nanos>,
    is_stuck: bool,
    is_open: bool,
}

/// What a look at a gate has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Packets are offered to the path in this turn.
    pub is_open: bool,
    /// It has taken nothing for long, or is down.
    pub is_stuck: bool,
    /// That is new.
    pub got_stuck: bool,
    /// What has become too old meanwhile ends, before the rest goes on.
    pub ends_stale: bool,
}

impl Gate {
    /// A turn begins. `up`, `has_room`: of the port below; it is stuck after `stall_time`.
    pub fn look(&mut self, now: Nanos, up: bool, has_room: bool, stall_time: Nanos) -> Look {
        let sits_out = match self.refused_at {
            None => false,
            Some(at) if self.sat_out && now > at => false,
            Some(_) => {
                self.sat_out = true;
                true
            }
        };
        let could = up && has_room;
        if !could {
            self.stuck_since.get_or_insert(now);
        } else if self.refused_at.is_none() {
            // It was down, or full.
            self.stuck_since = None;
        }
        let was_stuck = self.is_stuck;
        let stuck_for = self.stuck_since.map(|at| now.saturating_sub(at));
        self.is_stuck = !up || stuck_for.is_some_and(|length| length >= stall_time);
        self.is_open = could && !sits_out;
        Look {
            is_open: self.is_open,
            is_stuck: self.is_stuck,
            got_stuck: self.is_stuck && !was_stuck,
            ends_stale: self.is_stuck || was_stuck,
        }
    }

    /// It was offered `offered` packets at `now` and took `taken`.
    pub fn offered(&mut self, now: Nanos, offered: usize, taken: usize) {
        if taken > 0 {
            self.stuck_since = None;
        }
        let is_refused = taken < offered;
        self.refused_at = is_refused.then_some(now);
        self.sat_out = false;
        if is_refused {
            self.stuck_since.get_or_insert(now);
        }
    }

    /// When it is to be looked at again without anyone calling, `waits`: flows wait for it.
    pub fn next_event(&self, now: Nanos, waits: bool) -> Option<Nanos> {
        match self.refused_at {
            // It sat this turn out, and its time may be now.
            Some(at) if self.sat_out && now > at && !self.is_open => Some(now),
            Some(at) if !self.is_open || now <= at => {
                let refusing =
                    self.stuck_since.map_or(Nanos::ZERO, |since| at.saturating_sub(since));
                let wait = Nanos(refusing.0 / 8).clamp(ASK_AGAIN, ASK_AGAIN_MAX);
                Some(at.saturating_add(wait).max(Nanos(now.0 + 1)))
            }
            // More waited for it than one turn lets go on.
            _ => (self.is_open && waits).then_some(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Nanos = Nanos::from_millis(5);

    #[test]
    fn who_refuses_sits_out_a_turn_and_is_not_asked_twice_at_one_moment() {
        let mut gate = Gate::default();
        let look = |gate: &mut Gate, us| gate.look(Nanos::from_micros(us), true, true, STALL);
        assert!(look(&mut gate, 1).is_open);
        gate.offered(Nanos::from_micros(1), 4, 2);
        assert!(!look(&mut gate, 1).is_open, "sits out");
        assert!(!look(&mut gate, 1).is_open, "the same moment");
        assert!(look(&mut gate, 2).is_open);
        gate.offered(Nanos::from_micros(2), 4, 0);
        assert!(!look(&mut gate, 50).is_open, "sits out");
        // At once, lest its moment passes.
        assert_eq!(gate.next_event(Nanos::from_micros(50), true), Some(Nanos::from_micros(50)));
        assert!(look(&mut gate, 50).is_open);
        gate.offered(Nanos::from_micros(50), 4, 4);
        assert!(look(&mut gate, 50).is_open);
        assert_eq!(gate.next_event(Nanos::from_micros(50), false), None);
    }

    #[test]
    fn who_takes_nothing_for_long_is_stuck_until_it_takes_something() {
        let mut gate = Gate::default();
        let mut now = Nanos::from_millis(1);
        let mut stuck = 0;
        while now < Nanos::from_millis(7) {
            let look = gate.look(now, true, true, STALL);
            stuck += u32::from(look.got_stuck);
            assert_eq!(look.is_stuck, now >= Nanos::from_millis(6), "{now}");
            if look.is_open {
                gate.offered(now, 1, 0);
            }
            now = gate.next_event(now, true).unwrap().max(now);
        }
        assert_eq!(stuck, 1);
        gate.look(now, true, true, STALL);
        gate.offered(now, 1, 1);
        let look = gate.look(now, true, true, STALL);
        assert!(look.is_open && !look.is_stuck && look.ends_stale, "{look:?}");
        assert!(!gate.look(now, true, true, STALL).ends_stale);
        // Down is stuck at once.
        assert!(gate.look(now, false, true, STALL).got_stuck);
    }
}
