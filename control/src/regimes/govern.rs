//! From what states ask for to the table that a core runs by.

use std::collections::BTreeSet;

use model::kind::Side;
use model::kpi::{CANARY, CONTROL};
use model::profile::Profile;
use model::regime::gates::{Arm, Breach, Gate, Outcome, TickCheck, transport};
use model::regime::{
    ArmTotals, COMPOSED_INDEX, COMPOSED_NAME, ClassFacts, Composed, LEARN_EVERY, Mode, Parted,
    Posture, Reason, Scope, Target, Want, canary, compose, compose_apart, unpartable,
};
use model::time::Nanos;

use super::Regimes;
use crate::windows::{Spot, Windows};

impl Regimes {
    /// The scopes on which what states ask for is in force at `now`.
    pub(super) fn governed(&self, now: Nanos) -> Vec<Scope> {
        if self.operator_pinned || !self.mode.mode().governs() {
            return Vec::new();
        }
        let scopes = self.engine.scopes().iter();
        scopes.filter(|info| self.governs(&info.label(), now)).map(|info| info.scope).collect()
    }

    fn governs(&self, label: &str, now: Nanos) -> bool {
        match self.mode.mode() {
            Mode::Active => true,
            Mode::Switchback => {
                canary::switchback(self.seed, label, self.mode.since(), now, self.block)
            }
            // Of a canary the scopes show the groups that are left as they are.
            Mode::Canary | Mode::Shadow | Mode::Observe => false,
        }
    }

    /// The scopes whose figures are moved by a profile of ours.
    pub(super) fn shaped(&self) -> Vec<Scope> {
        if !self.mode.mode().governs() || self.wants.is_empty() {
            return Vec::new();
        }
        let acted: Vec<usize> = self.wants.iter().flat_map(|(_, w)| w.classes.clone()).collect();
        let scopes = self.engine.scopes().iter().map(|info| info.scope);
        scopes
            .filter(|scope| match scope {
                Scope::Class(class) => acted.contains(class) && self.mode.mode() != Mode::Canary,
                Scope::TxQueue(_) => true,
                // Its hold is part of what is delivered late: that it is off is no delay of ours.
                Scope::Feed(_) => false,
            })
            .collect()
    }

    /// What states ask for where it may be in force: on governed scopes; in shadow, and for the groups of
    /// a canary, on all of them.
    pub(super) fn wanted(&self, now: Nanos) -> Vec<(Scope, Want)> {
        let governed = self.governed(now);
        let everywhere = matches!(self.mode.mode(), Mode::Shadow | Mode::Canary);
        let asked = self.engine.asked().filter(|asked| asked.posture != Posture::Normal);
        asked
            .filter(|asked| everywhere || governed.contains(&asked.scope))
            .map(|asked| {
                let want = Want {
                    machine: asked.machine.to_owned(),
                    posture: asked.posture,
                    classes: self.acts_on(asked.scope, asked.widen),
                    ports: self.acts_on_ports(asked.scope),
                };
                (asked.scope, want)
            })
            .collect()
    }

    /// The allowed classes among those of a scope and those that the operator widened it to.
    fn acts_on(&self, scope: Scope, widen: &[usize]) -> Vec<usize> {
        let own: Vec<usize> = match scope {
            Scope::Class(class) | Scope::Feed(class) => vec![class],
            Scope::TxQueue(_) => self.inside().collect(),
        };
        let all = own.into_iter().chain(widen.iter().copied());
        all.filter(|class| self.allow.contains(class)).collect()
    }

    /// A TX queue is everybody's: it changes only where every class that it holds back is allowed.
    fn acts_on_ports(&self, scope: Scope) -> Vec<usize> {
        let all =
            || self.inside().all(|c| self.allow.contains(&c) || self.classes[c].kind.is_exempt());
        match scope {
            Scope::TxQueue(port) if all() => vec![port],
            _ => Vec::new(),
        }
    }

    /// The classes of the file from inside.
    fn inside(&self) -> impl Iterator<Item = usize> + '_ {
        let inside = |class: &usize| {
            let info = &self.classes[*class];
            info.from == Side::Inside && !info.built_in
        };
        (0..self.classes.len()).filter(inside)
    }

    /// The table for a core that sends to `ports`, with a reason for each field that is not as
    /// confirmed; `None` = the confirmed one.
    pub fn table_for(&self, ports: &[usize]) -> Option<Composed> {
        if !self.mode.mode().governs() || self.operator_pinned {
            return None;
        }
        let composed = self.composed(ports);
        (composed.profile.index == COMPOSED_INDEX).then_some(composed)
    }

    /// What is in force, or in shadow would be.
    pub(super) fn composed(&self, ports: &[usize]) -> Composed {
        let here = |scope: &Scope| !matches!(scope, Scope::TxQueue(port) if !ports.contains(port));
        let wants = self.wants.iter().filter(|(scope, _)| here(scope));
        let wants: Vec<Want> = wants.map(|(_, want)| want.clone()).collect();
        let facts = self.class_facts();
        if self.mode.mode() == Mode::Canary {
            let apart = self.groups.parted().and_then(|parted| {
                compose_apart(&self.normal, &self.patches, &wants, &facts, &parted)
            });
            return apart
                .unwrap_or_else(|| Composed { profile: self.normal.clone(), reasons: Vec::new() });
        }
        let mut composed = compose(&self.normal, &self.patches, &wants, &facts);
        self.guard(&mut composed);
        composed
    }

    fn class_facts(&self) -> Vec<ClassFacts> {
        (0..self.classes.len())
            .map(|class| ClassFacts {
                kind: self.classes[class].kind,
                rate_floor: self.engine.rate_floor(class),
            })
            .collect()
    }

    /// Classes that arms could not share.
    pub(super) fn unpartable(&self) -> Vec<String> {
        let share_ppm = self.canary_share_ppm;
        let parted = Parted { twins: &self.groups.twins, groups: [&[], &[]], share_ppm };
        let short = unpartable(&self.normal, &self.patches, &parted);
        short.into_iter().map(|class| self.names.classes[class].clone()).collect()
    }

    /// Goes on with a trial: draws newcomers once a second, and takes windows in.
    pub(super) fn try_out(&mut self, now: Nanos, windows: &Windows) {
        let mode = self.mode.mode();
        if mode == Mode::Canary
            && (self.ticks.is_multiple_of(LEARN_EVERY) || self.groups.parted().is_none())
        {
            // Too few: those who come are drawn with them.
            let _ = self.groups.draw(&self.names, self.seed, self.canary_share_ppm);
        }
        if !matches!(mode, Mode::Canary | Mode::Switchback) {
            return;
        }
        let asked: BTreeSet<usize> = self
            .engine
            .asked()
            .filter(|asked| asked.posture != Posture::Normal)
            .flat_map(|asked| self.acts_on(asked.scope, asked.widen))
            .collect();
        let in_force: BTreeSet<usize> =
            self.wants.iter().flat_map(|(_, want)| want.classes.iter().copied()).collect();
        let parted = mode != Mode::Canary || self.groups.parted().is_some();
        let stands =
            |&class: &usize| (class, asked.contains(&class), parted && in_force.contains(&class));
        let (allow, names, tick) = (&self.allow, &self.names.classes, self.tick);
        self.trial.tick(now, (mode, tick), allow.iter().map(stands), names, windows);
    }

    /// What the arms of a trial have come to, or in shadow would have.
    pub(super) fn measured(&self, class: usize) -> Option<(Arm, Arm)> {
        match self.mode.mode() {
            Mode::Shadow => self.shadow.of(class)?.ok(),
            _ => self.trial.of(class).map(|arms| (arms.changed.arm(), arms.control.arm())),
        }
    }

    /// Works out, in shadow, what the asked table would have made of the last seconds.
    pub(super) fn project(&mut self, now: Nanos, windows: &Windows) {
        if self.mode.mode() != Mode::Shadow {
            return;
        }
        let ports: Vec<usize> = (0..self.names.ports.len()).collect();
        let asked = self.composed(&ports).profile;
        let changed = |class: &usize| asked.classes[*class] != self.normal.classes[*class];
        let classes: Vec<(usize, &str)> = (self.allow.iter().copied())
            .filter(changed)
            .map(|class| (class, self.names.classes[class].as_str()))
            .collect();
        let mut lost = windows.report(1).into_iter().flat_map(|r| r.of("lost_share"));
        let is_lossy = lost.any(|entry| entry.value("ratio").is_some_and(|share| share > 0.0));
        self.shadow.tick(now, (&self.normal, &asked), &classes, is_lossy);
    }

    /// Looks at the two arms of a class over the last second: what the groups that are governed have lost,
    /// and how they do beside those to compare.
    pub(super) fn check_arms(
        &self,
        now: Nanos,
        class: usize,
        windows: &Windows,
        check: &mut TickCheck,
    ) {
        let (info, name) = (&self.classes[class], &self.names.classes[class]);
        let is_canary = |spot: &Spot| spot.class == *name && spot.arm == Some(CANARY);
        let lost = windows.traffic(is_canary).map_or(0, |traffic| traffic.dropped);
        if info.kind.is_order_entry() && lost > 0 {
            check.breach = Some(Breach::Drop);
        }
        let Some(report) = windows.report(1) else { return };
        if !self.trial.is_in_force(class, now, self.tick) {
            return;
        }
        let arm = |arm: Option<&str>| {
            let mut totals = ArmTotals::default();
            totals.add(report, name, arm);
            totals
        };
        let (changed, control) = (arm(Some(CANARY)), arm(Some(CONTROL)));
        check.n += changed.sent;
        let gates = transport(info.change(), &changed.arm(), &control.arm());
        // One second says little of bursts: `excess` is for the whole trial.
        let failed = |gate: &Gate| gate.name != "excess" && gate.outcome == Outcome::Failed;
        check.bad |= gates.iter().any(failed);
    }

    /// With an allowed class past its guard, those worth less make way.
    fn guard(&self, composed: &mut Composed) {
        if !self.past_guard.iter().any(|class| self.allow.contains(class)) {
            return;
        }
        let changed = self.guard.apply(&mut composed.profile, |c| self.allow.contains(&c));
        if changed.is_empty() {
            return;
        }
        name(&mut composed.profile);
        composed.reasons.retain(|reason| {
            !matches!(reason.target, Target::Class(c) if changed.contains(&c))
                || reason.field != "reserved"
        });
        composed.reasons.extend(changed.into_iter().map(|class| Reason {
            target: Target::Class(class),
            field: "reserved",
            set_by: "guardrail".to_owned(),
            profile: Posture::Normal.name(),
        }));
    }
}

fn name(profile: &mut Profile) {
    COMPOSED_NAME.clone_into(&mut profile.name);
    profile.index = COMPOSED_INDEX;
}
