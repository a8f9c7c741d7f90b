//! Every KPI as data: what it is, how it is computed, and what to do when it moves the wrong way.
//!
//! `wirepace kpis` prints [`all`]. A KPI with `available = false` is defined, so that its name and
//! its formula are settled, but this version does not compute it.

mod at_normal;
mod byte_queue;
mod delivery;
mod drain;
mod outcome;
mod pacing;
mod safety;
mod segmentation;
mod values;

use super::report::Basis;

/// Where a KPI is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// A live run of the gateway.
    Run,
    /// A replay in virtual time.
    Replay,
    /// The kernel arm of an A/B comparison.
    Kernel,
    /// Observation of a production host.
    Observe,
    /// Offline, from timelines and fills.
    Analysis,
}

impl Arm {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Replay => "replay",
            Self::Kernel => "kernel",
            Self::Observe => "observe",
            Self::Analysis => "analysis",
        }
    }
}

/// What a series of a KPI is of, which is what its labels say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A class on the port that it leaves by.
    Class,
    /// The same, of classes from inside.
    InsideClass,
    /// The same, of classes from a venue.
    VenueClass,
    /// A port that packets leave by.
    Port,
    /// The same, towards a venue.
    VenuePort,
    /// The same, towards the inside.
    InsidePort,
    /// A venue limit on its port.
    VenueLimit,
    /// A core, by the ports that it sends to.
    Core,
    /// The host.
    Host,
}

impl Place {
    /// The labels of its series, beside `part`, `arm` and `basis`.
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Class | Self::InsideClass | Self::VenueClass => &["port", "class", "kind"],
            Self::Port | Self::VenuePort | Self::InsidePort | Self::Core => &["port"],
            Self::VenueLimit => &["port", "limit"],
            Self::Host => &[],
        }
    }
}

/// Series of a KPI that have the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// The part of the KPI; `None` = it has none.
    pub part: Option<&'static str>,
    /// Names of the values.
    pub values: &'static [&'static str],
}

/// The definition of one KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name in JSON and in metrics.
    pub name: &'static str,
    /// Unit of its values; `1` = a ratio or an index.
    pub unit: &'static str,
    /// What its series are of.
    pub place: Place,
    /// Its series in a gateway; in the kernel's arm, docs/kernel-path.md.
    pub series: &'static [Series],
    /// How it is computed.
    pub formula: &'static str,
    /// Where it is defined.
    pub arms: &'static [Arm],
    /// Fewest observations that carry it. Quantile q needs `10 / (1 - q)` besides.
    pub n_min: u64,
    /// Playbooks that ask for it: `000` pacing, `001` segmentation, `002` byte queue limits, `003`
    /// autocorking, `004` receive coalescing; else `gates`, `safety`, `all`; empty = engineering.
    pub playbooks: &'static [&'static str],
    /// From every packet, or from samples.
    pub basis: Basis,
    /// What to do when it rises (or falls, where lower is worse).
    pub advice: &'static str,
    /// This version computes it, in every arm that `arms` names and that this version has.
    pub available: bool,
}

impl Definition {
    /// The series of a part.
    pub fn series_of(&self, part: Option<&str>) -> Option<&'static Series> {
        self.series.iter().find(|series| series.part == part)
    }

    /// The unit of one of its values: counts and shares stand beside what the KPI measures.
    pub fn unit_of(&self, value: &str) -> &'static str {
        match value {
            "p50" | "p95" | "p99" | "p999" | "max" | "min" | "mean" | "last" | "value" => self.unit,
            _ if value.ends_with("_ns") => "ns",
            _ if value.ends_with("_us") => "us",
            _ => "1",
        }
    }

    /// A gateway of this version gives it, live or in a replay.
    pub fn is_of_gateway(&self) -> bool {
        self.available && self.arms.iter().any(|arm| matches!(arm, Arm::Run | Arm::Replay))
    }
}

/// Every definition: transport KPIs in the order of the catalogue, the same at `normal`, then outcome KPIs.
pub fn all() -> impl Iterator<Item = &'static Definition> {
    let transport = [
        pacing::KPIS,
        segmentation::KPIS,
        byte_queue::KPIS,
        drain::KPIS,
        delivery::KPIS,
        safety::KPIS,
    ];
    transport.into_iter().flatten().chain(at_normal::AT_NORMAL).chain(outcome::OUTCOME)
}

/// The definition of `name`.
pub fn find(name: &str) -> Option<&'static Definition> {
    all().find(|definition| definition.name == name)
}

/// The whole catalogue, for `wirepace kpis --json`.
pub fn json() -> serde_json::Value {
    all()
        .map(|definition| {
            let arms: Vec<_> = definition.arms.iter().map(|arm| arm.name()).collect();
            serde_json::json!({
                "name": definition.name,
                "unit": definition.unit,
                "labels": definition.place.labels(),
                "series": definition.series.iter().map(|series| {
                    serde_json::json!({ "part": series.part, "values": series.values })
                }).collect::<Vec<_>>(),
                "formula": definition.formula,
                "where": arms,
                "n_min": definition.n_min,
                "playbooks": definition.playbooks,
                "basis": definition.basis.name(),
                "advice": definition.advice,
                "available": definition.available,
            })
        })
        .collect()
}
