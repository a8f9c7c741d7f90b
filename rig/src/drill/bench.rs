//! Runs drills: one DPDK for all, a world for each arm.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::model::config::{Config, Hugepages, underlined};
use ::model::inflight::CompletionSource;
use ::model::kpi::Totals;
use ::model::regime::{Baseline, BaselineRecord, FIELDS, Posture, VALUES_MIN};
use control::regimes::{RegimeSettings, SettingsError};
use dataplane::clock::{BASELINE_MIN, Calibrator, ClockError, TscModel};
use dataplane::eal::{Eal, EalError, EalOptions, LogLevel};
use dataplane::pool::{Pool, PoolError};
use dataplane::port::in_turn::InTurn;
use dataplane::thread::{DataCore, DataCoreError};
use serde_json::{Map, Value, json};

use super::outlet::Outlet;
use super::scene::{START, Stage};
use super::thresholds::Thresholds;
use super::trace::{Trace, Transition};
use super::wire::Wire;
use super::words::DrillWords;
use super::{Drill, Finding, TWIN, Without};
use crate::world::nic;
use crate::world::{self, Control, Ended, Ends, FrameRx, Ports, VIRTUAL, WorldError};

/// Memory of DPDK: the largest pool of a drill's config.
const MEMORY_BYTES: u64 = 256 << 20;
/// Buffers in the cache of the one core.
const POOL_CACHE: u32 = 256;

/// Why a drill could not be run. What it shows is no error.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// Its config is wrong.
    #[error("the drill's config:\n{0}")]
    Config(String),
    /// It names a profile that its config does not have.
    #[error("the drill's config has no profile {0:?}")]
    Profile(&'static str),
    /// Thresholds of other states than its own.
    #[error("the machine {machine} of these thresholds has other states than that of the drill")]
    OtherStates {
        /// Its name.
        machine: String,
    },
    /// No such action.
    #[error("no profile changes {field:?}: allowed are {}", FIELDS.join(", "))]
    Without {
        /// What was asked for.
        field: String,
    },
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// No packet buffers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No lcore.
    #[error(transparent)]
    DataCore(#[from] DataCoreError),
    /// No clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The regime engine.
    #[error(transparent)]
    Regime(#[from] SettingsError),
    /// The gateway.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// What a drill has shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which one.
    pub name: &'static str,
    /// The seed of everything that was drawn.
    pub seed: u64,
    /// Its runs, the twin last.
    pub traces: Vec<Trace>,
    /// Expectations and what came of them.
    pub findings: Vec<Finding>,
    /// The same of the twin.
    pub twin: Vec<Finding>,
}

impl Shown {
    /// Whether everything came as it was said.
    pub fn holds(&self) -> bool {
        all_hold(&self.findings) && all_hold(&self.twin)
    }

    /// The object of `--json`. Nothing in it depends on the machine.
    pub fn json(&self, drill: &Drill) -> Value {
        let findings =
            |all: &[Finding]| Value::Array(all.iter().map(Finding::json).collect::<Vec<_>>());
        let traces = |twin: bool| self.traces.iter().filter(move |t| (t.arm == TWIN) == twin);
        let transitions =
            |twin: bool| -> Vec<Value> { traces(twin).flat_map(Trace::transitions_json).collect() };
        let by_arm = |twin: bool, of: fn(&Trace) -> Value| -> Map<String, Value> {
            traces(twin).map(|trace| (trace.arm.to_owned(), of(trace))).collect()
        };
        let facts: fn(&Trace) -> Value = |trace| json!(trace.facts);
        json!({
            "name": self.name,
            "playbook": drill.playbook,
            "injects": drill.injects,
            "must_show": drill.must_show,
            "seed": self.seed,
            "holds": self.holds(),
            "expectations": findings(&self.findings),
            "transitions": transitions(false),
            "kpis": by_arm(false, Trace::kpis_json),
            "facts": by_arm(false, facts),
            "twin": {
                "holds": all_hold(&self.twin),
                "expectations": findings(&self.twin),
                "transitions": transitions(true),
                "kpis": by_arm(true, Trace::kpis_json),
                "facts": by_arm(true, facts),
            },
        })
    }
}

fn all_hold(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.holds)
}

/// Where drills are run, one after the other.
pub struct Bench {
    eal: Arc<Eal>,
    tsc: TscModel,
    without: Without,
    thresholds: Option<Thresholds>,
}

impl Bench {
    /// Starts DPDK, which a process does once. With `thresholds` every drill has those instead of its own.
    ///
    /// # Errors
    /// An action that no profile has, or DPDK.
    pub fn open(without: Without, thresholds: Option<Thresholds>) -> Result<Self, DrillError> {
        let unknown = without.actions.iter().find(|(_, field)| !FIELDS.contains(&field.as_str()));
        if let Some((_, field)) = unknown {
            return Err(DrillError::Without { field: field.clone() });
        }
        let (_, tsc) = Calibrator::start(BASELINE_MIN)?;
        let eal = Eal::init(&EalOptions {
            memory_bytes: MEMORY_BYTES,
            hugepages: Hugepages::Never,
            control_cpu: None,
            file_prefix: format!("wirepace-drill-{}", std::process::id()),
            log_level: LogLevel::Warning,
            pci: false,
            telemetry: false,
        })?;
        Ok(Self { eal, tsc, without, thresholds })
    }

    /// Runs every arm of a drill and its twin.
    ///
    /// # Errors
    /// See [`DrillError`]. That it does not hold is none.
    pub fn run(&self, drill: &Drill, seed: u64) -> Result<Shown, DrillError> {
        let mut config = Config::from_toml(&format!("{}.toml", drill.name), drill.config)
            .map_err(|errors| DrillError::Config(underlined(&errors, drill.config)))?;
        config.gateway.seed = seed;
        if let Some(thresholds) = &self.thresholds {
            thresholds.put_into(&mut config)?;
        }
        for state in config.regime.machines.iter_mut().flat_map(|machine| &mut machine.states) {
            state.advice.retain(|request| !self.without.advice.contains(request));
        }
        let arms = drill.arms.iter().chain([&TWIN]);
        let traces: Vec<Trace> =
            arms.map(|arm| self.arm(drill, &config, arm, seed)).collect::<Result<_, _>>()?;
        let judged = |all: Vec<super::Expectation>| -> Vec<Finding> {
            all.iter().map(|expectation| expectation.judge(&traces)).collect()
        };
        let conserved = |twin: bool| traces.iter().filter(move |t| (t.arm == TWIN) == twin);
        let mut findings = judged((drill.expect)());
        findings.extend(conserved(false).map(in_order));
        let mut twin = judged((drill.expect_of_twin)());
        twin.extend(conserved(true).map(in_order));
        Ok(Shown { name: drill.name, seed, traces, findings, twin })
    }

    fn arm(
        &self,
        drill: &Drill,
        config: &Config,
        arm: &'static str,
        seed: u64,
    ) -> Result<Trace, DrillError> {
        let scene = (drill.scene)(arm, seed);
        let mut config = config.clone();
        config.regime.mode = scene.mode;
        let config = &config;
        let profile = match scene.profile {
            None => 0,
            Some(name) => {
                let at = config.profiles.iter().position(|profile| profile.name == name);
                at.ok_or(DrillError::Profile(name))?
            }
        };
        let (name, dpdk) = (format!("drill-{arm}"), &config.dpdk);
        let pool = Pool::create(&self.eal, &name, dpdk.mbufs, dpdk.mbuf_bytes, POOL_CACHE)?;
        let core = DataCore::enter(None, std::slice::from_ref(&pool))?;
        let pair = &config.pairs[0];
        let (outward, inward) = (Wire::default(), Wire::default());
        let (to_venue, to_inside) =
            (Outlet::new(scene.to_venue.clone()), Outlet::new(scene.to_inside.clone()));
        let lane = |(from, wire): (usize, &Wire), (to, outlet): (usize, &Outlet)| {
            let burst = usize::from(config.ports[from].rx_burst);
            let frames = FrameRx::new(wire.clone(), pool.clone(), burst);
            Ends {
                rx: (from, InTurn::new(nic::queues(config, from, frames))),
                tx: (to, outlet.clone()),
                completion: completion(outlet),
            }
        };
        let ends = vec![
            lane((pair.inside, &outward), (pair.venue, &to_venue)),
            lane((pair.venue, &inward), (pair.inside, &to_inside)),
        ];
        let by_second =
            pair.second_path.map(|_| (Wire::default(), Outlet::new(scene.second.clone())));
        let second = by_second.as_ref().zip(pair.second_path).map(|((wire, outlet), second)| {
            let burst = usize::from(config.ports[second.venue].rx_burst);
            let frames = FrameRx::new(wire.clone(), pool.clone(), burst);
            (InTurn::new(nic::queues(config, second.venue, frames)), outlet.clone())
        });
        let words = DrillWords::default();
        let marks = scene.marks.clone();
        let mut stage = Stage::new(
            scene,
            drill.watches,
            (outward, to_venue.clone()),
            (inward, to_inside.clone()),
            by_second,
            words.clone(),
        );
        let regimes = self.settings(drill, config)?;
        let control = Control { profile, regimes, recorder: None, freezes: false };
        let ports = Ports { ends, second };
        let ended = world::run(config, &pool, START, ports, control, words, &mut stage, self.tsc)?;
        let mut facts = stage.facts();
        facts.extend(counted(&ended));
        let whole = drill.watches.iter().map(|watch| (watch.name, watch.read(&ended.report)));
        let trace = Trace {
            arm,
            ended: START.saturating_add(ended.duration),
            whole: whole.collect(),
            transitions: ended.regimes.transitions().iter().map(Transition::of).collect(),
            instances: instances(config, &ended.regimes.scopes().collect::<Vec<_>>()),
            severities: severities(config),
            ticks: stage.ticks,
            series: stage.series,
            facts: facts.clone(),
            marks,
        };
        drop(ended.ends);
        drop(core);
        let leaked = f64::from(pool.in_use());
        Ok(Trace { facts: facts.into_iter().chain([("mbufs_leaked", leaked)]).collect(), ..trace })
    }

    fn settings(&self, drill: &Drill, config: &Config) -> Result<RegimeSettings, DrillError> {
        let mut values: BTreeMap<String, BTreeMap<String, Baseline>> = BTreeMap::new();
        for (scope, input, median) in drill.usual {
            let baseline = Baseline { median: *median, n: VALUES_MIN };
            values.entry((*scope).to_owned()).or_default().insert((*input).to_owned(), baseline);
        }
        let record = BaselineRecord {
            frozen_at_ns: START.0,
            env_digest: VIRTUAL.to_owned(),
            values,
            ..BaselineRecord::default()
        };
        let mut settings = RegimeSettings::new(config, VIRTUAL.to_owned())?.with_baselines(record);
        for (posture, field) in &self.without.actions {
            settings = settings
                .without(*posture, field)
                .ok_or_else(|| DrillError::Without { field: field.clone() })?;
        }
        Ok(if self.without.protection { settings.unprotected() } else { settings })
    }
}

/// The profiles of which an action can be taken away, by their names.
pub fn posture(name: &str) -> Option<Posture> {
    Posture::ACTING.into_iter().find(|posture| posture.name() == name)
}

fn completion(outlet: &Outlet) -> CompletionSource {
    if outlet.reports() { CompletionSource::RingCount } else { CompletionSource::Synchronous }
}

/// Every machine over every scope of its kind, with its lowest state.
fn instances(config: &Config, scopes: &[String]) -> Vec<(String, String, String)> {
    let of = |machine: &::model::regime::Machine| {
        let kind = format!("{}:", machine.scope.name());
        let (name, lowest) = (machine.name.clone(), machine.lowest.clone());
        let mine: Vec<_> = scopes.iter().filter(|scope| scope.starts_with(&kind)).collect();
        mine.into_iter().map(move |scope| (name.clone(), scope.clone(), lowest.clone()))
    };
    config.regime.machines.iter().flat_map(of).collect::<Vec<_>>()
}

fn severities(config: &Config) -> BTreeMap<String, usize> {
    let states = config.regime.machines.iter().flat_map(|machine| &machine.states);
    states.map(|state| (state.name.clone(), state.severity as usize)).collect()
}

/// Counters of a run. `unbalanced` is what packets in and out and ended do not add up to.
fn counted<R, T>(ended: &Ended<R, T>) -> BTreeMap<&'static str, f64> {
    let Totals { packets_in, packets_out, segments_added, held, early, .. } = ended.totals;
    let dropped = ended.totals.dropped();
    let unbalanced = (packets_in + segments_added).abs_diff(packets_out + dropped + held);
    let mut facts: BTreeMap<&'static str, f64> = [
        ("packets_in", packets_in),
        ("packets_out", packets_out),
        ("dropped", dropped),
        ("held", held),
        ("early", early),
        ("unbalanced", unbalanced),
        ("book_faults", ended.book_faults),
    ]
    .map(|(name, count)| (name, count as f64))
    .into();
    if let Some(paths) = ended.path_counters {
        facts.insert("path_moved", paths.moved as f64);
        facts.insert("path_returned", paths.returned as f64);
    }
    // Of observe, shadow, a trial and active; and how often it went down by itself.
    facts.insert("mode_at_end", f64::from(ended.regimes.mode().step()));
    let taken_back = ended.regimes.changes().iter().filter(|changed| changed.why != "asked");
    facts.insert("rolled_back", taken_back.count() as f64);
    facts.extend(ended.alarms.iter().map(|(name, count)| (*name, *count as f64)));
    facts
}

/// What must hold in every run of every drill: nothing early, every packet at one end, every buffer
/// back.
fn in_order(trace: &Trace) -> Finding {
    const ZERO: [&str; 5] = ["early", "held", "unbalanced", "book_faults", "mbufs_leaked"];
    let fact = |name: &str| trace.facts.get(name).copied();
    let carried = fact("packets_out").is_some_and(|packets| packets > 0.0);
    let holds = carried && ZERO.iter().all(|name| fact(name) == Some(0.0));
    let all = ZERO.iter().chain(&["packets_in", "packets_out", "dropped"]);
    let measured: Map<String, Value> =
        all.map(|name| ((*name).to_owned(), json!(fact(name)))).collect();
    Finding {
        arm: trace.arm,
        what: "the books".to_owned(),
        expected: format!("packets left, and {} are 0", ZERO.join(", ")),
        measured: Value::Object(measured),
        holds,
    }
}
