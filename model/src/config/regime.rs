//! `[regime]`: the built-in machines, what the file changes of them, and the rules of all.

use toml::de::DeTable;

use super::error::{At, Findings};
use super::names;
use super::raw::{RawClass, RawDrainModel, RawMachine, RawRegime, RawState};
use super::reader::{Field, Reader};
use super::record::StartMode;
use super::{Class, ClockKind, Control, Gateway, Regime};
use crate::kind::{Kind, Side};
use crate::regime::{
    DEFAULT_MACHINES, Exit, Logistic, Machine, ScopeKind, Severity, State, TableError, Timing,
};
use crate::time::Nanos;

/// What the rules have to know of the rest of the file.
pub(super) struct Base<'a> {
    pub findings: &'a Findings,
    pub gateway: &'a Gateway,
    pub control: &'a Control,
    pub raw_classes: &'a [RawClass],
    pub classes: &'a [Class],
}

pub(super) fn regime(base: &Base<'_>, raw: &RawRegime) -> Regime {
    let allow = classes(base, "allow", &raw.allow, may_be_governed);
    let mode = raw.mode.or(StartMode::Observe);
    check_mode(base, raw, mode, &allow);
    let tick = tick(base, raw);
    let compressed_drain = raw.drain.as_ref().map(|drain| logistic(base.findings, drain));
    let mut machines = machines(base, raw);
    if compressed_drain.is_none() {
        machines = machines.into_iter().filter_map(|m| m.without_probability().ok()).collect();
    }
    Regime {
        mode,
        tick,
        allow,
        absent_release: raw.absent_release.or(Nanos::from_secs(60)),
        pin: raw.pin.or(Nanos::from_secs(3600)),
        max_age: raw.max_age.or(Nanos::from_secs(7 * 86_400)),
        baselines: raw.baselines.value.clone(),
        guard_budget_ppm: raw.guard_budget.or(500_000),
        guard_priority: raw.guard_priority.or(1),
        canary_share_ppm: raw.canary_share.or(100_000),
        churn_cap_per_s: churn_cap(base.findings, raw),
        switchback_block: raw.switchback_block.or(Nanos::from_secs(600)),
        sessions_min: raw.sessions_min.or(5),
        parents_min: raw.parents_min.or(500),
        days_min: raw.days_min.or(1),
        compressed_drain,
        machines,
    }
}

/// Replaces are limited by the gateway only where the file says both how many and that it does.
fn churn_cap(findings: &Findings, raw: &RawRegime) -> Option<u64> {
    let enforced = raw.enforce_churn_cap.or(false);
    match (enforced, raw.churn_cap.value) {
        (true, None) => {
            let at = raw.enforce_churn_cap.at(raw.at);
            let problem = "enforce_churn_cap = true without `churn_cap`";
            findings.error(at, problem, "`churn_cap`, replaces per second such as \"50/s\"");
            None
        }
        (false, Some(_)) => {
            let text = "churn_cap without enforce_churn_cap = true: replace churn is advice only";
            findings.warn(raw.churn_cap.at(raw.at), text);
            None
        }
        (_, cap) => cap,
    }
}

/// What a profile can change of a class: how it is paced, or that its queue holds it back.
fn may_be_governed(class: &Class) -> bool {
    class.from == Side::Inside || class.kind == Kind::MarketData
}

/// The indices of the classes that a list names, of those that `may` stand in it.
fn classes(
    base: &Base<'_>,
    key: &str,
    field: &Field<Vec<String>>,
    may: impl Fn(&Class) -> bool,
) -> Vec<usize> {
    let Some((named, at)) = field.get() else { return Vec::new() };
    let mut indices = Vec::new();
    for name in named {
        let own = &base.classes[..base.raw_classes.len()];
        match own.iter().position(|class| class.name == *name && may(class)) {
            Some(index) if !indices.contains(&index) => indices.push(index),
            Some(_) => {}
            None => {
                let known = own.iter().filter(|class| may(class));
                let known: Vec<_> = known.map(|class| class.name.as_str()).collect();
                let problem = format!("{key}: {name:?} is no class that may be governed");
                base.findings.error(at, problem, known.join(", "));
            }
        }
    }
    indices
}

/// Live, nothing is governed before an operator has said so and confirmed it.
fn check_mode(base: &Base<'_>, raw: &RawRegime, mode: StartMode, allow: &[usize]) {
    let name = match mode {
        StartMode::Observe | StartMode::Shadow => return,
        StartMode::Canary => "canary",
        StartMode::Active => "active",
    };
    let at = raw.mode.at(raw.at);
    if base.gateway.clock != ClockKind::Virtual {
        let problem = format!("mode = {name:?} at start with a real clock");
        let allowed = "\"observe\" or \"shadow\"; `wirepace mode` while it runs";
        base.findings.error(at, problem, allowed);
    } else if allow.is_empty() && !raw.allow.is_present() {
        let allowed = "`allow` with the classes whose profile may change";
        base.findings.error(at, format!("mode = {name:?} without `allow`"), allowed);
    } else if !raw.baselines.is_present() {
        let allowed = "`baselines` with a file of frozen ones: without, it would fall back at once";
        base.findings.error(at, format!("mode = {name:?} without `baselines`"), allowed);
    }
}

fn tick(base: &Base<'_>, raw: &RawRegime) -> Nanos {
    let tick = raw.tick.or(Nanos::from_millis(100).max(base.control.tick));
    if let Some((stated, at)) = raw.tick.get()
        && *stated < base.control.tick
    {
        let problem = format!("a tick of {stated} within a control tick of {}", base.control.tick);
        base.findings.error(at, problem, "at least the `tick` of [control]");
    }
    tick
}

fn logistic(findings: &Findings, raw: &RawDrainModel) -> Logistic {
    let (inputs, coefficients) = (raw.inputs.or(Vec::new()), raw.coefficients.or(Vec::new()));
    let readable = raw.inputs.value.is_some() && raw.coefficients.value.is_some();
    if readable && (inputs.len() != coefficients.len() || inputs.is_empty()) {
        let problem = format!("{} inputs and {} coefficients", inputs.len(), coefficients.len());
        let allowed = "one coefficient for each input, at least one";
        findings.error(raw.coefficients.at(raw.at), problem, allowed);
    }
    for input in inputs.iter().filter(|input| !input.is_of(ScopeKind::Class)) {
        let problem = format!("a class has no {input}");
        let allowed = "KPIs of classes from inside (`wirepace kpis --json` has `labels`)";
        findings.error(raw.inputs.at(raw.at), problem, allowed);
    }
    let intercept = raw.intercept.value.unwrap_or_default();
    Logistic { intercept, features: inputs.into_iter().zip(coefficients).collect() }
}

/// The built-in machines with what the file says over them, then its own.
fn machines(base: &Base<'_>, raw: &RawRegime) -> Vec<Machine> {
    let builtin = builtin();
    let builtin_names: Vec<String> = builtin.iter().map(|m| m.name.or(String::new())).collect();
    names::collect(base.findings, "machine", raw.machines.iter().map(|m| &m.name));
    let mut machines = Vec::new();
    for (default, name) in builtin.iter().zip(&builtin_names) {
        let stated = raw.machines.iter().find(|m| m.name.value.as_ref() == Some(name));
        machines.extend(machine(base, raw, stated, Some(default)));
    }
    for stated in &raw.machines {
        let Some((name, at)) = stated.name.get() else { continue };
        if builtin_names.contains(name) {
            continue;
        }
        if stated.states.is_empty() || !stated.scope.is_present() || !stated.lowest.is_present() {
            let problem = format!("there is no built-in machine {name:?}");
            let known = builtin_names.join(", ");
            let allowed = format!("{known}; one of your own needs scope, lowest and state tables");
            base.findings.error(at, problem, allowed);
            continue;
        }
        machines.extend(machine(base, raw, Some(stated), None));
    }
    machines
}

/// The tables of `machines.toml`. They are read by the same rules; that they pass is tested.
fn builtin() -> Vec<RawMachine> {
    let findings = Findings::default();
    let (root, _) = DeTable::parse_recoverable(DEFAULT_MACHINES);
    let mut root = Reader::new(&findings, "machines.toml", root.get_ref(), At::default());
    let tables = root.tables("machine", "[[machine]]");
    tables.into_iter().map(|t| RawMachine::read(t, "[[machine.state]]")).collect()
}

/// One machine: what `stated` says, else `default`. None when it is switched off or wrong.
fn machine(
    base: &Base<'_>,
    raw: &RawRegime,
    stated: Option<&RawMachine>,
    default: Option<&RawMachine>,
) -> Option<Machine> {
    let both = || [stated, default].into_iter().flatten();
    fn first<'a, T: Clone + 'a>(
        tables: impl Iterator<Item = &'a RawMachine>,
        field: impl Fn(&'a RawMachine) -> &'a Field<T>,
    ) -> Option<T> {
        tables.map(field).find_map(|field| field.value.clone())
    }
    let states = both().map(|m| &m.states).find(|states| !states.is_empty())?;
    if first(both(), |m| &m.enabled) == Some(false) {
        return None;
    }
    let timing = Timing::default();
    let default_latch = if raw.latch.or(true) { None } else { Some(false) };
    let table = Machine {
        name: first(both(), |m| &m.name)?,
        scope: first(both(), |m| &m.scope).unwrap_or(ScopeKind::Class),
        lowest: first(both(), |m| &m.lowest)?,
        states: states.iter().filter_map(state).collect(),
        timing: Timing {
            confirm_ticks: first(both(), |m| &m.confirm).unwrap_or(timing.confirm_ticks),
            release_ticks: first(both(), |m| &m.release).unwrap_or(timing.release_ticks),
            dwell: first(both(), |m| &m.dwell).unwrap_or(timing.dwell),
        },
        latch: first(both(), |m| &m.latch).or(default_latch),
        widen: stated.map_or(Vec::new(), |m| classes(base, "widen", &m.widen, may_be_governed)),
    };
    // What could not be read has been said already.
    if table.states.len() != states.len() {
        return None;
    }
    match table.checked() {
        Ok(machine) => Some(machine),
        Err(error) => {
            refuse(base.findings, stated, states, &error);
            None
        }
    }
}

fn state(raw: &RawState) -> Option<State> {
    Some(State {
        name: raw.name.value.clone()?,
        severity: Severity::from_u8(raw.severity.value?)?,
        enter: raw.enter.value.clone()?,
        exit: match raw.exit.value.clone()? {
            Some(lists) => Exit::When(lists),
            None => Exit::AsBelow,
        },
        posture: raw.profile.or(crate::regime::Posture::Normal),
        advice: raw.advice.or(Vec::new()),
    })
}

/// Says what is wrong with a table, at the state that it is about.
fn refuse(
    findings: &Findings,
    stated: Option<&RawMachine>,
    states: &[RawState],
    error: &TableError,
) {
    let named = |state: &&RawState| state.name.value.as_deref() == error.state();
    let (table, state) = (stated.map_or(At::default(), |m| m.at), states.iter().find(named));
    let at_state = state.map_or(table, |state| state.at);
    let (at, allowed) = match error {
        TableError::NoStates { .. } => (table, "1 to 7 [[regime.machine.state]] tables"),
        TableError::Order { .. } => (
            state.map_or(table, |s| s.severity.at(s.at)),
            "a severity that rises from state to state",
        ),
        TableError::Twice { .. } => (
            state.map_or(table, |s| s.name.at(s.at)),
            "a name of its own for each state, `lowest` included",
        ),
        TableError::Unknown { .. } => (
            state.map_or(table, |s| s.enter.at(s.at)),
            "\"STATE for 10s\" of a state above this one in the file",
        ),
        TableError::Empty { key: "enter", .. } => (
            state.map_or(table, |s| s.enter.at(s.at)),
            "lists of at least one condition: [[\"a\", \"b\"], [\"c\"]] is a and b, or c",
        ),
        TableError::Empty { .. } => (
            state.map_or(table, |s| s.exit.at(s.at)),
            "lists of at least one condition; \"as below\" above the first state only",
        ),
        TableError::Never { key, .. } => (
            state.map_or(
                table,
                |s| if *key == "enter" { s.enter.at(s.at) } else { s.exit.at(s.at) },
            ),
            "a class from inside: KPIs of classes; a tx_queue: those of ports too; a feed: those of classes \
             from a venue and of the port that it leaves by (`wirepace kpis --json` has `labels`)",
        ),
        TableError::Hysteresis { .. } => (
            state.map_or(at_state, |s| s.exit.at(s.at)),
            "in each list of `exit` a bound that keeps clear of each list of `enter`, such as \
             x >= 2 to enter and x < 1.5 to leave",
        ),
    };
    findings.error(at, error.to_string(), allowed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_machines_pass_every_rule() {
        let findings = Findings::default();
        let (root, syntax) = DeTable::parse_recoverable(DEFAULT_MACHINES);
        assert!(syntax.is_empty(), "{syntax:?}");
        let mut root = Reader::new(&findings, "machines.toml", root.get_ref(), At::default());
        let tables = root.tables("machine", "[[machine]]");
        let raw: Vec<_> =
            tables.into_iter().map(|t| RawMachine::read(t, "[[machine.state]]")).collect();
        root.finish();
        let machines: Vec<Machine> = raw
            .iter()
            .map(|raw| {
                let states: Vec<_> = raw.states.iter().filter_map(state).collect();
                assert_eq!(states.len(), raw.states.len());
                let table = Machine {
                    name: raw.name.or(String::new()),
                    scope: raw.scope.or(ScopeKind::Class),
                    lowest: raw.lowest.or(String::new()),
                    states,
                    timing: Timing::default(),
                    latch: None,
                    widen: vec![],
                };
                table.checked().unwrap_or_else(|error| panic!("{error}"))
            })
            .collect();
        let errors = findings.into_errors("machines.toml", DEFAULT_MACHINES);
        assert!(errors.is_empty(), "{errors:#?}");
        let names: Vec<_> = machines.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["pacing", "segmentation", "byte_queue", "drain", "delivery"]);
        let states: Vec<_> = machines.iter().map(|m| m.states.len()).collect();
        assert_eq!(states, [2, 3, 3, 3, 3]);
        for machine in machines {
            machine.without_probability().unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
