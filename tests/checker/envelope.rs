//! Envelopes: what `wirepace check --json` promises, the bucket that finds the earliest time under
//! it, and two proofs that a sequence of departures keeps it in every window.

use std::collections::HashMap;

use serde_json::Value;

use super::exact::{Exact, NS_PER_S};

/// At most `burst + rate x (slack + t - s)` units leave in `[s, t]`. The unit is a bit or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Units per second, above 0.
    pub rate: u64,
    /// Units.
    pub burst: u64,
    /// What the rate gives in so long is part of the burst, ns.
    pub slack: u64,
}

impl Envelope {
    /// A burst of whole units.
    pub const fn new(rate: u64, burst: u64) -> Self {
        Self { rate, burst, slack: 0 }
    }

    /// The whole burst, units x ns/s.
    pub fn room(&self) -> i128 {
        i128::from(self.burst) * NS_PER_S + i128::from(self.rate) * i128::from(self.slack)
    }
}

/// Both envelopes of one node; `None` = unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In bits, counted over wire bytes.
    pub bits: Option<Envelope>,
    /// In messages.
    pub messages: Option<Envelope>,
}

/// A level of the tree. The derived order is the order in which they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Each flow of a class, named after the class.
    Flow,
    /// A class.
    Class,
    /// An egress port.
    Port,
}

/// The promises of one profile, by level and name.
#[derive(Clone, Debug, Default)]
pub struct Envelopes(HashMap<(Level, String), Limits>);

impl Envelopes {
    /// Reads the rows of `profile` from the JSON of `wirepace check --json`.
    ///
    /// # Errors
    /// A row that lacks a key or has a rate without a burst, and no row at all.
    pub fn from_check_json(json: &Value, profile: &str) -> Result<Self, String> {
        let rows = json.get("envelopes").and_then(Value::as_array);
        let rows = rows.ok_or("check printed no `envelopes` array")?;
        let mut table = HashMap::new();
        let mut seen = false;
        for row in rows {
            let text = |key: &str| row.get(key).and_then(Value::as_str);
            let number = |key: &str| row.get(key).and_then(Value::as_u64);
            if text("profile") != Some(profile) {
                continue;
            }
            seen = true;
            let name = text("name").ok_or_else(|| format!("envelope without a name: {row}"))?;
            let level = match text("level") {
                Some("flow") => Level::Flow,
                Some("class") => Level::Class,
                Some("port") => Level::Port,
                _ => return Err(format!("envelope without a known level: {row}")),
            };
            let pair = |rate: &str, burst: &str, scale: u64| match (number(rate), number(burst)) {
                (None, _) => Ok(None),
                (Some(0), _) => Err(format!("a rate of 0: {row}")),
                (Some(_), None) => Err(format!("{rate} without {burst}: {row}")),
                (Some(rate), Some(burst)) => Ok(Some(Envelope::new(rate, burst * scale))),
            };
            let mut limits = Limits {
                bits: pair("rate_bps", "burst_bytes", 8)?,
                messages: pair("messages_per_s", "message_burst", 1)?,
            };
            if let (Some(messages), Some(exact)) =
                (&mut limits.messages, row.get("message_burst_exact"))
            {
                let number = |key: &str| exact.get(key).and_then(Value::as_u64);
                let (Some(whole), Some(slack)) = (number("whole"), number("slack_ns")) else {
                    return Err(format!("message_burst_exact is not whole and slack_ns: {row}"));
                };
                let rounded_up = messages.burst;
                (messages.burst, messages.slack) = (whole, slack);
                if messages.room() > i128::from(rounded_up) * NS_PER_S {
                    return Err(format!("message_burst is below what it rounds up: {row}"));
                }
            }
            if table.insert((level, name.to_owned()), limits).is_some() {
                return Err(format!("two envelopes for one node: {row}"));
            }
        }
        if seen { Ok(Self(table)) } else { Err(format!("no envelope of profile `{profile}`")) }
    }

    /// What is promised for a node; no row = unlimited.
    pub fn of(&self, level: Level, name: &str) -> Limits {
        self.0.get(&(level, name.to_owned())).copied().unwrap_or_default()
    }

    /// Every row, in a fixed order.
    pub fn rows(&self) -> Vec<(Level, &str, Limits)> {
        let mut rows: Vec<_> = self.0.iter().map(|((l, n), x)| (*l, n.as_str(), *x)).collect();
        rows.sort_by_key(|(level, name, _)| (*level, *name));
        rows
    }
}

/// The bucket of one envelope, as the product states it: every departure is charged, whatever
/// released it, and `TAT = max(TAT, t) + L/R`.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    envelope: Envelope,
    /// Theoretical arrival time, ns x rate; `None` = full.
    tat: Option<i128>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(envelope: Envelope) -> Self {
        Self { envelope, tat: None }
    }

    /// When `units` conform: `TAT + L/R - B/R`; `None` = at any time.
    pub fn conforming(&self, units: u64) -> Option<Exact> {
        let lack = i128::from(units) * NS_PER_S - self.envelope.room();
        self.tat.map(|tat| Exact::ratio(tat + lack, i128::from(self.envelope.rate)))
    }

    /// Charges a departure.
    pub fn charge(&mut self, t: u64, units: u64) {
        let now = i128::from(t) * i128::from(self.envelope.rate);
        self.tat = Some(self.tat.unwrap_or(now).max(now) + i128::from(units) * NS_PER_S);
    }
}

/// Index of the first departure that ends a window with too much in it. One pass.
///
/// `departures` are `(t, units)` in wire order. The virtual scheduling form of the leaky bucket
/// conforms exactly when every window does; charging goes on after a breach.
pub fn first_breach(envelope: Envelope, departures: &[(u64, u64)]) -> Option<usize> {
    let mut bucket = Bucket::new(envelope);
    departures.iter().position(|&(t, units)| {
        let early = match bucket.conforming(units) {
            Some(time) => time > Exact::whole(t),
            None => i128::from(units) * NS_PER_S > envelope.room(),
        };
        bucket.charge(t, units);
        early
    })
}

/// The same answer from the definition: every window that starts and ends with a departure.
pub fn first_breach_by_all_windows(envelope: Envelope, departures: &[(u64, u64)]) -> Option<usize> {
    let rate = i128::from(envelope.rate);
    (0..departures.len()).find(|&end| {
        let mut sum = 0;
        (0..=end).rev().any(|start| {
            sum += i128::from(departures[start].1);
            let span = i128::from(departures[end].0) - i128::from(departures[start].0);
            sum * NS_PER_S > envelope.room() + rate * span
        })
    })
}
