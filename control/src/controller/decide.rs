//! The regime engine: its tick, the tables that come of it, what is said to it.

use std::time::{Duration, Instant};

use model::time::Nanos;
use serde_json::{Value, json};

use super::{Controller, Kpis};
use crate::request::{Request, refusal};
use crate::windows::Windows;

impl<K: Kpis> Controller<K> {
    /// The regime engine's tick, when it is due, and the tables that come of it.
    pub(super) fn decide(&mut self, now: Nanos) {
        let Some(regimes) = &mut self.regimes else { return };
        let Some(windows_s) = regimes.due(now) else { return };
        let began = Instant::now();
        let windows =
            if windows_s.is_empty() { Windows::default() } else { self.kpis.windows(&windows_s) };
        regimes.tick(now, &windows, self.pinned.is_some());
        regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        self.tick_cost.add(began.elapsed());
        self.send_tables(now);
        self.bundle(now);
    }

    /// What is known goes into a bundle for each scope that has just come to be contained.
    fn bundle(&mut self, now: Nanos) {
        let Some(regimes) = &mut self.regimes else { return };
        let contained = regimes.take_contained();
        let Some(bundles) = &mut self.bundles else { return };
        for decision in contained {
            let name = |key: &str| decision[key].as_str().unwrap_or("unknown").to_owned();
            let (machine, scope) = (name("machine"), name("scope"));
            let parts = vec![
                ("regime", regimes.describe(now)),
                ("kpis", self.kpis.to_json()),
                ("stalls", self.stalls.to_json(usize::MAX)),
                // As of the tick before: alarms, stalls, words, clocks.
                ("status", self.snapshot.status.clone()),
                ("decision", decision),
            ];
            bundles.begin(now, (&machine, &scope), parts);
        }
    }

    /// Sends each core the table that it is to run by, where that has changed.
    pub(super) fn send_tables(&mut self, now: Nanos) {
        let Some(regimes) = &self.regimes else { return };
        if self.pinned.is_some() {
            // The operator's word goes first; whatever a core had of ours is gone with it.
            self.cores.iter_mut().for_each(|core| core.composed = None);
            return;
        }
        let until = now.saturating_add(self.settings.lease);
        let obeying = self.cores.iter_mut().enumerate().filter(|(_, core)| core.obeys());
        for (index, core) in obeying {
            let wanted = regimes.table_for(&core.ports).map(|composed| composed.profile);
            if wanted == core.composed {
                continue;
            }
            let sent = match &wanted {
                Some(profile) => core.link.set_profile(Box::new(profile.clone()), until),
                None => core.link.set_normal(),
            };
            match sent {
                Ok(_) => {
                    self.kpis.set_composed(index, wanted.as_ref());
                    core.composed = wanted;
                }
                Err(_) => self.tables_refused += 1,
            }
        }
    }

    /// What is said to the regime engine.
    pub(super) fn ask_regimes(&mut self, request: &Request, now: Nanos) -> Value {
        let Some(regimes) = &mut self.regimes else {
            return refusal("this gateway runs without the regime engine");
        };
        let answer = match request {
            Request::RegimeGet {} => {
                let mut all = regimes.describe(now);
                all["at_ns"] = json!(now);
                all["host"] = self.tick_cost.to_json();
                all
            }
            Request::RegimePin { machine, scope, state, length_ns } => {
                regimes.pin(now, machine, scope, state, length_ns.map(Nanos))
            }
            Request::RegimeRelease { machine, scope } => regimes.release(now, machine, scope),
            Request::RegimeFreeze {} => regimes.freeze(now, &mut self.kpis),
            Request::Feed { values } => regimes.feed(now, values),
            Request::ModeGet {} => regimes.mode_json(),
            Request::ModeSet { mode, confirm } => regimes.set_mode(now, *mode, *confirm),
            Request::Status {}
            | Request::Advice {}
            | Request::ProfileGet {}
            | Request::ProfileSet { .. }
            | Request::ConfigGet {}
            | Request::ConfigApply { .. }
            | Request::ConfigConfirm {}
            | Request::ConfigRollback { .. }
            | Request::ConfigHistory {}
            | Request::Flows { .. }
            | Request::Stalls { .. }
            | Request::Log {}
            | Request::CaptureStart { .. }
            | Request::CaptureTake {}
            | Request::CaptureStop {}
            | Request::StopWord { .. } => refusal("this is not for the regime engine"),
        };
        regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        // What a mode or a release ends, ends at once and not with the next tick.
        self.send_tables(now);
        answer
    }
}

/// What ticks of the regime engine cost this machine: windows of KPIs, decisions, what comes of them.
#[derive(Default)]
pub(super) struct TickCost {
    ticks: u64,
    sum: Duration,
    last: Duration,
    max: Duration,
}

impl TickCost {
    fn add(&mut self, took: Duration) {
        self.ticks += 1;
        self.sum += took;
        self.last = took;
        self.max = self.max.max(took);
    }

    fn to_json(&self) -> Value {
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        let mean = (self.ticks > 0).then(|| us(self.sum) / self.ticks as f64);
        json!({ "tick_us": { "last": us(self.last), "mean": mean, "max": us(self.max) } })
    }
}
