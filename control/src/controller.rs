//! What control does per interval.
//!
//! [`Controller::tick`] is a list in a fixed order; [`Controller::handle`] answers one request. Both
//! are given `now` and wait for nothing, so the server calls them in real time, `replay` in virtual
//! time from its one thread, and tests in any time they like.
//!
//! After a panic [`Controller::recover`] starts again from what the cores have in force.

use std::path::Path;
use std::sync::Arc;

use dataplane::advice_page::{AdvicePage, AdvicePageError};
use dataplane::channel::{ControlLink, Event, Phase};
use dataplane::clock::{PortClocks, TscModel};
use model::config::Config;
use model::kpi::AckShares;
use model::profile::Profile;
use model::regime::{COMPOSED_INDEX, COMPOSED_NAME};
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use serde_json::{Value, json};

use crate::advice::{self, Backpressure, Publisher, class_scope};
use crate::alarms::Alarms;
use crate::devices::{Devices, Watched};
use crate::regimes::Regimes;
use crate::registry::Registry;
use crate::request::{Request, Word, bad_usage, refusal};
use crate::stop_words::{self, StopError, StopWords};
use crate::switch::{Switch, SwitchCore};
use crate::telemetry::Board;
use crate::watch::{CoreWatch, Seen};
use crate::windows::Windows;

/// Events and blocks taken from one core in one tick.
const EVENTS_PER_TICK_MAX: usize = 1 << 12;
/// A core that has not taken a profile after so long will not soon.
const SWITCH_WAIT_MAX: Nanos = Nanos::from_secs(1);

/// What control makes of blocks and samples.
pub trait Kpis: Send {
    /// What a core fills.
    type Block: Send;

    /// Adds a full block of `core` and leaves it empty.
    fn merge(&mut self, core: usize, block: &mut Self::Block);

    /// Adds a sample of `core`.
    fn sample(&mut self, core: usize, row: &Sample);

    /// 10 ms have passed since `core` switched its profile: the longest that a due packet waited in that
    /// time, and packets that ended for want of room or time.
    fn switch_settled(&mut self, _core: usize, _longest_wait: Nanos, _lost: u64) {}

    /// How much of the acknowledgements of each class was compressed so far, where that is known.
    fn ack_shares(&self) -> AckShares {
        AckShares::new()
    }

    /// From here on `ack_compression_ratio` is measured in these.
    fn set_ack_baselines(&mut self, _usual: &AckShares) {}

    /// A regime machine has decided something.
    fn decision(&mut self, _row: RegimeLogRow) {}

    /// A tick is over: whatever belongs to it has been added. `cores` has one row for each core.
    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]);

    /// KPIs over each of `windows_s`, which rise, in seconds up to now; what it has none for is empty.
    fn windows(&mut self, _windows_s: &[u8]) -> Windows {
        Windows::default()
    }

    /// Puts its numbers on the list.
    fn publish(&self, registry: &mut Registry);

    /// The `kpis` object of `status`.
    fn to_json(&self) -> Value;
}

/// What [`Kpis::roll`] has to know of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreFacts {
    /// Index of the profile in force.
    pub profile: u16,
    /// Samples that found the ring full, since start.
    pub samples_lost: u64,
}

/// Gateway time as control needs it.
pub trait Clock: Send {
    /// Now.
    fn now(&mut self) -> Nanos;

    /// A model for the cores, when there is a better one than they have. Called once per tick.
    fn refresh(&mut self) -> Option<TscModel>;

    /// What has changed of the clocks behind the ports of the config, for the cores. Called once per
    /// tick.
    fn port_clocks(&mut self) -> Vec<(u8, PortClocks)> {
        Vec::new()
    }

    /// The `clock` object of `status`.
    fn describe(&self) -> Value;
}

/// What control has to know of the config.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the gateway.
    pub name: String,
    /// Version of the product.
    pub version: String,
    /// Digest of the config.
    pub digest: String,
    /// `[control] tick`.
    pub tick: Nanos,
    /// `[control] lease`.
    pub lease: Nanos,
    /// `[gateway] core_stall`.
    pub core_stall: Nanos,
    /// Every profile; 0 is `normal`.
    pub profiles: Vec<Profile>,
    /// Name and side of every port.
    pub ports: Vec<(String, &'static str)>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How long a profile that the operator pinned stays, `[regime] pin`.
    pub pin: Nanos,
}

impl Settings {
    /// From a checked config.
    pub fn new(config: &Config, version: &str) -> Self {
        let ports = config.ports.iter().map(|port| (port.name.clone(), port.side.name()));
        Self {
            name: config.gateway.name.clone(),
            version: version.to_owned(),
            digest: config.digest.clone(),
            tick: config.control.tick,
            lease: config.control.lease,
            core_stall: config.gateway.core_stall,
            profiles: config.profiles.clone(),
            ports: ports.collect(),
            classes: config.classes.iter().map(|class| class.name.clone()).collect(),
            pin: config.regime.pin,
        }
    }

    fn profile_name(&self, index: u16) -> &str {
        match index {
            COMPOSED_INDEX => COMPOSED_NAME,
            _ => self.profiles.get(usize::from(index)).map_or("unknown", |profile| &profile.name),
        }
    }
}

/// A data core as control sees it.
pub struct Core<B> {
    link: ControlLink<B>,
    cpu: Option<usize>,
    watch: CoreWatch,
    /// Indices of the ports that it sends to.
    ports: Vec<usize>,
    /// The composed table that it was last sent, if that is what it is to run by.
    composed: Option<Profile>,
    samples: u64,
    /// Stalls that the core reported itself.
    stalls: u64,
    longest_stall: Nanos,
    /// How often control saw it stand still and move again.
    still: u64,
    leases_expired: u64,
    switches: u64,
}

impl<B> Core<B> {
    /// A core at the other end of `link`, pinned to `cpu`.
    pub fn new(link: ControlLink<B>, cpu: Option<usize>, settings: &Settings) -> Self {
        Self {
            link,
            cpu,
            watch: CoreWatch::new(settings.tick),
            ports: Vec::new(),
            composed: None,
            samples: 0,
            stalls: 0,
            longest_stall: Nanos::ZERO,
            still: 0,
            leases_expired: 0,
            switches: 0,
        }
    }

    /// The ports that it sends to, by their indices in the config: what governs one of them is its
    /// affair.
    #[must_use]
    pub fn sends_to(mut self, ports: Vec<usize>) -> Self {
        self.ports = ports;
        self
    }

    fn is_watched(&self) -> bool {
        matches!(self.link.phase(), Phase::Running | Phase::Draining)
    }

    fn obeys(&self) -> bool {
        self.link.phase() != Phase::Ended
    }
}

/// What the process must not survive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A core stood still for `core_stall`. To go on would be a silent black hole.
    #[error(
        "data core {core}{} has made no progress for {still} (core_stall is {limit}): the process ends",
        on_cpu(*cpu)
    )]
    CoreStuck {
        /// Index of the core.
        core: usize,
        /// Its CPU.
        cpu: Option<usize>,
        /// For how long.
        still: Nanos,
        /// `core_stall`.
        limit: Nanos,
    },
}

pub(crate) fn on_cpu(cpu: Option<usize>) -> String {
    cpu.map_or_else(String::new, |cpu| format!(" (CPU {cpu})"))
}

/// What every interface shows: taken at the end of a tick and after every answer.
#[derive(Debug)]
pub struct Snapshot {
    /// The body of `/v1/status`.
    pub status: Value,
    /// The numbers of `/metrics`; the same stand in `status`.
    pub registry: Arc<Registry>,
    /// What strategies are advised: `at_ns`, and `advice` with one object for each scope.
    pub advice: Value,
    /// Grows with every change of the advice.
    pub advice_changes: u64,
}

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
    switches_asked: u64,
    alarms: Alarms,
    backpressure: Backpressure,
    advice: Publisher,
    devices: Option<Watched>,
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
            switches_asked: 0,
            alarms,
            backpressure,
            advice: Publisher::new(scopes),
            devices: None,
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

    /// One interval. Bounded by the sizes of the rings.
    ///
    /// # Errors
    /// [`Fatal`]: the process has to end. The tick is complete all the same.
    pub fn tick(&mut self, now: Nanos) -> Result<(), Fatal> {
        self.end_pin(now);
        self.renew_leases(now);
        self.drain_blocks();
        self.drain_samples();
        self.poll(now);
        self.roll_kpis(now);
        self.decide(now);
        let health = self.watch_cores(now);
        self.refresh_clock();
        self.look_at_devices(now);
        self.advise(now);
        self.ticks += 1;
        self.publish(now);
        health
    }

    /// The part of a tick that answers wait for: events, and profiles that come home.
    pub fn poll(&mut self, now: Nanos) {
        self.drain_events(now);
        self.free_profiles();
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
            other => Answer::Now(self.ask_regimes(other, now)),
        };
        if request.writes() {
            self.publish(now);
        }
        answer
    }

    /// The answer that was promised under `ticket`, once it is there.
    pub fn take_answer(&mut self, ticket: u64, now: Nanos) -> Option<Value> {
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

    fn renew_leases(&mut self, now: Nanos) {
        let until = now.saturating_add(self.settings.lease);
        let is_pinned = self.pinned.is_some();
        let cores = self.cores.iter().filter(|core| is_pinned || core.composed.is_some());
        cores.for_each(|core| core.link.renew_lease(until));
    }

    /// An operator who pinned a profile and went away must not leave it there for ever.
    fn end_pin(&mut self, now: Nanos) {
        if self.pinned.is_some() && now >= self.pinned_until {
            let profile = self.settings.profile_name(self.pinned.unwrap_or_default());
            tracing::warn!(profile, "the pin of a profile has expired");
            self.pinned = None;
            self.pins_expired += 1;
            self.return_to_normal();
        }
    }

    /// The regime engine's tick, when it is due, and the tables that come of it.
    fn decide(&mut self, now: Nanos) {
        let Some(regimes) = &mut self.regimes else { return };
        let Some(windows_s) = regimes.due(now) else { return };
        let windows =
            if windows_s.is_empty() { Windows::default() } else { self.kpis.windows(&windows_s) };
        regimes.tick(now, &windows, self.pinned.is_some());
        regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        self.send_tables(now);
    }

    /// Sends each core the table that it is to run by, where that has changed.
    fn send_tables(&mut self, now: Nanos) {
        let Some(regimes) = &self.regimes else { return };
        if self.pinned.is_some() {
            // The operator's word goes first; whatever a core had of ours is gone with it.
            self.cores.iter_mut().for_each(|core| core.composed = None);
            return;
        }
        let until = now.saturating_add(self.settings.lease);
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            let wanted = regimes.table_for(&core.ports).map(|composed| composed.profile);
            if wanted == core.composed {
                continue;
            }
            let sent = match &wanted {
                Some(profile) => core.link.set_profile(Box::new(profile.clone()), until),
                None => core.link.set_normal(),
            };
            match sent {
                Ok(_) => core.composed = wanted,
                Err(_) => self.tables_refused += 1,
            }
        }
    }

    /// What is said to the regime engine.
    fn ask_regimes(&mut self, request: &Request, now: Nanos) -> Value {
        let Some(regimes) = &mut self.regimes else {
            return refusal("this gateway runs without the regime engine");
        };
        let answer = match request {
            Request::RegimeGet {} => regimes.describe(now),
            Request::RegimePin { machine, scope, state, length_ns } => {
                regimes.pin(now, machine, scope, state, length_ns.map(Nanos))
            }
            Request::RegimeRelease { machine, scope } => regimes.release(now, machine, scope),
            Request::RegimeFreeze {} => regimes.freeze(now, &mut self.kpis),
            Request::Feed { values } => regimes.feed(now, values),
            Request::ModeGet {} => regimes.mode_json(),
            Request::ModeSet { mode, confirm } => regimes.set_mode(now, *mode, *confirm),
            Request::Status {}
            | Request::Advice {}
            | Request::ProfileGet {}
            | Request::ProfileSet { .. }
            | Request::StopWord { .. } => refusal("this is not for the regime engine"),
        };
        regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        // What a mode or a release ends, ends at once and not with the next tick.
        self.send_tables(now);
        answer
    }

    fn drain_blocks(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            for _ in 0..EVENTS_PER_TICK_MAX {
                let Some(mut block) = core.link.take_block() else { break };
                self.kpis.merge(index, &mut block);
                core.link.give_block(block);
            }
        }
    }

    fn drain_samples(&mut self) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            // What is there now and no more: a core that makes rows faster than control reads them must
            // not keep control from its next step.
            for _ in 0..core.link.samples_waiting() {
                let Some(mut row) = core.link.take_sample() else { break };
                core.samples += 1;
                if let Some(regimes) = &self.regimes {
                    regimes.note_in(&mut row);
                }
                self.kpis.sample(index, &row);
            }
        }
    }

    fn drain_events(&mut self, now: Nanos) {
        for index in 0..self.cores.len() {
            for _ in 0..EVENTS_PER_TICK_MAX {
                let Some(event) = self.cores[index].link.take_event() else { break };
                self.on_event(index, event, now);
            }
            if !self.cores[index].obeys() {
                self.switches.iter_mut().for_each(|switch| switch.core_ended(index));
            }
        }
    }

    fn on_event(&mut self, index: usize, event: Event, now: Nanos) {
        let core = &mut self.cores[index];
        match event {
            Event::ProfileSwitched { command, index: profile, previous, at } => {
                core.switches += 1;
                let name = self.settings.profile_name(profile);
                let before = self.settings.profile_name(previous);
                tracing::info!(
                    core = index,
                    at_ns = at.0,
                    from = before,
                    to = name,
                    "profile in force"
                );
                self.switches.iter_mut().for_each(|switch| switch.effective(index, command, at));
            }
            Event::SwitchSettled { command, longest_wait, lost } => {
                self.kpis.switch_settled(index, longest_wait, u64::from(lost));
                self.switches.iter_mut().for_each(|s| s.settled(index, command, longest_wait));
            }
            Event::LeaseExpired { profile, at } => {
                core.leases_expired += 1;
                let name = self.settings.profile_name(profile);
                tracing::warn!(core = index, at_ns = at.0, profile = name, "lease ran out");
                core.composed = None;
                if self.pinned == Some(profile) {
                    self.pinned = None;
                    self.return_to_normal();
                }
            }
            Event::Stall { length, .. } => {
                core.stalls += 1;
                core.longest_stall = core.longest_stall.max(length);
                self.alarms.on_stall(index, length, now);
            }
            Event::Backpressure { class, .. } => {
                self.backpressure.on_event(class, now);
                self.alarms.on_event(index, event, now);
            }
            Event::TxStall { .. }
            | Event::Starvation { .. }
            | Event::PoolAlarm { .. }
            | Event::RingFull { .. }
            | Event::PoolLow { .. }
            | Event::PoolReserve { .. }
            | Event::OverVenueLimit { .. }
            | Event::ExemptBehindLimit { .. }
            | Event::Link { .. } => self.alarms.on_event(index, event, now),
        }
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

    fn free_profiles(&mut self) {
        for core in &mut self.cores {
            while core.link.take_profile().is_some() {}
        }
    }

    fn roll_kpis(&mut self, now: Nanos) {
        let facts = self.cores.iter().map(|core| CoreFacts {
            profile: core.link.profile_in_force(),
            samples_lost: core.link.samples_lost(),
        });
        let facts: Vec<_> = facts.collect();
        self.kpis.roll(now, &facts);
    }

    fn watch_cores(&mut self, now: Nanos) -> Result<(), Fatal> {
        let mut health = Ok(());
        for (index, core) in self.cores.iter_mut().enumerate() {
            if !core.is_watched() {
                continue;
            }
            match core.watch.look(core.link.progress(), now) {
                Seen::Moves => {}
                Seen::Recovered(still) => {
                    core.still += 1;
                    self.alarms.on_still(index, still, now);
                }
                Seen::Still(still) if still >= self.settings.core_stall => {
                    let limit = self.settings.core_stall;
                    health = Err(Fatal::CoreStuck { core: index, cpu: core.cpu, still, limit });
                }
                Seen::Still(_) => {}
            }
        }
        health
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

    fn set_profile(&mut self, name: &str, now: Nanos) -> Answer {
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
        self.switches_asked += 1;
        let ticket = self.switches_asked;
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

    fn return_to_normal(&mut self) {
        for core in self.cores.iter_mut().filter(|core| core.obeys()) {
            core.composed = None;
            // Whatever it has now: another profile may still be on its way.
            if core.link.set_normal().is_err() {
                // Without a pin the lease is not renewed: it ends there by itself.
                tracing::warn!("a core does not take commands; its lease will end the profile");
            }
        }
    }

    fn set_stop_word(&mut self, scope: &str, word: Word) -> Value {
        match self.stop_words.apply(scope, word) {
            Ok(state) => state.reply(word),
            Err(StopError::Unknown(message)) => bad_usage(message),
            Err(StopError::Failed(message)) => refusal(message),
        }
    }

    fn profile_json(&self, now: Nanos) -> Value {
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

    fn publish(&mut self, now: Nanos) {
        let mut registry = Registry::new();
        self.put_own_numbers(&mut registry, now);
        let scopes = self.stop_words.scopes();
        stop_words::publish(&scopes, &mut registry);
        if let Some(devices) = &self.devices {
            devices.publish(&mut registry);
        }
        self.alarms.publish(&mut registry);
        self.advice.publish_numbers(&mut registry);
        self.kpis.publish(&mut registry);
        if let Some(regimes) = &self.regimes {
            regimes.publish(&mut registry);
        }
        let ports = self.settings.ports.iter();
        let cores = self.cores.iter().enumerate().map(|(index, core)| {
            json!({
                "core": index,
                "cpu": core.cpu,
                "phase": core.link.phase().name(),
                "profile": self.settings.profile_name(core.link.profile_in_force()),
            })
        });
        let status = json!({
            "name": self.settings.name,
            "version": self.settings.version,
            "config_digest": self.settings.digest,
            "at_ns": now.0,
            "uptime_s": seconds(now.saturating_sub(self.started)),
            "clock": self.clock.describe(),
            "profile": self.profile_json(now),
            "stop_words": stop_words::to_json(&scopes),
            "ports": ports.map(|(name, side)| json!({"name": name, "side": side})).collect::<Vec<_>>(),
            "cores": cores.collect::<Vec<_>>(),
            "regime": self.regimes.as_ref().map(|regimes| regimes.to_json(now)),
            "counters": registry.to_json(),
            "kpis": self.kpis.to_json(),
        });
        self.snapshot = Arc::new(Snapshot {
            status,
            registry: Arc::new(registry),
            advice: self.advice_json(now),
            advice_changes: self.advice.changes(),
        });
        self.board.put(Arc::clone(&self.snapshot));
    }

    fn put_own_numbers(&self, r: &mut Registry, now: Nanos) {
        r.info("config", "The config in force.", &[("digest", &self.settings.digest)]);
        let build = [("name", &*self.settings.name), ("version", &*self.settings.version)];
        r.info("build", "The running gateway.", &build);
        let uptime = seconds(now.saturating_sub(self.started));
        r.gauge("uptime_seconds", "Time since start, gateway time.", &[], uptime);
        r.counter("control_ticks", "Ticks of the control thread.", &[], self.ticks);
        let help = "Panics of the control thread that it was restarted after; forwarding went on.";
        r.counter("control_restarts", help, &[], self.restarts);
        let help = "Clock refreshes that a core had no room for.";
        r.counter("clock_refreshes_refused", help, &[], self.clock_refused);
        let pinned = u64::from(self.pinned.is_some());
        r.gauge("profile_pinned", "1 when the operator pinned a profile.", &[], pinned);
        let help = "Pins of a profile that ended by themselves.";
        r.counter("alarm_pin_expired", help, &[], self.pins_expired);
        let help = "Composed tables that a core had no room for; they are sent again.";
        r.counter("composed_tables_refused", help, &[], self.tables_refused);
        for (index, core) in self.cores.iter().enumerate() {
            let label = index.to_string();
            let labels = [("core", &*label)];
            let link = &core.link;
            r.counter("samples", "Samples that reached control.", &labels, core.samples);
            let help = "Samples that found their ring full; forwarding did not wait.";
            r.counter("samples_lost", help, &labels, link.samples_lost());
            let help = "Events that found their ring full; forwarding did not wait.";
            r.counter("events_lost", help, &labels, link.events_lost());
            let help = "Profiles that ended because control did not renew their lease.";
            r.counter("lease_expired", help, &labels, core.leases_expired);
            r.counter("profile_switches", "Changes of profile.", &labels, core.switches);
            let help = "Times that the core found that it had not polled for a while.";
            r.counter("core_stalls", help, &labels, core.stalls);
            let help = "The longest such time.";
            r.gauge("core_stall_longest_ns", help, &labels, core.longest_stall.0);
            let help = "Times that control saw the core stand still and move again.";
            r.counter("core_still", help, &labels, core.still);
            if core.is_watched() {
                let help = "Time since control last saw the core move.";
                let since = seconds(core.watch.since_moved(now));
                r.gauge("core_last_progress_seconds", help, &labels, since);
            }
            for (profile, params) in self.settings.profiles.iter().enumerate() {
                let on = u64::from(usize::from(link.profile_in_force()) == profile);
                let labels = [("core", &*label), ("profile", &*params.name)];
                r.gauge("profile_in_force", "1 for the profile in force.", &labels, on);
            }
        }
    }
}

/// For people; figures that count stay in ns.
fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / 1e9
}
