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

impl Better {
    /// Of the KPI `name`.
    pub fn of(name: &str) -> Self {
        if HIGHER.contains(&name) {
            Self::Higher
        } else if NEITHER.contains(&name) {
            Self::Neither
        } else {
            Self::Lower
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
        assert_eq!(Better::of("burstiness_index"), Better::Lower);
    }
}
