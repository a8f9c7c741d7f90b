//! Whether a condition holds, and by which values.

use super::reading::{Missing, Reading, Since};
use super::table::StateId;
use super::term::{Bound, Term};
use crate::time::Nanos;

/// What is said of a term, a list or a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// A value is absent, so nobody knows.
    Unknown,
}

/// A value that took part in a decision.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// The term as it is written.
    pub term: String,
    /// The value, `None` = absent.
    pub value: Option<f64>,
    /// What it was held against, in the unit of the KPI.
    pub limit: Option<f64>,
    /// Observations behind it.
    pub n: u64,
    /// Seconds that it was computed over.
    pub window_s: u8,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// A bound with what was read for it at this tick.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub bound: Bound,
    pub reading: Reading,
    /// What the factor of the bound counts, in the unit of the input.
    pub measure: Result<f64, Missing>,
    pub window_s: u8,
    /// For how long it has held.
    pub since: Since,
    pub verdict: Verdict,
}

impl Judged {
    pub fn new(bound: Bound) -> Self {
        let (since, verdict) = (Since::default(), Verdict::Unknown);
        let reading = Reading::Absent(Missing::NoSource);
        let measure = Err(Missing::NoBaseline);
        Self { bound, reading, measure, window_s: 1, since, verdict }
    }

    /// Takes in what was read at `now`.
    pub fn judge(&mut self, reading: Reading, now: Nanos) {
        self.reading = reading;
        let passes = match (reading, self.measure) {
            (Reading::Value { value, .. }, Ok(one)) => {
                Some(self.bound.comparison.holds(value, self.bound.factor * one))
            }
            (Reading::Value { .. }, Err(missing)) => {
                self.reading = Reading::Absent(missing);
                None
            }
            _ => None,
        };
        // "At every tick": a tick at which nobody knows ends it.
        self.since.note(passes == Some(true), now);
        self.verdict = match passes {
            None => Verdict::Unknown,
            Some(true) if self.since.held_for(self.bound.span, now) => Verdict::Holds,
            Some(_) => Verdict::Fails,
        };
    }

    pub fn evidence(&self) -> Evidence {
        let (n, missing) = match self.reading {
            Reading::Value { n, .. } => (n, None),
            Reading::NoPart => (0, None),
            Reading::Absent(missing) => (0, Some(missing)),
        };
        Evidence {
            term: self.bound.to_string(),
            value: self.reading.value(),
            limit: self.measure.ok().map(|one| self.bound.factor * one),
            n,
            window_s: self.window_s,
            missing,
        }
    }
}

/// A list, its terms resolved to places in the instance.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A bound, by its place.
    Bound(usize),
    /// The entry of a state held for so long.
    Held(StateId, Nanos),
}

impl Place {
    /// Finds the bound of `term` among `judged`, or adds it.
    pub fn of(term: &Term, judged: &mut Vec<Judged>) -> Self {
        match term {
            Term::Held { id, span, .. } => Self::Held(*id, *span),
            Term::Bound(bound) => {
                let known = judged.iter().position(|known| known.bound == *bound);
                Self::Bound(known.unwrap_or_else(|| {
                    judged.push(Judged::new(bound.clone()));
                    judged.len() - 1
                }))
            }
        }
    }
}

/// Whether an entry holds: any list, all of its terms.
pub(super) fn entry(
    lists: &[Vec<Place>],
    judged: &[Judged],
    held: impl Fn(StateId, Nanos) -> bool,
) -> Verdict {
    any(lists.iter().map(|list| {
        all(list.iter().map(|place| match place {
            Place::Held(id, span) if held(*id, *span) => Verdict::Holds,
            Place::Held(..) => Verdict::Fails,
            Place::Bound(at) if judged[*at].reading == Reading::NoPart => Verdict::Fails,
            Place::Bound(at) => judged[*at].verdict,
        }))
    }))
}

/// Whether an exit holds: what takes no part is left out of its list, and a list of nothing else
/// says nothing.
pub(super) fn exit(lists: &[Vec<Place>], judged: &[Judged]) -> Verdict {
    any(lists.iter().map(|list| {
        let bounds = list.iter().filter_map(|place| match place {
            Place::Bound(at) => Some(&judged[*at]),
            Place::Held(..) => None,
        });
        let mut parts = bounds.filter(|bound| bound.reading != Reading::NoPart).peekable();
        if parts.peek().is_none() { Verdict::Unknown } else { all(parts.map(|b| b.verdict)) }
    }))
}

/// The values behind the first of `lists` that holds.
pub(super) fn evidence(lists: &[Vec<Place>], judged: &[Judged]) -> Vec<Evidence> {
    let holds = |list: &&Vec<Place>| {
        list.iter().all(|place| match place {
            Place::Bound(at) => {
                judged[*at].verdict == Verdict::Holds || judged[*at].reading == Reading::NoPart
            }
            Place::Held(..) => true,
        })
    };
    let list = lists.iter().find(holds).or(lists.first());
    let bounds = list.into_iter().flatten().filter_map(|place| match place {
        Place::Bound(at) => Some(judged[*at].evidence()),
        Place::Held(..) => None,
    });
    bounds.collect()
}

fn all(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.fold(Verdict::Holds, |all, one| match (all, one) {
        (Verdict::Fails, _) | (_, Verdict::Fails) => Verdict::Fails,
        (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
        _ => Verdict::Holds,
    })
}

fn any(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.fold(Verdict::Fails, |any, one| match (any, one) {
        (Verdict::Holds, _) | (_, Verdict::Holds) => Verdict::Holds,
        (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
        _ => Verdict::Fails,
    })
}
