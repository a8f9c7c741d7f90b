//! All KPIs of a data set, and how its rows were used.

use std::collections::BTreeMap;

use serde::Serialize;

use super::headline::{Headline, Settings, headline};
use crate::join::{How, Units};
use crate::kpi::Kpi;
use crate::tables::BadRows;

/// Clocks further apart are named.
const CLOCK_OFFSET_MAX_NS: i64 = 500_000;

/// How many children were found on the wire, and how.
#[derive(Clone, Debug, Serialize)]
pub struct MatchCounts {
    /// Child orders.
    pub children: usize,
    /// How many by each way.
    pub by: BTreeMap<How, usize>,
}

/// What `outcome` says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each KPI.
    pub kpis: BTreeMap<&'static str, Headline>,
    /// Joins.
    pub matched: MatchCounts,
    /// Clocks of gateways that are ahead of or behind the strategies', ns. Windows are chosen by the corrected time.
    pub clock_offsets_ns: BTreeMap<String, i64>,
    /// Rows that could not be used, by table.
    pub bad_rows: BTreeMap<&'static str, BadRows>,
}

/// Estimates all KPIs.
pub fn report(
    units: &Units,
    bad_rows: &BTreeMap<&'static str, BadRows>,
    settings: &Settings,
) -> Report {
    let kpis = Kpi::ALL.iter().map(|&kpi| (kpi.name(), headline(units, kpi, settings))).collect();
    let mut by = BTreeMap::new();
    for how in &units.how {
        *by.entry(*how).or_default() += 1;
    }
    let far = |(_, offset): &&(String, i64)| offset.abs() > CLOCK_OFFSET_MAX_NS;
    let with_rows = |(_, bad): &(&&'static str, &BadRows)| bad.count() > 0;
    Report {
        kpis,
        matched: MatchCounts { children: units.len(), by },
        clock_offsets_ns: units.clock_offsets_ns.iter().filter(far).cloned().collect(),
        bad_rows: bad_rows.iter().filter(with_rows).map(|(k, v)| (*k, v.clone())).collect(),
    }
}
