//! What a drill says beforehand, and whether it came so.

use model::time::Nanos;
use serde_json::{Value, json};

use super::scene::START;
use super::trace::{Trace, Transition, median, since_start_ms};

/// A bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Is {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
    /// Above.
    Above(f64),
    /// Below.
    Below(f64),
    /// Exactly.
    Exactly(f64),
    /// There, and something else.
    Not(f64),
    /// Not there at all.
    Absent,
}

impl Is {
    fn holds(self, value: Option<f64>) -> bool {
        match (self, value) {
            (Self::Absent, value) => value.is_none(),
            (_, None) => false,
            (Self::AtLeast(bound), Some(value)) => value >= bound,
            (Self::AtMost(bound), Some(value)) => value <= bound,
            (Self::Above(bound), Some(value)) => value > bound,
            (Self::Below(bound), Some(value)) => value < bound,
            (Self::Exactly(bound), Some(value)) => value == bound,
            (Self::Not(bound), Some(value)) => value != bound,
        }
    }

    fn said(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::Above(bound) => format!("> {bound}"),
            Self::Below(bound) => format!("< {bound}"),
            Self::Exactly(bound) => format!("= {bound}"),
            Self::Not(bound) => format!("not {bound}"),
            Self::Absent => "absent".to_owned(),
        }
    }
}

/// A number that a run has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// The highest value of a watch at ticks from one time to another.
    Highest(&'static str, Nanos, Nanos),
    /// The lowest.
    Lowest(&'static str, Nanos, Nanos),
    /// The median.
    Median(&'static str, Nanos, Nanos),
    /// A watch over the whole run.
    Whole(&'static str),
    /// What a peer or the gateway has counted.
    Fact(&'static str),
}

impl Figure {
    fn read(self, trace: &Trace) -> Option<f64> {
        match self {
            Self::Highest(watch, from, to) => {
                trace.values(watch, from, to).into_iter().reduce(f64::max)
            }
            Self::Lowest(watch, from, to) => {
                trace.values(watch, from, to).into_iter().reduce(f64::min)
            }
            Self::Median(watch, from, to) => {
                let mut values = trace.values(watch, from, to);
                values.sort_by(f64::total_cmp);
                median(&values)
            }
            Self::Whole(watch) => trace.whole.get(watch).copied().flatten(),
            Self::Fact(name) => trace.facts.get(name).copied(),
        }
    }

    fn said(self) -> String {
        let span = |from, to| format!("{} to {} ms", since_start_ms(from), since_start_ms(to));
        match self {
            Self::Highest(watch, from, to) => format!("highest {watch}, {}", span(from, to)),
            Self::Lowest(watch, from, to) => format!("lowest {watch}, {}", span(from, to)),
            Self::Median(watch, from, to) => format!("median {watch}, {}", span(from, to)),
            Self::Whole(watch) => format!("{watch} over the whole run"),
            Self::Fact(name) => name.to_owned(),
        }
    }
}

/// Something that must come true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expect {
    /// The machine enters these states, one after the other; others may lie between.
    Order(&'static [&'static str]),
    /// It enters the state, from the first time to the second.
    Enters(&'static str, Nanos, Nanos),
    /// It never enters the state.
    Never(&'static str),
    /// It never leaves its lowest state.
    Stays,
    /// It is in its lowest state from this time on.
    Returns(Nanos),
    /// It changes its state at most so often.
    TransitionsAtMost(usize),
}

/// One expectation of one run.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// Of a machine over a scope.
    Machine {
        /// The run.
        arm: &'static str,
        /// Name of the machine.
        machine: &'static str,
        /// What it watches.
        scope: &'static str,
        /// What it must do.
        expect: Expect,
    },
    /// Of every machine over every scope.
    Machines {
        /// The run.
        arm: &'static str,
        /// What each must do.
        expect: Expect,
    },
    /// Of a figure.
    Figure {
        /// The run.
        arm: &'static str,
        /// Which one.
        figure: Figure,
        /// Its bound.
        is: Is,
    },
    /// Of a figure of one run over a figure of another, or of the same.
    Ratio {
        /// The run and the figure above the line.
        of: (&'static str, Figure),
        /// Those below.
        to: (&'static str, Figure),
        /// The bound of the ratio.
        is: Is,
    },
}

/// What came of an expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The run.
    pub arm: &'static str,
    /// Of what.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What was measured.
    pub measured: Value,
    /// Whether they agree.
    pub holds: bool,
}

impl Finding {
    /// As it stands in JSON.
    pub fn json(&self) -> Value {
        json!({
            "arm": self.arm,
            "what": self.what,
            "expected": self.expected,
            "measured": self.measured,
            "holds": self.holds,
        })
    }
}

impl Expectation {
    /// Holds it against what the runs have shown.
    pub fn judge(&self, traces: &[Trace]) -> Finding {
        let trace = |arm: &str| traces.iter().find(|trace| trace.arm == arm);
        match *self {
            Self::Machine { arm, machine, scope, expect } => {
                let what = format!("{machine} of {scope}");
                let (measured, holds) =
                    trace(arm).map_or((Value::Null, false), |t| expect.judge(t, machine, scope));
                Finding { arm, what, expected: expect.said(), measured, holds }
            }
            Self::Machines { arm, expect } => {
                let instances = trace(arm).into_iter().flat_map(|trace| {
                    let all = trace.instances.iter();
                    all.map(move |(machine, scope, _)| {
                        (machine, scope, expect.judge(trace, machine, scope))
                    })
                });
                let mut amiss = Vec::new();
                let mut count = 0;
                for (machine, scope, (measured, holds)) in instances {
                    count += 1;
                    if !holds {
                        amiss.push(json!({ "machine": machine, "scope": scope, "was": measured }));
                    }
                }
                let holds = count > 0 && amiss.is_empty();
                let measured = json!({ "machines": count, "amiss": amiss });
                let what = "every machine".to_owned();
                Finding { arm, what, expected: expect.said(), measured, holds }
            }
            Self::Figure { arm, figure, is } => {
                let value = trace(arm).and_then(|trace| figure.read(trace));
                let holds = trace(arm).is_some() && is.holds(value);
                let (what, expected) = (figure.said(), is.said());
                Finding { arm, what, expected, measured: json!(value), holds }
            }
            Self::Ratio { of, to, is } => {
                let read = |(arm, figure): (&str, Figure)| figure.read(trace(arm)?);
                let ratio = read(of).zip(read(to)).map(|(of, to)| of / to);
                let what = format!("{}, {}, over {}, {}", of.0, of.1.said(), to.0, to.1.said());
                let measured = json!({ "ratio": ratio, "of": read(of), "to": read(to) });
                Finding { arm: of.0, what, expected: is.said(), measured, holds: is.holds(ratio) }
            }
        }
    }
}

impl Expect {
    fn said(self) -> String {
        let at = since_start_ms;
        match self {
            Self::Order(states) => format!("enters {} in this order", states.join(", ")),
            Self::Enters(state, from, to) => {
                format!("enters {state} from {} to {} ms", at(from), at(to))
            }
            Self::Never(state) => format!("never enters {state}"),
            Self::Stays => "never leaves its lowest state".to_owned(),
            Self::Returns(by) => format!("in its lowest state from {} ms on", at(by)),
            Self::TransitionsAtMost(n) => format!("at most {n} transitions"),
        }
    }

    /// What the machine did, and whether that is it.
    fn judge(self, trace: &Trace, machine: &str, scope: &str) -> (Value, bool) {
        let known = trace.instances.iter().find(|(m, s, _)| m == machine && s == scope);
        let Some((.., lowest)) = known else { return (Value::Null, false) };
        let moves: Vec<&Transition> = trace.of(machine, scope).collect();
        let shown: Vec<Value> =
            moves.iter().map(|t| json!({ "at_ms": since_start_ms(t.at), "to": t.to })).collect();
        let holds = match self {
            Self::Order(states) => {
                let mut wanted = states.iter().peekable();
                for transition in &moves {
                    wanted.next_if(|state| transition.to == **state);
                }
                wanted.peek().is_none()
            }
            Self::Enters(state, from, to) => {
                moves.iter().any(|t| t.to == state && from <= t.at && t.at <= to)
            }
            Self::Never(state) => moves.iter().all(|t| t.to != state),
            Self::Stays => moves.is_empty(),
            Self::Returns(by) => {
                let at_end = moves.last().is_none_or(|last| last.to == *lowest && last.at <= by);
                at_end && by < trace.ended && START < by
            }
            Self::TransitionsAtMost(n) => moves.len() <= n,
        };
        (Value::Array(shown), holds)
    }
}
