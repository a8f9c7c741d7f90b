//! KPIs from outside: cost, rejects, fills, markouts. Each has an expiry, and what has expired is
//! absent.

use std::collections::BTreeMap;

use super::reading::{Missing, Reading};
use super::term::{Input, is_word};
use crate::time::Nanos;

/// Most values that are kept: a feeder that makes up names must not fill the memory.
pub const FED_MAX: usize = 4_096;
/// Longest name.
const NAME_MAX: usize = 64;

/// One value, as it is fed.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedValue {
    /// Name of the KPI, such as `cost`, `coalescing_tax`, `rejects`.
    pub kpi: String,
    /// Name of the class, port or feed that it belongs to; absent = every scope.
    #[serde(default)]
    pub scope: Option<String>,
    /// Which value of it, such as `breach`, `adverse`, `bound`.
    pub value: String,
    /// The number.
    pub number: f64,
    /// Observations behind it, at least 1.
    #[serde(default = "one")]
    pub n: u64,
    /// Seconds from the moment it is taken in after which it is absent.
    pub expires_s: f64,
}

const fn one() -> u64 {
    1
}

/// Why a value is not taken in.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FedError {
    /// It cannot be asked for.
    #[error(
        "{field} = {found:?}: 1 to 64 characters of a-z, 0-9 and _, as conditions write fed.KPI.VALUE"
    )]
    Name {
        /// `kpi` or `value`.
        field: &'static str,
        /// What it is.
        found: String,
    },
    /// Nothing was observed.
    #[error("{kpi}: n = 0 says that nothing was observed: leave it out, or feed no value")]
    NoObservation {
        /// Name of the KPI.
        kpi: String,
    },
    /// No number.
    #[error("{kpi}: {value} is not a finite number")]
    NotFinite {
        /// Name of the KPI.
        kpi: String,
        /// Which value.
        value: String,
    },
    /// It would never expire, or has.
    #[error("{kpi}: expires_s must be above 0 and at most 86400")]
    Expiry {
        /// Name of the KPI.
        kpi: String,
    },
    /// A scope that does not exist.
    #[error("{kpi}: there is no class, port or feed {scope:?}")]
    Scope {
        /// Name of the KPI.
        kpi: String,
        /// Its scope.
        scope: String,
    },
    /// Too many of them.
    #[error("more than {FED_MAX} values are fed")]
    TooMany,
}

/// KPI, value, scope.
type Key = (String, String, Option<String>);

#[derive(Clone, Copy, Debug)]
struct Held {
    number: f64,
    n: u64,
    until: Nanos,
}

/// What is fed and has not expired.
#[derive(Clone, Debug, Default)]
pub struct Fed {
    values: BTreeMap<Key, Held>,
}

impl Fed {
    /// Takes a value in; it takes the place of an older one.
    ///
    /// # Errors
    /// See [`FedError`]. `known` says which scopes there are.
    pub fn take(
        &mut self,
        now: Nanos,
        fed: FedValue,
        known: impl Fn(&str) -> bool,
    ) -> Result<(), FedError> {
        const DAY_S: f64 = 86_400.0;
        let FedValue { kpi, scope, value, number, n, expires_s } = fed;
        for (field, found) in [("kpi", &kpi), ("value", &value)] {
            if !(1..=NAME_MAX).contains(&found.len()) || !is_word(found) {
                return Err(FedError::Name { field, found: found.clone() });
            }
        }
        if n == 0 {
            return Err(FedError::NoObservation { kpi });
        }
        if !number.is_finite() {
            return Err(FedError::NotFinite { kpi, value });
        }
        if !(expires_s > 0.0 && expires_s <= DAY_S) {
            return Err(FedError::Expiry { kpi });
        }
        if let Some(scope) = scope.as_ref().filter(|scope| !known(scope)) {
            return Err(FedError::Scope { kpi, scope: scope.clone() });
        }
        self.values.retain(|_, held| held.until > now);
        let key = (kpi, value, scope);
        if self.values.len() >= FED_MAX && !self.values.contains_key(&key) {
            return Err(FedError::TooMany);
        }
        let until = now.saturating_add(Nanos((expires_s * 1e9) as u64));
        self.values.insert(key, Held { number, n, until });
        Ok(())
    }

    /// The value of an outside KPI in the scope named `scope`: its own, else that of every scope.
    pub fn read(&self, now: Nanos, scope: &str, input: &Input) -> Reading {
        let Some(name) = input.fed_name() else { return Reading::Absent(Missing::NoSource) };
        let of = |scope: Option<&str>| {
            let key = (name.to_owned(), input.value.clone(), scope.map(str::to_owned));
            self.values.get(&key).filter(|held| held.until > now)
        };
        match of(Some(scope)).or_else(|| of(None)) {
            Some(&Held { number: value, n, .. }) => Reading::Value { value, n },
            None => Reading::Absent(Missing::NotFed),
        }
    }

    /// Everything that holds at `now`: KPI, value, scope, number, when it expires.
    pub fn all(
        &self,
        now: Nanos,
    ) -> impl Iterator<Item = (&str, &str, Option<&str>, f64, Nanos)> + '_ {
        let valid = self.values.iter().filter(move |(_, held)| held.until > now);
        valid.map(|((kpi, value, scope), held)| {
            (kpi.as_str(), value.as_str(), scope.as_deref(), held.number, held.until)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(kpi: &str, scope: Option<&str>, number: f64, expires_s: f64) -> FedValue {
        let (kpi, value) = (kpi.to_owned(), "breach".to_owned());
        FedValue { kpi, scope: scope.map(str::to_owned), value, number, n: 7, expires_s }
    }

    #[test]
    fn is_there_until_it_expires() {
        let mut all = Fed::default();
        let known = |scope: &str| scope == "orders";
        let second = Nanos::from_secs(1);
        all.take(second, fed("cost", None, 0.0, 10.0), known).expect("it is taken");
        all.take(second, fed("cost", Some("orders"), 1.0, 2.0), known).expect("it is taken");
        let input: Input = "fed.cost.breach".parse().expect("an input");
        let read = |at: u64, scope| all.read(Nanos::from_secs(at), scope, &input);
        assert_eq!(read(2, "orders"), Reading::Value { value: 1.0, n: 7 });
        assert_eq!(read(2, "other"), Reading::Value { value: 0.0, n: 7 });
        assert_eq!(read(3, "orders"), Reading::Value { value: 0.0, n: 7 }, "its own has expired");
        assert_eq!(read(11, "orders"), Reading::Absent(Missing::NotFed));
        assert_eq!(all.all(Nanos::from_secs(5)).count(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut all = Fed::default();
        let mut take = |fed| all.take(Nanos::ZERO, fed, |scope| scope == "orders");
        assert!(matches!(take(fed("cost", None, f64::NAN, 1.0)), Err(FedError::NotFinite { .. })));
        for expires_s in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let refused = take(fed("cost", None, 1.0, expires_s));
            assert!(matches!(refused, Err(FedError::Expiry { .. })), "{expires_s}");
        }
        let refused = take(fed("cost", Some("orderz"), 1.0, 1.0));
        assert!(matches!(refused, Err(FedError::Scope { .. })));
        for name in ["", "Cost", "a.b", "one-more", &"k".repeat(65)] {
            let refused = take(fed(name, None, 1.0, 1.0));
            assert!(matches!(refused, Err(FedError::Name { field: "kpi", .. })), "{name:?}");
        }
        let refused = take(FedValue { value: String::new(), ..fed("cost", None, 1.0, 1.0) });
        assert!(matches!(refused, Err(FedError::Name { field: "value", .. })));
        let refused = take(FedValue { n: 0, ..fed("cost", None, 1.0, 1.0) });
        assert!(matches!(refused, Err(FedError::NoObservation { .. })));
        for n in 0..FED_MAX {
            take(fed(&format!("k{n}"), None, 1.0, 1.0)).expect("there is room");
        }
        assert_eq!(take(fed("one_more", None, 1.0, 1.0)), Err(FedError::TooMany));
        take(fed("k0", None, 2.0, 1.0)).expect("a newer value takes the place");
    }
}
