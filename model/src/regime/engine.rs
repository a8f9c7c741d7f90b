//! All machines over all scopes.
//!
//! [`Engine::tick`] each [`EngineSettings::tick`]; [`Engine::windows_s`] says before it over which
//! windows its inputs are wanted. What comes out are [`Decision`]s, and [`Engine::asked`]: which
//! profile each instance wants on its scope.

use super::baseline::{BaselineRecord, Baselines};
use super::decision::{Cause, Decision, Stays};
use super::fed::Fed;
use super::instance::{Delays, Instance, Powers, Tick};
use super::logistic::Logistic;
use super::offered::Offered;
use super::reading::{Figures, Missing, Reading, Scope};
use super::table::{Machine, Posture, ScopeKind, Severity, StateId};
use super::term::{Bound, Input, Measure, OBSERVATIONS, P_COMPRESSED_DRAIN};
use super::verdict::Evidence;
use crate::kpi::AckShares;
use crate::time::Nanos;
use crate::timeline::RegimeLogRow;

/// Ticks between two values that a baseline learns: values of one second, so one a second.
pub const LEARN_EVERY: u64 = 10;

/// A scope as the engine has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeInfo {
    /// What it is.
    pub scope: Scope,
    /// Name of the class or port in the config.
    pub name: String,
    /// Declared period of the class.
    pub cadence: Option<Nanos>,
    /// It carries orders, so severity 3 may be latched.
    pub order: bool,
}

impl ScopeInfo {
    /// The kind of its machines.
    pub const fn kind(&self) -> ScopeKind {
        match self.scope {
            Scope::Class(_) => ScopeKind::Class,
            Scope::TxQueue(_) => ScopeKind::TxQueue,
            Scope::Feed(_) => ScopeKind::Feed,
        }
    }

    /// `class:orders`, `tx_queue:venue-a`, `feed:quotes`.
    pub fn label(&self) -> String {
        format!("{}:{}", self.kind().name(), self.name)
    }
}

/// What holds for all machines.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// Length of a tick.
    pub tick: Nanos,
    /// A scope without traffic for so long comes down.
    pub absent_release: Nanos,
    /// Coefficients of `p_compressed_drain`, if there are any.
    pub compressed_drain: Option<Logistic>,
}

/// What the mode of the control loop lets the engine do at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// Machines decide; otherwise only baselines are learned.
    pub decides: bool,
    /// Baselines are learned.
    pub learns: bool,
    /// Severity 3 of order classes is latched by default.
    pub latches: bool,
}

/// The profile that an instance asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Name of the machine.
    pub machine: &'a str,
    /// Its scope.
    pub scope: Scope,
    /// Name of the state.
    pub state: &'a str,
    /// How bad it is.
    pub severity: Severity,
    /// The profile.
    pub posture: Posture,
    /// Classes that it acts on beside its scope.
    pub widen: &'a [usize],
}

/// An instance as it stands.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Standing<'a> {
    /// Name of the machine.
    pub machine: &'a str,
    /// `class:orders`.
    pub scope: String,
    /// Name of the state.
    pub state: &'a str,
    /// 0 to 3.
    pub severity: u8,
    /// The profile that it asks for.
    pub profile: &'static str,
    /// Since when it is there; `None` = it has not been looked at.
    pub since_ns: Option<Nanos>,
    /// Until when the operator pinned it.
    pub pinned_until_ns: Option<Nanos>,
    /// It changed state too often and waits for a release.
    pub frozen: bool,
    /// Its profile is withdrawn.
    pub held_off: bool,
    /// The window of its inputs.
    pub window_s: u8,
    /// Its inputs, as they were last read.
    pub inputs: Vec<Evidence>,
    /// How often it went from where to where, and how long it stayed.
    pub stays: &'a Stays,
    /// Names of its states, in the order of `stays`.
    pub states: Vec<&'a str>,
}

/// Why an operator's word has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No machine of that name.
    #[error("no machine {0:?}; there are: {1}")]
    Machine(String, String),
    /// No instance of it over that scope.
    #[error("machine {0} has no scope {1:?}; there are: {2}")]
    Scope(String, String, String),
    /// No such state.
    #[error("machine {0} has no state {1:?}; there are: {2}")]
    State(String, String, String),
}

/// The engine. See the module's text.
#[derive(Clone, Debug)]
pub struct Engine {
    machines: Vec<Machine>,
    scopes: Vec<ScopeInfo>,
    settings: EngineSettings,
    instances: Vec<Instance>,
    /// Place in `scopes` of each instance.
    scope_of: Vec<usize>,
    baselines: Baselines,
    fed: Fed,
    offered: Offered,
    /// Where `dispatch_to_wire_ns` says what was our own delay, and what was not.
    hold: Input,
    rest: Input,
    /// What a roll-back is judged by, which no table may measure.
    watched: Input,
    ticks: u64,
}

impl Engine {
    /// One instance of each machine for each scope of its kind, all in their lowest state.
    pub fn new(machines: Vec<Machine>, scopes: Vec<ScopeInfo>, settings: EngineSettings) -> Self {
        let (mut instances, mut scope_of) = (Vec::new(), Vec::new());
        for (index, machine) in machines.iter().enumerate() {
            for (place, info) in scopes.iter().enumerate() {
                if info.kind() == machine.scope {
                    instances.push(Instance::new(index, machine, info.scope));
                    scope_of.push(place);
                }
            }
        }
        let classes = scopes.iter().filter_map(|info| match info.scope {
            Scope::Class(class) => Some(class),
            _ => None,
        });
        let offered = Offered::new(classes);
        let (baselines, fed) = (Baselines::default(), Fed::default());
        let mut engine = Self {
            machines,
            scopes,
            settings,
            instances,
            scope_of,
            baselines,
            fed,
            offered,
            hold: delay("hold"),
            rest: delay("rest"),
            watched: watched(),
            ticks: 0,
        };
        engine.measure();
        engine
    }

    /// Other tables of the same machines, and other values for all of them ([`Machine::has_states_of`]; the
    /// tick stays). An instance stays in its state, pinned, frozen or latched as it is.
    pub fn retune(&mut self, machines: Vec<Machine>, settings: EngineSettings) {
        debug_assert!(self.machines.iter().zip(&machines).all(|(old, new)| old.has_states_of(new)));
        let another_model = self.settings.compressed_drain != settings.compressed_drain;
        let retune = |instance: Instance| {
            let table = &machines[instance.machine];
            let is_changed = another_model || self.machines[instance.machine] != *table;
            if is_changed { instance.retuned(table) } else { instance }
        };
        self.instances = std::mem::take(&mut self.instances).into_iter().map(retune).collect();
        (self.machines, self.settings) = (machines, settings);
        self.measure();
    }

    /// The windows that the next tick reads, in rising order, seconds. The shortest is always there:
    /// baselines learn from it.
    pub fn windows_s(&self) -> Vec<u8> {
        let own = self.instances.iter().map(Instance::window_s);
        let over = self.instances.iter().flat_map(|instance| &instance.judged);
        let over = over.filter_map(|judged| judged.bound.over.map(seconds));
        let mut windows: Vec<u8> = std::iter::once(1).chain(own).chain(over).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// One tick. `acts` says whether the profile that a scope asks for is in force there.
    pub fn tick(
        &mut self,
        now: Nanos,
        figures: &impl Figures,
        leave: Leave,
        acts: impl Fn(Scope) -> bool,
    ) -> Vec<Decision> {
        let mut log = Vec::new();
        self.offered.tick(now, |class| figures.offered_bits_per_s(class));
        if leave.learns && self.ticks.is_multiple_of(LEARN_EVERY) {
            self.learn(figures);
        }
        self.ticks += 1;
        if !leave.decides {
            return log;
        }
        for index in 0..self.instances.len() {
            self.judge(index, now, figures);
            let info = &self.scopes[self.scope_of[index]];
            let instance = &mut self.instances[index];
            let machine = &self.machines[instance.machine];
            let powers = Powers {
                acts: acts(info.scope),
                latched: machine.latch.unwrap_or(leave.latches && info.order),
                absent_release: self.settings.absent_release,
            };
            let p95 = |input| figures.read(info.scope, input, 1).value();
            let delays = Delays { hold: p95(&self.hold), rest: p95(&self.rest) };
            let packets = figures.packets(info.scope);
            let tick = Tick { now, table: machine, packets, delays, powers };
            instance.tick(&tick, &mut log);
        }
        log
    }

    /// Reads every bound of an instance.
    fn judge(&mut self, index: usize, now: Nanos, figures: &impl Figures) {
        let info = &self.scopes[self.scope_of[index]];
        let window_s = self.instances[index].window_s();
        let world = World {
            figures,
            info,
            now,
            fed: &self.fed,
            model: self.settings.compressed_drain.as_ref(),
        };
        for judged in &mut self.instances[index].judged {
            let window_s = judged.bound.over.map_or(window_s, seconds);
            judged.window_s = window_s;
            let reading = world.read(&judged.bound.input, window_s);
            judged.judge(reading, now);
        }
    }

    fn learn(&mut self, figures: &impl Figures) {
        for info in self.scopes.iter().filter(|info| info.kind() == ScopeKind::Class) {
            if let Some(value) = figures.read(info.scope, &self.watched, 1).value() {
                self.baselines.learn(&info.label(), &self.watched, value);
            }
        }
        for (instance, place) in self.instances.iter().zip(&self.scope_of) {
            let info = &self.scopes[*place];
            let label = info.label();
            let mut seen: Vec<&Input> = Vec::new();
            for judged in &instance.judged {
                let bound = &judged.bound;
                if bound.measure != Measure::Baseline || seen.contains(&&bound.input) {
                    continue;
                }
                seen.push(&bound.input);
                if let Some(value) = figures.read(info.scope, &bound.input, 1).value() {
                    self.baselines.learn(&label, &bound.input, value);
                }
            }
        }
    }

    /// The profiles that are asked for, `normal` included, in the order of machines and scopes.
    pub fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        self.instances.iter().map(|instance| {
            let machine = &self.machines[instance.machine];
            Asked {
                machine: &machine.name,
                scope: instance.scope,
                state: machine.state_name(instance.state),
                severity: machine.severity(instance.state),
                posture: instance.posture(machine),
                widen: &machine.widen,
            }
        })
    }

    /// What the states of the instances over `scope`, and of those widened to it, ask of strategies:
    /// the names of the states, the most severe first, and their requests.
    pub fn requests(&self, scope: Scope) -> (Vec<&str>, Vec<super::advice::Request>) {
        let mut states = Vec::new();
        let mut requests = Vec::new();
        for instance in &self.instances {
            let machine = &self.machines[instance.machine];
            let widened = matches!(scope, Scope::Class(class) if machine.widen.contains(&class));
            let Some(state) = machine.state(instance.state) else { continue };
            if instance.scope == scope || widened {
                states.push((std::cmp::Reverse(state.severity), state.name.as_str()));
                requests.extend(state.advice.iter().copied());
            }
        }
        states.sort_by_key(|(severity, _)| *severity);
        (states.into_iter().map(|(_, name)| name).collect(), requests)
    }

    /// The highest severity of a state over `scope`, where a machine watches it.
    pub fn severity(&self, scope: Scope) -> Option<u8> {
        let here = self.instances.iter().filter(|instance| instance.scope == scope);
        here.map(|i| self.machines[i.machine].severity(i.state).number()).max()
    }

    /// Every instance as it stands.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        self.instances.iter().zip(&self.scope_of).map(|(instance, place)| {
            let machine = &self.machines[instance.machine];
            Standing {
                machine: &machine.name,
                scope: self.scopes[*place].label(),
                state: machine.state_name(instance.state),
                severity: machine.severity(instance.state).number(),
                profile: instance.posture(machine).name(),
                since_ns: instance.entered_at,
                pinned_until_ns: instance.pinned_until(),
                frozen: instance.frozen,
                held_off: instance.held_off,
                window_s: instance.window_s(),
                inputs: instance.judged.iter().map(super::verdict::Judged::evidence).collect(),
                stays: &instance.stays,
                states: machine.ids().map(|id| machine.state_name(id)).collect(),
            }
        })
    }

    /// Pins an instance to a state until `until`.
    ///
    /// # Errors
    /// See [`WordError`].
    pub fn pin(
        &mut self,
        now: Nanos,
        machine: &str,
        scope: &str,
        state: &str,
        until: Nanos,
    ) -> Result<Vec<Decision>, WordError> {
        let index = self.find(machine, scope)?;
        let table = &self.machines[self.instances[index].machine];
        let id = table.find(state).ok_or_else(|| {
            let known: Vec<_> = table.ids().map(|id| table.state_name(id)).collect();
            WordError::State(machine.to_owned(), state.to_owned(), known.join(", "))
        })?;
        let mut log = Vec::new();
        self.instances[index].pin(now, id, until, &mut log);
        Ok(log)
    }

    /// Releases an instance: ends a pin, a freeze or a hold-off, else steps down once, a latch
    /// notwithstanding.
    ///
    /// # Errors
    /// See [`WordError`].
    pub fn release(
        &mut self,
        now: Nanos,
        machine: &str,
        scope: &str,
    ) -> Result<Vec<Decision>, WordError> {
        let index = self.find(machine, scope)?;
        let mut log = Vec::new();
        self.instances[index].release(now, &mut log);
        Ok(log)
    }

    fn find(&self, machine: &str, scope: &str) -> Result<usize, WordError> {
        let found = self.machines.iter().position(|known| known.name == machine);
        let Some(found) = found else {
            let known: Vec<_> = self.machines.iter().map(|m| m.name.as_str()).collect();
            return Err(WordError::Machine(machine.to_owned(), known.join(", ")));
        };
        let mut of_machine = self.instances.iter().zip(&self.scope_of).enumerate();
        let named = |place: &usize| {
            let info = &self.scopes[*place];
            info.label() == scope || info.name == scope
        };
        let at = of_machine.find(|(_, (i, place))| i.machine == found && named(place));
        at.map(|(index, _)| index).ok_or_else(|| {
            let scopes = self.scopes.iter().filter(|i| i.kind() == self.machines[found].scope);
            let known: Vec<_> = scopes.map(ScopeInfo::label).collect();
            WordError::Scope(machine.to_owned(), scope.to_owned(), known.join(", "))
        })
    }

    /// The machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The scopes.
    pub fn scopes(&self) -> &[ScopeInfo] {
        &self.scopes
    }

    /// The label of a scope.
    pub fn label(&self, scope: Scope) -> String {
        let info = self.scopes.iter().find(|info| info.scope == scope);
        info.map_or_else(String::new, ScopeInfo::label)
    }

    /// Baselines.
    pub const fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// Freezes what has been learned: see [`Baselines::freeze`].
    pub fn freeze(
        &mut self,
        now: Nanos,
        env_digest: &str,
        ack_shares: AckShares,
    ) -> Option<&BaselineRecord> {
        self.baselines.freeze(now, env_digest, ack_shares)?;
        self.measure();
        self.baselines.frozen()
    }

    /// Takes baselines that were frozen before.
    pub fn load(&mut self, record: BaselineRecord) {
        self.baselines.load(record);
        self.measure();
    }

    /// What each bound is measured in, which changes with the baselines alone.
    fn measure(&mut self) {
        for (instance, place) in self.instances.iter_mut().zip(&self.scope_of) {
            let info = &self.scopes[*place];
            for judged in &mut instance.judged {
                judged.measure = measure(&judged.bound, info, &self.baselines);
            }
        }
    }

    /// Outside KPIs.
    pub const fn fed(&self) -> &Fed {
        &self.fed
    }

    /// Outside KPIs, to take one in.
    pub const fn fed_mut(&mut self) -> &mut Fed {
        &mut self.fed
    }

    /// The rate that no profile may take from a class, bits per second; `None` = not known yet, so
    /// none may be taken at all.
    pub fn rate_floor(&self, class: usize) -> Option<u64> {
        self.offered.rate_floor(class)
    }

    /// The state of a machine over a scope, by name.
    pub fn state_of(&self, machine: &str, scope: Scope) -> Option<&str> {
        let found = self.machines.iter().position(|known| known.name == machine)?;
        let mut instances = self.instances.iter();
        let instance = instances.find(|i| i.machine == found && i.scope == scope)?;
        Some(self.machines[found].state_name(instance.state))
    }

    /// A decision in JSON, with names.
    pub fn describe(&self, decision: &Decision) -> serde_json::Value {
        let machine = self.machines.get(decision.machine);
        let name = |id: StateId| machine.map_or("", |machine| machine.state_name(id));
        serde_json::json!({
            "at_ns": decision.at,
            "machine": machine.map_or("", |machine| &machine.name),
            "scope": self.label(decision.scope),
            "from": name(decision.from),
            "to": name(decision.to),
            "cause": decision.cause.name(),
            "window_s": decision.window_s,
            "values": decision.evidence,
        })
    }

    /// A decision as a row of the timeline.
    pub fn row(&self, decision: &Decision) -> RegimeLogRow {
        let machine = self.machines.get(decision.machine);
        let name = |id: StateId| machine.map_or("", |machine| machine.state_name(id)).to_owned();
        let values = decision.evidence.iter().map(|seen| (seen.term.clone(), seen.value));
        RegimeLogRow {
            at: decision.at,
            scope: self.label(decision.scope),
            machine: machine.map_or_else(String::new, |machine| machine.name.clone()),
            from: name(decision.from),
            to: name(decision.to),
            reason: decision.cause.name().to_owned(),
            values: values.collect(),
        }
    }

    /// Names of the causes that were ever an alarm, for counters.
    pub const ALARMS: [Cause; 3] = [Cause::Frozen, Cause::HeldOff, Cause::PinExpired];
}

/// What an instance reads from.
struct World<'a, F> {
    figures: &'a F,
    info: &'a ScopeInfo,
    now: Nanos,
    fed: &'a Fed,
    model: Option<&'a Logistic>,
}

impl<F: Figures> World<'_, F> {
    fn read(&self, input: &Input, window_s: u8) -> Reading {
        if input.is_fed() {
            return self.fed.read(self.now, &self.info.name, input);
        }
        if input.kpi == P_COMPRESSED_DRAIN {
            return self.probability(window_s);
        }
        let reading = self.figures.read(self.info.scope, input, window_s);
        match reading {
            Reading::Value { n, .. } if input.value == OBSERVATIONS => {
                Reading::Value { value: n as f64, n }
            }
            other => other,
        }
    }

    fn probability(&self, window_s: u8) -> Reading {
        let Some(model) = self.model else { return Reading::NoPart };
        let mut missing = Missing::NoSource;
        let read = |input: &Input| match self.read(input, window_s) {
            Reading::Value { value, n } => Some((value, n)),
            Reading::Absent(why) => {
                missing = why;
                None
            }
            Reading::NoPart => None,
        };
        match model.probability(read) {
            Some((value, n)) => Reading::Value { value, n },
            None => Reading::Absent(missing),
        }
    }
}

fn seconds(span: Nanos) -> u8 {
    u8::try_from(span.0 / 1_000_000_000).unwrap_or(u8::MAX)
}

/// What the factor of a bound counts, in the unit of its input.
fn measure(bound: &Bound, info: &ScopeInfo, baselines: &Baselines) -> Result<f64, Missing> {
    match bound.measure {
        Measure::Plain => Ok(1.0),
        Measure::Baseline => baselines.get(&info.label(), &bound.input).ok_or(Missing::NoBaseline),
        Measure::Cadence => info.cadence.map(|c| c.0 as f64).ok_or(Missing::NoCadence),
    }
}

/// What the dispatch-to-wire delay of a governed class is held against: its usual 99th percentile, all
/// of it.
pub fn watched() -> Input {
    Input { value: "p99".to_owned(), ..delay("total") }
}

fn delay(part: &str) -> Input {
    Input {
        kpi: "dispatch_to_wire_ns".to_owned(),
        part: Some(part.to_owned()),
        value: "p95".to_owned(),
        at_normal: false,
    }
}
