//! Ports and pairs in the report.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::config::ports::inflight_floor_bytes;
use crate::config::{
    Arrangement, Config, Faults, LaunchTime, LinkModel, Pair, Port, PortIntent, RxQueue, SecondPath,
};
use crate::kind::Side;
use crate::meta::wire_len;
use crate::profile::Segment;
use crate::time::Nanos;

/// A port.
#[derive(Clone, Debug, Serialize)]
pub struct PortReport<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its side.
    pub side: Side,
    /// Its device.
    pub device: String,
    /// Largest frame, bytes.
    pub frame_bytes_max: u16,
    /// Largest frame, wire bytes.
    pub frame_wire_bytes_max: u32,
    /// Its modelled link.
    pub link: Option<LinkModel>,
    /// In-flight limit in `normal`, bytes.
    pub inflight_limit_bytes: Option<u64>,
    /// The least limit that it could have, bytes.
    pub inflight_floor_bytes: u64,
    /// How the floor is made up.
    pub inflight_floor: String,
    /// Whether fragments from it are forwarded.
    pub forward_fragments: bool,
    /// What it does as egress with a frame that is too long.
    pub segment: Segment,
    /// Whether packets from it may carry a shim.
    pub intent: PortIntent,
    /// Whether its NIC is told when to send.
    pub launch_time: LaunchTime,
    /// So long before its departure a packet is handed over then, ns.
    pub launch_lead_ns: Nanos,
    /// Whether its NIC stamps departures.
    pub timesync: bool,
    /// TX queues.
    pub tx_queues: u16,
    /// RX queues.
    pub rx_queues: Vec<QueueReport<'a>>,
    /// Faults that are brought about.
    pub faults: Option<Faults>,
}

/// An RX queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueReport<'a> {
    /// Packets taken by one call.
    pub burst: u16,
    /// Delivery begins when so many packets wait.
    pub hold_frames: u16,
    /// Delivery begins so long after the first of them came, ns.
    pub hold_time_ns: Nanos,
    /// Classes that are steered here; empty = whatever no other queue names.
    pub classes: Vec<&'a str>,
}

/// A pair.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport<'a> {
    /// Inside port.
    pub inside: &'a str,
    /// Venue port.
    pub venue: &'a str,
    /// CPU that paces both; `None` = chosen at start.
    pub core: Option<usize>,
    /// Which cores receive.
    pub arrangement: Arrangement,
    /// CPUs that receive for it.
    pub rx_cores: &'a [usize],
    /// Packets that a ring between two of its cores holds.
    pub ring: Option<u32>,
    /// Its second path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_path: Option<SecondPathReport<'a>>,
}

/// A second path.
#[derive(Clone, Debug, Serialize)]
pub struct SecondPathReport<'a> {
    /// Its venue port.
    pub venue: &'a str,
    /// How long what left by one path may still be under way there, ns.
    pub path_drain_ns: Nanos,
    /// Classes from inside of which nothing waits that long, so that their flows move only in a pause.
    pub moves_in_a_pause: Vec<&'a str>,
    /// Whether `mixed` sessions may move.
    pub allow_session_move: bool,
    /// Least stay of a flow that moved, ns.
    pub dwell_ns: Nanos,
    /// What has to answer ARP on both paths.
    pub probe_to: Ipv4Addr,
}

/// The ports in the order of the file.
pub(super) fn ports(config: &Config) -> Vec<PortReport<'_>> {
    config.ports.iter().map(|one| port(config, one)).collect()
}

fn port<'a>(config: &'a Config, port: &'a Port) -> PortReport<'a> {
    let wire = wire_len(u32::from(port.frame_bytes_max));
    PortReport {
        name: &port.name,
        side: port.side,
        device: port.device.to_string(),
        frame_bytes_max: port.frame_bytes_max,
        frame_wire_bytes_max: wire,
        link: port.link,
        inflight_limit_bytes: port.inflight_limit_bytes,
        inflight_floor_bytes: inflight_floor_bytes(port),
        inflight_floor: match port.link {
            Some(link) => format!("completion batch {} x {wire} wire bytes", link.completion_batch),
            None => format!("one frame of {wire} wire bytes"),
        },
        forward_fragments: port.forward_fragments,
        segment: port.segment,
        intent: port.intent,
        launch_time: port.launch_time,
        launch_lead_ns: port.launch_lead,
        timesync: port.timesync,
        tx_queues: port.tx_queues,
        rx_queues: port.queues.iter().map(|one| queue(config, one)).collect(),
        faults: port.faults,
    }
}

fn queue<'a>(config: &'a Config, queue: &RxQueue) -> QueueReport<'a> {
    let name = |class: &u8| config.classes[usize::from(*class)].name.as_str();
    QueueReport {
        burst: queue.burst,
        hold_frames: queue.hold_frames,
        hold_time_ns: queue.hold_time,
        classes: queue.classes.iter().map(name).collect(),
    }
}

/// The pairs in the order of the file.
pub(super) fn pairs<'a>(config: &'a Config) -> Vec<PairReport<'a>> {
    let name = |index: usize| config.ports[index].name.as_str();
    let report = |pair: &'a Pair| PairReport {
        inside: name(pair.inside),
        venue: name(pair.venue),
        core: pair.core.cpu(),
        arrangement: pair.arrangement,
        rx_cores: &pair.rx_cores,
        ring: (pair.arrangement == Arrangement::Pipeline).then_some(pair.ring),
        second_path: pair.second_path.as_ref().map(|second| SecondPathReport {
            venue: name(second.venue),
            path_drain_ns: second.path_drain,
            moves_in_a_pause: move_in_a_pause(config, second),
            allow_session_move: second.allow_session_move,
            dwell_ns: second.dwell,
            probe_to: second.probe_to,
        }),
    };
    config.pairs.iter().map(report).collect()
}

/// Nothing of them may be held until the old path is empty.
fn move_in_a_pause<'a>(config: &'a Config, second: &SecondPath) -> Vec<&'a str> {
    let classes = config.classes.iter().zip(&config.profiles[0].classes);
    let inside = classes.filter(|(class, _)| class.from == Side::Inside);
    let short = inside
        .filter(|(class, params)| class.kind.is_exempt() || params.max_hold < second.path_drain);
    short.map(|(class, _)| class.name.as_str()).collect()
}
