//! Another config while the cores run: in force on every core or on none, confirmed or back.
//!
//! A change is sent to every core, and each says what it holds. Only when all hold the new table is the
//! change answered, and confirmed or on trial; a core that does not take it brings the last confirmed
//! config back, on which control then insists tick by tick.

use dataplane::channel::Phase;
use model::config::live::{KeyChange, Sourced};
use model::time::Nanos;
use serde_json::{Value, json};

use super::core::Confirmed;
use super::profile::SWITCH_WAIT_MAX;
use super::{Answer, Controller, Kpis, on_cpu};
use crate::live_config::{CONFIRM_MAX, CONFIRM_MIN, change_json};
use crate::request::{Request, bad_usage, refusal};

/// A change that the cores have been told of.
pub(super) struct ConfigChange {
    ticket: u64,
    changes: Vec<KeyChange>,
    asked_at: Nanos,
    /// `None` = confirmed as soon as every core has it.
    confirm: Option<Nanos>,
    /// The change takes back one that was not confirmed.
    reverts: bool,
    answer: Option<Value>,
}

/// The reply to a time to confirm that is none.
fn refuse_confirm(asked: Nanos) -> Option<Value> {
    let is_allowed = (CONFIRM_MIN..=CONFIRM_MAX).contains(&asked);
    (!is_allowed).then(|| {
        bad_usage(format!(
            "{} s to confirm: allowed are {} s to {} h; nothing was changed",
            asked.0 as f64 / 1e9,
            CONFIRM_MIN.0 / 1_000_000_000,
            CONFIRM_MAX.0 / 3_600_000_000_000
        ))
    })
}

impl<K: Kpis> Controller<K> {
    /// What is said of the config.
    pub(super) fn ask_config(&mut self, request: &Request, now: Nanos) -> Answer {
        let Some(config) = &self.config else {
            return Answer::Now(refusal("the config of this gateway cannot change while it runs"));
        };
        match request {
            Request::ConfigHistory {} => Answer::Now(config.history_json()),
            Request::ConfigApply { file, text, confirm_ns } => {
                let confirm = confirm_ns.map(Nanos);
                if let Some(refused) = confirm.and_then(refuse_confirm) {
                    return Answer::Now(refused);
                }
                self.apply(file, &text.0, confirm, now)
            }
            Request::ConfigConfirm {} => Answer::Now(self.confirm_config()),
            Request::ConfigRollback { revision } => self.roll_back(*revision, now),
            _ => {
                let mut answer = self.config_json(now);
                answer["text"] = json!(config.in_force().text);
                answer["window_messages"] = json!(config.in_force().window_messages);
                answer["cores"] = self.held_json();
                Answer::Now(answer)
            }
        }
    }

    /// Which config is in force.
    pub(super) fn config_json(&self, now: Nanos) -> Value {
        let Some(config) = &self.config else { return Value::Null };
        let mut shown = config.to_json(now);
        shown["change_under_way"] = json!(self.is_changing());
        shown
    }

    /// Whether cores have still to say that they hold what they were sent.
    fn is_changing(&self) -> bool {
        self.config_change.as_ref().is_some_and(|change| change.answer.is_none())
    }

    fn apply(&mut self, file: &str, text: &str, confirm: Option<Nanos>, now: Nanos) -> Answer {
        let Some(config) = &self.config else { return Answer::Now(Value::Null) };
        if self.is_changing() {
            return Answer::Now(refusal("another change of the config is under way"));
        }
        if self.all_ended() {
            return Answer::Now(refusal("no data core runs any more"));
        }
        let (new, changes) = match config.plan(file, text) {
            Ok(planned) => planned,
            Err(reply) => return Answer::Now(reply),
        };
        // Confirmed at once or not: until every core has it, it is not.
        if let Err(error) = config.announce(&new) {
            return Answer::Now(refusal(format!("{error}; nothing was changed")));
        }
        self.begin_change(new, changes, confirm, now)
    }

    fn begin_change(
        &mut self,
        new: Sourced,
        changes: Vec<KeyChange>,
        confirm: Option<Nanos>,
        now: Nanos,
    ) -> Answer {
        let ticket = self.new_ticket();
        self.put_in_force(&new, now);
        if let Some(config) = &mut self.config {
            config.take(new, now.saturating_add(confirm.unwrap_or(SWITCH_WAIT_MAX)));
        }
        self.config_change = Some(ConfigChange {
            ticket,
            changes,
            asked_at: now,
            confirm,
            reverts: false,
            answer: None,
        });
        Answer::Later(ticket)
    }

    fn confirm_config(&mut self) -> Value {
        if self.is_changing() {
            return refusal("the change is still under way");
        }
        let Some(config) = &mut self.config else { return Value::Null };
        if config.trial_until().is_none() {
            return bad_usage("the config in force is confirmed already");
        }
        match config.confirm() {
            Ok(revision) => {
                tracing::info!(revision, "config confirmed");
                json!({ "ok": true, "confirmed": true, "revision": revision })
            }
            Err(error) => refusal(format!("{error}; it is still to be confirmed")),
        }
    }

    /// Back from a trial; else to a revision, which is confirmed at once.
    fn roll_back(&mut self, revision: Option<u64>, now: Nanos) -> Answer {
        let Some(config) = &self.config else { return Answer::Now(Value::Null) };
        if config.trial_until().is_some() {
            if revision.is_some() {
                return Answer::Now(bad_usage(
                    "a change waits to be confirmed: `rollback` alone takes it back, or confirm it first",
                ));
            }
            return self.revert("rolled back", now).map_or(Answer::Now(Value::Null), Answer::Later);
        }
        match config.revision_text(revision) {
            Ok((path, text)) => self.apply(&path.display().to_string(), &text, None, now),
            Err(reply) => Answer::Now(reply),
        }
    }

    /// Puts the last confirmed config back in force. Gives the ticket under which it is answered.
    fn revert(&mut self, why: &str, now: Nanos) -> Option<u64> {
        let config = self.config.as_mut()?;
        let rejected = config.reject()?;
        let confirmed = config.confirmed().clone();
        tracing::warn!(file = rejected.file, why, "the last confirmed config is put back in force");
        self.put_in_force(&confirmed, now);
        let ticket = self.new_ticket();
        self.config_change = Some(ConfigChange {
            ticket,
            changes: rejected.change_to(&confirmed),
            asked_at: now,
            confirm: None,
            reverts: true,
            answer: None,
        });
        Some(ticket)
    }

    /// Nobody has confirmed what is on trial.
    pub(super) fn end_trial(&mut self, now: Nanos) {
        let Some(config) = &self.config else { return };
        let until = config.trial_until();
        if !self.is_changing() && until.is_some_and(|until| now >= until) {
            self.revert("not confirmed in time", now);
        }
        self.insist(now);
    }

    /// The panic may have cut a change off: what is not confirmed goes back.
    pub(super) fn recover_config(&mut self, now: Nanos) {
        if self.config_change.take().is_some_and(|change| change.answer.is_none()) {
            self.revert("control has panicked", now);
        }
    }

    /// Every value that follows from the config, here and on the cores.
    fn put_in_force(&mut self, new: &Sourced, now: Nanos) {
        // What has happened belongs to the tables before.
        self.drain_events(now);
        self.settings.reconfigure(&new.config);
        self.kpis.set_profiles(&self.settings.profiles);
        if let Some(regimes) = &mut self.regimes {
            regimes.reconfigure(&new.config);
        }
        self.insist(now);
        self.send_pinned(now);
        self.send_tables(now);
    }

    /// Sends the confirmed table to every core that neither has it nor was sent it.
    fn insist(&mut self, now: Nanos) {
        let table = &self.settings.profiles[0];
        let wanted = table.fingerprint();
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            if core.confirmed.sent == wanted {
                continue;
            }
            match core.link.set_confirmed(Box::new(table.clone())) {
                Ok(_) => core.confirmed = Confirmed { sent: wanted, held: None },
                Err(refused) => {
                    tracing::warn!(at_ns = now.0, %refused, "the config waits for a core");
                }
            }
        }
    }

    /// The pinned profile is another table now, under the same name.
    fn send_pinned(&mut self, now: Nanos) {
        let Some(index) = self.pinned else { return };
        let Some(profile) = self.settings.profiles.get(usize::from(index)) else { return };
        let until = now.saturating_add(self.settings.lease);
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            if core.link.set_profile(Box::new(profile.clone()), until).is_err() {
                tracing::warn!("a core keeps the pinned profile of the config before");
            }
        }
    }

    /// Goes on with a change: every core has it, or time is up.
    pub(super) fn look_at_change(&mut self, now: Nanos) {
        let Some(change) = &self.config_change else { return };
        if change.answer.is_some() {
            return;
        }
        let missing = self.missing();
        let is_late = now >= change.asked_at.saturating_add(SWITCH_WAIT_MAX);
        if !missing.is_empty() && !is_late {
            return;
        }
        let cores = self.held_json();
        let answer = if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) };
        self.end_change(answer, cores, now);
    }

    fn end_change(&mut self, held: Result<(), String>, cores: Value, now: Nanos) {
        let (Some(change), Some(config)) = (&mut self.config_change, &mut self.config) else {
            return;
        };
        let changes: Vec<_> = change.changes.iter().map(change_json).collect();
        let revert = match (held, change.reverts, change.confirm) {
            (Err(missing), true, _) => {
                let mut reply = refusal(format!(
                    "the confirmed config is in force again, but not yet on {missing}; control goes on \
                     trying"
                ));
                reply["cores"] = cores;
                change.answer = Some(reply);
                None
            }
            (Err(missing), false, _) => Some(format!("not taken by {missing}")),
            (Ok(()), true, _) => {
                change.answer = Some(json!({
                    "ok": true, "reverted": true, "confirmed": true, "changes": changes, "cores": cores,
                }));
                None
            }
            (Ok(()), false, Some(confirm)) => {
                change.answer = Some(json!({
                    "ok": true, "confirmed": false, "confirm_within_s": confirm.0 as f64 / 1e9,
                    "changes": changes, "cores": cores,
                }));
                None
            }
            (Ok(()), false, None) => match config.confirm() {
                Ok(revision) => {
                    change.answer = Some(json!({
                        "ok": true, "confirmed": true, "revision": revision, "changes": changes,
                        "cores": cores,
                    }));
                    None
                }
                Err(error) => Some(format!("not kept on disk: {error}")),
            },
        };
        let Some(why) = revert else { return };
        let ticket = change.ticket;
        self.revert(&why, now);
        // Whoever asked for the change is told now; the way back is control's own affair.
        if let Some(change) = &mut self.config_change {
            change.ticket = ticket;
            change.answer =
                Some(refusal(format!("{why}; the last confirmed config is put back in force")));
        }
    }

    pub(super) fn take_change(&mut self, ticket: u64) -> Option<Value> {
        let change = self.config_change.as_mut().filter(|change| change.ticket == ticket)?;
        let answer = change.answer.clone()?;
        self.config_change = None;
        Some(answer)
    }

    /// The cores that do not hold the confirmed table of the settings.
    fn missing(&self) -> Vec<String> {
        let wanted = self.settings.profiles[0].fingerprint();
        let cores = self.cores.iter().enumerate();
        cores
            .filter(|(_, core)| core.obeys() && core.confirmed.held != Some(wanted))
            .map(|(index, core)| format!("core {index}{}", on_cpu(core.cpu)))
            .collect()
    }

    /// What each core says that it holds, read back.
    fn held_json(&self) -> Value {
        let wanted = self.settings.profiles[0].fingerprint();
        let row = |(index, core): (usize, &super::Core<K::Block>)| {
            json!({
                "core": index,
                "cpu": core.cpu,
                "holds_it": core.confirmed.held == Some(wanted),
                "ended": core.link.phase() == Phase::Ended,
            })
        };
        self.cores.iter().enumerate().map(row).collect()
    }
}
