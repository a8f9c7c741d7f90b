//! From what became of each message to the KPIs of a block, by the code that a gateway's own are made by.
//!
//! Everything is seen from outside: hand-overs from the sender's log, departures from the observer. What only
//! the inside of a gateway or of a kernel knows is absent, in every arm alike.

mod host;
mod rows;

use control::timeline::Recorder;
use model::config::Config as GatewayConfig;
use model::kind::Side;
use model::kpi::catalogue::{self, Arm};
use model::kpi::{Entry, View, absent};
use model::time::Nanos;

use self::host::of_host;
use self::rows::{Rows, class_of};
use super::contract::ORDER_FLOW;
use super::passage::Passages;
use super::result::{Contract, CpuTime, Kpi, Totals};

/// Classes, in the order of the gateway's config.
const ORDERS: u8 = 0;
const BULK: u8 = 1;
const FEED: u8 = 2;
const BACK: u8 = 3;
/// Only who holds a packet can say so.
const INSIDE_ONLY: &str = "inside_only";
/// A veth has no queue of descriptors, and no byte limit.
const OF_A_DEVICE: [&str; 5] = [
    "tx_queue_occupancy",
    "drain_interval_jitter_ns",
    "byte_queue_utilization",
    "limit_oscillation_score",
    "tx_stall_rate",
];
/// Caps and polls are those of one arm only.
const OF_AN_INSIDE: [&str; 4] =
    ["pacing_headroom", "cap_hit_ratio", "rx_burst_packets", "not_sent_urgency_divergence"];
/// Need market data.
const OF_A_FEED: [&str; 6] = [
    "burst_delivery_concentration",
    "causality_drift",
    "decision_burst_coupling",
    "delivery_delay_ns",
    "ingest_gap_ns",
    "market_data_distortion_ratio",
];
/// Made here, of other things than rows.
const MADE_HERE: [&str; 6] = [
    "completion_ratio",
    "drops",
    "cpu_ns_per_packet",
    "core_busy_ratio",
    "cycles_per_packet",
    "run_queue_delay_ns",
];

/// What is known of a block beside its messages.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The classes that messages are counted by.
    pub classes: &'a GatewayConfig,
    /// The contract.
    pub contract: &'a Contract,
    /// When it began, wall clock.
    pub began: Nanos,
    /// How long messages were handed over, without rests.
    pub length: Nanos,
    /// The same with rests.
    pub span: Nanos,
    /// When everything was over.
    pub ended: Nanos,
    /// Frames that the observer lost.
    pub capture_drops: u64,
    /// CPU time.
    pub cpu: &'a [CpuTime],
    /// How long the sender's thread waited for its CPU, and how often it was given it.
    pub run_queue: Option<(u64, u64)>,
}

/// The KPIs of a block. Its rows and KPIs are recorded by `timeline` too.
pub fn kpis(passages: &Passages, around: &Around<'_>, timeline: Option<&mut Recorder>) -> Vec<Kpi> {
    let report = Rows::new(around, timeline).report(passages, around);
    let mut kpis: Vec<Kpi> =
        report.entries.iter().filter_map(|entry| of_rows(entry, passages)).collect();
    let totals = totals(passages, around);
    kpis.extend(completion(&totals));
    kpis.extend(of_host(around, &totals));
    for definition in catalogue::all() {
        let is_missing = kpis.iter().all(|kpi| kpi.name != definition.name);
        if definition.arms.contains(&Arm::Kernel) && is_missing {
            kpis.push(missing(definition.name));
        }
    }
    kpis.sort_by(|a, b| (&a.name, &a.class, &a.part).cmp(&(&b.name, &b.class, &b.part)));
    kpis
}

/// Sums over the orders of a block of `length`.
pub fn totals(passages: &Passages, around: &Around<'_>) -> Totals {
    let max_delay = around.contract.max_delay_ns;
    let until = around.began.saturating_add(around.span).0 + max_delay;
    let mut totals = Totals { span_ns: around.length.0, ..Totals::default() };
    for passage in passages.of(Side::Inside, ORDER_FLOW) {
        totals.offered += 1;
        let Some(wire) = passage.wire else { continue };
        totals.delivered += 1;
        let asked = passage.dispatch.max(passage.due);
        let is_in_time = wire.departure.saturating_sub(asked).0 <= max_delay;
        totals.in_time += u64::from(is_in_time);
        if wire.departure.0 <= until {
            totals.delivered_bytes += u64::from(passage.message.bytes);
        }
    }
    totals
}

/// What a series of rows says of a block; `None`: nothing.
fn of_rows(entry: &Entry, passages: &Passages) -> Option<Kpi> {
    let is_defined = catalogue::find(entry.name)?.arms.contains(&Arm::Kernel);
    let is_made_here = MADE_HERE.contains(&entry.name);
    // Our own deliberate delay is no part of what is seen from outside.
    let is_inside = entry.name == "dispatch_to_wire_ns" && entry.labels.part != Some("total");
    let elsewhere = OF_A_DEVICE.contains(&entry.name) || OF_AN_INSIDE.contains(&entry.name);
    // Classes that the workload does not have.
    let class = entry.labels.class.as_deref();
    let is_idle = class.is_some_and(|name| {
        let number = match name {
            "orders" => ORDERS,
            "bulk" => BULK,
            "feed" => FEED,
            _ => BACK,
        };
        number == BACK || passages.messages.iter().all(|p| class_of(p) != number)
    });
    if !is_defined || is_made_here || is_inside || elsewhere || is_idle {
        return None;
    }
    let mut kpi = plain(entry.name);
    kpi.class = entry.labels.class.clone();
    kpi.part = entry.labels.part.map(str::to_owned);
    kpi.n = entry.n;
    kpi.values = entry.values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    kpi.absent = entry.absent.map(str::to_owned);
    kpi.structural_zero = entry.structural_zero;
    kpi.proxy = entry.proxy;
    kpi.departure = entry.sources.departure.map(str::to_owned);
    kpi.expanded = passages.expanded > 0;
    Some(kpi)
}

fn plain(name: &str) -> Kpi {
    Kpi { name: name.to_owned(), view: View::Outside.name().to_owned(), ..Kpi::default() }
}

/// A KPI of which nothing is known here.
fn missing(name: &str) -> Kpi {
    let why = if OF_A_DEVICE.contains(&name) {
        absent::NO_BQL
    } else if OF_AN_INSIDE.contains(&name) {
        INSIDE_ONLY
    } else if OF_A_FEED.contains(&name) {
        absent::NO_FEED
    } else {
        absent::NO_PACKETS
    };
    Kpi { absent: Some(why.to_owned()), ..plain(name) }
}

fn completion(totals: &Totals) -> [Kpi; 2] {
    let of_orders =
        |name| Kpi { class: Some("orders".to_owned()), n: totals.offered, ..plain(name) };
    let ratio = (totals.offered > 0).then(|| totals.in_time as f64 / totals.offered as f64);
    let mut completed = of_orders("completion_ratio");
    completed.values = vec![("ratio".to_owned(), ratio)];
    completed.absent = ratio.is_none().then(|| absent::NO_PACKETS.to_owned());
    let mut drops = of_orders("drops");
    let lost = totals.offered - totals.delivered;
    drops.values = vec![("packets".to_owned(), Some(lost as f64))];
    [completed, drops]
}

#[cfg(test)]
mod tests;
