//! Which profile the cores run by: what the operator pins, its lease and its end.

use model::time::Nanos;
use serde_json::{Value, json};

use super::{Answer, Controller, Kpis, seconds};
use crate::request::{bad_usage, refusal};
use crate::switch::{Switch, SwitchCore};

/// A core that has not taken a profile after so long will not soon.
pub(super) const SWITCH_WAIT_MAX: Nanos = Nanos::from_secs(1);

impl<K: Kpis> Controller<K> {
    /// How a switch of profile went, once that is known.
    pub(super) fn take_switch(&mut self, ticket: u64, now: Nanos) -> Option<Value> {
        let at = self.switches.iter().position(|switch| switch.ticket == ticket)?;
        let over = self.switches[at].is_complete() || now >= self.switches[at].deadline;
        if !over {
            return None;
        }
        let switch = self.switches.swap_remove(at);
        self.publish(now);
        let name = self.settings.profile_name(switch.profile);
        Some(switch.to_json(name, self.settings.lease))
    }

    pub(super) fn set_profile(&mut self, name: &str, now: Nanos) -> Answer {
        let Some(profile) = self.settings.profiles.iter().find(|p| p.name == name).cloned() else {
            let known: Vec<_> = self.settings.profiles.iter().map(|p| p.name.as_str()).collect();
            let known = known.join(", ");
            return Answer::Now(bad_usage(format!("no profile {name:?}; there are: {known}")));
        };
        if self.all_ended() {
            return Answer::Now(refusal("no data core runs any more"));
        }
        // What has happened belongs to the profile before.
        self.poll(now);
        let index = profile.index;
        let until = now.saturating_add(self.settings.lease);
        let mut asked = Vec::new();
        for (core_index, core) in self.cores.iter_mut().enumerate().filter(|(_, c)| c.obeys()) {
            let sent = if profile.needs_lease() {
                core.link.set_profile(Box::new(profile.clone()), until)
            } else {
                core.link.set_normal()
            };
            asked.push(SwitchCore::new(core_index, core.cpu, sent.ok()));
        }
        // A core that refused keeps what it has; the pin is the operator's word all the same, and
        // the reply names the core.
        self.pinned = profile.needs_lease().then_some(index);
        self.pinned_until = now.saturating_add(self.settings.pin);
        self.cores.iter_mut().for_each(|core| core.composed = None);
        let ticket = self.new_ticket();
        let deadline = now.saturating_add(SWITCH_WAIT_MAX);
        self.switches.push(Switch {
            ticket,
            profile: index,
            asked_at: now,
            deadline,
            cores: asked,
        });
        Answer::Later(ticket)
    }

    pub(super) fn renew_leases(&mut self, now: Nanos) {
        let until = now.saturating_add(self.settings.lease);
        let is_pinned = self.pinned.is_some();
        let cores = self.cores.iter().filter(|core| is_pinned || core.composed.is_some());
        cores.for_each(|core| core.link.renew_lease(until));
    }

    /// An operator who pinned a profile and went away must not leave it there for ever.
    pub(super) fn end_pin(&mut self, now: Nanos) {
        if self.pinned.is_some() && now >= self.pinned_until {
            let profile = self.settings.profile_name(self.pinned.unwrap_or_default());
            tracing::warn!(profile, "the pin of a profile has expired");
            self.pinned = None;
            self.pins_expired += 1;
            self.return_to_normal();
        }
    }

    pub(super) fn return_to_normal(&mut self) {
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            core.composed = None;
            // Whatever it has now: another profile may still be on its way.
            if core.link.set_normal().is_err() {
                // Without a pin the lease is not renewed: it ends there by itself.
                tracing::warn!("a core does not take commands; its lease will end the profile");
            }
        }
    }

    pub(super) fn profile_json(&self, now: Nanos) -> Value {
        let in_force: Vec<_> = self
            .cores
            .iter()
            .map(|core| self.settings.profile_name(core.link.profile_in_force()))
            .collect();
        let lease_left = self.pinned.and_then(|_| {
            let cores = self.cores.iter().filter(|core| core.obeys());
            let left = cores.map(|core| core.link.lease_until().saturating_sub(now)).min()?;
            Some(seconds(left))
        });
        json!({
            "in_force": in_force,
            "pinned": self.pinned.map(|index| self.settings.profile_name(index)),
            "pinned_until_ns": self.pinned.map(|_| self.pinned_until),
            "confirmed": self.settings.profile_name(0),
            "lease_s": seconds(self.settings.lease),
            "lease_left_s": lease_left,
            "known": self.settings.profiles.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        })
    }
}
