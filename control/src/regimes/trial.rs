//! A trial: who is governed in it, and what its two arms have come to.
//!
//! In a canary the arms stand side by side, ordering groups that are governed and all others; in a
//! switchback they take turns. Figures are of whole windows in which a change was asked for and the arm
//! did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::kpi::CANARY;
use model::pacer::Roster;
use model::regime::canary::{Draws, Group, TooFew};
use model::regime::{ArmTotals, Mode};
use model::time::Nanos;
use serde_json::{Value, json};

use super::view::Names;
use crate::windows::Windows;

/// Length of the windows that arms are compared over.
pub(super) const WINDOW_S: u8 = 8;

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
    /// Ids of the governed groups, ascending.
    chosen: Vec<u64>,
}

impl Groups {
    pub fn new(twins: Vec<u8>) -> Self {
        Self { twins, ..Self::default() }
    }

    /// The groups of a lane are known by `roster`.
    pub fn know(&mut self, roster: Arc<Roster>) {
        self.rosters.push(roster);
    }

    /// Everybody who may be governed apart; `None` = this gateway cannot.
    pub fn all(&self, names: &Names) -> Option<Vec<Group>> {
        if self.twins.is_empty() || self.rosters.is_empty() {
            return None;
        }
        let seats = self.rosters.iter().flat_map(|roster| roster.seats());
        let mine = seats.filter(|seat| self.twins.contains(&seat.class));
        let named = |names: &[String], at: usize| names.get(at).cloned().unwrap_or_default();
        let group = mine.map(|seat| Group {
            id: seat.id,
            venue: named(&names.venues, usize::from(seat.venue)),
            tactic: named(&names.tactics, usize::from(seat.label)),
        });
        Some(group.collect())
    }

    /// Begins a canary, or goes on with it: newcomers are drawn.
    pub fn draw(&mut self, names: &Names, seed: u64, share_ppm: u32) -> Result<(), TooFew> {
        let groups = self.all(names).unwrap_or_default();
        let nobody = || Canary {
            draws: Draws::new(seed, share_ppm),
            share_ppm: None,
            chosen: Vec::new(),
        };
        let canary = self.canary.get_or_insert_with(nobody);
        canary.draws.take_in(&groups)?;
        let (chosen, drawn) = (canary.draws.chosen(), canary.draws.drawn().max(1));
        if chosen.len() != canary.chosen.len() {
            canary.chosen = chosen.iter().copied().collect();
        }
        let share = chosen.len() as u128 * 1_000_000 / drawn as u128;
        canary.share_ppm.get_or_insert(share.clamp(1, 100_000) as u32);
        Ok(())
    }

    /// Nobody is governed apart any more.
    pub fn end(&mut self) {
        self.canary = None;
    }

    /// Share and ids of those who are.
    pub fn governed(&self) -> Option<(u32, &[u64])> {
        let canary = self.canary.as_ref()?;
        Some((canary.share_ppm?, &canary.chosen))
    }

    pub fn to_json(&self) -> Value {
        let canary = self.canary.as_ref();
        canary.map_or(Value::Null, |canary| {
            json!({
                "groups": canary.draws.drawn(),
                "governed": canary.chosen.len(),
                "share_ppm": canary.share_ppm,
            })
        })
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
    /// When the next window is over.
    next: Nanos,
}

impl Trial {
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
        let length = Nanos::from_secs(u64::from(WINDOW_S));
        let is_over = now >= self.next;
        if is_over {
            self.next = now.saturating_add(length);
        }
        // What a core has counted reaches its window a tick late.
        let whole = length.saturating_add(tick).saturating_add(tick);
        for (class, asked, in_force) in classes {
            let arms = self.classes.entry(class).or_default();
            let is_whole = asked && now.saturating_sub(arms.since) >= whole;
            if let Some(report) = windows.report(WINDOW_S)
                && is_over
                && is_whole
                && arms.standing == (asked, in_force)
            {
                let name = &names[class];
                match mode {
                    Mode::Canary => {
                        arms.changed.add(report, name, Some(CANARY));
                        arms.control.add(report, name, None);
                    }
                    _ if in_force => arms.changed.add(report, name, None),
                    _ => arms.control.add(report, name, None),
                }
            }
            if arms.standing != (asked, in_force) {
                (arms.standing, arms.since) = ((asked, in_force), now);
            }
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
