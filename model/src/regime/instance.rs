//! One machine over one scope: where it is and what it decides at a tick.

use std::collections::VecDeque;

use super::decision::{Cause, Decision, Stays};
use super::reading::{Missing, Reading, Scope, Since, WINDOWS_S};
use super::table::{Machine, Posture, Severity, StateId};
use super::verdict::{self, Evidence, Judged, Place, Verdict};
use crate::time::Nanos;

/// Transitions within [`FLAP_SPAN`] beyond which an instance is frozen.
pub const FLAP_MAX: usize = 6;
/// See [`FLAP_MAX`].
pub const FLAP_SPAN: Nanos = Nanos::from_secs(60);
/// A shorter window is tried once it would hold so many times what its inputs need.
const ROOM: f64 = 1.5;
/// An input that has too few observations in the longest window is not waited for, for so long.
const GIVEN_UP: Nanos = Nanos::from_secs(60);

/// What the engine lets an instance do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Powers {
    /// The profile of its state is in force.
    pub acts: bool,
    /// Severity 3 is left by the operator only.
    pub latched: bool,
    /// A scope without traffic for so long comes down.
    pub absent_release: Nanos,
}

/// What an instance is given at a tick beside its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick<'a> {
    pub now: Nanos,
    pub table: &'a Machine,
    /// Packets of the scope since the last tick, `None` = not known.
    pub packets: Option<u64>,
    pub delays: Delays,
    pub powers: Powers,
}

/// Our own delay on the scope, and the delay that is not ours, ns at p95.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delays {
    /// `dispatch_to_wire_ns[hold].p95`.
    pub hold: Option<f64>,
    /// `dispatch_to_wire_ns[rest].p95`.
    pub rest: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Pin {
    until: Nanos,
}

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub machine: usize,
    pub scope: Scope,
    pub state: StateId,
    pub entered_at: Option<Nanos>,
    pub judged: Vec<Judged>,
    pub stays: Stays,
    pub frozen: bool,
    pub held_off: bool,
    /// Of each state above the lowest.
    entries: Vec<Vec<Vec<Place>>>,
    exits: Vec<Vec<Vec<Place>>>,
    entry: Vec<Verdict>,
    entry_since: Vec<Since>,
    entry_ticks: Vec<u32>,
    exit: Verdict,
    exit_ticks: u32,
    pin: Option<Pin>,
    idle_since: Option<Nanos>,
    recent: VecDeque<Nanos>,
    /// As they were when the state was entered.
    at_entry: Delays,
    window: usize,
    given_up: Vec<Nanos>,
}

impl Instance {
    pub fn new(machine: usize, table: &Machine, scope: Scope) -> Self {
        let mut judged = Vec::new();
        let mut places = |lists: &[Vec<_>]| -> Vec<Vec<Place>> {
            let list = |list: &Vec<_>| {
                list.iter().map(|term| Place::of(term, &mut judged)).collect::<Vec<_>>()
            };
            lists.iter().map(list).collect()
        };
        let entries: Vec<_> = table.states.iter().map(|state| places(&state.enter)).collect();
        let exits: Vec<_> = table.above().map(|id| places(table.exit(id))).collect();
        let count = table.states.len();
        Self {
            machine,
            scope,
            state: StateId::LOWEST,
            entered_at: None,
            given_up: vec![Nanos::ZERO; judged.len()],
            judged,
            stays: Stays::new(count + 1),
            frozen: false,
            held_off: false,
            entries,
            exits,
            entry: vec![Verdict::Unknown; count],
            entry_since: vec![Since::default(); count],
            entry_ticks: vec![0; count],
            exit: Verdict::Unknown,
            exit_ticks: 0,
            pin: None,
            idle_since: None,
            recent: VecDeque::new(),
            at_entry: Delays::default(),
            window: 0,
        }
    }

    /// The same instance by another table of the same states. It stays where it is; what was counted by
    /// the table before is no evidence any more.
    pub fn retuned(self, table: &Machine) -> Self {
        let Self { entries, exits, judged, given_up, entry, entry_since, entry_ticks, .. } =
            Self::new(self.machine, table, self.scope);
        let (exit, exit_ticks) = (Verdict::Unknown, 0);
        Self {
            entries,
            exits,
            judged,
            given_up,
            entry,
            entry_since,
            entry_ticks,
            exit,
            exit_ticks,
            ..self
        }
    }

    /// The window that its inputs are to be computed over at the next tick, seconds.
    pub fn window_s(&self) -> u8 {
        WINDOWS_S[self.window]
    }

    /// Until when it is pinned.
    pub fn pinned_until(&self) -> Option<Nanos> {
        self.pin.map(|pin| pin.until)
    }

    /// The profile that it asks for: what is frozen or held off asks for nothing.
    pub fn posture(&self, table: &Machine) -> Posture {
        match table.state(self.state) {
            Some(state) if !self.frozen && !self.held_off => state.posture,
            _ => Posture::Normal,
        }
    }

    /// Decides, after `judged` has been judged. Its decisions go to `log`.
    pub fn tick(&mut self, tick: &Tick<'_>, log: &mut Vec<Decision>) {
        let now = tick.now;
        let entered = *self.entered_at.get_or_insert(now);
        self.stays.stay(self.state, now);
        self.look(now);
        self.note_traffic(now, tick.packets);
        if self.pin.is_some_and(|pin| now >= pin.until) {
            self.pin = None;
            self.say(now, self.state, Cause::PinExpired, Vec::new(), log);
        }
        if self.pin.is_none() && !self.frozen {
            let stayed = now.saturating_sub(entered);
            self.decide(tick, stayed, log);
        }
        self.fit_window(now);
    }

    fn decide(&mut self, tick: &Tick<'_>, stayed: Nanos, log: &mut Vec<Decision>) {
        let Tick { now, table, delays, powers, .. } = *tick;
        let confirmed = |id: &StateId| {
            let at = id.index() - 1;
            *id > self.state
                && self.entry[at] == Verdict::Holds
                && self.entry_ticks[at] >= table.timing.confirm_ticks
        };
        if let Some(to) = table.above().rev().find(confirmed) {
            let evidence = verdict::evidence(&self.entries[to.index() - 1], &self.judged);
            self.at_entry = delays;
            self.go(now, to, Cause::Entered, evidence, log);
            return;
        }
        if self.state == StateId::LOWEST {
            return;
        }
        let latched = powers.latched && table.severity(self.state) == Severity::Contain;
        let may_leave = !latched && stayed >= table.timing.dwell;
        let released = self.exit_ticks >= table.timing.release_ticks;
        if may_leave && self.exit == Verdict::Holds && released {
            let evidence = verdict::evidence(&self.exits[self.state.index() - 1], &self.judged);
            self.go(now, self.state.below(), Cause::Exited, evidence, log);
            return;
        }
        let idle = self.idle_since.map_or(Nanos::ZERO, |since| now.saturating_sub(since));
        if may_leave && tick.packets == Some(0) && idle >= powers.absent_release {
            self.forget();
            self.go(now, self.state.below(), Cause::NoTraffic, Vec::new(), log);
            return;
        }
        let acts = powers.acts && self.posture(table) != Posture::Normal;
        let cures = acts && !table.is_of_stalls(self.state);
        if cures && stayed >= table.timing.dwell && self.holds_more_than_it_cures(delays) {
            self.held_off = true;
            let evidence = verdict::evidence(&self.entries[self.state.index() - 1], &self.judged);
            self.say(now, self.state, Cause::HeldOff, evidence, log);
        }
    }

    /// Still above its entry, and the profile's own delay is longer than the delay it came for.
    fn holds_more_than_it_cures(&self, delays: Delays) -> bool {
        let above = self.entry[self.state.index() - 1] == Verdict::Holds;
        let (Some(hold), Some(cure)) = (delays.hold, self.at_entry.rest) else { return false };
        above && hold - self.at_entry.hold.unwrap_or(0.0) > cure
    }

    /// Entries and the exit of the state, and for how long each has held. What nobody knows changes
    /// no count.
    fn look(&mut self, now: Nanos) {
        for index in 0..self.entries.len() {
            let since = &self.entry_since;
            let held = |id: StateId, span| since[id.index() - 1].held_for(span, now);
            let verdict = verdict::entry(&self.entries[index], &self.judged, held);
            self.entry[index] = verdict;
            self.entry_since[index].note(verdict == Verdict::Holds, now);
            count(&mut self.entry_ticks[index], verdict);
        }
        let Some(at) = self.state.index().checked_sub(1) else { return };
        self.exit = match self.entry[at] {
            Verdict::Holds => Verdict::Fails,
            _ => verdict::exit(&self.exits[at], &self.judged),
        };
        count(&mut self.exit_ticks, self.exit);
    }

    fn note_traffic(&mut self, now: Nanos, packets: Option<u64>) {
        match packets {
            Some(0) => self.idle_since = self.idle_since.or(Some(now)),
            Some(_) => self.idle_since = None,
            None => {}
        }
    }

    /// The operator's word: there until `until`, whatever the values say.
    pub fn pin(&mut self, now: Nanos, to: StateId, until: Nanos, log: &mut Vec<Decision>) {
        self.pin = Some(Pin { until });
        self.forget();
        self.go(now, to, Cause::Pinned, Vec::new(), log);
    }

    /// The operator's word: ends a pin, a freeze and a hold-off; else leaves a state, one step down.
    pub fn release(&mut self, now: Nanos, log: &mut Vec<Decision>) {
        let was_stopped = self.pin.is_some() || self.frozen || self.held_off;
        if !was_stopped && self.state == StateId::LOWEST {
            return;
        }
        (self.pin, self.frozen, self.held_off) = (None, false, false);
        self.recent.clear();
        self.forget();
        let to = if was_stopped { self.state } else { self.state.below() };
        self.go(now, to, Cause::Released, Vec::new(), log);
    }

    /// What was counted up to now is no evidence any more.
    fn forget(&mut self) {
        self.entry_ticks.fill(0);
        self.entry_since.fill(Since::default());
        self.exit_ticks = 0;
    }

    fn go(
        &mut self,
        now: Nanos,
        to: StateId,
        cause: Cause,
        evidence: Vec<Evidence>,
        log: &mut Vec<Decision>,
    ) {
        let from = std::mem::replace(&mut self.state, to);
        self.entered_at = Some(now);
        self.exit_ticks = 0;
        if to < from {
            // What confirmed the state that was left is used up.
            self.entry_ticks[to.index()..].fill(0);
        }
        self.say(now, from, cause, evidence, log);
        if from == to {
            return;
        }
        self.stays.count(from, to);
        let by_itself = !matches!(cause, Cause::Pinned | Cause::Released);
        if by_itself {
            self.recent.push_back(now);
            let old = |at: &Nanos| now.saturating_sub(*at) >= FLAP_SPAN;
            while self.recent.front().is_some_and(old) {
                self.recent.pop_front();
            }
            if self.recent.len() > FLAP_MAX {
                self.frozen = true;
                self.say(now, to, Cause::Frozen, Vec::new(), log);
            }
        }
        if to == StateId::LOWEST && std::mem::take(&mut self.held_off) {
            self.say(now, to, Cause::HoldOffEnded, Vec::new(), log);
        }
    }

    fn say(
        &self,
        at: Nanos,
        from: StateId,
        cause: Cause,
        evidence: Vec<Evidence>,
        log: &mut Vec<Decision>,
    ) {
        let (machine, scope, to, window_s) =
            (self.machine, self.scope, self.state, self.window_s());
        log.push(Decision { at, machine, scope, from, to, cause, window_s, evidence });
    }

    /// One step longer where an input has too few observations, one shorter where all have plenty.
    fn fit_window(&mut self, now: Nanos) {
        let longest = self.window + 1 == WINDOWS_S.len();
        let (mut too_few, mut plenty) = (false, self.window > 0);
        let shorter = f64::from(WINDOWS_S[self.window.saturating_sub(1)]);
        let share = shorter / f64::from(self.window_s());
        for (judged, given_up) in self.judged.iter().zip(&mut self.given_up) {
            let bound = &judged.bound;
            if bound.over.is_some() || !bound.input.grows_with_window() || now < *given_up {
                continue;
            }
            match judged.reading {
                Reading::Absent(Missing::TooFew) if longest => {
                    *given_up = now.saturating_add(GIVEN_UP);
                }
                Reading::Absent(Missing::TooFew) => too_few = true,
                Reading::Value { n, .. } => {
                    let needed = judged.bound.input.n_min() as f64 * ROOM;
                    plenty &= n as f64 * share >= needed;
                }
                Reading::NoPart | Reading::Absent(_) => {}
            }
        }
        if too_few {
            self.window += 1;
        } else if plenty {
            self.window -= 1;
        }
    }
}

fn count(ticks: &mut u32, verdict: Verdict) {
    match verdict {
        Verdict::Holds => *ticks = ticks.saturating_add(1),
        Verdict::Fails => *ticks = 0,
        Verdict::Unknown => {}
    }
}
