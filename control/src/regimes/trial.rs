//! A trial: who is governed in it, and what its two arms have come to.
//!
//! In a canary the arms stand side by side, ordering groups that are governed and as many that are not; in a
//! switchback they take turns. Figures are of whole windows in which a change was asked for and the arm
//! did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::kpi::{CANARY, CONTROL};
use model::pacer::{Roster, Seat};
use model::profile::ARMS;
use model::regime::canary::{Draws, Group, TooFew};
use model::regime::{ArmTotals, Mode, Parted};
use model::time::Nanos;
use serde_json::{Value, json};

use super::view::Names;
use crate::windows::Windows;

/// Lengths of the windows that arms are compared over, in seconds: the first in which both have enough
/// packets for their 99th percentile.
const WINDOWS_S: [u8; 4] = [8, 15, 30, 60];

/// The ordering groups of a gateway, and those among them that a canary governs.
#[derive(Debug, Default)]
pub(super) struct Groups {
    rosters: Vec<Arc<Roster>>,
    /// Classes that have a twin.
    pub twins: Vec<u8>,
    canary: Option<Canary>,
}

#[derive(Debug)]
struct Canary {
    draws: Draws,
    /// What the twins get of what their classes may send: as long as the canary lasts, so that what the
    /// arms owe each other never has to be worked out again. `None` = nobody is drawn yet.
    share_ppm: Option<u32>,
    /// Ids of the groups of each arm, ascending.
    arms: [Vec<u64>; ARMS],
}

impl Groups {
    pub fn new(twins: Vec<u8>) -> Self {
        Self { twins, ..Self::default() }
    }

    /// The groups of a lane are known by `roster`.
    pub fn know(&mut self, roster: Arc<Roster>) {
        self.rosters.push(roster);
    }

    /// How many may be governed apart; `None` = this gateway cannot.
    pub fn count(&self) -> Option<usize> {
        let knows = !self.twins.is_empty() && !self.rosters.is_empty();
        knows.then(|| self.seats().count())
    }

    /// The class behind a twin, and whether it is in the arm on trial.
    pub fn arm(&self, twin: usize) -> Option<(usize, bool)> {
        let count = self.twins.len();
        let class = self.twins.get(twin.checked_rem(count)?)?;
        Some((usize::from(*class), twin < count))
    }

    fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        let seats = self.rosters.iter().flat_map(|roster| roster.seats());
        seats.filter(|seat| self.twins.contains(&seat.class))
    }

    /// Begins a canary, or goes on with it: newcomers are drawn.
    pub fn draw(&mut self, names: &Names, seed: u64, share_ppm: u32) -> Result<(), TooFew> {
        let nobody = || Canary {
            draws: Draws::new(seed, share_ppm),
            share_ppm: None,
            arms: Default::default(),
        };
        let mut canary = self.canary.take().unwrap_or_else(nobody);
        let new = self.seats().filter(|seat| !canary.draws.knows(seat.id));
        let new: Vec<Group> = new.map(|seat| group(&seat, names)).collect();
        let drawn = canary.draws.take_in(&new);
        let canary = self.canary.insert(canary);
        drawn?;
        let (chosen, drawn) = (canary.draws.chosen(), canary.draws.drawn().max(1));
        for (arm, chosen) in canary.arms.iter_mut().zip([&chosen.canary, &chosen.control]) {
            if arm.len() != chosen.len() {
                *arm = chosen.iter().copied().collect();
            }
        }
        let share = chosen.canary.len() as u128 * 1_000_000 / drawn as u128;
        canary.share_ppm.get_or_insert(share.clamp(1, 100_000) as u32);
        Ok(())
    }

    /// Nobody is governed apart any more.
    pub fn end(&mut self) {
        self.canary = None;
    }

    /// The arms, once somebody is drawn.
    pub fn parted(&self) -> Option<Parted<'_>> {
        let canary = self.canary.as_ref()?;
        let [on_trial, compared] = &canary.arms;
        let (twins, groups) = (&*self.twins, [&**on_trial, &**compared]);
        Some(Parted { twins, groups, share_ppm: canary.share_ppm? })
    }

    pub fn to_json(&self) -> Value {
        let canary = self.canary.as_ref();
        canary.map_or(Value::Null, |canary| {
            json!({
                "groups": canary.draws.drawn(),
                "canary": canary.arms[0].len(),
                "control": canary.arms[1].len(),
                "share_ppm": canary.share_ppm,
            })
        })
    }
}

fn group(seat: &Seat, names: &Names) -> Group {
    let named = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
    Group {
        id: seat.id,
        venue: named(&names.venues, usize::from(seat.venue)),
        tactic: named(&names.tactics, usize::from(seat.label)),
    }
}

/// The arms of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arms {
    /// A change is asked for; it is in force.
    standing: (bool, bool),
    since: Nanos,
    pub changed: ArmTotals,
    pub control: ArmTotals,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trial {
    classes: BTreeMap<usize, Arms>,
    /// Place in [`WINDOWS_S`].
    length: usize,
    /// When the next window is over.
    next: Nanos,
}

impl Trial {
    /// Length of its windows, seconds.
    pub fn window_s(&self) -> u8 {
        WINDOWS_S[self.length.min(WINDOWS_S.len() - 1)]
    }

    /// Takes the last window in, if one is over at `now`, and notes for the next ones how each of
    /// `classes` stands: whether a change is asked for, and whether it is in force.
    pub fn tick(
        &mut self,
        now: Nanos,
        (mode, tick): (Mode, Nanos),
        classes: impl Iterator<Item = (usize, bool, bool)>,
        names: &[String],
        windows: &Windows,
    ) {
        let length = Nanos::from_secs(u64::from(self.window_s()));
        let is_over = now >= self.next;
        if is_over {
            self.next = now.saturating_add(length);
        }
        // What a core has counted reaches its window a tick late.
        let whole = length.saturating_add(tick).saturating_add(tick);
        let report = windows.report(self.window_s()).filter(|_| is_over);
        let mut too_few = false;
        for (class, asked, in_force) in classes {
            let arms = self.classes.entry(class).or_default();
            let counts = asked && (in_force || mode == Mode::Switchback);
            let is_whole = counts && now.saturating_sub(arms.since) >= whole;
            if let Some(report) = report
                && is_whole
                && arms.standing == (asked, in_force)
            {
                let name = &names[class];
                match mode {
                    Mode::Canary => {
                        arms.changed.add(report, name, Some(CANARY));
                        arms.control.add(report, name, Some(CONTROL));
                    }
                    _ if in_force => arms.changed.add(report, name, None),
                    _ => arms.control.add(report, name, None),
                }
                let is_short =
                    |arm: &ArmTotals| arm.sent > 0 && arm.arm().dispatch_to_wire_p99_ns.is_none();
                too_few |= is_short(&arms.changed) || is_short(&arms.control);
            }
            if arms.standing != (asked, in_force) {
                (arms.standing, arms.since) = ((asked, in_force), now);
            }
        }
        if too_few && self.length + 1 < WINDOWS_S.len() {
            self.length += 1;
            self.next = now.saturating_add(Nanos::from_secs(u64::from(self.window_s())));
        }
    }

    /// What the arms of `class` have come to; `None` = there has been no whole window.
    pub fn of(&self, class: usize) -> Option<&Arms> {
        let arms = self.classes.get(&class)?;
        (arms.changed.windows + arms.control.windows > 0).then_some(arms)
    }

    /// Whether a change of `class` has been in force for so long that windows of a second show it.
    pub fn is_in_force(&self, class: usize, now: Nanos, tick: Nanos) -> bool {
        let settled = Nanos::from_secs(1).saturating_add(tick).saturating_add(tick);
        self.classes.get(&class).is_some_and(|arms| {
            arms.standing == (true, true) && now.saturating_sub(arms.since) >= settled
        })
    }
}

#[cfg(test)]
mod tests {
    use model::kpi::{Entry, Labels, Report};

    use super::*;

    const TICK: Nanos = Nanos::from_millis(100);

    /// A window of `window_s` with 2,000 packets whose 99th percentile is `p99`, in each of `arms`.
    fn windows(window_s: u8, arms: &[(Option<&'static str>, Option<f64>)]) -> Windows {
        let entry = |&(arm, p99): &(Option<&'static str>, Option<f64>)| Entry {
            labels: Labels {
                class: Some("orders".to_owned()),
                part: Some("total"),
                arm,
                ..Labels::default()
            },
            values: vec![("p50", Some(1.0)), ("p99", p99)],
            n: 2_000,
            ..Entry::blank("dispatch_to_wire_ns")
        };
        let report = Report { entries: arms.iter().map(entry).collect() };
        Windows { reports: vec![(window_s, report)], ..Windows::default() }
    }

    /// Ticks from the `from`th to the one before the `to`th, the class in the given standing.
    fn run(
        trial: &mut Trial,
        (from, to): (u64, u64),
        (mode, asked, in_force): (Mode, bool, bool),
        arms: &[(Option<&'static str>, Option<f64>)],
    ) {
        for n in from..to {
            let windows = windows(trial.window_s(), arms);
            let stands = std::iter::once((0, asked, in_force));
            trial.tick(Nanos(n * TICK.0), (mode, TICK), stands, &["orders".to_owned()], &windows);
        }
    }

    fn p99(arm: &ArmTotals) -> (u64, Option<f64>) {
        (arm.windows, arm.arm().dispatch_to_wire_p99_ns)
    }

    #[test]
    fn the_blocks_of_a_switchback_are_its_arms() {
        let mut trial = Trial::default();
        let block = |n: u64| (n * 3_000, (n + 1) * 3_000);
        let of = |p99| [(None, Some(p99))];
        run(&mut trial, block(0), (Mode::Switchback, true, true), &of(100.0));
        run(&mut trial, block(1), (Mode::Switchback, true, false), &of(900.0));
        run(&mut trial, block(2), (Mode::Switchback, false, false), &of(5.0));
        // 300 s are 37 windows of 8 s and a piece; the first of a block is not whole.
        let arms = trial.of(0).expect("two blocks");
        let ((changed, fast), (control, slow)) = (p99(&arms.changed), p99(&arms.control));
        assert_eq!((fast, slow), (Some(100.0), Some(900.0)), "nothing of one is in the other");
        assert!((35..=37).contains(&changed) && (35..=37).contains(&control));
    }

    #[test]
    fn the_arms_of_a_canary_stand_side_by_side_once_the_change_is_in_force() {
        let mut trial = Trial::default();
        let both = [(Some(CANARY), Some(100.0)), (Some(CONTROL), Some(900.0))];
        run(&mut trial, (0, 100), (Mode::Canary, true, false), &both);
        assert!(!trial.is_in_force(0, Nanos(99 * TICK.0), TICK));
        run(&mut trial, (100, 500), (Mode::Canary, true, true), &both);
        assert!(trial.is_in_force(0, Nanos(499 * TICK.0), TICK));
        let arms = trial.of(0).expect("they were seen");
        assert_eq!(p99(&arms.changed).1, Some(100.0));
        assert_eq!(p99(&arms.control).1, Some(900.0));
    }

    #[test]
    fn few_packets_get_longer_windows() {
        let mut trial = Trial::default();
        let few = [(Some(CANARY), None), (Some(CONTROL), Some(900.0))];
        let standing = (Mode::Canary, true, true);
        run(&mut trial, (0, 200), standing, &few);
        assert_eq!(trial.window_s(), 15);
        run(&mut trial, (200, 2_000), standing, &few);
        assert_eq!(trial.window_s(), 60, "the longest");
        let enough = [(Some(CANARY), Some(1.0)), (Some(CONTROL), Some(900.0))];
        run(&mut trial, (2_000, 4_000), standing, &enough);
        assert_eq!(p99(&trial.of(0).expect("seen").changed).1, Some(1.0));
    }
}
