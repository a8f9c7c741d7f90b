//! Whether the cores move, and what the process must not survive.

use model::time::Nanos;

use super::{Controller, Kpis};
use crate::watch::Seen;

/// What the process must not survive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A core stood still for `core_stall`. To go on would be a silent black hole.
    #[error(
        "data core {core}{} has made no progress for {still} (core_stall is {limit}): the process ends",
        on_cpu(*cpu)
    )]
    CoreStuck {
        /// Index of the core.
        core: usize,
        /// Its CPU.
        cpu: Option<usize>,
        /// For how long.
        still: Nanos,
        /// `core_stall`.
        limit: Nanos,
    },
}

pub(crate) fn on_cpu(cpu: Option<usize>) -> String {
    cpu.map_or_else(String::new, |cpu| format!(" (CPU {cpu})"))
}

impl<K: Kpis> Controller<K> {
    pub(super) fn watch_cores(&mut self, now: Nanos) -> Result<(), Fatal> {
        let mut health = Ok(());
        self.every_core_moves = true;
        for (index, core) in self.cores.iter_mut().enumerate() {
            if !core.is_watched() {
                self.every_core_moves &= !core.obeys();
                continue;
            }
            match core.watch.look(core.link.progress(), now) {
                Seen::Moves => {}
                Seen::Recovered(still) => {
                    core.still += 1;
                    self.alarms.on_still(index, still, now);
                }
                Seen::Still(still) if still >= self.settings.core_stall => {
                    self.every_core_moves = false;
                    let limit = self.settings.core_stall;
                    health = Err(Fatal::CoreStuck { core: index, cpu: core.cpu, still, limit });
                }
                Seen::Still(_) => self.every_core_moves = false,
            }
        }
        health
    }

    /// Whether every core that has not ended made progress before the last tick.
    pub fn every_core_moves(&self) -> bool {
        self.every_core_moves
    }
}
