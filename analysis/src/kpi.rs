//! The outcome KPIs: what is compared with what, in which outcome.

use std::str::FromStr;

use serde::Serialize;

/// An outcome KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Kpi {
    /// Queue loss proxy, playbook 000.
    #[serde(rename = "QLP")]
    Qlp,
    /// Burst tax uplift, 001.
    #[serde(rename = "BTU")]
    Btu,
    /// Byte queue oscillation tax, 002.
    #[serde(rename = "BOT")]
    Bot,
    /// Compression-conditioned markout delta, 003.
    #[serde(rename = "CCMD")]
    Ccmd,
    /// Coalescing tax at 1 s, 004.
    #[serde(rename = "CTE_1")]
    Cte1,
    /// Coalescing tax at 5 s, 004.
    #[serde(rename = "CTE_5")]
    Cte5,
    /// Coalescing tax at 30 s, 004.
    #[serde(rename = "CTE_30")]
    Cte30,
    /// Change of the fill ratio of passive children, 001.
    #[serde(rename = "fill_ratio_delta")]
    FillRatio,
    /// Change of the completion of parents, 003.
    #[serde(rename = "completion_delta")]
    Completion,
}

/// What tells the arms apart: the KPI window, or the regime, that a decision finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contrast {
    /// `dispatch_to_wire` and `burstiness_index.excess` both in the top third, against both in the bottom third.
    SlowAndBursty,
    /// `segmentation`: BURSTING or DEPHASED against WIRE_CLEAN.
    Segmentation,
    /// `byte_queue`: any other state against BQL_STABLE.
    ByteQueue,
    /// `drain`: COMPRESSED_DRAIN against SMOOTH_DRAIN.
    Drain,
    /// `burst_delivery_concentration.excess` in the top third against the bottom third.
    Delivery,
}

impl Contrast {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::SlowAndBursty, Self::Segmentation, Self::ByteQueue, Self::Drain, Self::Delivery];

    /// The machine that watches the same mechanism.
    pub const fn machine(self) -> &'static str {
        match self {
            Self::SlowAndBursty => "pacing",
            Self::Segmentation => "segmentation",
            Self::ByteQueue => "byte_queue",
            Self::Drain => "drain",
            Self::Delivery => "delivery",
        }
    }

    /// The contrast of a machine.
    pub fn of_machine(machine: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contrast| contrast.machine() == machine)
    }

    /// What its playbook says that it costs.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Segmentation | Self::ByteQueue => Outcome::Shortfall,
            Self::SlowAndBursty | Self::Drain | Self::Delivery => Outcome::Markout(Horizon::S1),
        }
    }
}

/// What is measured of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Implementation shortfall of a child, bps.
    Shortfall,
    /// Markout of a child's fills after so many seconds, bps.
    Markout(Horizon),
    /// Share of a passive child that was filled.
    FillRatio,
    /// Share of a parent that was filled.
    Completion,
}

/// How long after a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// 1 s.
    S1,
    /// 5 s.
    S5,
    /// 30 s.
    S30,
}

impl Kpi {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Qlp,
        Self::Btu,
        Self::Bot,
        Self::Ccmd,
        Self::Cte1,
        Self::Cte5,
        Self::Cte30,
        Self::FillRatio,
        Self::Completion,
    ];

    /// As it stands in commands and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qlp => "QLP",
            Self::Btu => "BTU",
            Self::Bot => "BOT",
            Self::Ccmd => "CCMD",
            Self::Cte1 => "CTE_1",
            Self::Cte5 => "CTE_5",
            Self::Cte30 => "CTE_30",
            Self::FillRatio => "fill_ratio_delta",
            Self::Completion => "completion_delta",
        }
    }

    /// Its name in the catalogue of the gateway.
    pub const fn catalogue_name(self) -> &'static str {
        match self {
            Self::Qlp => "queue_loss_proxy",
            Self::Btu => "burst_tax_uplift",
            Self::Bot => "bql_oscillation_tax",
            Self::Ccmd => "compression_conditioned_markout_delta",
            Self::Cte1 | Self::Cte5 | Self::Cte30 => "coalescing_tax",
            Self::FillRatio => "fill_ratio_delta",
            Self::Completion => "completion_delta",
        }
    }

    /// What it compares.
    pub const fn contrast(self) -> Contrast {
        match self {
            Self::Qlp => Contrast::SlowAndBursty,
            Self::Btu | Self::FillRatio => Contrast::Segmentation,
            Self::Bot => Contrast::ByteQueue,
            Self::Ccmd | Self::Completion => Contrast::Drain,
            Self::Cte1 | Self::Cte5 | Self::Cte30 => Contrast::Delivery,
        }
    }

    /// In what.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Btu | Self::Bot | Self::Qlp | Self::Ccmd | Self::Cte1 => {
                self.contrast().outcome()
            }
            Self::Cte5 => Outcome::Markout(Horizon::S5),
            Self::Cte30 => Outcome::Markout(Horizon::S30),
            Self::FillRatio => Outcome::FillRatio,
            Self::Completion => Outcome::Completion,
        }
    }

    /// The sentence of the issue: which means are subtracted.
    pub const fn formula(self) -> &'static str {
        match self {
            Self::Qlp => {
                "E[M_1s | d2w and BI.excess both in the top tercile] - E[M_1s | both in the bottom]"
            }
            Self::Btu => "E[IS | BURSTING or DEPHASED] - E[IS | WIRE_CLEAN]",
            Self::Bot => "E[IS | SWING, STALLING, SAFE_CONTAIN] - E[IS | BQL_STABLE]",
            Self::Ccmd => "E[M_1s | COMPRESSED_DRAIN] - E[M_1s | SMOOTH_DRAIN]",
            Self::Cte1 => "E[M_1s | BDC.excess top tercile] - E[M_1s | bottom]",
            Self::Cte5 => "E[M_5s | BDC.excess top tercile] - E[M_5s | bottom]",
            Self::Cte30 => "E[M_30s | BDC.excess top tercile] - E[M_30s | bottom]",
            Self::FillRatio => {
                "E[filled share | BURSTING or DEPHASED] - E[filled share | WIRE_CLEAN], passive children"
            }
            Self::Completion => {
                "E[completion | first child in COMPRESSED_DRAIN] - E[completion | SMOOTH_DRAIN], parents"
            }
        }
    }
}

impl FromStr for Kpi {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kpi| kpi.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kpi| kpi.name()).collect();
            format!("{text:?} is no outcome KPI; there are {}", known.join(", "))
        })
    }
}
