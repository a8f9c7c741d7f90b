//! What the host is set to, and what it lacks: read once, because it moves what is measured.

use std::fs;

use model::config::Observe;
use model::kpi::absent;
use serde_json::{Map, Value, json};

use super::sources::{NO_QUEUE, Port};
use crate::kernel::ethtool;
use crate::kernel::files;
use crate::kernel::netlink::{Family, Netlink};
use crate::kernel::qdisc::{Particular, Qdisc};

/// No discipline of the kind `fq` on the interface: TCP paces by its own timer.
const NO_FQ: &str = "no_fq";
/// /sys was mounted in another network namespace: mount it again.
const OTHER_NAMESPACE: &str = "other_namespace";
/// The device tells nothing of the kind.
const NOT_TOLD: &str = absent::NOT_TOLD;

/// One thing that figures are made of, and whether the host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// Where.
    pub interface: String,
    /// Why it is not there; `None`: it is.
    pub missing: Option<&'static str>,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Environment {
    /// What figures are made of.
    pub sources: Vec<Source>,
    /// Everything, for people and for comparison.
    pub json: Value,
}

impl Environment {
    /// Reads it.
    pub fn read(observe: &Observe, port: &mut Port) -> Self {
        let interface = observe.egress.as_str();
        let device = Netlink::open(Family::Generic)
            .and_then(|mut generic| ethtool::ask(&mut generic, interface))
            .unwrap_or_default();
        let disciplines = port.disciplines().unwrap_or_default();
        let limits = port.byte_limits().unwrap_or_default();
        let has_fq = disciplines.iter().any(|qdisc| qdisc.kind == "fq");
        let holds = disciplines.iter().any(|qdisc| qdisc.kind != NO_QUEUE);
        let stalls = limits.iter().any(|queue| queue.stalls.is_some());
        let sources = [
            ("sysfs", (!port.has_sysfs()).then_some(OTHER_NAMESPACE)),
            ("bql", limits.is_empty().then_some(absent::NO_BQL)),
            ("stall_detector", (!stalls).then_some(absent::NO_STALL_DETECTOR)),
            ("fq", (!has_fq).then_some(NO_FQ)),
            ("qdisc", (!holds).then_some(absent::NO_QUEUE)),
            ("coalesce", device.coalesce.is_none().then_some(NOT_TOLD)),
            ("rings", device.rings.is_none().then_some(NOT_TOLD)),
            ("features", device.features.is_none().then_some(NOT_TOLD)),
            ("sockets", observe.sockets.is_empty().then_some(absent::NO_SOCKET)),
            ("threads", observe.threads.is_empty().then_some(absent::NO_THREAD)),
            ("dispatch", observe.ingress.is_none().then_some(absent::NO_DISPATCH)),
        ]
        .map(|(name, missing)| Source { name, interface: interface.to_owned(), missing });
        let numbers = |numbers: Option<ethtool::Numbers>| {
            numbers
                .map(|numbers| numbers.into_iter().map(|(n, v)| (n.to_owned(), json!(v))).collect())
        };
        let numbers = |of| numbers(of).map_or(Value::Null, |map: Map<String, Value>| json!(map));
        let features = device.features.map_or(Value::Null, |features| {
            features.into_iter().map(|(name, on)| (name.to_owned(), json!(on))).collect()
        });
        let knobs: Map<String, Value> = files::knobs(interface)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let json = json!({
            "kernel": kernel.trim(),
            "interface": interface,
            // Where pacing happens: its delay stands behind the discipline, or in front of it.
            "pacing": if has_fq { "fq" } else { "tcp_internal" },
            "qdiscs": disciplines.iter().map(describe).collect::<Value>(),
            "coalesce": numbers(device.coalesce),
            "rings": numbers(device.rings),
            "features": features,
            "knobs": knobs,
            "tx_queues_with_byte_limit": limits.len(),
            "missing": missing(&sources),
        });
        Self { sources: sources.to_vec(), json }
    }
}

/// What the host lacks, and why.
fn missing(sources: &[Source]) -> Value {
    let lacks = sources.iter().filter_map(|source| Some((source, source.missing?)));
    lacks
        .map(|(source, reason)| {
            json!({ "source": source.name, "interface": source.interface, "reason": reason })
        })
        .collect()
}

/// A discipline in JSON, with its counters.
pub fn describe(qdisc: &Qdisc) -> Value {
    let handle = format!("{:x}:", qdisc.handle >> 16);
    let mut object = json!({
        "kind": qdisc.kind,
        "handle": handle,
        "root": qdisc.is_root(),
        "bytes": qdisc.bytes,
        "packets": qdisc.packets,
        "qlen": qdisc.qlen,
        "backlog": qdisc.backlog,
        "drops": qdisc.drops,
        "requeues": qdisc.requeues,
        "overlimits": qdisc.overlimits,
    });
    if let (Value::Object(object), Some(particular)) = (&mut object, &qdisc.particular) {
        let (name, value) = match particular {
            Particular::Fq(fq) => (
                "fq",
                json!({
                    "throttled": fq.throttled,
                    "flows_plimit": fq.flows_plimit,
                    "pkts_too_long": fq.pkts_too_long,
                    "allocation_errors": fq.allocation_errors,
                    "flows": fq.flows,
                    "inactive_flows": fq.inactive_flows,
                    "throttled_flows": fq.throttled_flows,
                    "unthrottle_latency_ns": fq.unthrottle_latency_ns,
                    "ce_mark": fq.ce_mark,
                    "horizon_drops": fq.horizon_drops,
                    "horizon_caps": fq.horizon_caps,
                    "fastpath_packets": fq.fastpath_packets,
                    "band_drops": fq.band_drops,
                }),
            ),
            Particular::FqCodel(codel) => (
                "fq_codel",
                json!({
                    "drop_overlimit": codel.drop_overlimit,
                    "ecn_mark": codel.ecn_mark,
                    "new_flow_count": codel.new_flow_count,
                    "drop_overmemory": codel.drop_overmemory,
                }),
            ),
            Particular::Tbf { rate, limit } => {
                ("tbf", json!({ "rate_bits_per_s": rate.saturating_mul(8), "limit_bytes": limit }))
            }
            Particular::Htb { direct_packets } => {
                ("htb", json!({ "direct_packets": direct_packets }))
            }
            Particular::Etf { delta_ns, offload } => {
                ("etf", json!({ "delta_ns": delta_ns, "offload": offload }))
            }
        };
        object.insert(name.to_owned(), value);
    }
    object
}
