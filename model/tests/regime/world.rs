//! KPIs that a test sets, and an engine that is stepped through them.
#![allow(dead_code)] // each test file uses its share

mod gateway;

use std::collections::HashMap;

use model::config::Config;
use model::regime::{
    Baseline, BaselineRecord, Decision, Engine, EngineSettings, Figures, Input, Leave, Logistic,
    Machine, Missing, Reading, Scope, ScopeInfo,
};
use model::time::Nanos;

pub const TICK: Nanos = Nanos::from_millis(100);
pub const ORDERS: Scope = Scope::Class(0);
pub const QUEUE: Scope = Scope::TxQueue(1);
pub const QUOTES: Scope = Scope::Feed(2);

/// Every scope reads the same values, by their input without `_at_normal`.
#[derive(Clone, Debug, Default)]
pub struct Kpis {
    pub values: HashMap<Input, Reading>,
    pub packets: Option<u64>,
    pub offered: Option<u64>,
}

impl Kpis {
    pub fn set(&mut self, input: &str, value: f64) -> &mut Self {
        // How many there were is what is asked for.
        let n = if input.ends_with(".n") { value as u64 } else { 100_000 };
        self.put(input, Reading::Value { value, n })
    }

    pub fn put(&mut self, input: &str, reading: Reading) -> &mut Self {
        self.values.insert(input.parse().unwrap(), reading);
        self
    }

    pub fn remove(&mut self, input: &str) -> &mut Self {
        self.values.remove(&input.parse().unwrap());
        self
    }
}

impl Figures for Kpis {
    fn read(&self, _: Scope, input: &Input, _: u8) -> Reading {
        let found = if input.at_normal {
            self.values.get(&Input { at_normal: false, ..input.clone() })
        } else {
            self.values.get(input)
        };
        found.copied().unwrap_or(Reading::Absent(Missing::NoSource))
    }

    fn packets(&self, _: Scope) -> Option<u64> {
        self.packets
    }

    fn offered_bits_per_s(&self, _: usize) -> Option<u64> {
        self.offered
    }
}

/// The machines of a config with nothing but `[regime]` of its own.
pub fn machines(regime: &str) -> Vec<Machine> {
    match Config::from_toml("test.toml", &text(regime)) {
        Ok(config) => config.regime.machines,
        Err(errors) => panic!("{errors:#?}"),
    }
}

/// The text of a config with this in it beside a class of orders.
pub fn text(more: &str) -> String {
    gateway::text(
        "orders",
        &format!(
            "[[class]]
name = \"orders\"
cadence = \"1ms\"
{more}"
        ),
    )
}

/// Coefficients with which the probability is that of a fair coin at 1,000 bytes.
pub const MODEL: &str = r#"
[regime.p_compressed_drain]
intercept = -1.0
inputs = ["not_sent_bytes.p95"]
coefficients = [0.001]
"#;

pub fn logistic() -> Logistic {
    let features = vec![("not_sent_bytes.p95".parse().unwrap(), 0.001)];
    Logistic { intercept: -1.0, features }
}

pub struct Run {
    pub engine: Engine,
    pub kpis: Kpis,
    pub now: Nanos,
    pub leave: Leave,
    pub acts: bool,
    pub log: Vec<Decision>,
}

impl Run {
    /// Every baseline is 10,000 in the unit of its input, but 1 for indices.
    pub fn new(machines: Vec<Machine>) -> Self {
        let scopes = vec![
            ScopeInfo {
                scope: ORDERS,
                name: "orders".into(),
                cadence: Some(Nanos::from_millis(1)),
                order: true,
            },
            ScopeInfo { scope: QUEUE, name: "out".into(), cadence: None, order: false },
            ScopeInfo { scope: QUOTES, name: "quotes".into(), cadence: None, order: false },
        ];
        let settings = EngineSettings {
            tick: TICK,
            absent_release: Nanos::from_secs(60),
            compressed_drain: Some(logistic()),
        };
        let mut record = BaselineRecord::default();
        for info in &scopes {
            for bound in machines.iter().flat_map(Machine::bounds) {
                let input = Input { at_normal: false, ..bound.input.clone() }.to_string();
                let scaled =
                    bound.input.kpi.ends_with("_ns") || bound.input.kpi.ends_with("_bytes");
                let median = if scaled { 10_000.0 } else { 1.0 };
                let of_scope = record.values.entry(info.label()).or_default();
                of_scope.insert(input, Baseline { median, n: 100 });
            }
        }
        let mut engine = Engine::new(machines, scopes, settings);
        engine.load(record);
        let kpis = Kpis { packets: Some(100), ..Kpis::default() };
        let leave = Leave { decides: true, learns: false, latches: false };
        Self { engine, kpis, now: Nanos::from_secs(1), leave, acts: false, log: Vec::new() }
    }

    /// One tick; the decisions it made.
    pub fn tick(&mut self) -> Vec<Decision> {
        let acts = self.acts;
        let decided = self.engine.tick(self.now, &self.kpis, self.leave, |_| acts);
        self.now = self.now + TICK;
        self.log.extend(decided.clone());
        decided
    }

    pub fn run(&mut self, span: Nanos) -> &mut Self {
        for _ in 0..span.0 / TICK.0 {
            self.tick();
        }
        self
    }

    pub fn state(&self, machine: &str, scope: Scope) -> &str {
        self.engine.state_of(machine, scope).unwrap_or_else(|| panic!("no {machine}"))
    }

    /// Names of the states that an instance went through.
    pub fn path(&self, machine: &str, scope: Scope) -> Vec<String> {
        let index = self.engine.machines().iter().position(|m| m.name == machine).unwrap();
        let table = &self.engine.machines()[index];
        let mine = self.log.iter().filter(|d| d.machine == index && d.scope == scope);
        mine.filter(|d| d.is_transition()).map(|d| table.state_name(d.to).to_owned()).collect()
    }
}

pub fn secs(s: u64) -> Nanos {
    Nanos::from_secs(s)
}
