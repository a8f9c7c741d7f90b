//! What comes from the cores: blocks, samples, events, profiles that come home.

use dataplane::channel::Event;
use model::time::Nanos;

use super::{Controller, Kpis};

/// Events and blocks taken from one core in one tick.
const EVENTS_PER_TICK_MAX: usize = 1 << 12;

impl<K: Kpis> Controller<K> {
    pub(super) fn drain_blocks(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            for _ in 0..EVENTS_PER_TICK_MAX {
                let Some(mut block) = core.link.take_block() else { break };
                self.kpis.merge(index, &mut block);
                core.link.give_block(block);
            }
        }
    }

    pub(super) fn drain_samples(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            // What is there now and no more: a core that makes rows faster than control reads them must
            // not keep control from its next step.
            for _ in 0..core.link.samples_waiting() {
                let Some(mut row) = core.link.take_sample() else { break };
                core.samples += 1;
                if let Some(regimes) = &self.regimes {
                    regimes.note_in(&mut row);
                }
                self.bundles.iter_mut().for_each(|bundles| bundles.note(&row));
                self.kpis.sample(index, &row);
                if let Some(regimes) = &mut self.regimes {
                    regimes.sample(&row);
                }
            }
        }
    }

    pub(super) fn drain_events(&mut self, now: Nanos) {
        for index in 0..self.cores.len() {
            for _ in 0..EVENTS_PER_TICK_MAX {
                let Some(event) = self.cores[index].link.take_event() else { break };
                self.on_event(index, event, now);
            }
            if !self.cores[index].obeys() {
                self.switches.iter_mut().for_each(|switch| switch.core_ended(index));
            }
        }
    }

    fn on_event(&mut self, index: usize, event: Event, now: Nanos) {
        let core = &mut self.cores[index];
        match event {
            Event::ProfileSwitched { command, index: profile, previous, at } => {
                core.switches += 1;
                let name = self.settings.profile_name(profile);
                let before = self.settings.profile_name(previous);
                tracing::info!(
                    core = index,
                    at_ns = at.0,
                    from = before,
                    to = name,
                    "profile in force"
                );
                self.switches.iter_mut().for_each(|switch| switch.effective(index, command, at));
            }
            Event::Confirmed { fingerprint, at, .. } => {
                core.confirmed.held = Some(fingerprint);
                tracing::info!(core = index, at_ns = at.0, "confirmed table taken");
            }
            Event::SwitchSettled { command, longest_wait, lost } => {
                self.kpis.switch_settled(index, longest_wait, u64::from(lost));
                self.switches.iter_mut().for_each(|s| s.settled(index, command, longest_wait));
            }
            Event::LeaseExpired { profile, at } => {
                core.leases_expired += 1;
                let name = self.settings.profile_name(profile);
                tracing::warn!(core = index, at_ns = at.0, profile = name, "lease ran out");
                core.composed = None;
                if self.pinned == Some(profile) {
                    self.pinned = None;
                    self.return_to_normal();
                }
            }
            Event::Backpressure { class, .. } => {
                self.backpressure.on_event(class, now);
                self.alarms.on_event(index, event, now);
            }
            Event::TxStall { .. }
            | Event::Starvation { .. }
            | Event::PoolAlarm { .. }
            | Event::RingFull { .. }
            | Event::PoolLow { .. }
            | Event::PoolReserve { .. }
            | Event::OverVenueLimit { .. }
            | Event::ExemptBehindLimit { .. }
            | Event::Link { .. } => self.alarms.on_event(index, event, now),
        }
    }

    pub(super) fn free_profiles(&mut self) {
        for core in &mut self.cores {
            while core.link.take_profile().is_some() {}
        }
    }
}
