//! The channel of advice: what strategies may read, over the control socket, as server-sent events and
//! from shared memory.
//!
//! [`Publisher::publish`] is given what each scope is advised. A scope that is not named is advised
//! nothing. Until the first call, and where nothing is published for
//! [`VALIDITY`](model::advice::VALIDITY), everybody reads neutral advice.

use dataplane::advice_page::AdvicePage;
use model::advice::Advice;
use model::time::Nanos;
use serde_json::{Value, json};

use crate::registry::Registry;

/// What one scope is advised.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopedAdvice {
    /// `class:NAME`, or what else a machine watches.
    pub scope: String,
    /// What it is advised. Sequence number and time are the publisher's.
    pub advice: Advice,
}

/// See the module.
#[derive(Default)]
pub struct Publisher {
    scopes: Vec<ScopedAdvice>,
    page: Option<AdvicePage>,
    changes: u64,
    /// Scopes that the page has no slot for.
    not_in_page: u64,
}

impl Publisher {
    /// The scopes, of which none is advised anything.
    pub fn new(scopes: Vec<String>) -> Self {
        let neutral = |scope| ScopedAdvice { scope, advice: Advice::default() };
        Self { scopes: scopes.into_iter().map(neutral).collect(), ..Self::default() }
    }

    /// These scopes too, of which none is advised anything yet.
    pub fn know(&mut self, scopes: impl IntoIterator<Item = String>) {
        for scope in scopes {
            if self.place(&scope).is_none() {
                self.scopes.push(ScopedAdvice { scope, advice: Advice::default() });
            }
        }
    }

    /// The same, and into shared memory too.
    pub fn set_page(&mut self, page: AdvicePage) {
        self.page = Some(page);
    }

    /// Slots that a page needs: scopes may come later.
    pub fn slots(&self) -> usize {
        const SPARE: usize = 64;
        (self.scopes.len() + SPARE).min(intent::advice::SLOTS_MAX)
    }

    /// At `now`, `advice` is what there is to say.
    pub fn publish(&mut self, now: Nanos, advice: &[ScopedAdvice]) {
        self.know(advice.iter().map(|new| new.scope.clone()));
        for place in 0..self.scopes.len() {
            let said = advice.iter().find(|new| new.scope == self.scopes[place].scope);
            let said = said.map_or_else(Advice::default, |new| new.advice.clone());
            self.say(place, now, said);
        }
    }

    fn place(&self, scope: &str) -> Option<usize> {
        self.scopes.iter().position(|known| known.scope == scope)
    }

    fn say(&mut self, place: usize, now: Nanos, said: Advice) {
        let ScopedAdvice { scope, advice } = &mut self.scopes[place];
        let changed = !advice.says_the_same(&said);
        let sequence = advice.sequence + u64::from(changed);
        self.changes += u64::from(changed);
        *advice = Advice { sequence, at: now, ..said };
        if let Some(page) = &self.page
            && !page.write(place, scope, &in_page(advice))
        {
            self.not_in_page += 1;
        }
    }

    /// What is said at `now`: one object for each scope.
    pub fn to_json(&self, now: Nanos) -> Value {
        self.scopes
            .iter()
            .map(|scoped| object(&scoped.scope, &scoped.advice.read_at(now)))
            .collect()
    }

    /// Grows with every change of any scope.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts its numbers on the list.
    pub fn publish_numbers(&self, registry: &mut Registry) {
        let help = "Changes of what any scope is advised.";
        registry.counter("advice_changes", help, &[], self.changes);
        let help = "Records of advice that did not fit into the page in shared memory.";
        registry.counter("advice_not_in_page", help, &[], self.not_in_page);
        for scoped in &self.scopes {
            let labels = [("scope", scoped.scope.as_str())];
            let help = "1 where a scope is advised to do anything but as usual.";
            let on = u64::from(!scoped.advice.is_neutral());
            registry.gauge("advice_active", help, &labels, on);
        }
    }
}

fn object(scope: &str, advice: &Advice) -> Value {
    json!({
        "scope": scope,
        "sequence": advice.sequence,
        "at_ns": advice.at.0,
        "valid_for_ns": advice.valid_for.0,
        "regime": advice.regime,
        "aggression": advice.aggression,
        "signal_weight": advice.signal_weight,
        "replace_churn": advice.replace_churn,
        "completion_priority": advice.completion_priority,
        "queue_preserving": advice.queue_preserving,
        "tactic_switch_cap": advice.tactic_switch_cap,
        "write_batching": advice.write_batching,
        "urgency": advice.urgency,
        "slippage_budget": advice.slippage_budget,
        "child_granularity": advice.child_granularity,
        "backpressure": advice.backpressure,
        "route_penalty": advice.route_penalty,
        "tactics": advice.tactics,
    })
}

/// The record as the page has it.
fn in_page(advice: &Advice) -> intent::advice::Advice {
    let mut record = intent::advice::Advice {
        sequence: advice.sequence,
        at_ns: advice.at.0,
        valid_for_ns: advice.valid_for.0,
        regime: [0; intent::advice::REGIME_BYTES_MAX],
        aggression: advice.aggression,
        signal_weight: advice.signal_weight,
        replace_churn: advice.replace_churn,
        completion_priority: advice.completion_priority,
        queue_preserving: advice.queue_preserving,
        tactic_switch_cap: advice.tactic_switch_cap,
        write_batching: advice.write_batching,
        urgency: advice.urgency,
        slippage_budget: advice.slippage_budget,
        child_granularity: advice.child_granularity,
        backpressure: advice.backpressure,
        route_penalty: advice.route_penalty,
        completion_critical: advice.tactics == Some("completion_critical"),
    };
    record.set_regime(advice.regime.first().map_or("", String::as_str));
    record
}

/// Classes past their queue budget: what the data cores themselves ask of strategies.
#[derive(Default)]
pub struct Backpressure {
    scopes: Vec<String>,
    /// When a core last said so, by class.
    said: Vec<Option<Nanos>>,
}

/// A class that was past its budget is asked for less for so long. A core says it again, every ms at
/// most, as long as packets come in spite of it.
const BACKPRESSURE_FOR: Nanos = Nanos::from_millis(500);

impl Backpressure {
    /// Of these classes.
    pub fn new(classes: &[String]) -> Self {
        let scopes: Vec<_> = classes.iter().map(|class| class_scope(class)).collect();
        Self { said: vec![None; scopes.len()], scopes }
    }

    /// Class `class` is past its budget.
    pub fn on_event(&mut self, class: u8, now: Nanos) {
        if let Some(said) = self.said.get_mut(usize::from(class)) {
            *said = Some(now);
        }
    }

    /// What follows from it at `now`.
    pub fn advice(&self, now: Nanos) -> Vec<ScopedAdvice> {
        let is_on =
            |said: &Option<Nanos>| said.is_some_and(|at| now.saturating_sub(at) < BACKPRESSURE_FOR);
        let past = self.scopes.iter().zip(&self.said).filter(|(_, said)| is_on(said));
        past.map(|(scope, _)| ScopedAdvice {
            scope: scope.clone(),
            advice: Advice { backpressure: true, ..Advice::default() },
        })
        .collect()
    }
}

/// Adds what the regime engine says of scopes to what the data cores say, which is `backpressure` and
/// nothing else.
pub fn add(advice: &mut Vec<ScopedAdvice>, more: impl Iterator<Item = ScopedAdvice>) {
    for new in more {
        match advice.iter_mut().find(|known| known.scope == new.scope) {
            Some(known) => {
                let backpressure = known.advice.backpressure || new.advice.backpressure;
                known.advice = Advice { backpressure, ..new.advice };
            }
            None => advice.push(new),
        }
    }
}

/// The scope of a class.
pub fn class_scope(class: &str) -> String {
    format!("class:{class}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Nanos = Nanos::from_millis;

    fn scoped(scope: &str, advice: Advice) -> ScopedAdvice {
        ScopedAdvice { scope: scope.into(), advice }
    }

    #[test]
    fn neutral_at_the_start_and_when_nothing_is_published() {
        let mut publisher = Publisher::new(vec!["class:orders".into()]);
        let at = |publisher: &Publisher, now| publisher.to_json(now)[0].clone();
        let first = at(&publisher, MS(10));
        assert_eq!((&first["scope"], &first["sequence"]), (&json!("class:orders"), &json!(0)));
        assert_eq!((&first["urgency"], &first["backpressure"]), (&json!(1.0), &json!(false)));
        let asks = Advice { urgency: 0.5, regime: vec!["A".into()], ..Advice::default() };
        publisher.publish(MS(2_000), &[scoped("class:orders", asks)]);
        assert_eq!(at(&publisher, MS(3_000))["urgency"], 0.5);
        let old = at(&publisher, MS(3_001));
        assert_eq!((&old["urgency"], &old["regime"]), (&json!(1.0), &json!([])));
        publisher.publish(MS(3_100), &[]);
        assert_eq!(at(&publisher, MS(3_100))["sequence"], 2);
    }

    #[test]
    fn the_sequence_counts_changes_and_the_time_goes_on() {
        let mut publisher = Publisher::new(vec!["class:a".into(), "class:b".into()]);
        let asks = Advice { signal_weight: 0.5, ..Advice::default() };
        for (now, sequence) in [(100, 1), (200, 1), (300, 1)] {
            publisher.publish(MS(now), &[scoped("class:b", asks.clone())]);
            let b = publisher.to_json(MS(now))[1].clone();
            assert_eq!((&b["sequence"], &b["at_ns"]), (&json!(sequence), &json!(MS(now).0)));
        }
        assert_eq!(publisher.to_json(MS(300))[0]["sequence"], 0);
        // A scope that nobody knew is one from now on.
        publisher.publish(MS(400), &[scoped("feed:quotes", asks)]);
        assert_eq!((publisher.scopes.len(), publisher.changes()), (3, 3));
        let json = publisher.to_json(MS(400));
        assert_eq!((&json[1]["sequence"], &json[2]["scope"]), (&json!(2), &json!("feed:quotes")));
        let mut registry = Registry::new();
        publisher.publish_numbers(&mut registry);
        let list = registry.to_json();
        assert_eq!(list["advice_active"][2], json!({"scope": "feed:quotes", "value": 1}));
        assert_eq!((&list["advice_changes"], &list["advice_not_in_page"]), (&json!(3), &json!(0)));
    }

    #[test]
    fn the_page_says_what_the_others_say() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("advice");
        let mut publisher = Publisher::new(vec!["class:a".into(), "class:b".into()]);
        publisher.set_page(AdvicePage::create(&path, 2).unwrap());
        let asks = Advice {
            valid_for: MS(700),
            regime: vec!["SAFE_TX_CONTAIN".into(), "BURSTING".into()],
            aggression: 2.0,
            replace_churn: 0.25,
            tactic_switch_cap: 0.5,
            child_granularity: 0.125,
            route_penalty: 1.0,
            write_batching: true,
            completion_priority: true,
            tactics: Some("completion_critical"),
            ..Advice::default()
        };
        publisher.publish(MS(5), &[scoped("class:b", asks), scoped("class:c", Advice::default())]);
        assert_eq!(publisher.not_in_page, 1, "a scope that came later has no slot");
        let bytes = std::fs::read(&path).unwrap();
        let words: Vec<std::sync::atomic::AtomicU64> =
            bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word).into()).collect();
        let page = intent::advice::Page::attach(&words).unwrap();
        let b = page.read(page.find("class:b").unwrap(), MS(700).0);
        let json = publisher.to_json(MS(700))[1].clone();
        assert_eq!(b.regime(), json["regime"][0]);
        assert_eq!((b.sequence, b.at_ns, b.valid_for_ns), (1, MS(5).0, MS(700).0));
        for (name, factor) in [
            ("aggression", b.aggression),
            ("signal_weight", b.signal_weight),
            ("replace_churn", b.replace_churn),
            ("tactic_switch_cap", b.tactic_switch_cap),
            ("urgency", b.urgency),
            ("child_granularity", b.child_granularity),
            ("route_penalty", b.route_penalty),
        ] {
            assert_eq!(json[name], factor, "{name}");
        }
        for (name, flag) in [
            ("completion_priority", b.completion_priority),
            ("queue_preserving", b.queue_preserving),
            ("write_batching", b.write_batching),
            ("slippage_budget", b.slippage_budget),
            ("backpressure", b.backpressure),
        ] {
            assert_eq!(json[name], flag, "{name}");
        }
        assert!(b.completion_critical && json["tactics"] == "completion_critical");
    }

    #[test]
    fn what_states_ask_for_stands_beside_what_cores_ask_for() {
        let less = Advice { backpressure: true, ..Advice::default() };
        let asks = Advice { urgency: 0.5, regime: vec!["A".into()], ..Advice::default() };
        let mut advice = vec![scoped("class:a", less.clone()), scoped("class:b", less.clone())];
        let more = [scoped("class:b", asks.clone()), scoped("feed:quotes", asks.clone())];
        add(&mut advice, more.into_iter());
        let both = Advice { backpressure: true, ..asks.clone() };
        let all = [scoped("class:a", less), scoped("class:b", both), scoped("feed:quotes", asks)];
        assert_eq!(advice, all);
    }

    #[test]
    fn a_class_past_its_budget_is_asked_for_less_until_it_is_over() {
        let mut backpressure = Backpressure::new(&["orders".into(), "bulk".into()]);
        assert_eq!(backpressure.advice(MS(1)), []);
        backpressure.on_event(1, MS(1_000));
        backpressure.on_event(9, MS(1_000));
        let asks = Advice { backpressure: true, ..Advice::default() };
        assert_eq!(backpressure.advice(MS(1_499)), [scoped("class:bulk", asks)]);
        assert_eq!(backpressure.advice(MS(1_500)), []);
    }
}
