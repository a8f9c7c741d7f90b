//! What control does per interval.
//!
//! [`Controller::tick`] is a list in a fixed order; [`Controller::handle`] answers one request. Both
//! are given `now` and wait for nothing, so the server calls them in real time, `replay` in virtual
//! time from its one thread, and tests in any time they like.
//!
//! After a panic [`Controller::recover`] starts again from what the cores have in force.

mod capture;
mod config;
mod core;
mod decide;
mod drain;
mod flows;
mod given;
mod health;
mod profile;
mod settings;
mod show;
mod stalls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataplane::advice_page::{AdvicePage, AdvicePageError};
use dataplane::channel::Phase;
use model::time::Nanos;
use serde_json::{Value, json};

use crate::advice::{self, Backpressure, Publisher, class_scope};
use crate::alarms::Alarms;
use crate::bundle::{Beside, Bundles};
use crate::cpu_times::CpuTimes;
use crate::devices::{Devices, Watched};
use crate::live_config::LiveConfig;
use crate::recent_log::RecentLog;
use crate::regimes::Regimes;
use crate::registry::{Provenance, Registry};
use crate::request::{Request, Word, bad_usage, refusal};
use crate::stalls::StallLog;
use crate::stop_words::{StopError, StopWords};
use crate::switch::Switch;
use crate::telemetry::Board;

use self::capture::Capture;
use self::config::ConfigChange;
pub use self::core::Core;
use self::decide::TickCost;
pub use self::flows::FLOWS_SHOWN_MAX;
use self::flows::FlowsAsked;
pub use self::given::{Clock, CoreFacts, Kpis};
pub use self::health::Fatal;
pub(crate) use self::health::on_cpu;
pub use self::settings::Settings;
pub use self::show::Snapshot;

/// The answer to a request.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// At once.
    Now(Value),
    /// From [`Controller::take_answer`], under this number.
    Later(u64),
}

/// Control. See the module's text.
pub struct Controller<K: Kpis> {
    settings: Settings,
    cores: Vec<Core<K::Block>>,
    kpis: K,
    stop_words: Box<dyn StopWords>,
    clock: Box<dyn Clock>,
    started: Nanos,
    /// Index of the profile that the operator pinned; its lease is renewed.
    pinned: Option<u16>,
    /// When the pin ends by itself.
    pinned_until: Nanos,
    pins_expired: u64,
    regimes: Option<Regimes>,
    /// Composed tables that a core had no room for; they are sent again.
    tables_refused: u64,
    switches: Vec<Switch>,
    /// Answers that were promised.
    tickets: u64,
    config: Option<LiveConfig>,
    config_change: Option<ConfigChange>,
    flows_asked: Option<FlowsAsked>,
    capture: Option<Capture>,
    bundles: Option<Bundles>,
    tick_cost: TickCost,
    alarms: Alarms,
    backpressure: Backpressure,
    advice: Publisher,
    devices: Option<Watched>,
    cpu_times: Option<CpuTimes>,
    stalls: StallLog,
    log: Option<RecentLog>,
    /// As of the last tick.
    every_core_moves: bool,
    ticks: u64,
    restarts: u64,
    clock_refused: u64,
    snapshot: Arc<Snapshot>,
    board: Arc<Board>,
}

impl<K: Kpis> Controller<K> {
    /// Control over `cores`, all of which are in `normal`.
    pub fn new(
        settings: Settings,
        cores: Vec<Core<K::Block>>,
        kpis: K,
        stop_words: Box<dyn StopWords>,
        mut clock: Box<dyn Clock>,
    ) -> Self {
        let started = clock.now();
        let alarms = Alarms::new(&settings.ports, &settings.classes);
        let nothing = Snapshot {
            status: Value::Null,
            registry: Arc::new(Registry::new()),
            provenance: Provenance::default(),
            advice: Value::Null,
            advice_changes: 0,
        };
        let scopes = settings.classes.iter().map(|class| class_scope(class)).collect();
        let backpressure = Backpressure::new(&settings.classes);
        let mut new = Self {
            settings,
            cores,
            kpis,
            stop_words,
            clock,
            started,
            pinned: None,
            pinned_until: Nanos::ZERO,
            pins_expired: 0,
            regimes: None,
            tables_refused: 0,
            switches: Vec::new(),
            tickets: 0,
            config: None,
            config_change: None,
            flows_asked: None,
            capture: None,
            bundles: None,
            tick_cost: TickCost::default(),
            alarms,
            backpressure,
            advice: Publisher::new(scopes),
            devices: None,
            cpu_times: None,
            stalls: StallLog::default(),
            log: None,
            every_core_moves: false,
            ticks: 0,
            restarts: 0,
            clock_refused: 0,
            snapshot: Arc::new(nothing),
            board: Arc::default(),
        };
        new.publish(started);
        new
    }

    /// The same with the regime engine, which KPIs have to keep sliding windows for.
    #[must_use]
    pub fn with_regimes(mut self, regimes: Regimes) -> Self {
        self.advice.know(regimes.scopes());
        if let Some(record) = regimes.baselines() {
            self.kpis.set_ack_baselines(&record.ack_shares);
        }
        self.regimes = Some(regimes);
        let now = self.clock.now();
        self.publish(now);
        self
    }

    /// The same with a pool and devices behind the cores.
    #[must_use]
    pub fn with_devices(mut self, devices: Box<dyn Devices>) -> Self {
        let names = self.settings.ports.iter().map(|(name, _)| name.clone()).collect();
        self.devices = Some(Watched::new(devices, names));
        let now = self.clock.now();
        self.publish(now);
        self
    }

    /// The same with a config that can change while it runs.
    #[must_use]
    pub fn with_live_config(mut self, config: LiveConfig) -> Self {
        self.config = Some(config);
        let now = self.clock.now();
        self.publish(now);
        self
    }

    /// One interval. Bounded by the sizes of the rings.
    ///
    /// # Errors
    /// [`Fatal`]: the process has to end. The tick is complete all the same.
    pub fn tick(&mut self, now: Nanos) -> Result<(), Fatal> {
        self.end_pin(now);
        self.end_trial(now);
        self.renew_leases(now);
        self.drain_blocks();
        self.drain_samples();
        self.poll(now);
        self.roll_kpis(now);
        self.decide(now);
        let health = self.watch_cores(now);
        self.refresh_clock();
        self.look_at_devices(now);
        self.drain_stalls(now);
        self.look_at_capture(now);
        self.advise(now);
        self.ticks += 1;
        self.publish(now);
        health
    }

    /// The part of a tick that answers wait for: events, and profiles that come home.
    pub fn poll(&mut self, now: Nanos) {
        self.drain_events(now);
        self.free_profiles();
        self.drain_surveys();
        self.look_at_change(now);
    }

    /// Answers one request.
    pub fn handle(&mut self, request: &Request, now: Nanos) -> Answer {
        let answer = match request {
            Request::Status {} => {
                self.publish(now);
                return Answer::Now(self.snapshot.status.clone());
            }
            Request::ProfileGet {} => Answer::Now(self.profile_json(now)),
            Request::Advice {} => Answer::Now(self.advice_json(now)),
            Request::ProfileSet { name } => self.set_profile(name, now),
            Request::StopWord { word, scope } => Answer::Now(self.set_stop_word(scope, *word)),
            Request::ConfigGet {}
            | Request::ConfigApply { .. }
            | Request::ConfigConfirm {}
            | Request::ConfigRollback { .. }
            | Request::ConfigHistory {} => self.ask_config(request, now),
            Request::Flows { class, holding, max } => {
                self.ask_flows(class.as_deref(), *holding, *max, now)
            }
            Request::Stalls { max } => {
                self.drain_stalls(now);
                Answer::Now(self.stalls_json(max.unwrap_or(usize::MAX), now))
            }
            Request::Log {} => Answer::Now(match &self.log {
                Some(log) => json!({ "log": log.text() }),
                None => refusal("this gateway does not keep what it logs"),
            }),
            Request::CaptureStart { what } => Answer::Now(self.start_capture(what, now)),
            Request::CaptureTake {} => Answer::Now(self.take_captured(now)),
            Request::CaptureStop {} => Answer::Now(self.stop_capture()),
            other => Answer::Now(self.ask_regimes(other, now)),
        };
        if request.writes() {
            self.publish(now);
        }
        answer
    }

    /// The answer that was promised under `ticket`, once it is there.
    pub fn take_answer(&mut self, ticket: u64, now: Nanos) -> Option<Value> {
        self.take_change(ticket)
            .or_else(|| self.take_flows(ticket, now))
            .or_else(|| self.take_switch(ticket, now))
    }

    fn new_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Starts again after a panic: what was under way is forgotten, what the cores have in force
    /// is taken up. Where they disagree, all go back to `normal`.
    pub fn recover(&mut self, now: Nanos) {
        self.restarts += 1;
        self.switches.clear();
        self.cores.iter_mut().for_each(|core| core.composed = None);
        let mut in_force: Vec<u16> = self
            .cores
            .iter()
            .filter(|core| core.obeys())
            .map(|core| core.link.profile_in_force())
            .collect();
        in_force.dedup();
        let known = |index: &u16| usize::from(*index) < self.settings.profiles.len();
        self.pinned = match in_force[..] {
            [] | [0] => None,
            [index] if known(&index) => {
                self.pinned_until = now.saturating_add(self.settings.pin);
                Some(index)
            }
            _ => {
                self.return_to_normal();
                None
            }
        };
        self.renew_leases(now);
        self.recover_config(now);
        self.flows_asked = None;
        self.end_capture();
        self.publish(now);
    }

    /// Now, by the controller's own clock.
    pub fn now(&mut self) -> Nanos {
        self.clock.now()
    }

    /// `[control] tick`.
    pub fn tick_length(&self) -> Nanos {
        self.settings.tick
    }

    /// What every interface shows.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Where every snapshot can be looked at from other threads.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// The regime engine.
    pub const fn regimes(&self) -> Option<&Regimes> {
        self.regimes.as_ref()
    }

    /// The KPIs, for the summary of a run.
    pub fn kpis(&self) -> &K {
        &self.kpis
    }

    /// The same, to close them.
    pub const fn kpis_mut(&mut self) -> &mut K {
        &mut self.kpis
    }

    /// Whether every core has ended.
    pub fn all_ended(&self) -> bool {
        self.cores.iter().all(|core| core.link.phase() == Phase::Ended)
    }

    /// Advice goes into shared memory too.
    ///
    /// # Errors
    /// The page cannot be made.
    pub fn advise_in_memory(&mut self, path: &Path) -> Result<(), AdvicePageError> {
        self.advice.set_page(AdvicePage::create(path, self.advice.slots())?);
        Ok(())
    }

    /// Keeps a bundle in `dir` of what is known, and of what `beside` collects, whenever a scope comes to be
    /// contained in mode active.
    pub fn keep_bundles(&mut self, dir: PathBuf, beside: Vec<Beside>) {
        self.bundles = Some(Bundles::new(dir, beside));
    }

    /// What was logged lately, for a report.
    pub fn show_log(&mut self, log: RecentLog) {
        self.log = Some(log);
    }

    fn advise(&mut self, now: Nanos) {
        let mut advice = self.backpressure.advice(now);
        if let Some(regimes) = &self.regimes {
            advice::add(&mut advice, regimes.advises());
        }
        self.advice.publish(now, &advice);
    }

    fn advice_json(&self, now: Nanos) -> Value {
        json!({ "at_ns": now.0, "advice": self.advice.to_json(now) })
    }

    fn roll_kpis(&mut self, now: Nanos) {
        let facts = self.cores.iter().map(|core| CoreFacts {
            profile: core.link.profile_in_force(),
            samples_lost: core.link.samples_lost(),
        });
        let facts: Vec<_> = facts.collect();
        self.kpis.roll(now, &facts);
    }

    fn look_at_devices(&mut self, now: Nanos) {
        if let Some(devices) = &mut self.devices {
            devices.look(&mut self.alarms, now);
        }
    }

    fn refresh_clock(&mut self) {
        for (port, clocks) in self.clock.port_clocks() {
            for core in self.cores.iter_mut().filter(|core| core.obeys()) {
                // The next reading of the device brings the next model.
                let refused = core.link.set_port_clocks(port, clocks).is_err();
                self.clock_refused += u64::from(refused);
            }
        }
        let Some(model) = self.clock.refresh() else { return };
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            // The next refresh comes with the next tick; until then the core runs on its old slope.
            self.clock_refused += u64::from(core.link.set_clock(model).is_err());
        }
    }

    fn set_stop_word(&mut self, scope: &str, word: Word) -> Value {
        match self.stop_words.apply(scope, word) {
            Ok(state) => {
                let mut reply = state.reply(word);
                self.settings.halt_gaps.note(word, &state.scope, &mut reply);
                reply
            }
            Err(StopError::Unknown(message)) => bad_usage(message),
            Err(StopError::Failed(message)) => refusal(message),
        }
    }
}

/// For people; figures that count stay in ns.
fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / 1e9
}
