//! From what states ask for to the table that a core runs by.

use model::kind::Side;
use model::profile::Profile;
use model::regime::{
    COMPOSED_INDEX, COMPOSED_NAME, ClassFacts, Composed, Mode, Posture, Reason, Scope, Target,
    Want, canary, compose,
};
use model::time::Nanos;

use super::Regimes;

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
            // Single groups are governed by the data plane, which has no table for them yet.
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
                Scope::Class(class) => acted.contains(class),
                Scope::TxQueue(_) => true,
                // Its hold is part of what is delivered late: that it is off is no delay of ours.
                Scope::Feed(_) => false,
            })
            .collect()
    }

    /// What states ask for where it may be in force: on governed scopes, or in shadow on all of them.
    pub(super) fn wanted(&self, now: Nanos) -> Vec<(Scope, Want)> {
        let governed = self.governed(now);
        let shadow = self.mode.mode() == Mode::Shadow;
        let asked = self.engine.asked().filter(|asked| asked.posture != Posture::Normal);
        asked
            .filter(|asked| shadow || governed.contains(&asked.scope))
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
        let facts: Vec<ClassFacts> = (0..self.classes.len())
            .map(|class| ClassFacts {
                kind: self.classes[class].kind,
                rate_floor: self.engine.rate_floor(class),
            })
            .collect();
        let mut composed = compose(&self.normal, &self.patches, &wants, &facts);
        self.guard(&mut composed);
        composed
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
