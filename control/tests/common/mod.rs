//! A world for control: cores that poll in any time, KPIs that count, stop words in a map.
#![allow(dead_code)] // each test file uses its share
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use control::access::Access;
use control::controller::{Clock, Controller, Core, CoreFacts, Kpis, Settings};
use control::registry::Registry;
use control::request::Word;
use control::stop_words::{ScopeState, StopError, StopWords};
use dataplane::channel::{Action, Event, Stopper, WorkerLink, link};
use dataplane::clock::TscModel;
use model::calendar::Calendar;
use model::kind::{Kind, Side};
use model::kpi::AckShares;
use model::profile::Profile;
use model::sample::{End, Release, Sample};
use model::stop::StopWord;
use model::time::Nanos;
use serde_json::{Value, json};

pub const MS: fn(u64) -> Nanos = Nanos::from_millis;
pub const START: Nanos = Nanos::from_secs(1_000);

pub fn profile(index: u16, name: &str) -> Profile {
    Profile {
        name: name.into(),
        index,
        classes: vec![],
        egress: vec![],
        canary: None,
        venue_limits: vec![],
    }
}

/// The control socket is for the user of the tests and root.
pub fn access() -> Access {
    Access::of(&model::config::Access::default()).unwrap()
}

pub fn settings() -> Settings {
    Settings {
        name: "gw-test".into(),
        version: "9.9.9".into(),
        digest: "d1e57".into(),
        tick: MS(20),
        lease: MS(5_000),
        core_stall: MS(500),
        stall_threshold: Nanos(250_000),
        profiles: vec![profile(0, "normal"), profile(1, "smooth"), profile(2, "contain")],
        ports: vec![("in".into(), "inside"), ("out".into(), "venue")],
        classes: vec!["orders".into(), "say \"hi\"\\".into()],
        halt_gaps: control::stop_words::HaltGaps::default(),
        pin: MS(60_000),
        sessions: Calendar::default(),
        host: None,
    }
}

pub fn sample(id: u64) -> Sample {
    Sample {
        packet_id: id,
        correlation_id: None,
        flow: 0,
        tcp_end_seq: None,
        tcp: None,
        class: 0,
        label: 0,
        kind: Kind::Order,
        urgency: 0,
        len: 60,
        messages: 1,
        t_decision: None,
        t_dispatch: Nanos(id),
        t_due: Nanos(id),
        t_sched: None,
        t_normal: None,
        t_eligible: None,
        t_tx: Some(Nanos(id)),
        t_wire: None,
        t_ingress: Nanos(id),
        t_carried: None,
        t_delivery: None,
        clock_error_ns: None,
        intent: Default::default(),
        ingress_source: Default::default(),
        departure_source: Default::default(),
        simulated_link: false,
        from: Side::Inside,
        port: 0,
        queue: 0,
        backlog_bytes: 0,
        end: End::Sent(Release::Governed),
        regime: None,
        profile: 0,
        mode: Default::default(),
        canary: None,
        weight: 1,
    }
}

/// Counts, and panics in the next roll when it is told to.
#[derive(Default)]
pub struct Counting {
    pub merged: BTreeMap<usize, u64>,
    pub samples: BTreeMap<usize, u64>,
    pub facts: Vec<CoreFacts>,
    pub panic_next: Arc<AtomicBool>,
    /// What it shows beside.
    pub bulk: String,
    /// How long a roll takes, as on a machine that is busy with something else.
    pub roll_ms: Arc<AtomicU64>,
    /// Tries to start a program in the next roll when it is told to.
    pub forbidden_next: Arc<AtomicBool>,
    /// How often it has, and how the last attempt ended.
    pub attempts: u64,
    pub forbidden: String,
    /// What it says of acknowledgements, and what it was told is usual.
    pub shares: AckShares,
    pub usual: AckShares,
}

impl Kpis for Counting {
    type Block = u64;

    fn ack_shares(&self) -> AckShares {
        self.shares.clone()
    }

    fn set_ack_baselines(&mut self, usual: &AckShares) {
        self.usual = usual.clone();
    }

    fn merge(&mut self, core: usize, block: &mut u64) {
        *self.merged.entry(core).or_default() += std::mem::take(block);
    }

    fn sample(&mut self, core: usize, _: &Sample) {
        *self.samples.entry(core).or_default() += 1;
    }

    fn roll(&mut self, _: Nanos, cores: &[CoreFacts]) {
        self.facts = cores.to_vec();
        std::thread::sleep(Duration::from_millis(self.roll_ms.load(Ordering::SeqCst)));
        if self.forbidden_next.swap(false, Ordering::SeqCst) {
            self.attempts += 1;
            let attempt = std::process::Command::new("/bin/true").status();
            self.forbidden = attempt.map_or_else(|error| error.to_string(), |_| "done".to_owned());
        }
        assert!(!self.panic_next.swap(false, Ordering::SeqCst), "a panic that the test asked for");
    }

    fn publish(&self, registry: &mut Registry) {
        for (core, merged) in &self.merged {
            let core = core.to_string();
            registry.counter("packets_in", "Packets that arrived.", &[("core", &core)], *merged);
        }
        for (quantile, value) in [("0.5", 1_200_u64), ("0.99", 98_000)] {
            let labels = [
                ("port", "out"),
                ("class", "say \"hi\"\\"),
                ("kind", "order"),
                ("quantile", quantile),
            ];
            registry.gauge("dispatch_to_wire_ns", "t_wire - t_dispatch.", &labels, value);
        }
        registry.gauge("burstiness_index", "BI.", &[("class", "orders")], 0.062_5);
        registry.counter("drops", "By reason.", &[("reason", "runt")], 3);
    }

    fn to_json(&self) -> Value {
        json!({
            "merged": self.merged.values().sum::<u64>(),
            "forbidden": self.forbidden,
            "attempts": self.attempts,
            "bulk": self.bulk,
        })
    }
}

/// Words in a map; knows `all`, `venue:X` and `class:orders`.
#[derive(Clone, Default)]
pub struct Words(Arc<Mutex<BTreeMap<String, StopWord>>>);

impl StopWords for Words {
    fn apply(&self, scope: &str, word: Word) -> Result<ScopeState, StopError> {
        if !["all", "venue:X", "class:orders"].contains(&scope) {
            return Err(StopError::Unknown(format!("no scope {scope:?}")));
        }
        let own = match word {
            Word::Halt => StopWord::Halt,
            Word::Passthrough => StopWord::Passthrough,
            Word::Resume => StopWord::Running,
        };
        let mut words = self.0.lock().unwrap();
        words.insert(scope.to_owned(), own);
        let all = words.get("all").copied().unwrap_or_default();
        Ok(scope_state(scope, own, all))
    }

    fn scopes(&self) -> Vec<ScopeState> {
        let words = self.0.lock().unwrap();
        let all = words.get("all").copied().unwrap_or_default();
        words.iter().map(|(scope, own)| scope_state(scope, *own, all)).collect()
    }
}

fn scope_state(scope: &str, word: StopWord, all: StopWord) -> ScopeState {
    let held_by = if all > word { vec![("all".to_owned(), all)] } else { vec![] };
    ScopeState { scope: scope.to_owned(), word, state: all.max(word), held_by }
}

/// A clock that the test moves.
#[derive(Clone)]
pub struct Hand(Arc<AtomicU64>, Arc<Mutex<Option<TscModel>>>);

impl Hand {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START.0)), Arc::default())
    }

    pub fn set(&self, now: Nanos) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    pub fn offer(&self, model: TscModel) {
        *self.1.lock().unwrap() = Some(model);
    }
}

impl Clock for Hand {
    fn now(&mut self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }

    fn refresh(&mut self) -> Option<TscModel> {
        self.1.lock().unwrap().take()
    }

    fn describe(&self) -> Value {
        json!({ "kind": "test" })
    }
}

/// A clock that runs.
pub struct Running(pub Instant);

impl Running {
    pub fn at(start: Instant) -> Nanos {
        START.saturating_add(Nanos(u64::try_from(start.elapsed().as_nanos()).unwrap()))
    }
}

impl Clock for Running {
    fn now(&mut self) -> Nanos {
        Self::at(self.0)
    }

    fn refresh(&mut self) -> Option<TscModel> {
        None
    }

    fn describe(&self) -> Value {
        json!({ "kind": "running" })
    }
}

/// A core that the test polls.
pub struct Poller {
    pub link: WorkerLink<u64>,
    pub own: Box<u64>,
    pub polls: u64,
    pub clock: Option<TscModel>,
    pub stopped: bool,
    /// What it was told of stalls.
    pub stall_threshold: Option<Nanos>,
}

impl Poller {
    /// One that has not polled yet.
    pub fn new(link: WorkerLink<u64>) -> Self {
        let own = Box::new(0);
        Self { link, own, polls: 0, clock: None, stopped: false, stall_threshold: None }
    }

    /// One poll at `now`, in the order that the channel asks for.
    pub fn poll(&mut self, now: Nanos) {
        match self.link.turn(now) {
            Some(Action::PortClocks(..)) => {}
            Some(Action::Clock(model)) => self.clock = Some(model),
            Some(Action::StallThreshold(threshold)) => self.stall_threshold = Some(threshold),
            Some(Action::Stop) => self.stopped = true,
            Some(Action::ProfileChanged | Action::ConfirmedChanged) | None => {}
        }
        if let Some(empty) = self.link.empty_block() {
            let full = std::mem::replace(&mut self.own, empty);
            self.link.send_block(full);
        }
        self.polls += 1;
        self.link.progress(self.polls);
    }

    pub fn in_force(&self) -> String {
        self.link.profile().name.clone()
    }
}

/// Control over `cores` pollers, in virtual time.
pub struct World {
    pub control: Controller<Counting>,
    pub cores: Vec<Poller>,
    pub clock: Hand,
    pub words: Words,
    pub now: Nanos,
    pub panic_next: Arc<AtomicBool>,
}

pub fn core(settings: &Settings, cpu: usize, samples: usize) -> (Poller, Core<u64>) {
    let normal = Box::new(settings.profiles[0].clone());
    let (worker, control) = link(samples, 16, normal, Box::new(0));
    worker.start();
    let poller = Poller::new(worker);
    (poller, Core::new(control, Some(cpu), settings))
}

impl World {
    pub fn new(cores: usize) -> Self {
        Self::of(settings(), cores)
    }

    pub fn of(settings: Settings, cores: usize) -> Self {
        let (pollers, ends): (Vec<_>, Vec<_>) =
            (0..cores).map(|n| core(&settings, 10 + n, 64)).unzip();
        let (clock, words) = (Hand::new(), Words::default());
        let panic_next = Arc::new(AtomicBool::new(false));
        let kpis = Counting { panic_next: Arc::clone(&panic_next), ..Counting::default() };
        let control =
            Controller::new(settings, ends, kpis, Box::new(words.clone()), Box::new(clock.clone()));
        Self { control, cores: pollers, clock, words, now: START, panic_next }
    }

    /// Time passes in steps of 1 ms: every core polls in each, control ticks every 20 ms.
    pub fn run(&mut self, span: Nanos) {
        for _ in 0..span.0 / MS(1).0 {
            self.step(true);
            if self.now.0.is_multiple_of(MS(20).0) {
                self.control.tick(self.now).unwrap();
            }
        }
    }

    /// Time passes with the control thread dead.
    pub fn run_without_control(&mut self, span: Nanos) {
        (0..span.0 / MS(1).0).for_each(|_| self.step(true));
    }

    pub fn step(&mut self, poll: bool) {
        self.now = self.now.saturating_add(MS(1));
        self.clock.set(self.now);
        if poll {
            self.cores.iter_mut().for_each(|core| core.poll(self.now));
        }
    }

    pub fn status(&mut self) -> Value {
        match self.control.handle(&control::request::Request::Status {}, self.now) {
            control::controller::Answer::Now(value) => value,
            later => panic!("{later:?}"),
        }
    }

    /// A counter of core `core` in `status`.
    pub fn counter(&mut self, name: &str, core: usize) -> u64 {
        let status = self.status();
        let rows = status["counters"][name].as_array().unwrap_or_else(|| panic!("no {name}"));
        let core = core.to_string();
        let row = rows.iter().find(|row| row["core"] == *core).unwrap();
        row["value"].as_u64().unwrap()
    }
}

/// Cores that poll on threads of their own, in running time.
pub struct Threads {
    pub stoppers: Vec<Stopper<u64>>,
    pub frozen: Arc<AtomicBool>,
    pub joins: Vec<JoinHandle<()>>,
}

/// Control over `cores` threads that poll every 100 us and count one packet each time. Its status is `bulk`
/// bytes longer than it would be.
pub fn threads(cores: usize, bulk: usize) -> (Controller<Counting>, Threads, Arc<AtomicBool>) {
    let settings = settings();
    let start = Instant::now();
    let frozen = Arc::new(AtomicBool::new(false));
    let (mut stoppers, mut joins, mut ends) = (vec![], vec![], vec![]);
    for n in 0..cores {
        let normal = Box::new(settings.profiles[0].clone());
        let (worker, control) = link(64, 16, normal, Box::new(0));
        worker.start();
        stoppers.push(control.stopper());
        ends.push(Core::new(control, Some(n), &settings));
        let frozen = Arc::clone(&frozen);
        let mut poller = Poller::new(worker);
        joins.push(std::thread::spawn(move || {
            while !poller.stopped && start.elapsed() < Duration::from_secs(60) {
                if !frozen.load(Ordering::SeqCst) {
                    *poller.own += 1;
                    poller.link.released(Nanos(1_500));
                    poller.poll(Running::at(start));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
            poller.link.finish(poller.own);
        }));
    }
    let panic_next = Arc::new(AtomicBool::new(false));
    let bulk = "x".repeat(bulk);
    let kpis = Counting { panic_next: Arc::clone(&panic_next), bulk, ..Counting::default() };
    let words = Box::new(Words::default());
    let control = Controller::new(settings, ends, kpis, words, Box::new(Running(start)));
    (control, Threads { stoppers, frozen, joins }, panic_next)
}

impl Threads {
    pub fn stop(self) {
        self.stoppers.iter().for_each(Stopper::stop);
        self.joins.into_iter().for_each(|join| join.join().unwrap());
    }
}

/// An alarm at `at`.
pub fn pool_alarm(at: Nanos) -> Event {
    Event::PoolAlarm { at, packets: 1 }
}
