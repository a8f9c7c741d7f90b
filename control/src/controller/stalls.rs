//! `wirepace stalls`: what the cores hand over of turns that lasted too long.

use model::time::Nanos;
use serde_json::{Value, json};

use super::{Controller, Kpis};
use crate::cpu_times::CpuTimes;
use crate::devices::Watched;
use crate::stalls::Seen;

impl<K: Kpis> Controller<K> {
    /// The same with what the kernel counts of the cores' CPUs and threads.
    #[must_use]
    pub fn with_cpu_times(mut self, times: CpuTimes) -> Self {
        let now = self.clock.now();
        self.cpu_times.insert(times).look(now);
        self
    }

    /// Takes in what the cores have kept, and tells them what is too long.
    pub(super) fn drain_stalls(&mut self, now: Nanos) {
        let threshold = self.settings.stall_threshold;
        for (index, core) in self.cores.iter_mut().enumerate() {
            if core.obeys() && core.stall_threshold != threshold {
                // Refused: again with the next tick.
                if core.link.set_stall_threshold(threshold).is_ok() {
                    core.stall_threshold = threshold;
                }
            }
            while let Some(stall) = core.link.take_stall() {
                let began = stall.turn.ended_at.saturating_sub(stall.turn.length);
                let times = self.cpu_times.as_mut();
                let seen = Seen {
                    core: index,
                    cpu: core.cpu,
                    pool_free: self.devices.as_ref().map(Watched::pool_free),
                    meanwhile: times.map(|t| t.since(index, began, now)).unwrap_or_default(),
                };
                self.stalls.add(stall, seen, now);
            }
        }
        if let Some(times) = &mut self.cpu_times {
            times.look(now);
        }
    }

    /// The last `max` stalls.
    pub(super) fn stalls_json(&self, max: usize, now: Nanos) -> Value {
        let cores = self.cores.iter().enumerate().map(|(index, core)| {
            json!({
                "core": index,
                "cpu": core.cpu,
                "stalls": core.link.stalls(),
                "not_kept": core.link.stalls_not_kept(),
                "longest_ns": core.link.stall_longest(),
            })
        });
        json!({
            "at_ns": now,
            "threshold_ns": self.settings.stall_threshold,
            "cores": cores.collect::<Vec<_>>(),
            "stalls": self.stalls.to_json(max),
        })
    }
}
