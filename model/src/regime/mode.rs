//! How much of what the engine decides is in force: observe, shadow, canary or switchback, active.
//!
//! Up one step at a time and past its gates; down at any time. What governs is taken back by itself
//! when a watch says so or what it goes by is too old.

use super::gates::{Gate, RollBack, TickCheck};
use crate::sample;
use crate::time::Nanos;

/// A mode.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// KPIs and baselines only.
    #[default]
    Observe,
    /// Decides and logs; nothing is in force.
    Shadow,
    /// A few ordering groups are governed.
    Canary,
    /// Scopes are governed in turns.
    Switchback,
    /// Every allowed class is governed.
    Active,
}

impl Mode {
    /// The name on the command line, in JSON and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Switchback => "switchback",
            Self::Active => "active",
        }
    }

    /// How far up it is; canary and switchback are two ways to take the same step.
    pub const fn step(self) -> u8 {
        match self {
            Self::Observe => 0,
            Self::Shadow => 1,
            Self::Canary | Self::Switchback => 2,
            Self::Active => 3,
        }
    }

    /// Whether something is governed in it.
    pub const fn governs(self) -> bool {
        self.step() >= 2
    }

    /// What a sample row says of it: a switchback is a trial too.
    pub const fn in_rows(self) -> sample::Mode {
        match self {
            Self::Observe => sample::Mode::Observe,
            Self::Shadow => sample::Mode::Shadow,
            Self::Canary | Self::Switchback => sample::Mode::Canary,
            Self::Active => sample::Mode::Active,
        }
    }
}

/// What a promotion needs beside its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Required {
    /// Sessions.
    pub sessions: u32,
    /// Parent orders in each arm.
    pub parents: u32,
    /// Trading days.
    pub days: u32,
    /// Oldest baselines and calibration.
    pub max_age: Nanos,
}

/// How much a trial has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Trial {
    /// Sessions.
    pub sessions: u32,
    /// Parent orders in the arm that has fewer.
    pub parents: u32,
    /// Trading days.
    pub days: u32,
}

/// What stands when a mode is asked for, or at a tick.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Age of the frozen baselines; `None` = there are none.
    pub baselines_age: Option<Nanos>,
    /// They were learned in this environment.
    pub same_environment: bool,
    /// An offline replay with the profiles passed; `None` = nobody said, or it has expired.
    pub replay_passed: Option<bool>,
    /// Classes that may be governed.
    pub allowed_classes: usize,
    /// Ordering groups that a canary could be chosen from; `None` = this gateway cannot govern
    /// single groups.
    pub groups: Option<usize>,
    /// Classes whose burst or queue is too short to be shared between two arms.
    pub unpartable: Vec<String>,
    /// Transport gates, on the projected effect in shadow, on the arms in a trial; none = nothing
    /// was judged.
    pub transport: Vec<Gate>,
    /// Outcome gates.
    pub outcome: Vec<Gate>,
    /// What the trial has seen.
    pub trial: Trial,
}

/// Why a mode was not taken: every reason, so that one refusal says what is left to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} -> {} is refused: {}", from.name(), to.name(), reasons.join("; "))]
pub struct Refused {
    /// The mode that stays.
    pub from: Mode,
    /// What was asked for.
    pub to: Mode,
    /// What is missing.
    pub reasons: Vec<String>,
}

/// A change of mode.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Changed {
    /// When.
    pub at_ns: Nanos,
    /// The mode before.
    pub from: Mode,
    /// The mode after.
    pub to: Mode,
    /// `asked`, or what took it back.
    pub why: String,
}

/// The mode and what watches it.
#[derive(Clone, Debug)]
pub struct ModeControl {
    mode: Mode,
    since: Nanos,
    required: Required,
    watch: RollBack,
}

impl ModeControl {
    /// In `mode` since `now`.
    pub fn new(mode: Mode, now: Nanos, required: Required) -> Self {
        Self { mode, since: now, required, watch: RollBack::default() }
    }

    /// The mode.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Since when.
    pub const fn since(&self) -> Nanos {
        self.since
    }

    /// What promotions need.
    pub const fn required(&self) -> Required {
        self.required
    }

    /// Promotions need something else from now on.
    pub const fn require(&mut self, required: Required) {
        self.required = required;
    }

    /// Takes a mode, if everything for it is there. Down always is.
    ///
    /// # Errors
    /// [`Refused`], with everything that is missing.
    pub fn ask(
        &mut self,
        now: Nanos,
        to: Mode,
        confirmed: bool,
        facts: &Facts,
    ) -> Result<Changed, Refused> {
        let from = self.mode;
        let mut reasons = Vec::new();
        if to.step() > from.step() + 1 {
            let next = ["shadow", "canary or switchback", "active"][usize::from(from.step())];
            reasons.push(format!("one step at a time: {next} is next"));
        }
        if to.step() > from.step() || to.governs() && to != from {
            self.missing(to, confirmed, facts, &mut reasons);
        }
        if reasons.is_empty() {
            return Ok(self.go(now, to, "asked"));
        }
        Err(Refused { from, to, reasons })
    }

    /// What stands between here and `to`.
    fn missing(&self, to: Mode, confirmed: bool, facts: &Facts, reasons: &mut Vec<String>) {
        if let Some(stale) = self.stale(facts) {
            reasons.push(stale);
        }
        if to == Mode::Shadow {
            match facts.replay_passed {
                Some(true) => {}
                Some(false) => reasons.push("the offline replay did not pass".to_owned()),
                None => reasons.push("no offline replay: feed replay.passed".to_owned()),
            }
        }
        if !to.governs() {
            return;
        }
        if facts.allowed_classes == 0 {
            reasons.push("no class is allowed: [regime] allow names them".to_owned());
        }
        if facts.transport.is_empty() {
            reasons.push("no transport gate has been judged".to_owned());
        }
        let shut = |gates: &[Gate]| -> Vec<String> {
            let shut = gates.iter().filter(|gate| !gate.is_open());
            shut.map(|gate| format!("gate {} is {}", gate.name, outcome_name(gate))).collect()
        };
        reasons.extend(shut(&facts.transport));
        if to == Mode::Canary {
            match facts.groups {
                None => reasons.push(
                    "no class of this gateway can be parted by groups (pipelines cannot, nor can \
                     classes from the venue): use switchback"
                        .to_owned(),
                ),
                Some(groups) if groups < super::canary::GROUPS_MIN => {
                    reasons.push(super::canary::TooFew { groups }.to_string());
                }
                Some(_) => {}
            }
            let short = |class: &String| {
                format!("class {class}: its burst or queue is too short for two arms")
            };
            reasons.extend(facts.unpartable.iter().map(short));
        }
        if to == Mode::Active {
            reasons.extend(shut(&facts.outcome));
            let (has, needs) = (facts.trial, self.required);
            for (what, has, needs) in [
                ("sessions", has.sessions, needs.sessions),
                ("parent orders per arm", has.parents, needs.parents),
                ("trading days", has.days, needs.days),
            ] {
                if has < needs {
                    reasons.push(format!("{has} of {needs} {what}"));
                }
            }
            if !confirmed {
                reasons.push("it has to be confirmed: --confirm".to_owned());
            }
        }
    }

    /// Why the thresholds do not hold any more.
    fn stale(&self, facts: &Facts) -> Option<String> {
        match facts.baselines_age {
            None => Some("no baselines are frozen".to_owned()),
            Some(age) if age > self.required.max_age => {
                Some(format!("the baselines are older than {}", self.required.max_age))
            }
            Some(_) if !facts.same_environment => {
                Some("the baselines are of another environment".to_owned())
            }
            Some(_) => None,
        }
    }

    /// One tick: takes a governing mode back to shadow when what it goes by is too old, or the watch
    /// says so.
    pub fn tick(&mut self, now: Nanos, facts: &Facts, check: TickCheck) -> Option<Changed> {
        if !self.mode.governs() {
            return None;
        }
        let why = self.stale(facts).or_else(|| self.watch.tick(check))?;
        Some(self.go(now, Mode::Shadow, &why))
    }

    fn go(&mut self, now: Nanos, to: Mode, why: &str) -> Changed {
        let from = std::mem::replace(&mut self.mode, to);
        self.since = now;
        self.watch = RollBack::default();
        Changed { at_ns: now, from, to, why: why.to_owned() }
    }
}

fn outcome_name(gate: &Gate) -> &'static str {
    match gate.outcome {
        super::gates::Outcome::Absent => "absent or expired",
        _ => "not passed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::gates::{Breach, Outcome};
    use super::*;

    const REQUIRED: Required =
        Required { sessions: 5, parents: 500, days: 1, max_age: Nanos::from_secs(7 * 86_400) };

    fn gate(outcome: Outcome) -> Gate {
        Gate { name: "excess", outcome, value: None, limit: None }
    }

    fn good() -> Facts {
        Facts {
            baselines_age: Some(Nanos::from_secs(3_600)),
            same_environment: true,
            replay_passed: Some(true),
            allowed_classes: 1,
            groups: Some(40),
            unpartable: Vec::new(),
            transport: vec![gate(Outcome::Passed), gate(Outcome::NotApplicable)],
            outcome: vec![gate(Outcome::Passed)],
            trial: Trial { sessions: 5, parents: 500, days: 1 },
        }
    }

    fn at(mode: Mode) -> ModeControl {
        ModeControl::new(mode, Nanos::ZERO, REQUIRED)
    }

    fn reasons(from: Mode, to: Mode, confirmed: bool, facts: &Facts) -> Vec<String> {
        at(from).ask(Nanos(1), to, confirmed, facts).err().map_or(Vec::new(), |no| no.reasons)
    }

    #[test]
    fn climbs_step_by_step_and_falls_at_once() {
        let (mut control, facts) = (at(Mode::Observe), good());
        for to in [Mode::Shadow, Mode::Canary, Mode::Active] {
            let changed = control.ask(Nanos(5), to, true, &facts).expect("everything is there");
            assert_eq!((changed.to, control.mode()), (to, to));
        }
        let nothing = Facts::default();
        let changed = control.ask(Nanos(9), Mode::Observe, false, &nothing).expect("down");
        assert_eq!((changed.from, changed.why.as_str()), (Mode::Active, "asked"));
        let skipped = reasons(Mode::Observe, Mode::Active, true, &facts);
        assert_eq!(skipped, ["one step at a time: shadow is next"]);
    }

    #[test]
    fn each_promotion_is_refused_for_what_it_lacks() {
        let no_baselines = Facts { baselines_age: None, ..good() };
        assert_eq!(reasons(Mode::Observe, Mode::Shadow, false, &no_baselines).len(), 1);
        let no_replay = Facts { replay_passed: None, ..good() };
        assert_eq!(reasons(Mode::Observe, Mode::Shadow, false, &no_replay).len(), 1);
        let failed = Facts { transport: vec![gate(Outcome::Absent)], ..good() };
        let refused = reasons(Mode::Shadow, Mode::Canary, false, &failed);
        assert_eq!(refused, ["gate excess is absent or expired"]);
        let few = Facts { groups: Some(9), ..good() };
        assert!(reasons(Mode::Shadow, Mode::Canary, false, &few)[0].contains("switchback"));
        assert!(reasons(Mode::Shadow, Mode::Switchback, false, &few).is_empty());
        let piped = Facts { groups: None, ..good() };
        assert!(reasons(Mode::Shadow, Mode::Canary, false, &piped)[0].contains("pipelines"));
        assert!(reasons(Mode::Shadow, Mode::Switchback, false, &piped).is_empty());
        let nobody = Facts { allowed_classes: 0, ..good() };
        assert_eq!(reasons(Mode::Shadow, Mode::Switchback, false, &nobody).len(), 1);
        let early = Facts { trial: Trial { sessions: 4, parents: 499, days: 0 }, ..good() };
        assert_eq!(reasons(Mode::Canary, Mode::Active, false, &early).len(), 4, "and no word");
        let worse = Facts { outcome: vec![gate(Outcome::Failed)], ..good() };
        let refused = reasons(Mode::Switchback, Mode::Active, true, &worse);
        assert_eq!(refused, ["gate excess is not passed"]);
        let unjudged = Facts { transport: Vec::new(), ..good() };
        assert_eq!(reasons(Mode::Shadow, Mode::Canary, false, &unjudged).len(), 1);
    }

    #[test]
    fn old_or_foreign_thresholds_fall_back_to_shadow_and_say_so() {
        let old = Facts { baselines_age: Some(Nanos(REQUIRED.max_age.0 + 1)), ..good() };
        let foreign = Facts { same_environment: false, ..good() };
        for (facts, word) in [(old, "older"), (foreign, "environment")] {
            let mut control = at(Mode::Active);
            assert_eq!(control.tick(Nanos(1), &good(), TickCheck::default()), None);
            let changed = control.tick(Nanos(2), &facts, TickCheck::default()).expect("stale");
            assert_eq!((changed.to, control.mode()), (Mode::Shadow, Mode::Shadow));
            assert!(changed.why.contains(word), "{}", changed.why);
            assert_eq!(control.tick(Nanos(3), &facts, TickCheck::default()), None, "said once");
            assert!(control.ask(Nanos(4), Mode::Canary, true, &facts).is_err());
        }
    }

    #[test]
    fn a_watch_takes_a_change_back() {
        let mut control = at(Mode::Canary);
        let bad = TickCheck { n: 1_000, bad: true, breach: None };
        assert_eq!(control.tick(Nanos(1), &good(), bad), None);
        assert_eq!(control.tick(Nanos(2), &good(), bad), None);
        let back = control.tick(Nanos(3), &good(), bad).expect("three in a row");
        assert_eq!((back.from, back.to), (Mode::Canary, Mode::Shadow));
        let mut control = at(Mode::Active);
        let breach = TickCheck { n: 1, bad: false, breach: Some(Breach::Drop) };
        assert!(control.tick(Nanos(1), &good(), breach).is_some());
        let mut control = at(Mode::Shadow);
        assert_eq!(control.tick(Nanos(1), &good(), breach), None, "nothing to take back");
    }
}
