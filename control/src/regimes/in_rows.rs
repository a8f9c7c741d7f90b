//! What rows of a timeline say of the loop: the mode, the states in force, the arm of a trial.

use model::kind::Side;
use model::regime::{Mode, Scope};
use model::sample::Sample;
use model::time::Nanos;

use super::Regimes;

/// As it was after the last tick or request: rows that control takes in then are of packets that ended
/// under it.
#[derive(Clone, Debug, Default)]
pub(super) struct InRows {
    /// Highest severity over each class, and over each port as a TX queue; `None` = no machine there.
    classes: Vec<Option<u8>>,
    ports: Vec<Option<u8>>,
    /// Whether each class is governed now, where scopes are governed in turns.
    arms: Option<Vec<bool>>,
}

impl Regimes {
    /// Brings up to date what [`Regimes::note_in`] says.
    pub(super) fn look_for_rows(&mut self, now: Nanos) {
        if !self.decides() {
            self.in_rows = InRows::default();
            return;
        }
        let scope = |class: usize| match self.classes[class].from {
            Side::Inside => Scope::Class(class),
            Side::Venue => Scope::Feed(class),
        };
        let governed = self.governed(now);
        let by_turns = self.mode.mode() == Mode::Switchback;
        let classes = 0..self.classes.len();
        self.in_rows = InRows {
            arms: by_turns.then(|| classes.clone().map(|c| governed.contains(&scope(c))).collect()),
            classes: classes.map(|class| self.engine.severity(scope(class))).collect(),
            ports: (0..self.names.ports.len())
                .map(|port| self.engine.severity(Scope::TxQueue(port)))
                .collect(),
        };
    }

    /// Writes into `row` what it cannot know of itself.
    pub fn note_in(&self, row: &mut Sample) {
        let InRows { classes, ports, arms } = &self.in_rows;
        let (class, port) = (usize::from(row.class), usize::from(row.port));
        row.mode = self.mode.mode().in_rows();
        row.regime = classes.get(class).copied().flatten().max(ports.get(port).copied().flatten());
        if let Some(arms) = arms {
            row.canary = arms.get(class).copied();
        }
    }
}
