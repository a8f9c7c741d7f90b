//! What every interface shows.

use std::sync::Arc;

use model::profile::ClassParams;
use model::time::Nanos;
use serde_json::{Value, json};

use super::{Controller, Kpis, seconds};
use crate::devices::LinkState;
use crate::registry::{Provenance, Registry};
use crate::stop_words;

/// What every interface shows: taken at the end of a tick and after every answer.
#[derive(Debug)]
pub struct Snapshot {
    /// The body of `/v1/status`.
    pub status: Value,
    /// The numbers of `/metrics`; the same stand in `status`.
    pub registry: Arc<Registry>,
    /// Of the figures in them.
    pub provenance: Provenance,
    /// What strategies are advised: `at_ns`, and `advice` with one object for each scope.
    pub advice: Value,
    /// Grows with every change of the advice.
    pub advice_changes: u64,
}

impl Snapshot {
    /// The body of `/metrics`.
    pub fn metrics(&self) -> String {
        self.registry.to_openmetrics(&self.provenance)
    }
}

impl<K: Kpis> Controller<K> {
    pub(super) fn publish(&mut self, now: Nanos) {
        let mut registry = Registry::new();
        self.put_own_numbers(&mut registry, now);
        let scopes = self.stop_words.scopes();
        stop_words::publish(&scopes, &mut registry);
        if let Some(devices) = &self.devices {
            devices.publish(&mut registry);
        }
        self.alarms.publish(&mut registry);
        if let Some(config) = &self.config {
            config.publish(&mut registry);
        }
        self.advice.publish_numbers(&mut registry);
        self.kpis.publish(&mut registry);
        if let Some(regimes) = &self.regimes {
            regimes.publish(&mut registry);
        }
        if let Some(bundles) = &mut self.bundles {
            bundles.publish(&mut registry);
        }
        let link = |port| self.devices.as_ref().and_then(|devices| devices.link(port));
        let ports = self.settings.ports.iter().enumerate().map(|(port, (name, side))| {
            json!({ "name": name, "side": side, "link": link(port).map(LinkState::name) })
        });
        let cores = self.cores.iter().enumerate().map(|(index, core)| {
            json!({
                "core": index,
                "cpu": core.cpu,
                "phase": core.link.phase().name(),
                "profile": self.settings.profile_name(core.link.profile_in_force()),
            })
        });
        let status = json!({
            "name": self.settings.name,
            "version": self.settings.version,
            "config_digest": self.settings.digest,
            "config": self.config_json(now),
            "at_ns": now.0,
            "uptime_s": seconds(now.saturating_sub(self.started)),
            "clock": self.clock.describe(),
            "profile": self.profile_json(now),
            "stop_words": stop_words::to_json(&scopes),
            "ports": ports.collect::<Vec<_>>(),
            "classes": self.classes_json(),
            "cores": cores.collect::<Vec<_>>(),
            "regime": self.regimes.as_ref().map(|regimes| regimes.to_json(now)),
            "counters": registry.to_json(),
            "kpis": self.kpis.to_json(),
        });
        self.snapshot = Arc::new(Snapshot {
            status,
            registry: Arc::new(registry),
            provenance: self.settings.provenance(self.clock.utc(now)),
            advice: self.advice_json(now),
            advice_changes: self.advice.changes(),
        });
        self.board.put(Arc::clone(&self.snapshot));
    }

    /// The classes with their caps in the table that the first core runs by.
    fn classes_json(&self) -> Value {
        let first = self.cores.first();
        let composed = first.and_then(|core| core.composed.as_ref());
        let index = first.map_or(0, |core| usize::from(core.link.profile_in_force()));
        let profile = composed.or_else(|| self.settings.profiles.get(index));
        let params = profile.map(|profile| profile.classes.as_slice()).unwrap_or_default();
        let row = |(name, params): (&String, &ClassParams)| {
            json!({
                "name": name,
                "priority": params.priority,
                "cap_bits_per_s": params.class.bits.map(|bucket| bucket.rate_per_s),
                "cap_messages_per_s": params.class.messages.map(|bucket| bucket.rate_per_s),
            })
        };
        self.settings.classes.iter().zip(params).map(row).collect()
    }

    fn put_own_numbers(&self, r: &mut Registry, now: Nanos) {
        r.info("config", "The config in force.", &[("digest", &self.settings.digest)]);
        let build = [("name", &*self.settings.name), ("version", &*self.settings.version)];
        r.info("build", "The running gateway.", &build);
        let uptime = seconds(now.saturating_sub(self.started));
        r.gauge("uptime_seconds", "Time since start, gateway time.", &[], uptime);
        r.counter("control_ticks", "Ticks of the control thread.", &[], self.ticks);
        let help = "Panics of the control thread that it was restarted after; forwarding went on.";
        r.counter("control_restarts", help, &[], self.restarts);
        let help = "Clock refreshes that a core had no room for.";
        r.counter("clock_refreshes_refused", help, &[], self.clock_refused);
        let pinned = u64::from(self.pinned.is_some());
        r.gauge("profile_pinned", "1 when the operator pinned a profile.", &[], pinned);
        let help = "Pins of a profile that ended by themselves.";
        r.counter("alarm_pin_expired", help, &[], self.pins_expired);
        let help = "Composed tables that a core had no room for; they are sent again.";
        r.counter("composed_tables_refused", help, &[], self.tables_refused);
        for (index, core) in self.cores.iter().enumerate() {
            let label = index.to_string();
            let labels = [("core", &*label)];
            let link = &core.link;
            r.counter("samples", "Samples that reached control.", &labels, core.samples);
            let help = "Samples that found their ring full; forwarding did not wait.";
            r.counter("samples_lost", help, &labels, link.samples_lost());
            let help = "Events that found their ring full; forwarding did not wait.";
            r.counter("events_lost", help, &labels, link.events_lost());
            let help = "Profiles that ended because control did not renew their lease.";
            r.counter("lease_expired", help, &labels, core.leases_expired);
            r.counter("profile_switches", "Changes of profile.", &labels, core.switches);
            let help = "Turns of the core that took longer than stall_threshold.";
            r.counter("core_stalls", help, &labels, link.stalls());
            let help =
                "Of these, turns that `wirepace stalls` does not show: too many came at once.";
            r.counter("core_stalls_not_kept", help, &labels, link.stalls_not_kept());
            let help = "The longest such turn.";
            r.gauge("core_stall_longest_ns", help, &labels, link.stall_longest().0);
            let help = "Times that control saw the core stand still and move again.";
            r.counter("core_still", help, &labels, core.still);
            if core.is_watched() {
                let help = "Time since control last saw the core move.";
                let since = seconds(core.watch.since_moved(now));
                r.gauge("core_last_progress_seconds", help, &labels, since);
            }
            for (profile, params) in self.settings.profiles.iter().enumerate() {
                let on = u64::from(usize::from(link.profile_in_force()) == profile);
                let labels = [("core", &*label), ("profile", &*params.name)];
                r.gauge("profile_in_force", "1 for the profile in force.", &labels, on);
            }
        }
    }
}
