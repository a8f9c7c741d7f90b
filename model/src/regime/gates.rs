//! Gates: what a change has to show before it governs more, and what takes it back.

use super::fed::Fed;
use super::reading::Reading;
use super::term::Input;
use crate::time::Nanos;

/// What came of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It applies and nobody knows: it has failed.
    Absent,
    /// It says nothing about such a class.
    NotApplicable,
}

/// A gate with what it was judged by.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// The figure of the changed arm, or the difference where that was fed.
    pub value: Option<f64>,
    /// What it was held against.
    pub limit: Option<f64>,
}

impl Gate {
    /// Whether a promotion may go past it.
    pub const fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::NotApplicable)
    }

    fn at_most(name: &'static str, value: Option<f64>, limit: Option<f64>) -> Self {
        Self::judged(name, value, limit, |value, limit| value <= limit)
    }

    fn judged(
        name: &'static str,
        value: Option<f64>,
        limit: Option<f64>,
        holds: impl Fn(f64, f64) -> bool,
    ) -> Self {
        let outcome = match value.zip(limit) {
            None => Outcome::Absent,
            Some((value, limit)) if holds(value, limit) => Outcome::Passed,
            Some(_) => Outcome::Failed,
        };
        Self { name, outcome, value, limit }
    }
}

/// Transport figures of one arm, over the same time as the other's.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Arm {
    /// The figure that the change is for: the `excess` of `burstiness_index`, or of
    /// `burst_delivery_concentration`.
    pub excess: Option<f64>,
    /// A second such figure: the `excess` of `decision_burst_coupling`; `None` = there is only one.
    pub excess_2: Option<f64>,
    /// Maximum of `exempt_hold_ns`.
    pub exempt_hold_ns: Option<f64>,
    /// Median of `dispatch_to_wire_ns`.
    pub dispatch_to_wire_p50_ns: Option<f64>,
    /// Its 99th percentile.
    pub dispatch_to_wire_p99_ns: Option<f64>,
    /// Frame bytes per second that left.
    pub goodput: Option<f64>,
}

/// What a change is judged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// It is for the `delivery` machine, which has two figures.
    pub delivery: bool,
    /// The class sends orders, so it has outcomes.
    pub orders: bool,
    /// Largest allowed increase of `dispatch_to_wire_ns`, of the class.
    pub latency_budget: Option<Nanos>,
}

/// The transport gates: the changed arm against the one that was left as it is.
pub fn transport(change: Change, changed: &Arm, control: &Arm) -> Vec<Gate> {
    let less = |value, limit| value < limit;
    let mut gates = vec![Gate::judged("excess", changed.excess, control.excess, less)];
    let second = Gate::judged("coupling_excess", changed.excess_2, control.excess_2, less);
    let not_asked = Gate { outcome: Outcome::NotApplicable, ..second.clone() };
    gates.push(if change.delivery { second } else { not_asked });
    gates.push(Gate::at_most("exempt_hold_ns", changed.exempt_hold_ns, control.exempt_hold_ns));
    let budget = change.latency_budget.map(|budget| budget.0 as f64);
    let within = |control: Option<f64>| control.zip(budget).map(|(a, b)| a + b);
    gates.push(Gate::at_most(
        "dispatch_to_wire_p50_ns",
        changed.dispatch_to_wire_p50_ns,
        within(control.dispatch_to_wire_p50_ns),
    ));
    gates.push(Gate::at_most(
        "dispatch_to_wire_p99_ns",
        changed.dispatch_to_wire_p99_ns,
        within(control.dispatch_to_wire_p99_ns),
    ));
    let not_lower = |value, limit| value >= limit;
    gates.push(Gate::judged("goodput", changed.goodput, control.goodput, not_lower));
    gates
}

/// Outcome gates: name, what is fed (`fed.NAME.VALUE`), its limit, and whether it is a lower bound.
/// Points are percentage points.
const OUTCOMES: [(&str, &str, f64, bool); 5] = [
    ("fill_completion", "fed.fill_completion.bound", -0.5, true),
    ("slippage_q95", "fed.slippage_q95.delta", 0.0, false),
    ("slippage_q99", "fed.slippage_q99.delta", 0.0, false),
    ("rejects", "fed.rejects.delta", 0.1, false),
    ("retries", "fed.retries.delta", 0.1, false),
];

/// The outcome gates of a class, from what is fed for it: the 97.5 % bound of the difference in fill
/// completion above -0.5 points, the 95th and 99th percentile of slippage not worse, rejects and
/// retries at most 0.1 points more.
pub fn outcome(change: Change, now: Nanos, scope: &str, fed: &Fed) -> Vec<Gate> {
    let gate = |(name, input, limit, lower): &(&'static str, &str, f64, bool)| {
        let reading = input.parse::<Input>().map(|input| fed.read(now, scope, &input));
        let value = reading.ok().and_then(Reading::value);
        let holds = |value, limit| if *lower { value > limit } else { value <= limit };
        let judged = Gate::judged(name, value, Some(*limit), holds);
        let outcome = if change.orders { judged.outcome } else { Outcome::NotApplicable };
        Gate { outcome, ..judged }
    };
    OUTCOMES.iter().map(gate).collect()
}

/// What is seen of a governed scope at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickCheck {
    /// Packets behind it.
    pub n: u64,
    /// A transport gate does not hold over the tick.
    pub bad: bool,
    /// An exempt packet was held, a packet was dropped, or a venue limit was passed, that would not
    /// have been without the change.
    pub breach: Option<Breach>,
}

/// What is not looked at twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// Of `exempt_hold_ns`.
    ExemptHold,
    /// A packet was dropped.
    Drop,
    /// Of a venue limit.
    VenueLimit,
}

/// Bad ticks in a row that take a change back.
pub const BAD_TICKS: u32 = 3;
/// A tick with fewer packets says nothing.
pub const TICK_N_MIN: u64 = 200;

/// Looks for a reason to take a change back.
#[derive(Clone, Copy, Debug, Default)]
pub struct RollBack {
    bad_ticks: u32,
}

impl RollBack {
    /// Takes a tick in; the reason, if there is one.
    pub fn tick(&mut self, check: TickCheck) -> Option<String> {
        if let Some(breach) = check.breach {
            return Some(match breach {
                Breach::ExemptHold => "an exempt packet was held".to_owned(),
                Breach::Drop => "a packet was dropped".to_owned(),
                Breach::VenueLimit => "a venue limit was passed".to_owned(),
            });
        }
        if check.n >= TICK_N_MIN {
            self.bad_ticks = if check.bad { self.bad_ticks + 1 } else { 0 };
        }
        (self.bad_ticks >= BAD_TICKS).then(|| format!("{BAD_TICKS} bad ticks in a row"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fed::FedValue;
    use super::*;

    const CHANGE: Change =
        Change { delivery: false, orders: true, latency_budget: Some(Nanos::from_micros(20)) };

    fn arm() -> Arm {
        Arm {
            excess: Some(3.0),
            excess_2: None,
            exempt_hold_ns: Some(500.0),
            dispatch_to_wire_p50_ns: Some(10_000.0),
            dispatch_to_wire_p99_ns: Some(50_000.0),
            goodput: Some(1e6),
        }
    }

    fn open(gates: &[Gate]) -> Vec<&str> {
        gates.iter().filter(|gate| !gate.is_open()).map(|gate| gate.name).collect()
    }

    #[test]
    fn transport_gates_hold_the_changed_arm_against_the_other() {
        let control = arm();
        let good = Arm {
            excess: Some(1.2),
            dispatch_to_wire_p50_ns: Some(30_000.0),
            dispatch_to_wire_p99_ns: Some(70_000.0),
            ..control
        };
        assert_eq!(open(&transport(CHANGE, &good, &control)), [""; 0]);
        assert_eq!(open(&transport(CHANGE, &control, &control)), ["excess"], "no better");
        let late = Arm { dispatch_to_wire_p99_ns: Some(70_001.0), ..good };
        assert_eq!(open(&transport(CHANGE, &late, &control)), ["dispatch_to_wire_p99_ns"]);
        let held = Arm { exempt_hold_ns: Some(501.0), goodput: Some(999_999.0), ..good };
        assert_eq!(open(&transport(CHANGE, &held, &control)), ["exempt_hold_ns", "goodput"]);
        let unknown = Arm { goodput: None, ..good };
        assert_eq!(open(&transport(CHANGE, &unknown, &control)), ["goodput"], "absent has failed");
        let no_budget = Change { latency_budget: None, ..CHANGE };
        assert_eq!(open(&transport(no_budget, &good, &control)).len(), 2);
        let delivery = Change { delivery: true, ..CHANGE };
        assert_eq!(open(&transport(delivery, &good, &control)), ["coupling_excess"]);
    }

    #[test]
    fn outcome_gates_are_fed_and_expire() {
        let mut fed = Fed::default();
        let mut feed = |kpi: &str, value: &str, number| {
            let (kpi, value) = (kpi.to_owned(), value.to_owned());
            let fed_value = FedValue { kpi, scope: None, value, number, n: 500, expires_s: 60.0 };
            fed.take(Nanos::ZERO, fed_value, |_| true).expect("it is taken");
        };
        feed("fill_completion", "bound", -0.4);
        feed("slippage_q95", "delta", 0.0);
        feed("slippage_q99", "delta", -1.0);
        feed("rejects", "delta", 0.1);
        feed("retries", "delta", 0.2);
        let at = |s| outcome(CHANGE, Nanos::from_secs(s), "orders", &fed);
        assert_eq!(open(&at(1)), ["retries"]);
        assert_eq!(open(&at(60)).len(), 5, "expired has failed");
        let bulk = Change { orders: false, ..CHANGE };
        assert_eq!(open(&outcome(bulk, Nanos::from_secs(60), "bulk", &fed)), [""; 0]);
    }

    #[test]
    fn three_bad_ticks_in_a_row_or_one_breach_roll_back() {
        let mut watch = RollBack::default();
        let bad = TickCheck { n: 200, bad: true, breach: None };
        assert_eq!(watch.tick(bad), None);
        assert_eq!(watch.tick(bad), None);
        assert_eq!(watch.tick(TickCheck { bad: false, ..bad }), None, "begins again");
        assert_eq!(watch.tick(bad), None);
        assert_eq!(watch.tick(TickCheck { n: 199, ..bad }), None, "too few say nothing");
        assert_eq!(watch.tick(bad), None);
        assert!(watch.tick(bad).is_some());
        let breach = TickCheck { n: 1, bad: false, breach: Some(Breach::VenueLimit) };
        assert!(RollBack::default().tick(breach).is_some());
    }
}
