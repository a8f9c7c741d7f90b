//! Which config is in force, which is confirmed, and what stands on disk of it.
//!
//! In the order of use: [`at_start`] says by which config to start, [`LiveConfig::started`] keeps it, and
//! the controller asks [`LiveConfig::plan`] before it touches anything, then [`LiveConfig::take`]s the new
//! config and at its end [`LiveConfig::confirm`]s it or goes back to [`LiveConfig::confirmed`]. Nothing
//! here knows a data core.

mod revisions;

use std::path::PathBuf;

use model::config::live::{KeyChange, Sourced};
use model::config::{ConfigError, text_of};
use model::time::Nanos;
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::request::{bad_usage, refusal};
pub use revisions::{Revision, Revisions, RevisionsError};

/// Shortest time in which a change may be confirmed: nobody answers sooner.
pub const CONFIRM_MIN: Nanos = Nanos::from_secs(1);
/// Longest one.
pub const CONFIRM_MAX: Nanos = Nanos::from_secs(86_400);

/// See the module's text.
pub struct LiveConfig {
    revisions: Revisions,
    confirmed: Sourced,
    /// Its number on disk; `None` = it could not be kept.
    revision: Option<u64>,
    /// In force and not confirmed yet, until when it has to be.
    trial: Option<(Sourced, Nanos)>,
    applied: u64,
    reverted: u64,
}

/// By which config a gateway starts: what `file` says, unless that was applied once and never
/// confirmed. Then it is the last confirmed one.
///
/// # Errors
/// The state on disk cannot be read.
pub fn at_start(revisions: &Revisions, file: Sourced) -> Result<Sourced, RevisionsError> {
    if !revisions.unconfirmed()?.contains(&file.config.digest) {
        return Ok(file);
    }
    let Some(latest) = revisions.latest()? else { return Ok(file) };
    let text = revisions.text(&latest)?;
    match Sourced::read(&latest.path.display().to_string(), &text) {
        Ok(confirmed) => {
            tracing::warn!(
                file = file.file,
                revision = latest.number,
                "what the file says was applied and never confirmed: the last confirmed config is taken"
            );
            Ok(confirmed)
        }
        Err(errors) => {
            let error = errors.first().map_or(String::new(), ToString::to_string);
            tracing::warn!(error, "the last confirmed config is none any more: the file is taken");
            Ok(file)
        }
    }
}

impl LiveConfig {
    /// A gateway has started by `config`: that is confirmed.
    pub fn started(revisions: Revisions, config: Sourced) -> Self {
        let mut new = Self {
            revisions,
            confirmed: config,
            revision: None,
            trial: None,
            applied: 0,
            reverted: 0,
        };
        match new.keep() {
            Ok(revision) => new.revision = Some(revision),
            Err(error) => tracing::warn!(%error, "the config in force is not kept on disk"),
        }
        new
    }

    /// Keeps the confirmed config on disk, where it is not there already.
    fn keep(&mut self) -> Result<u64, RevisionsError> {
        let kept = self.revisions.keep(&self.confirmed)?;
        // Killed between the two writes of a confirmation.
        self.revisions.unmark(&self.confirmed.config.digest)?;
        Ok(kept)
    }

    /// The config in force.
    pub fn in_force(&self) -> &Sourced {
        self.trial.as_ref().map_or(&self.confirmed, |(config, _)| config)
    }

    /// The config that was confirmed last.
    pub const fn confirmed(&self) -> &Sourced {
        &self.confirmed
    }

    /// Until when the config in force has to be confirmed, if it is not.
    pub fn trial_until(&self) -> Option<Nanos> {
        self.trial.as_ref().map(|(_, until)| *until)
    }

    /// What a text would change of the config in force.
    ///
    /// # Errors
    /// The reply that says why it cannot be taken: what is wrong with it, or what needs a restart.
    pub fn plan(&self, file: &str, text: &str) -> Result<(Sourced, Vec<KeyChange>), Value> {
        let new = text_of(file, text.as_bytes())
            .map_err(|error| vec![error])
            .and_then(|text| Sourced::read(file, text))
            .map_err(|errors| wrong(&errors))?
            .in_windows(&self.in_force().window_messages);
        let changes = self.in_force().change_to(&new);
        let fixed: Vec<_> = changes.iter().filter(|change| !change.is_live).collect();
        let Some(first) = fixed.first() else { return Ok((new, changes)) };
        let more = match fixed.len() {
            1 => String::new(),
            n => format!(", and {} more", n - 1),
        };
        let mut reply = bad_usage(format!(
            "{}:{}: {} needs a restart{more}; nothing was changed",
            first.file, first.line, first.key
        ));
        reply["changes"] = changes.iter().map(change_json).collect();
        Err(reply)
    }

    /// A trial begins: before anything is touched the disk knows that `new` is not confirmed.
    ///
    /// # Errors
    /// The disk does not take it; then nothing may be touched.
    pub fn announce(&self, new: &Sourced) -> Result<(), RevisionsError> {
        self.revisions.mark_unconfirmed(&new.config.digest)
    }

    /// `new` is in force, to be confirmed by `until`.
    pub fn take(&mut self, new: Sourced, until: Nanos) {
        self.applied += 1;
        self.trial = Some((new, until));
    }

    /// What is in force is confirmed.
    ///
    /// # Errors
    /// The disk does not take it: it stays unconfirmed.
    pub fn confirm(&mut self) -> Result<Option<u64>, RevisionsError> {
        let Some((config, _)) = &self.trial else { return Ok(self.revision) };
        let kept = self.revisions.keep(config)?;
        if let Some((config, _)) = self.trial.take() {
            self.confirmed = config;
        }
        self.revision = Some(kept);
        // The config is confirmed whatever becomes of its mark: a start that finds it takes the last
        // confirmed config, which this is.
        if let Err(error) = self.revisions.unmark(&self.confirmed.config.digest) {
            tracing::warn!(%error, "the mark of the trial stays on disk");
        }
        Ok(self.revision)
    }

    /// The trial is over; what it was is in force no more. The mark stays on disk: a restart must not
    /// take it either.
    pub fn reject(&mut self) -> Option<Sourced> {
        let (config, _) = self.trial.take()?;
        self.reverted += 1;
        Some(config)
    }

    /// The text of a revision; by default of the one before the confirmed config was first confirmed, so
    /// that going back again leads further back and never to what was left in this way.
    ///
    /// # Errors
    /// The reply that says why there is none.
    pub fn revision_text(&self, number: Option<u64>) -> Result<(PathBuf, String), Value> {
        let failed = |error: RevisionsError| refusal(error.to_string());
        let all = self.revisions.list().map_err(failed)?;
        let found = match number {
            Some(number) => all.iter().find(|revision| revision.number == number),
            None => {
                let first = all.iter().position(|revision| revision.is_of(&self.confirmed));
                all[..first.unwrap_or(all.len())].last()
            }
        };
        let found = found.ok_or_else(|| match number {
            Some(number) => {
                bad_usage(format!("no revision {number}; see `wirepace config history`"))
            }
            None => bad_usage(
                "nothing was confirmed before this config; see `wirepace config history`, and name a \
                 revision",
            ),
        })?;
        Ok((found.path.clone(), self.revisions.text(found).map_err(failed)?))
    }

    /// What `config history` shows.
    pub fn history_json(&self) -> Value {
        match self.revisions.list() {
            Err(error) => refusal(error.to_string()),
            Ok(all) => {
                let row = |revision: &Revision| {
                    json!({
                        "revision": revision.number,
                        "digest": revision.digest,
                        "confirmed_at_unix_s": revision.confirmed_at_unix_s,
                        "bytes": revision.bytes,
                        "confirmed": Some(revision.number) == self.revision,
                    })
                };
                json!({
                    "revisions": all.iter().map(row).collect::<Vec<_>>(),
                    "unconfirmed": self.trial.as_ref().map(|(config, _)| &config.config.digest),
                })
            }
        }
    }

    /// What `config` shows of it in `status`.
    pub fn to_json(&self, now: Nanos) -> Value {
        let left = self.trial_until().map(|until| until.saturating_sub(now).0 as f64 / 1e9);
        json!({
            "file": self.in_force().file,
            "digest": self.in_force().config.digest,
            "confirmed_digest": self.confirmed.config.digest,
            "revision": self.revision,
            "confirm_left_s": left,
        })
    }

    /// Puts its numbers on the list.
    pub fn publish(&self, r: &mut Registry) {
        let unconfirmed = u64::from(self.trial.is_some());
        r.gauge("config_unconfirmed", "1 while a config waits to be confirmed.", &[], unconfirmed);
        let help = "Configs that were put in force while the gateway ran.";
        r.counter("config_applied", help, &[], self.applied);
        let help = "Of those, the ones that were not confirmed and went back.";
        r.counter("config_reverted", help, &[], self.reverted);
        if let Some(revision) = self.revision {
            let help = "Number of the confirmed config among the revisions on disk.";
            r.gauge("config_revision", help, &[], revision);
        }
    }
}

/// A change as it stands in replies.
pub fn change_json(change: &KeyChange) -> Value {
    json!({
        "key": change.key,
        "was": change.was,
        "is": change.is,
        "file": change.file,
        "line": change.line,
        "live": change.is_live,
    })
}

/// What is wrong with a text, as one reply.
fn wrong(errors: &[ConfigError]) -> Value {
    let row = |e: &ConfigError| {
        json!({
            "file": e.file, "line": e.line, "column": e.column,
            "message": e.problem, "allowed": e.allowed,
        })
    };
    let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut reply = bad_usage(format!("{message}\nnothing was changed"));
    reply["errors"] = errors.iter().map(row).collect();
    reply
}
