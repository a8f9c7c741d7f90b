//! The histogram against sorted vectors.

use model::kpi::{Histogram, OVERFLOW, Quantile};
use proptest::prelude::*;

const QUANTILES: [Quantile; 4] = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P999];

/// Values over all octaves, small ones and equal ones as likely as large ones.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = (0_u32..42, any::<u64>()).prop_map(|(bits, noise)| noise % (1 << bits).max(1));
    prop::collection::vec(value, 1..12_000)
}

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    values.iter().for_each(|&value| histogram.record(value));
    histogram
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_quantile_is_off_by_at_most_one_percent(mut values in values(), n_min in 0_u64..400) {
        let histogram = of(&values);
        values.sort_unstable();
        let n = values.len() as u64;
        prop_assert_eq!(histogram.count(), n);
        prop_assert_eq!(histogram.sum(), values.iter().map(|&v| u128::from(v)).sum::<u128>());
        prop_assert_eq!(histogram.min(), values.first().copied());
        prop_assert_eq!(histogram.max(), values.last().copied());
        // q needs 10 / (1 - q) values, and the KPI's own minimum.
        for (q, exact_q, enough) in [
            (Quantile::P50, 0.5, 20),
            (Quantile::P95, 0.95, 200),
            (Quantile::P99, 0.99, 1_000),
            (Quantile::P999, 0.999, 10_000),
        ] {
            match histogram.quantile(q, n_min) {
                None => prop_assert!(n < enough.max(n_min)),
                Some(found) => {
                    prop_assert!(n >= enough.max(n_min));
                    // Position ceil(q n) from 1; the small term undoes what 0.95 lacks in binary.
                    let rank = (exact_q * n as f64 - 1e-6).ceil() as usize;
                    let exact = values[rank - 1];
                    prop_assert!(found.abs_diff(exact) * 100 <= exact, "{found} for {exact}");
                }
            }
        }
    }

    #[test]
    fn merging_equals_recording_all(a in values(), b in values()) {
        let mut merged = of(&a);
        merged.merge(&of(&b));
        let mut all = a.clone();
        all.extend(&b);
        prop_assert!(merged == of(&all));

        // A cleared histogram is as new, cell by cell.
        merged.clear();
        prop_assert!(merged == Histogram::new());
        merged.merge(&of(&b));
        prop_assert!(merged == of(&b));
    }

    #[test]
    fn a_weight_counts_like_so_many_values(pairs in prop::collection::vec((0_u64..1 << 20, 0_u64..50), 1..200)) {
        let mut weighted = Histogram::new();
        let mut repeated = Histogram::new();
        for &(value, weight) in pairs.iter().filter(|(_, weight)| *weight > 0) {
            weighted.record_n(value, weight);
            (0..weight).for_each(|_| repeated.record(value));
        }
        prop_assert!(weighted == repeated);
    }
}

#[test]
fn an_empty_histogram_has_no_figures() {
    let empty = Histogram::new();
    assert_eq!((empty.min(), empty.max(), empty.mean(), empty.count()), (None, None, None, 0));
    assert!(QUANTILES.iter().all(|&q| empty.quantile(q, 0).is_none()));
}

#[test]
fn the_median_is_the_lower_one() {
    // 20 values 10, 20, .. 200: the lower median is the 10th, 100.
    let histogram = of(&(1..=20).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(histogram.quantile(Quantile::P50, 0), Some(100));
    assert_eq!(histogram.quantile(Quantile::P50, 21), None, "the KPI's own minimum");
    assert_eq!(histogram.quantile(Quantile::P95, 0), None, "200 values are needed");
    assert_eq!(histogram.mean(), Some(105.0));
}

#[test]
fn values_at_the_ends_of_the_range() {
    let mut histogram = of(&[u64::MAX; 30]);
    assert_eq!((histogram.min(), histogram.max()), (Some(u64::MAX), Some(u64::MAX)));
    assert_eq!((histogram.overflow(), histogram.quantile(Quantile::P50, 0)), (30, None));
    (0..70).for_each(|_| histogram.record(0));
    assert_eq!((histogram.min(), histogram.max()), (Some(0), Some(u64::MAX)));
    assert_eq!(histogram.quantile(Quantile::P50, 0), Some(0));
    (0..400).for_each(|_| histogram.record(OVERFLOW - 1));
    // 500 values: position 475 is behind 70 + 400, in the overflow; position 250 is not.
    assert_eq!(histogram.quantile(Quantile::P95, 0), None);
    let median = histogram.quantile(Quantile::P50, 0).unwrap();
    assert!(median.abs_diff(OVERFLOW) * 100 < OVERFLOW);
}
