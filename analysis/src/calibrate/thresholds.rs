//! The value of a feature from which on orders cost more than at its usual values.

use estimate::effect::Interval;
use serde::Serialize;

use crate::inputs::{INPUTS, Input};
use crate::join::Units;
use crate::kpi::Contrast;
use crate::outcome::{Settings, compared};

/// Quantiles of the feature that are tried, the lowest first.
const QUANTILES: [f64; 6] = [0.6, 0.7, 0.8, 0.85, 0.9, 0.95];
/// Share of costly units above that must have a counterpart below.
const MATCHED_SHARE_MIN: f64 = 0.5;

/// What was found of a feature.
#[derive(Clone, Debug, Serialize)]
pub struct Threshold {
    /// As tables of machines name it.
    pub input: String,
    /// Its median: what a gateway learns as baseline.
    pub median: f64,
    /// The lowest value from which on, and from every higher one that was tried, orders cost more; absent where
    /// none does.
    pub value: Option<f64>,
    /// The quantile that it is.
    pub quantile: Option<f64>,
    /// What orders above it cost beyond those below the median, bps.
    pub cost_bps: Option<f64>,
    /// Of it.
    pub interval: Option<Interval>,
    /// Matched units.
    pub n: usize,
}

/// Thresholds of all features that units have.
pub fn thresholds(units: &Units, settings: &Settings) -> Vec<Threshold> {
    INPUTS.iter().filter_map(|input| threshold(units, input, settings)).collect()
}

/// The mechanism that a feature tells of.
fn mechanism(input: &Input) -> Contrast {
    match input.kpi {
        "dispatch_to_wire_ns" | "burstiness_index" => Contrast::SlowAndBursty,
        "limit_oscillation_score" | "tx_stall_rate" => Contrast::ByteQueue,
        "burst_delivery_concentration" => Contrast::Delivery,
        "not_sent_bytes"
        | "flush_compression_index"
        | "burst_drain_ratio"
        | "child_join_delay_ns"
        | "not_sent_urgency_divergence" => Contrast::Drain,
        _ => Contrast::Segmentation,
    }
}

fn threshold(units: &Units, input: &Input, settings: &Settings) -> Option<Threshold> {
    let of = mechanism(input);
    let values = units.feature(input.column);
    let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let at =
        |q: f64| sorted.get(((sorted.len() as f64 * q) as usize).min(sorted.len() - 1)).copied();
    if sorted.is_empty() {
        return None;
    }
    let median = at(0.5)?;
    let mut found = Threshold {
        input: input.name(),
        median,
        value: None,
        quantile: None,
        cost_bps: None,
        interval: None,
        n: 0,
    };
    // From the highest down: the first that costs nothing ends it.
    for q in QUANTILES.into_iter().rev() {
        let bound = at(q)?;
        if bound <= median {
            break;
        }
        let arm = |value: &Option<f64>| {
            value.and_then(|v| if v >= bound { Some(true) } else { (v <= median).then_some(false) })
        };
        let arms: Vec<Option<bool>> = values.iter().map(arm).collect();
        let effect = compared(units, of.outcome(), of, &arms, settings)
            .filter(|effect| effect.matched_share >= MATCHED_SHARE_MIN);
        let Some((effect, interval)) = effect.and_then(|e| Some((e.clone(), e.mean.interval?)))
        else {
            continue;
        };
        if interval.low <= 0.0 {
            break;
        }
        found.value = Some(bound);
        found.quantile = Some(q);
        found.cost_bps = Some(effect.mean.estimate);
        found.interval = Some(interval);
        found.n = effect.treated + effect.controls;
    }
    Some(found)
}
