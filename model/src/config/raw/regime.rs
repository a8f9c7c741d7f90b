//! `[regime]` and `[[regime.machine]]` as they are written.

use super::HOUR;
use crate::config::error::At;
use crate::config::network::absolute_path;
use crate::config::reader::{Field, Reader};
use crate::config::record::StartMode;
use crate::config::values::{
    Refused, as_text, boolean, duration, found, integer, list, message_rate, name, number, one_of,
    share, word_or,
};
use crate::regime::{Condition, Input, Posture, Request, ScopeKind, Term};
use crate::time::Nanos;

const DAY: Nanos = Nanos::from_secs(86_400);

/// `[regime]`.
pub(in crate::config) struct RawRegime {
    pub at: At,
    pub mode: Field<StartMode>,
    pub tick: Field<Nanos>,
    pub allow: Field<Vec<String>>,
    pub absent_release: Field<Nanos>,
    pub latch: Field<bool>,
    pub pin: Field<Nanos>,
    pub max_age: Field<Nanos>,
    pub baselines: Field<String>,
    pub guard_budget: Field<u32>,
    pub guard_priority: Field<u8>,
    pub canary_share: Field<u32>,
    pub enforce_churn_cap: Field<bool>,
    pub churn_cap: Field<u64>,
    pub switchback_block: Field<Nanos>,
    pub sessions_min: Field<u32>,
    pub parents_min: Field<u32>,
    pub days_min: Field<u32>,
    pub drain: Option<RawDrainModel>,
    pub machines: Vec<RawMachine>,
}

impl RawRegime {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let minutes = |m: u64| Nanos::from_secs(m * 60);
        let raw = Self {
            at: t.at,
            mode: t.optional("mode", one_of),
            tick: t.optional("tick", duration(Nanos::from_millis(10)..=Nanos::from_secs(1))),
            allow: t.optional("allow", list(name)),
            absent_release: t.optional("absent_release", duration(Nanos::from_secs(1)..=HOUR)),
            latch: t.optional("latch", boolean),
            pin: t.optional("pin", duration(Nanos::from_secs(1)..=DAY)),
            max_age: t.optional("max_age", duration(minutes(1)..=Nanos::from_secs(366 * 86_400))),
            baselines: t.optional("baselines", absolute_path),
            guard_budget: t.optional("guard_budget", share("0.01", "1")),
            guard_priority: t.optional("guard_priority", integer(0..=255)),
            canary_share: t.optional("canary_share", share("0.001", "0.1")),
            enforce_churn_cap: t.optional("enforce_churn_cap", boolean),
            churn_cap: t.optional("churn_cap", message_rate),
            switchback_block: t.optional("switchback_block", duration(minutes(5)..=minutes(20))),
            sessions_min: t.optional("sessions_min", integer(1..=1_000_000)),
            parents_min: t.optional("parents_min", integer(1..=1_000_000_000)),
            days_min: t.optional("days_min", integer(1..=365)),
            drain: t
                .optional_table("p_compressed_drain", "[regime.p_compressed_drain]")
                .map(RawDrainModel::read),
            machines: t
                .tables("machine", "[[regime.machine]]")
                .into_iter()
                .map(|t| RawMachine::read(t, "[[regime.machine.state]]"))
                .collect(),
        };
        t.finish();
        raw
    }
}

/// Largest coefficient, either way.
const COEFFICIENT_MAX: f64 = 1e12;

/// `[regime.p_compressed_drain]`.
pub(in crate::config) struct RawDrainModel {
    pub at: At,
    pub intercept: Field<f64>,
    pub inputs: Field<Vec<Input>>,
    pub coefficients: Field<Vec<f64>>,
}

impl RawDrainModel {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            intercept: t.required("intercept", number(-COEFFICIENT_MAX..=COEFFICIENT_MAX)),
            inputs: t.required("inputs", list(input)),
            coefficients: t
                .required("coefficients", list(number(-COEFFICIENT_MAX..=COEFFICIENT_MAX))),
        };
        t.finish();
        raw
    }
}

/// One `[[regime.machine]]`, or a built-in one.
pub(in crate::config) struct RawMachine {
    pub at: At,
    pub name: Field<String>,
    pub enabled: Field<bool>,
    pub scope: Field<ScopeKind>,
    pub lowest: Field<String>,
    pub confirm: Field<u32>,
    pub release: Field<u32>,
    pub dwell: Field<Nanos>,
    pub latch: Field<bool>,
    pub widen: Field<Vec<String>>,
    pub states: Vec<RawState>,
}

impl RawMachine {
    pub fn read(mut t: Reader<'_, '_>, state: &'static str) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            enabled: t.optional("enabled", boolean),
            scope: t.optional("scope", one_of),
            lowest: t.optional("lowest", state_name),
            confirm: t.optional("confirm", integer(1..=10_000)),
            release: t.optional("release", integer(1..=100_000)),
            dwell: t.optional("dwell", duration(Nanos::from_millis(100)..=HOUR)),
            latch: t.optional("latch", boolean),
            widen: t.optional("widen", list(name)),
            states: t.tables("state", state).into_iter().map(RawState::read).collect(),
        };
        t.finish();
        raw
    }
}

/// One `[[regime.machine.state]]`.
pub(in crate::config) struct RawState {
    pub at: At,
    pub name: Field<String>,
    pub severity: Field<u8>,
    pub enter: Field<Condition>,
    /// `None` = as the state below.
    pub exit: Field<Option<Condition>>,
    pub profile: Field<Posture>,
    pub advice: Field<Vec<Request>>,
}

impl RawState {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", state_name),
            severity: t.required("severity", integer(1..=3)),
            enter: t.required("enter", list(list(term))),
            exit: t.required("exit", word_or("as below", list(list(term)))),
            profile: t.optional("profile", one_of),
            advice: t.optional("advice", list(one_of)),
        };
        t.finish();
        raw
    }
}

fn term(value: &toml::de::DeValue<'_>) -> Result<Term, Refused> {
    let text = as_text(value, crate::regime::TERM_FORMS)?;
    text.parse()
        .map_err(|error: crate::regime::TermError| Refused::new(error.problem, error.allowed))
}

fn input(value: &toml::de::DeValue<'_>) -> Result<Input, Refused> {
    let text = as_text(value, "KPI.value")?;
    text.parse()
        .map_err(|error: crate::regime::TermError| Refused::new(error.problem, error.allowed))
}

/// The name of a state: it is told from a KPI by its capitals.
fn state_name(value: &toml::de::DeValue<'_>) -> Result<String, Refused> {
    let allowed = "1 to 32 characters of A-Z, 0-9 and `_`, beginning with a letter";
    let text = as_text(value, allowed).map_err(|_| Refused::new(found(value), allowed))?;
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let fits = (1..=32).contains(&text.len()) && text.starts_with(|c: char| c.is_ascii_uppercase());
    if fits && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(Refused::new(format!("{text:?} is no name of a state"), allowed))
}
