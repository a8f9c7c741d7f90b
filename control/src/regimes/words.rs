//! What an operator says to the loop.

use model::regime::{Facts, FedValue, Mode};
use model::time::Nanos;
use serde_json::{Value, json};

use super::Regimes;
use crate::controller::Kpis;
use crate::request::{bad_usage, refusal};

impl Regimes {
    /// Pins an instance to a state for `length`, at most and by default as the config says.
    pub fn pin(
        &mut self,
        now: Nanos,
        machine: &str,
        scope: &str,
        state: &str,
        length: Option<Nanos>,
    ) -> Value {
        let length = length.unwrap_or(self.pin);
        if length == Nanos::ZERO || length > self.pin {
            return refusal(format!("a pin lasts above 0 and at most {} ([regime] pin)", self.pin));
        }
        let until = now.saturating_add(length);
        match self.engine.pin(now, machine, scope, state, until) {
            Err(unknown) => bad_usage(unknown.to_string()),
            Ok(log) => {
                log.iter().for_each(|decision| self.note(decision));
                self.look_for_rows(now);
                json!({
                    "ok": true,
                    "machine": machine,
                    "scope": scope,
                    "state": state,
                    "length_ns": length,
                    "until_ns": until,
                })
            }
        }
    }

    /// Releases an instance: a pin, a freeze, a hold-off, else a latch, one step down.
    pub fn release(&mut self, now: Nanos, machine: &str, scope: &str) -> Value {
        match self.engine.release(now, machine, scope) {
            Err(unknown) => bad_usage(unknown.to_string()),
            Ok(log) => {
                log.iter().for_each(|decision| self.note(decision));
                self.look_for_rows(now);
                let to: Vec<Value> = log.iter().map(|d| self.engine.describe(d)).collect();
                json!({ "ok": true, "machine": machine, "scope": scope, "decisions": to })
            }
        }
    }

    /// Freezes the baselines that have been learned, those of `kpis` with them, and keeps them where the
    /// config says.
    pub fn freeze(&mut self, now: Nanos, kpis: &mut impl Kpis) -> Value {
        let env_digest = self.env_digest.clone();
        let Some(record) = self.engine.freeze(now, &env_digest, kpis.ack_shares()) else {
            return refusal(format!(
                "nothing has {} values yet: baselines learn one a second in mode observe",
                model::regime::VALUES_MIN
            ));
        };
        kpis.set_ack_baselines(&record.ack_shares);
        let record = json!(record);
        let kept = match &self.baselines_path {
            None => Value::Null,
            Some(path) => {
                // Beside it first: a crash must not leave half a file.
                let beside = path.with_extension("new");
                let written = std::fs::write(&beside, format!("{record:#}\n"))
                    .and_then(|()| std::fs::rename(&beside, path));
                if let Err(error) = written {
                    let mut reply = refusal(format!(
                        "frozen, but {} cannot be written: {error}",
                        path.display()
                    ));
                    reply["baselines"] = record;
                    return reply;
                }
                json!(path)
            }
        };
        json!({ "ok": true, "kept_in": kept, "baselines": record })
    }

    /// Takes outside KPIs in: all of them, or none and why.
    pub fn feed(&mut self, now: Nanos, values: &[FedValue]) -> Value {
        let known: Vec<String> =
            self.engine.scopes().iter().map(|info| info.name.clone()).collect();
        let is_known = |scope: &str| known.iter().any(|name| name == scope);
        let mut tried = self.engine.fed().clone();
        for value in values {
            if let Err(error) = tried.take(now, value.clone(), is_known) {
                return refusal(format!("nothing was taken: {error}"));
            }
        }
        *self.engine.fed_mut() = tried;
        json!({ "ok": true, "taken": values.len() })
    }

    /// The mode, and what it would need.
    pub fn mode_json(&self) -> Value {
        json!({
            "mode": self.mode.mode().name(),
            "since_ns": self.mode.since(),
            "required": self.mode.required(),
            "changes": self.changes,
        })
    }

    /// Takes a mode, or says everything that is missing.
    pub fn set_mode(&mut self, now: Nanos, to: Mode, confirmed: bool) -> Value {
        let facts =
            Facts { groups: self.groups.count(), unpartable: self.unpartable(), ..self.facts(now) };
        match self.mode.ask(now, to, confirmed, &facts) {
            Ok(changed) => {
                tracing::warn!(from = changed.from.name(), to = changed.to.name(), "mode");
                self.note_mode(changed);
                if to == Mode::Canary {
                    // There were enough a moment ago; else the next tick draws.
                    let _ = self.groups.draw(&self.names, self.seed, self.canary_share_ppm);
                }
                // What it governs begins with the next tick; what it does not ends at once.
                self.wants = self.wanted(now);
                self.advise(now);
                self.look_for_rows(now);
                let mut reply = self.mode_json();
                reply["ok"] = json!(true);
                reply
            }
            Err(refused) => {
                let mut reply = refusal(refused.to_string());
                reply["missing"] = json!(refused.reasons);
                reply["gates"] = json!({"transport": facts.transport, "outcome": facts.outcome});
                reply
            }
        }
    }
}
