//! What is usual: the median of each input that a table measures in baselines, learned under
//! `observe`, shown, and frozen by the operator. Only a frozen baseline takes part in a decision.

use std::collections::BTreeMap;

use super::term::Input;
use crate::kpi::{AckShares, Histogram, Quantile};
use crate::time::Nanos;

/// Values (one a second) that a baseline needs.
pub const VALUES_MIN: u64 = 60;
/// Values are counted in thousandths of their unit.
const PER_UNIT: f64 = 1_000.0;

/// A frozen value.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The median, in the unit of the input.
    pub median: f64,
    /// Values that it was learned from.
    pub n: u64,
}

/// What was frozen, and where and when it holds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineRecord {
    /// Gateway time at which it was frozen.
    pub frozen_at_ns: u64,
    /// Kernel, driver, NIC and versions that it was learned under.
    pub env_digest: String,
    /// By scope (`class:orders`), then by input as it is written in a table.
    pub values: BTreeMap<String, BTreeMap<String, Baseline>>,
    /// What `ack_compression_ratio` is measured in, by class.
    #[serde(default)]
    pub ack_shares: AckShares,
}

/// Baselines: those being learned, and those that are frozen.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    learning: BTreeMap<(String, Input), Histogram>,
    frozen: Option<BaselineRecord>,
}

/// A baseline below this would make any noise a multiple of it, in the unit of the input: a
/// microsecond, one smallest packet on the wire, or a hundredth of an index.
fn least(input: &Input) -> f64 {
    if input.kpi.ends_with("_ns") {
        1_000.0
    } else if input.kpi.ends_with("_bytes") {
        84.0
    } else {
        0.01
    }
}

/// Under the confirmed profile an input and its `at_normal` are the same.
fn key(scope: &str, input: &Input) -> (String, Input) {
    (scope.to_owned(), Input { at_normal: false, ..input.clone() })
}

impl Baselines {
    /// One more value of `input` in `scope`.
    pub fn learn(&mut self, scope: &str, input: &Input, value: f64) {
        if value.is_finite() && value >= 0.0 {
            let histogram = self.learning.entry(key(scope, input)).or_default();
            histogram.record((value * PER_UNIT).round() as u64);
        }
    }

    /// What has been learned: scope, input and, with enough values, the median.
    pub fn learned(&self) -> impl Iterator<Item = (&str, &Input, u64, Option<f64>)> {
        self.learning.iter().map(|((scope, input), histogram)| {
            let median = histogram.quantile(Quantile::P50, VALUES_MIN);
            (scope.as_str(), input, histogram.count(), median.map(|m| m as f64 / PER_UNIT))
        })
    }

    /// Freezes everything that has enough values, `ack_shares` with it, and goes on with an empty sheet.
    /// `None` when nothing has: then what was frozen before stays.
    pub fn freeze(
        &mut self,
        now: Nanos,
        env_digest: &str,
        ack_shares: AckShares,
    ) -> Option<&BaselineRecord> {
        let mut record = BaselineRecord {
            frozen_at_ns: now.0,
            env_digest: env_digest.to_owned(),
            values: BTreeMap::new(),
            ack_shares,
        };
        for (scope, input, n, median) in self.learned() {
            if let Some(median) = median {
                let of_scope = record.values.entry(scope.to_owned()).or_default();
                of_scope.insert(input.to_string(), Baseline { median, n });
            }
        }
        if record.values.is_empty() && record.ack_shares.is_empty() {
            return None;
        }
        self.learning.clear();
        self.frozen = Some(record);
        self.frozen.as_ref()
    }

    /// Takes a record that was saved.
    pub fn load(&mut self, record: BaselineRecord) {
        self.frozen = Some(record);
    }

    /// What is frozen.
    pub const fn frozen(&self) -> Option<&BaselineRecord> {
        self.frozen.as_ref()
    }

    /// The frozen baseline of `input` in `scope`, never below what noise would make a multiple of.
    pub fn get(&self, scope: &str, input: &Input) -> Option<f64> {
        let (_, plain) = key(scope, input);
        let values = &self.frozen.as_ref()?.values;
        let baseline = values.get(scope)?.get(&plain.to_string())?;
        Some(baseline.median.max(least(input)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpi::AckShare;

    #[test]
    fn is_learned_frozen_saved_and_loaded() {
        let input: Input = "dispatch_to_wire_ns[rest].p95".parse().expect("an input");
        let at_normal = Input { at_normal: true, ..input.clone() };
        let mut all = Baselines::default();
        for n in 0..VALUES_MIN - 1 {
            all.learn("class:orders", &input, 10_000.0 + n as f64);
        }
        assert!(all.freeze(Nanos(1), "e", AckShares::new()).is_none(), "one too few");
        all.learn("class:orders", &at_normal, 1e9);
        all.learn("class:orders", &input, f64::NAN);
        let share = AckShare { share: 0.25, pairs: 200 };
        let ack_shares = AckShares::from([("orders".to_owned(), share)]);
        let record = all.freeze(Nanos(5), "env", ack_shares).expect("there are enough").clone();
        let median = record.values["class:orders"]["dispatch_to_wire_ns[rest].p95"].median;
        assert!((median - 10_029.0).abs() <= 10_029.0 * 0.004, "{median}: lower median of 60");

        let text = serde_json::to_string(&record).expect("it can be written");
        let mut again = Baselines::default();
        assert_eq!(again.get("class:orders", &input), None);
        again.load(serde_json::from_str(&text).expect("it can be read"));
        assert_eq!(again.frozen().expect("it was loaded").ack_shares["orders"], share);
        assert_eq!(again.get("class:orders", &at_normal), Some(median));
        assert_eq!(again.get("class:other", &input), None);
        assert_eq!(all.learned().count(), 0, "an empty sheet");
    }

    #[test]
    fn a_baseline_of_nothing_is_no_multiple() {
        let mut all = Baselines::default();
        for (text, least) in [
            ("wire_serialization_ns.p95", 1_000.0),
            ("not_sent_bytes.p95", 84.0),
            ("flush_compression_index.index", 0.01),
        ] {
            let input: Input = text.parse().expect("an input");
            (0..VALUES_MIN).for_each(|_| all.learn("class:orders", &input, 0.0));
            all.freeze(Nanos(1), "e", AckShares::new()).expect("there are enough");
            assert_eq!(all.get("class:orders", &input), Some(least));
        }
    }
}
