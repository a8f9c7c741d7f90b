//! What the turns of a data core cost, and the few that lasted too long.
//!
//! [`Turns::end`] is called once at the end of every turn. It adds up cycles, writes 16 bytes into a short ring
//! and makes one comparison. A turn longer than the threshold is a *stall*: it is kept with the turns before and
//! after it, as one [`Stall`], and goes to control, which knows what the machine did meanwhile.
//!
//! It protects itself when everything is slow: a core keeps one stall in [`QUIET`], or one at least twice as
//! long as the last; all others are only counted.

use model::time::{Cycles, Nanos};

use crate::channel::WorkerLink;
use crate::worker::Clock;

/// Turns that are kept on either side of a stall.
pub const NEIGHBOURS: usize = 5;
/// A stall within so long of one that was kept is only counted, unless it is twice as long.
pub const QUIET: Nanos = Nanos::from_millis(100);
/// A turn longer than this is a stall, until control says otherwise.
pub const THRESHOLD: Nanos = Nanos::from_micros(250);
/// Turns that are remembered: a power of two above [`NEIGHBOURS`].
const PAST: usize = 8;

/// A turn of a core, from the end of the one before to its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnRow {
    /// When it ended, gateway time.
    pub ended_at: Nanos,
    /// How long it took.
    pub length: Nanos,
    /// Packets received and sent.
    pub packets: u32,
    /// Packets that waited in the core at its end; not known of the turns before a stall.
    pub held: Option<u32>,
}

/// A turn that lasted too long, with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The turn itself.
    pub turn: TurnRow,
    before: ([TurnRow; NEIGHBOURS], usize),
    after: ([TurnRow; NEIGHBOURS], usize),
}

impl Stall {
    /// A stall of which no neighbour is known.
    pub const fn new(turn: TurnRow) -> Self {
        let none = TurnRow { ended_at: Nanos::ZERO, length: Nanos::ZERO, packets: 0, held: None };
        Self { turn, before: ([none; NEIGHBOURS], 0), after: ([none; NEIGHBOURS], 0) }
    }

    /// The turns before it, the oldest first.
    pub fn before(&self) -> &[TurnRow] {
        &self.before.0[..self.before.1]
    }

    /// The turns after it.
    pub fn after(&self) -> &[TurnRow] {
        &self.after.0[..self.after.1]
    }

    /// Adds a turn after it. `true`: there is room for no more.
    pub fn follow(&mut self, row: TurnRow) -> bool {
        let (rows, count) = &mut self.after;
        if let Some(place) = rows.get_mut(*count) {
            *place = row;
            *count += 1;
        }
        *count == NEIGHBOURS
    }
}

#[derive(Clone, Copy, Default)]
struct Past {
    spent: u64,
    packets: u32,
}

/// See the module.
pub struct Turns {
    last: Cycles,
    busy_cycles: u64,
    all_cycles: u64,
    past: [Past; PAST],
    ended: usize,
    /// Cycles of a turn that is looked at: the threshold, or none while neighbours are wanted.
    limit: u64,
    threshold: Nanos,
    threshold_cycles: u64,
    tsc_hz: u64,
    /// A stall that waits for the turns after it.
    open: Option<Stall>,
    quiet_until: Nanos,
    /// The longest that was kept since it was quiet.
    loudest: Nanos,
}

impl Turns {
    /// Before the first turn. Where time is not real no turn is too long.
    pub fn new<C: Clock>(clock: &C) -> Self {
        let mut turns = Self {
            last: clock.cycles(),
            busy_cycles: 0,
            all_cycles: 0,
            past: [Past::default(); PAST],
            ended: 0,
            limit: u64::MAX,
            threshold: THRESHOLD,
            threshold_cycles: u64::MAX,
            tsc_hz: 0,
            open: None,
            quiet_until: Nanos::ZERO,
            loudest: Nanos::ZERO,
        };
        turns.set_rate(clock);
        turns
    }

    /// The first turn begins: what lies before is none.
    pub fn begin<C: Clock>(&mut self, clock: &C) {
        self.last = clock.cycles();
    }

    /// Turns longer than `threshold` are stalls from here on.
    pub fn set_threshold(&mut self, threshold: Nanos) {
        self.threshold = threshold;
        self.arm();
    }

    /// The clock has another rate.
    pub fn set_rate<C: Clock>(&mut self, clock: &C) {
        self.tsc_hz = match clock.tsc_model() {
            Some(model) if C::REAL => model.tsc_hz(),
            _ => 0,
        };
        self.arm();
    }

    fn arm(&mut self) {
        let cycles = u128::from(self.threshold.0) * u128::from(self.tsc_hz) / 1_000_000_000;
        self.threshold_cycles = match self.tsc_hz {
            0 => u64::MAX,
            _ => u64::try_from(cycles).unwrap_or(u64::MAX),
        };
        self.limit = if self.open.is_some() { 0 } else { self.threshold_cycles };
    }

    /// A turn has ended that moved so many packets. Bounded: a ring's slot and one comparison.
    #[inline]
    pub fn end<B, C: Clock>(
        &mut self,
        clock: &C,
        packets: usize,
        link: &mut WorkerLink<B>,
        held: impl FnOnce() -> u32,
    ) {
        let cycles = clock.cycles();
        let spent = cycles.0.wrapping_sub(self.last.0);
        self.last = cycles;
        self.all_cycles += spent;
        self.busy_cycles += if packets > 0 { spent } else { 0 };
        link.progress(cycles.0);
        self.past[self.ended % PAST] = Past { spent, packets: packets as u32 };
        self.ended = self.ended.wrapping_add(1);
        if spent > self.limit {
            self.look(clock.now(), held(), link);
        }
    }

    /// Cycles in turns that moved a packet, and in all, since the last call.
    pub fn take_cycles(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.busy_cycles), std::mem::take(&mut self.all_cycles))
    }

    /// No turn follows: a stall that waits for neighbours goes as it is.
    pub fn finish<B>(&mut self, link: &mut WorkerLink<B>) {
        if let Some(stall) = self.open.take() {
            link.keep(&stall);
        }
    }

    #[cold]
    fn look<B>(&mut self, now: Nanos, held: u32, link: &mut WorkerLink<B>) {
        let Past { spent, packets } = self.past_turn(1);
        let length = self.nanos(spent);
        let row = TurnRow { ended_at: now, length, packets, held: Some(held) };
        let is_stall = spent > self.threshold_cycles;
        if is_stall {
            link.stalled(length);
        }
        match self.open.take() {
            Some(mut stall) => {
                let is_whole = stall.follow(row);
                if is_whole {
                    link.keep(&stall);
                } else {
                    self.open = Some(stall);
                }
            }
            None if is_stall && self.is_worth(now, length) => {
                self.quiet_until = now.saturating_add(QUIET);
                self.loudest = length;
                self.open = Some(self.begin_stall(row));
            }
            None => link.not_kept(),
        }
        self.arm();
    }

    fn is_worth(&self, now: Nanos, length: Nanos) -> bool {
        now >= self.quiet_until || length.0 / 2 >= self.loudest.0
    }

    fn begin_stall(&self, turn: TurnRow) -> Stall {
        let mut stall = Stall::new(turn);
        let known = NEIGHBOURS.min(self.ended.saturating_sub(1));
        let mut ended_at = turn.ended_at.saturating_sub(turn.length);
        for back in 0..known {
            let Past { spent, packets } = self.past_turn(back + 2);
            let length = self.nanos(spent);
            stall.before.0[known - 1 - back] = TurnRow { ended_at, length, packets, held: None };
            ended_at = ended_at.saturating_sub(length);
        }
        stall.before.1 = known;
        stall
    }

    /// The turn that ended so many turns ago; 1 = the last one.
    fn past_turn(&self, back: usize) -> Past {
        self.past[self.ended.wrapping_sub(back) % PAST]
    }

    fn nanos(&self, cycles: u64) -> Nanos {
        let ns = u128::from(cycles) * 1_000_000_000 / u128::from(self.tsc_hz.max(1));
        Nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use model::profile::Profile;

    use super::*;
    use crate::channel::{ControlLink, link};
    use crate::clock::TscModel;

    /// 1 GHz: a cycle is a nanosecond. It goes where the test sets it.
    struct Hand(Cell<u64>);

    impl Clock for Hand {
        const REAL: bool = true;

        fn now(&self) -> Nanos {
            Nanos(self.0.get())
        }

        fn cycles(&self) -> Cycles {
            Cycles(self.0.get())
        }

        fn set_model(&mut self, _: TscModel) {}

        fn tsc_model(&self) -> Option<TscModel> {
            Some(TscModel::new(Cycles(0), Nanos(0), 1_000_000_000))
        }
    }

    struct World {
        clock: Hand,
        turns: Turns,
        worker: WorkerLink<u64>,
        control: ControlLink<u64>,
    }

    impl World {
        fn new() -> Self {
            let normal = Profile {
                name: "normal".into(),
                index: 0,
                classes: vec![],
                egress: vec![],
                canary: None,
                venue_limits: vec![],
            };
            let (worker, control) = link(1, 1, Box::new(normal), Box::new(0));
            let clock = Hand(Cell::new(1_000_000));
            Self { turns: Turns::new(&clock), clock, worker, control }
        }

        fn turn(&mut self, ns: u64, packets: usize, held: u32) {
            self.clock.0.set(self.clock.0.get() + ns);
            self.turns.end(&self.clock, packets, &mut self.worker, || held);
        }

        fn kept(&mut self) -> Vec<Stall> {
            std::iter::from_fn(|| self.control.take_stall()).collect()
        }
    }

    #[test]
    fn a_stall_is_kept_with_the_turns_before_and_after_it_and_no_other() {
        let mut w = World::new();
        (1..=20).for_each(|n| w.turn(100 + n, n as usize, 0));
        w.turn(250_001, 32, 7);
        (1..=4).for_each(|n| w.turn(200, 32, 7 - n));
        assert!(w.kept().is_empty(), "it waits for its neighbours");
        w.turn(200, 3, 0);
        (0..100).for_each(|_| w.turn(250_000, 1, 1));
        let [stall] = w.kept()[..] else { panic!("one stall") };
        let row = |ended_at, length, packets, held| TurnRow {
            ended_at: Nanos(ended_at),
            length: Nanos(length),
            packets,
            held,
        };
        let began = 1_000_000 + (101..=120).sum::<u64>();
        let ended = began + 250_001;
        assert_eq!(stall.turn, row(ended, 250_001, 32, Some(7)));
        assert_eq!(
            stall.before(),
            [
                row(began - 120 - 119 - 118 - 117, 116, 16, None),
                row(began - 120 - 119 - 118, 117, 17, None),
                row(began - 120 - 119, 118, 18, None),
                row(began - 120, 119, 19, None),
                row(began, 120, 20, None),
            ]
        );
        assert_eq!(stall.after().len(), NEIGHBOURS);
        assert_eq!(stall.after()[0], row(ended + 200, 200, 32, Some(6)));
        assert_eq!(stall.after()[4], row(ended + 1_000, 200, 3, Some(0)));
        let counted = (w.control.stalls(), w.control.stalls_not_kept());
        assert_eq!(counted, (1, 0));
        assert_eq!(w.control.stall_longest(), Nanos(250_001));
    }

    #[test]
    fn when_every_turn_is_slow_few_are_kept_all_are_counted_and_the_worst_is_among_them() {
        let mut w = World::new();
        (0..1_000).for_each(|_| w.turn(1_000_000, 0, 0));
        let slow = w.kept().len();
        // One in 100 ms, each of which takes the five turns after it along.
        assert!((9..=11).contains(&slow), "{slow}");
        w.turn(5_000_000, 0, 0);
        (0..5).for_each(|_| w.turn(1_000_000, 0, 0));
        let worst = w.kept();
        let [worst] = &worst[..] else { panic!("{worst:?}") };
        assert_eq!(worst.turn.length, Nanos(5_000_000));
        assert_eq!(w.control.stalls(), 1_006);
        let neighbours = 5 * (slow as u64 + 1);
        assert_eq!(w.control.stalls_not_kept(), 1_006 - (slow as u64 + 1) - neighbours);
    }

    #[test]
    fn control_that_takes_nothing_costs_records_and_not_the_core() {
        let mut w = World::new();
        for _ in 0..200 {
            w.turn(1_000_000, 0, 0);
            (0..5).for_each(|_| w.turn(100, 0, 0));
            w.turn(100, 0, 0);
            w.clock.0.set(w.clock.0.get() + 200_000_000);
            w.turns.begin(&w.clock);
        }
        let kept = w.kept().len() as u64;
        assert!(kept > 0 && kept < 200, "{kept}");
        assert_eq!((w.control.stalls(), w.control.stalls_not_kept()), (200, 200 - kept));
    }

    #[test]
    fn the_threshold_is_live_and_the_end_gives_up_what_waits() {
        let mut w = World::new();
        w.turns.set_threshold(Nanos(1_000));
        w.turn(1_000, 0, 0);
        w.turn(1_001, 0, 0);
        w.turn(50, 0, 0);
        w.turns.finish(&mut w.worker);
        let [stall] = w.kept()[..] else { panic!("one stall") };
        assert_eq!((stall.before().len(), stall.after().len()), (1, 1));
        assert_eq!(w.control.stalls(), 1);
    }

    #[test]
    fn cycles_are_told_apart_and_told_once() {
        let mut w = World::new();
        w.turn(100, 1, 0);
        w.turn(50, 0, 0);
        assert_eq!(w.turns.take_cycles(), (100, 150));
        assert_eq!(w.turns.take_cycles(), (0, 0));
    }
}
