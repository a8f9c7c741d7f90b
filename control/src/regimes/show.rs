//! What is shown of the loop: in `status`, in `wirepace regime`, in `/metrics`.

use model::regime::{ArmTotals, Asked, Engine, Input, Reason, Scope, Target, VALUES_MIN};
use model::time::Nanos;
use serde_json::{Map, Value, json};

use super::Regimes;
use crate::registry::Registry;

impl Regimes {
    /// The `regime` object of `status`: where every machine is, what is in force, what is advised.
    pub fn to_json(&self, now: Nanos) -> Value {
        let machines: Vec<Value> = self
            .engine
            .standings()
            .map(|s| {
                json!({
                    "machine": s.machine,
                    "scope": s.scope,
                    "state": s.state,
                    "severity": s.severity,
                    "profile": s.profile,
                    "since_ns": s.since_ns,
                    "pinned_until_ns": s.pinned_until_ns,
                    "frozen": s.frozen,
                    "held_off": s.held_off,
                    "window_s": s.window_s,
                })
            })
            .collect();
        json!({
            "mode": self.mode.mode().name(),
            "mode_since_ns": self.mode.since(),
            "ticks": self.ticks,
            "machines": machines,
            "composed": self.composed_json(),
            "canary": self.groups.to_json(),
            "arms": self.arms_json(),
            "projected": self.projected_json(now),
            "advice": self.advice_json(now),
        })
    }

    /// Everything, for `wirepace regime`: the same with inputs, matrices, baselines and the last
    /// decisions.
    pub fn describe(&self, now: Nanos) -> Value {
        let mut all = self.to_json(now);
        let detail = |s: model::regime::Standing<'_>| {
            let shares = s.stays.shares();
            json!({
                "machine": s.machine,
                "scope": s.scope,
                "inputs": s.inputs,
                "states": s.states,
                "transitions": s.stays.transitions,
                "time_in_ns": s.stays.time_in,
                "time_share": shares,
            })
        };
        let details: Vec<Value> = self.engine.standings().map(detail).collect();
        let fed: Vec<Value> = self
            .engine
            .fed()
            .all(now)
            .map(|(kpi, value, scope, number, until)| {
                json!({"kpi": kpi, "value": value, "scope": scope, "number": number, "until_ns": until})
            })
            .collect();
        let more = json!({
            "details": details,
            "decisions": self.decisions,
            "transitions_lost": self.transitions_lost,
            "baselines": self.baselines_json(),
            "fed": fed,
            "mode_changes": self.changes,
            "required": self.mode.required(),
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        all
    }

    /// What is learned and what is frozen.
    pub(super) fn baselines_json(&self) -> Value {
        let baselines = self.engine.baselines();
        let learned: Vec<Value> = baselines
            .learned()
            .map(|(scope, input, n, median)| {
                json!({"scope": scope, "input": input, "n": n, "median": median})
            })
            .collect();
        json!({
            "frozen": baselines.frozen(),
            "learning": learned,
            "values_min": VALUES_MIN,
            "environment": self.env_digest,
        })
    }

    /// What the arms of a trial have come to, by class.
    fn arms_json(&self) -> Value {
        let of = |class: usize| Some((class, self.trial.of(class)?));
        let arms = self.allow.iter().filter_map(|class| of(*class));
        let each = arms.map(|(class, arms)| {
            let arm = |totals: &ArmTotals| {
                let mut arm = json!(totals.arm());
                arm["windows"] = json!(totals.windows);
                arm["packets"] = json!(totals.sent);
                arm
            };
            let both = json!({"changed": arm(&arms.changed), "control": arm(&arms.control)});
            (self.engine.label(Scope::Class(class)), both)
        });
        Value::Object(each.collect::<Map<_, _>>())
    }

    /// What the asked table would have made of the last seconds, by class, and what that is worth: the
    /// fed cost of each state that asks (`branch_cost`), times the change of what it asks for.
    fn projected_json(&self, now: Nanos) -> Value {
        let of = |class: usize| Some((class, self.shadow.of(class)?));
        let each = self.allow.iter().filter_map(|class| of(*class)).map(|(class, projected)| {
            let label = self.engine.label(Scope::Class(class));
            let (changed, control) = match projected {
                Ok(both) => both,
                Err(why) => return (label, json!({ "absent": why })),
            };
            let cost = self.branch_cost(now, class);
            let change = changed.excess.zip(control.excess).filter(|(_, excess)| *excess > 0.0);
            let worth = cost.zip(change).map(|(cost, (asked, now))| cost * (asked / now - 1.0));
            let mut shown = json!({
                "changed": changed,
                "control": control,
                "cost": cost,
                "cost_change": worth,
            });
            if cost.is_none() {
                shown["cost_absent"] = json!("no_calibration");
            }
            (label, shown)
        });
        Value::Object(each.collect::<Map<_, _>>())
    }

    /// What the states that ask for a profile of `class` cost, as calibrated; `None` = nobody said.
    fn branch_cost(&self, now: Nanos, class: usize) -> Option<f64> {
        let name = &self.names.classes[class];
        let asks = self.wants.iter().filter(|(_, want)| want.classes.contains(&class));
        let states = asks.flat_map(|(scope, want)| {
            let standing =
                |asked: &Asked<'_>| asked.scope == *scope && asked.machine == want.machine;
            self.engine
                .asked()
                .filter(standing)
                .map(|asked| asked.state.to_owned())
                .collect::<Vec<_>>()
        });
        let cost = |state: String| {
            let input = format!("fed.branch_cost.{state}").parse::<Input>().ok()?;
            self.engine.fed().read(now, name, &input).value()
        };
        states.map(cost).reduce(|sum, cost| Some(sum? + cost?)).flatten()
    }

    /// What is in force of it, or in shadow would be: each field with the machine that set it.
    fn composed_json(&self) -> Value {
        let ports: Vec<usize> = (0..self.names.ports.len()).collect();
        let composed = self.composed(&ports);
        let reason = |reason: &Reason| {
            let (kind, name) = match reason.target {
                Target::Class(class) => ("class", &self.names.classes[class]),
                Target::Port(port) => ("port", &self.names.ports[port]),
            };
            json!({
                kind: name,
                "field": reason.field,
                "set_by": reason.set_by,
                "profile": reason.profile,
            })
        };
        json!({
            "in_force": self.mode.mode().governs() && !self.operator_pinned,
            "profile": composed.profile.name,
            "reasons": composed.reasons.iter().map(reason).collect::<Vec<_>>(),
        })
    }

    fn advice_json(&self, now: Nanos) -> Value {
        let each = self
            .advice
            .iter()
            .map(|(scope, advice)| (self.engine.label(*scope), json!(advice.read_at(now))));
        Value::Object(each.collect::<Map<_, _>>())
    }

    /// Its numbers.
    pub fn publish(&self, r: &mut Registry) {
        let mode = [("mode", self.mode.mode().name())];
        r.info("control_mode", "How much of what regimes decide is in force.", &mode);
        r.counter("regime_ticks", "Ticks of the regime engine.", &[], self.ticks);
        for s in self.engine.standings() {
            let scope = [("machine", s.machine), ("scope", &*s.scope)];
            let help =
                "Severity of the state in force: 0 clean, 1 elevated, 2 distorted, 3 contain.";
            r.gauge("regime_severity", help, &scope, u64::from(s.severity));
            let help = "1 = the instance changed state too often and waits for a release.";
            r.gauge("regime_frozen", help, &scope, u64::from(s.frozen));
            let help = "1 = its profile held more than it was meant to cure and is withdrawn.";
            r.gauge("regime_held_off", help, &scope, u64::from(s.held_off));
            for (from, name) in s.states.iter().enumerate() {
                let labels = [scope[0], scope[1], ("state", *name)];
                let seconds = s.stays.time_in[from].0 as f64 / 1e9;
                r.gauge("regime_time_in_state_seconds", "Time spent in a state.", &labels, seconds);
                for (to, count) in s.stays.transitions[from].iter().enumerate() {
                    if *count > 0 {
                        let labels = [scope[0], scope[1], ("from", *name), ("to", s.states[to])];
                        r.counter("regime_transitions", "Changes of state.", &labels, *count);
                    }
                }
            }
        }
        let none = std::iter::empty().chain(Engine::ALARMS.iter().flat_map(|cause| {
            let machines = self.engine.machines().iter();
            machines.map(|machine| (machine.name.clone(), cause.name()))
        }));
        for key in none {
            let count = self.counts.get(&key).copied().unwrap_or_default();
            let labels = [("machine", key.0.as_str()), ("cause", key.1)];
            let help = "Decisions that an operator has to hear of.";
            r.counter("alarm_regime", help, &labels, count);
        }
    }
}
