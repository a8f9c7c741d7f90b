//! The regime engine of a running gateway or a replay: what it reads, what it decides, what of it is
//! in force.
//!
//! Each tick: [`Regimes::due`] says over which windows KPIs are wanted, [`Regimes::tick`] takes them,
//! and [`Regimes::table_for`] is what a core is to run by. Nothing here touches a core: the
//! controller, or the replay, carries a table over.

mod govern;
mod in_rows;
mod index;
mod reconfigure;
mod settings;
mod shadow;
mod show;
mod trial;
mod view;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use model::advice::Advice;
use model::kind::{Kind, Side};
use model::pacer::Roster;
use model::profile::Profile;
use model::regime::gates::{Arm, Change, TickCheck, outcome, transport};
use model::regime::{
    BaselineRecord, Changed, Decision, Engine, Facts, Guardrail, Leave, Mode, ModeControl, Patches,
    Scope, Severity, Trial as Seen, Want,
};
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use serde_json::Value;

use crate::advice::ScopedAdvice;
use crate::windows::Windows;
use in_rows::InRows;
use model::regime::LEARN_EVERY;
pub use settings::{RegimeSettings, SettingsError};
use shadow::Shadow;
use trial::{Groups, Trial};
use view::{Names, View};

/// Decisions that are kept for `wirepace regime`.
const DECISIONS_MAX: usize = 256;
/// Transitions that are kept for the summary of a run.
const TRANSITIONS_MAX: usize = 10_000;

/// A class as the loop has to know it.
#[derive(Clone, Debug)]
struct ClassInfo {
    kind: Kind,
    from: Side,
    latency_budget: Option<Nanos>,
    /// No class of the file, so nobody can allow it.
    built_in: bool,
}

impl ClassInfo {
    /// What a change of the class is judged as.
    fn change(&self) -> Change {
        Change {
            delivery: false,
            orders: self.kind.is_order_entry(),
            latency_budget: self.latency_budget,
        }
    }
}

/// See the module's text.
pub struct Regimes {
    engine: Engine,
    mode: ModeControl,
    tick: Nanos,
    next: Option<Nanos>,
    ticks: u64,
    names: Names,
    classes: Vec<ClassInfo>,
    /// Classes whose profile may change.
    allow: Vec<usize>,
    pin: Nanos,
    seed: u64,
    block: Nanos,
    groups: Groups,
    canary_share_ppm: u32,
    trial: Trial,
    shadow: Shadow,
    guard: Guardrail,
    /// Classes past their guard, and by what states ask of strategies.
    past_guard: Vec<usize>,
    normal: Profile,
    patches: Patches,
    env_digest: String,
    baselines_path: Option<PathBuf>,
    /// Figures are read as they are, see [`RegimeSettings::unprotected`].
    unprotected: bool,
    advice: Vec<(Scope, Advice)>,
    /// The operator pinned a profile: it goes before what states ask for.
    operator_pinned: bool,
    /// What is asked for on governed scopes, or would be in shadow.
    wants: Vec<(Scope, Want)>,
    decisions: VecDeque<Value>,
    /// Decisions that [`Regimes::take_log`] has not handed over.
    log: Vec<RegimeLogRow>,
    transitions: Vec<Value>,
    transitions_lost: u64,
    /// Transitions to severity 3 in mode active that [`Regimes::take_contained`] has not handed over.
    contained: Vec<Value>,
    /// Counts by machine and cause.
    counts: BTreeMap<(String, &'static str), u64>,
    changes: Vec<Changed>,
    in_rows: InRows,
}

impl Regimes {
    /// In the mode of the config, with its frozen baselines if there are any.
    pub fn new(settings: RegimeSettings, now: Nanos) -> Self {
        let RegimeSettings {
            mut engine,
            mode,
            required,
            tick,
            names,
            classes,
            allow,
            pin,
            seed,
            block,
            twins,
            canary_share_ppm,
            projection,
            guard,
            normal,
            patches,
            env_digest,
            baselines_path,
            baselines,
            unprotected,
        } = settings;
        if let Some(record) = baselines {
            engine.load(record);
        }
        let advice = engine.scopes().iter().map(|info| (info.scope, Advice::default()));
        let advice = advice.collect();
        let mut new = Self {
            engine,
            mode: ModeControl::new(mode, now, required),
            tick,
            next: None,
            ticks: 0,
            names,
            classes,
            allow,
            pin,
            seed,
            block,
            groups: Groups::new(twins),
            canary_share_ppm,
            trial: Trial::default(),
            shadow: Shadow::new(projection),
            guard,
            past_guard: Vec::new(),
            normal,
            patches,
            env_digest,
            baselines_path,
            unprotected,
            advice,
            operator_pinned: false,
            wants: Vec::new(),
            decisions: VecDeque::new(),
            log: Vec::new(),
            transitions: Vec::new(),
            transitions_lost: 0,
            contained: Vec::new(),
            counts: BTreeMap::new(),
            changes: Vec::new(),
            in_rows: InRows::default(),
        };
        new.look_for_rows(now);
        new
    }

    /// With the ordering groups of these lanes: a canary is chosen among them.
    #[must_use]
    pub fn with_groups(mut self, rosters: impl IntoIterator<Item = Arc<Roster>>) -> Self {
        rosters.into_iter().for_each(|roster| self.groups.know(roster));
        self
    }

    /// The windows that KPIs are wanted over, in seconds, when a tick is due at `now`.
    pub fn due(&self, now: Nanos) -> Option<Vec<u8>> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        if self.decides() {
            let mut windows_s = self.engine.windows_s();
            if self.mode.mode().governs() {
                windows_s.extend([1, self.trial.window_s()]);
                windows_s.sort_unstable();
                windows_s.dedup();
            }
            return Some(windows_s);
        }
        // Baselines learn once a second, and from one second.
        let learns = self.ticks.is_multiple_of(LEARN_EVERY);
        Some(if learns { vec![1] } else { Vec::new() })
    }

    /// When the next tick is due; `None` = at once.
    pub const fn next_tick(&self) -> Option<Nanos> {
        self.next
    }

    /// Whether machines decide anything, if only in shadow.
    pub fn decides(&self) -> bool {
        self.mode.mode() != Mode::Observe
    }

    /// One tick, with KPIs over the windows of [`Regimes::due`]. `operator_pinned`: a profile that the
    /// operator pinned is in force.
    pub fn tick(&mut self, now: Nanos, windows: &Windows, operator_pinned: bool) {
        // A tick that comes late does not bring the next one forward.
        self.next = Some(now.saturating_add(self.tick));
        self.ticks += 1;
        self.operator_pinned = operator_pinned;
        let leave = Leave {
            decides: self.decides(),
            learns: self.mode.mode() == Mode::Observe && !operator_pinned,
            latches: self.mode.mode() == Mode::Active,
        };
        let governed = self.governed(now);
        let shaped = self.shaped();
        let is_normal = |scope: Scope| !operator_pinned && !shaped.contains(&scope);
        let (names, raw) = (&self.names, self.unprotected);
        let view = View::new(windows, names, &is_normal, raw);
        let log = self.engine.tick(now, &view, leave, |scope| governed.contains(&scope));
        log.iter().for_each(|decision| self.note(decision));
        self.look_at_queues(windows);
        self.try_out(now, windows);
        let facts = self.facts(now);
        let check = self.check(now, windows);
        if let Some(changed) = self.mode.tick(now, &facts, check) {
            tracing::warn!(
                from = changed.from.name(),
                to = changed.to.name(),
                why = changed.why,
                "mode"
            );
            self.note_mode(changed);
        }
        self.wants = self.wanted(now);
        self.project(now, windows);
        self.advise(now);
        self.look_for_rows(now);
    }

    /// A row of a packet: in shadow it says what the asked table would have made of the packet.
    pub fn sample(&mut self, row: &Sample) {
        if self.mode.mode() == Mode::Shadow {
            self.shadow.keep(row);
        }
    }

    /// A trial belongs to the mode that it was begun in.
    fn note_mode(&mut self, changed: Changed) {
        self.groups.end();
        self.trial = Trial::default();
        self.shadow.clear();
        self.changes.push(changed);
    }

    fn note(&mut self, decision: &Decision) {
        let described = self.engine.describe(decision);
        let machine = self.engine.machines().get(decision.machine);
        let key = (machine.map_or(String::new(), |m| m.name.clone()), decision.cause.name());
        *self.counts.entry(key).or_default() += 1;
        if decision.cause.is_alarm() {
            tracing::warn!(decision = %described, "regime");
        } else {
            tracing::info!(decision = %described, "regime");
        }
        if self.decisions.len() == DECISIONS_MAX {
            self.decisions.pop_front();
        }
        self.decisions.push_back(described.clone());
        self.log.push(self.engine.row(decision));
        let is_contained = machine.is_some_and(|m| m.severity(decision.to) == Severity::Contain);
        if decision.is_transition() && is_contained && self.mode.mode() == Mode::Active {
            self.contained.push(described.clone());
        }
        if decision.is_transition() {
            if self.transitions.len() < TRANSITIONS_MAX {
                self.transitions.push(described);
            } else {
                self.transitions_lost += 1;
            }
        }
    }

    /// Which classes are past the guard of their queue.
    fn look_at_queues(&mut self, windows: &Windows) {
        let past = |class: &usize| {
            let name = &self.names.classes[*class];
            let traffic = windows.traffic(|spot| spot.class == *name);
            let backlog = traffic.map(|traffic| model::regime::Backlog {
                packets: traffic.backlog_packets,
                bytes: traffic.backlog_bytes,
            });
            let params = self.normal.classes.get(*class);
            params.zip(backlog).is_some_and(|(params, backlog)| self.guard.is_past(params, backlog))
        };
        let inside = (0..self.classes.len()).filter(|c| self.classes[*c].from == Side::Inside);
        self.past_guard = inside.filter(past).collect();
    }

    /// What stands beside a wish for a mode, groups aside.
    fn facts(&self, now: Nanos) -> Facts {
        let frozen = self.engine.baselines().frozen();
        let fed = |input: &str, scope: &str| -> Option<f64> {
            let input = input.parse().ok()?;
            self.engine.fed().read(now, scope, &input).value()
        };
        let count = |input: &str| fed(input, "").map_or(0, |n| n.clamp(0.0, 1e9) as u32);
        let (mut transport_gates, mut outcome_gates) = (Vec::new(), Vec::new());
        for &class in &self.allow {
            let (info, name) = (&self.classes[class], &self.names.classes[class]);
            let change = info.change();
            let arm = |arm: &str| Arm {
                excess: fed(&format!("fed.{arm}.excess"), name),
                excess_2: fed(&format!("fed.{arm}.coupling_excess"), name),
                exempt_hold_ns: fed(&format!("fed.{arm}.exempt_hold_ns"), name),
                dispatch_to_wire_p50_ns: fed(&format!("fed.{arm}.dispatch_to_wire_p50_ns"), name),
                dispatch_to_wire_p99_ns: fed(&format!("fed.{arm}.dispatch_to_wire_p99_ns"), name),
                goodput: fed(&format!("fed.{arm}.goodput"), name),
            };
            let fed = (arm("changed"), arm("control"));
            let (changed, control) = match self.measured(class) {
                Some(measured) if fed == <(Arm, Arm)>::default() => measured,
                _ => fed,
            };
            if changed != Arm::default() || control != Arm::default() {
                transport_gates.extend(transport(change, &changed, &control));
            }
            outcome_gates.extend(outcome(change, now, name, self.engine.fed()));
        }
        Facts {
            baselines_age: frozen.map(|record| now.saturating_sub(Nanos(record.frozen_at_ns))),
            same_environment: frozen.is_some_and(|record| record.env_digest == self.env_digest),
            replay_passed: fed("fed.replay.passed", "").map(|passed| passed >= 1.0),
            allowed_classes: self.allow.len(),
            groups: None,
            unpartable: Vec::new(),
            transport: transport_gates,
            outcome: outcome_gates,
            trial: Seen {
                sessions: count("fed.trial.sessions"),
                parents: count("fed.trial.parents"),
                days: count("fed.trial.days"),
            },
        }
    }

    /// What a governed class is watched for: packets that were dropped although it may not lose any,
    /// exempt packets that waited, a transport gate that does not hold over the last second.
    fn check(&self, now: Nanos, windows: &Windows) -> TickCheck {
        use model::regime::gates::Breach;
        /// An exempt packet waits for the link, an in-flight limit and a poll: never so long.
        const EXEMPT_HOLD_MAX_NS: f64 = 1e6;
        let mut check = TickCheck::default();
        let report = windows.report(1);
        let of = |name: &'static str, class: &str, value: &str| {
            let entries = report.into_iter().flat_map(|report| report.of(name));
            let mine = entries.filter(|entry| entry.labels.class.as_deref() == Some(class));
            mine.filter_map(|entry| entry.value(value)).reduce(f64::max)
        };
        for (class, info) in self.classes.iter().enumerate() {
            let name = &self.names.classes[class];
            if info.kind.is_exempt()
                && of("exempt_hold_ns", name, "max").is_some_and(|held| held > EXEMPT_HOLD_MAX_NS)
            {
                check.breach = Some(Breach::ExemptHold);
            }
            if !self.allow.contains(&class) {
                continue;
            }
            if self.mode.mode() == Mode::Canary {
                self.check_arms(now, class, windows, &mut check);
                continue;
            }
            let traffic = windows.traffic(|spot| spot.class == *name).unwrap_or_default();
            check.n += traffic.packets;
            if info.kind.is_order_entry() && traffic.dropped > 0 {
                check.breach = Some(Breach::Drop);
            }
            // Against what was usual when the baselines were frozen, with what the class allows.
            let label = self.engine.label(Scope::Class(class));
            let usual = self.engine.baselines().get(&label, &model::regime::watched());
            // `total` is never below its parts.
            let p99 = of("dispatch_to_wire_ns", name, "p99");
            if let (Some(usual), Some(p99), Some(budget)) = (usual, p99, info.latency_budget) {
                check.bad |= p99 > usual + budget.0 as f64;
            }
        }
        let entries = report.into_iter().flat_map(|report| report.of("venue_limit_headroom"));
        if entries.filter_map(|entry| entry.value("messages")).any(|room| room < 0.0) {
            check.breach = Some(Breach::VenueLimit);
        }
        check
    }

    /// The decisions since it was last called, for the timeline. Call it after every tick and request.
    pub fn take_log(&mut self) -> Vec<RegimeLogRow> {
        std::mem::take(&mut self.log)
    }

    /// The scopes that have come to be contained in mode active since it was last called, each as the
    /// decision that contained it.
    pub fn take_contained(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.contained)
    }

    /// What machines watch, as `class:NAME`, `tx_queue:NAME` or `feed:NAME`.
    pub fn scopes(&self) -> impl Iterator<Item = String> {
        self.engine.scopes().iter().map(|info| info.label())
    }

    /// What is said of each scope that is advised to do anything, or whose state is not the lowest.
    pub fn advises(&self) -> impl Iterator<Item = ScopedAdvice> {
        let neutral = Advice::default();
        let said = self.advice.iter().filter(move |(_, advice)| !advice.says_the_same(&neutral));
        said.map(|(scope, advice)| ScopedAdvice {
            scope: self.engine.label(*scope),
            advice: advice.clone(),
        })
    }

    /// One record for each scope, with a new number when it says something new.
    fn advise(&mut self, now: Nanos) {
        let speaks = self.decides();
        for (scope, advice) in &mut self.advice {
            let mut next = Advice { at: now, ..Advice::default() };
            if speaks {
                let (states, requests) = self.engine.requests(*scope);
                next.regime = states.into_iter().map(str::to_owned).collect();
                requests.into_iter().for_each(|request| next.ask(request));
                if matches!(scope, Scope::Class(class) if self.past_guard.contains(class)) {
                    Guardrail::requests().into_iter().for_each(|request| next.ask(request));
                }
            }
            let changed = !next.says_the_same(advice);
            next.sequence = advice.sequence + u64::from(changed);
            *advice = next;
        }
    }

    /// What was decided and changed a state, the oldest first, as it stands in the summary of a run.
    pub fn transitions(&self) -> &[Value] {
        &self.transitions
    }

    /// The mode.
    pub const fn mode(&self) -> Mode {
        self.mode.mode()
    }

    /// Every change of mode so far.
    pub fn changes(&self) -> &[Changed] {
        &self.changes
    }

    /// How long an operator's pin of a profile lasts.
    pub const fn pin_length(&self) -> Nanos {
        self.pin
    }

    /// The advice of the scope named `label`.
    pub fn advice(&self, label: &str) -> Option<&Advice> {
        let mut all = self.advice.iter();
        all.find(|(scope, _)| self.engine.label(*scope) == label).map(|(_, advice)| advice)
    }

    /// What is frozen.
    pub fn baselines(&self) -> Option<&BaselineRecord> {
        self.engine.baselines().frozen()
    }
}
