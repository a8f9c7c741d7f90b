//! Which way a figure is better.

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less of it.
    Lower,
    /// More of it.
    Higher,
    /// It describes, or what is good depends on the rest.
    Neither,
}

const HIGHER: [&str; 3] = ["completion_ratio", "pacing_headroom", "venue_limit_headroom"];
/// What the sender hands over, what the path is made of, and figures whose good value is neither end.
const NEITHER: [&str; 9] = [
    "byte_queue_utilization",
    "cap_hit_ratio",
    "ingest_gap_ns",
    "inter_write_ns",
    "lost_share",
    "rx_burst_packets",
    "segments_per_superframe",
    "tx_queue_occupancy",
    "write_size_bytes",
];

/// Values that stand beside the one that is good or bad: what it is made of, what it is held against, and such as
/// say how quiet a flow is.
const VALUES_BESIDE: [&str; 14] = [
    "baseline",
    "bi",
    "concentration",
    "delivery_p95_ns",
    "in_one_burst",
    "ingress",
    "ingress_p95_ns",
    "intent",
    "lag_windows",
    "not_followed",
    "peak_to_mean",
    "slope",
    "window_ns",
    "windows",
];

impl Better {
    /// Of the value `value` of the KPI `name`.
    pub fn of(name: &str, value: &str) -> Self {
        match (name, value) {
            ("cadence_phase_error", "coherence") => Self::Higher,
            // It has a sign.
            ("cadence_phase_error", "drift") => Self::Neither,
            _ if HIGHER.contains(&name) => Self::Higher,
            _ if NEITHER.contains(&name) || VALUES_BESIDE.contains(&value) => Self::Neither,
            _ => Self::Lower,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::kpi::catalogue;

    #[test]
    fn every_name_is_one_of_the_catalogue() {
        for name in HIGHER.iter().chain(&NEITHER) {
            assert!(catalogue::find(name).is_some(), "{name}");
        }
        for value in VALUES_BESIDE {
            assert!(
                catalogue::all().flat_map(|of| of.series).any(|of| of.values.contains(&value)),
                "{value}"
            );
        }
        let of = |name| Better::of("burstiness_index", name);
        assert_eq!((of("excess"), of("bi")), (Better::Lower, Better::Neither));
        assert_eq!(Better::of("cadence_phase_error", "p95"), Better::Lower);
    }
}
