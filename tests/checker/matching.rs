//! Which input frame does an output frame belong to, and is every frame accounted for?

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;

use super::capture::Record;
use super::config::{Config, Side};
use super::frame::{self, Flow, Frame};
use super::promise::wire_len;
use super::{Evidence, Report, What};

/// Class of what is not IP.
pub const NON_IP: &str = "non_ip";

/// An input frame, understood.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Arrival, ns.
    pub arrival: u64,
    /// Side it comes from.
    pub from: Side,
    /// Its egress port.
    pub egress: usize,
    /// Class; `None` = not IP.
    pub class: Option<usize>,
    /// Flow; `None` = the one flow of what is not IP.
    pub flow: Option<Flow>,
    /// Never waits for a bucket.
    pub exempt: bool,
    /// Exempt only because it carries no payload.
    pub bare: bool,
    /// Wire bytes in bits.
    pub bits: u64,
    /// Messages.
    pub messages: u64,
    /// The venue that its rule names.
    pub venue: Option<String>,
    /// The name under which it must or may end.
    pub end: Option<&'static str>,
    /// It must not leave.
    pub malformed: bool,
}

/// An output frame and the input frame it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// Index of the input frame.
    pub packet: usize,
    /// Acceptance by the port, ns.
    pub t: u64,
    /// A twin with the same bytes was dropped: arrival may belong to the other.
    pub ambiguous: bool,
}

/// Understands every input frame.
///
/// # Errors
/// No pair for the ingress port of a frame.
pub fn read_packets(
    config: &Config,
    input: &[Record],
    report: &mut Report,
) -> Result<Vec<Packet>, String> {
    let mut latest = 0;
    let mut classes: HashMap<(Side, Flow), usize> = HashMap::new();
    let mut packets = Vec::with_capacity(input.len());
    for (index, record) in input.iter().enumerate() {
        latest = record.t.max(latest);
        let (from, egress) = path(config, record, false)?;
        let mut packet = Packet {
            arrival: latest,
            from,
            egress,
            class: None,
            flow: None,
            exempt: false,
            bare: false,
            bits: wire_len(record.bytes.len() as u64) * 8,
            messages: 0,
            venue: None,
            end: None,
            malformed: false,
        };
        match frame::read(&record.bytes) {
            Frame::NonIp => {}
            Frame::Malformed(reason) => {
                *report.malformed.entry(reason).or_default() += 1;
                packet.end = Some(reason);
                packet.malformed = true;
            }
            Frame::Ip(ip) => {
                let index_of_class = config.classify(from, &ip);
                let class = &config.classes[index_of_class];
                let first = *classes.entry((from, ip.flow)).or_insert(index_of_class);
                if first != index_of_class {
                    return Err(format!("frame {}: its flow has two classes", index + 1));
                }
                packet.class = Some(index_of_class);
                packet.flow = Some(ip.flow);
                packet.venue = config.venue_of(from, &ip).map(str::to_owned);
                let tcp = ip.flow.protocol == 6 && !ip.fragment;
                packet.bare = tcp && ip.payload == 0 && !ip.tcp_control && !class.exempt();
                packet.exempt = class.exempt() || tcp && ip.tcp_control || packet.bare;
                if ip.payload > 0 {
                    packet.messages = class.messages(tcp);
                }
                let ingress = ingress_of(config, egress);
                let forwards = from == Side::Venue || config.ports[ingress].forward_fragments;
                if ip.fragment && !forwards {
                    packet.end = Some("ip_fragment");
                }
            }
        }
        if packet.end.is_none() && record.bytes.len() as u64 > config.ports[egress].frame_max {
            packet.end = Some("tx_oversize");
        }
        packets.push(packet);
    }
    Ok(packets)
}

/// Side and egress port of a frame, from its interface's name or the only pair.
fn path(config: &Config, record: &Record, leaving: bool) -> Result<(Side, usize), String> {
    if let Some(port) = record.interface.as_deref().and_then(|name| config.port(name)) {
        let other = config.pairs.iter().find_map(|&(inside, venue)| match port {
            p if p == inside => Some(venue),
            p if p == venue => Some(inside),
            _ => None,
        });
        let other = other.ok_or_else(|| format!("port {port} is in no pair"))?;
        let (ingress, egress) = if leaving { (other, port) } else { (port, other) };
        return Ok((config.ports[ingress].side, egress));
    }
    match config.pairs.as_slice() {
        [(_, venue)] => Ok((Side::Inside, *venue)),
        _ => Err("several pairs, and the capture does not name its interfaces after ports".into()),
    }
}

/// The other port of the pair.
fn ingress_of(config: &Config, egress: usize) -> usize {
    let other = config.pairs.iter().find_map(|&(inside, venue)| match egress {
        port if port == venue => Some(inside),
        port if port == inside => Some(venue),
        _ => None,
    });
    other.unwrap_or(egress)
}

/// Matches output to input and accounts for what is missing.
///
/// # Errors
/// No pair for the egress port of a frame.
pub fn departures(
    config: &Config,
    packets: &[Packet],
    evidence: &Evidence<'_>,
    report: &mut Report,
) -> Result<Vec<Departure>, String> {
    type Key<'a> = (usize, &'a [u8]);
    let mut waiting: HashMap<Key<'_>, VecDeque<usize>> = HashMap::new();
    for (index, (packet, record)) in packets.iter().zip(evidence.input).enumerate() {
        waiting.entry((packet.egress, &record.bytes)).or_default().push_back(index);
    }
    let mut copies_out: HashMap<&[u8], usize> = HashMap::new();
    for record in evidence.output {
        *copies_out.entry(&record.bytes).or_default() += 1;
    }
    let mut departures = Vec::with_capacity(evidence.output.len());
    let mut last_t = HashMap::new();
    let mut last_of_flow = HashMap::new();
    for (index, record) in evidence.output.iter().enumerate() {
        let number = index + 1;
        let (_, egress) = path(config, record, true)?;
        let before = last_t.insert(egress, record.t).unwrap_or(0);
        if record.t < before {
            report.add(What::TimeBackwards, format!("output frame {number}"));
        }
        let Some(twins) = waiting.get_mut(&(egress, record.bytes.as_slice())) else {
            report.add(What::Invented, format!("output frame {number} never came in"));
            continue;
        };
        let Some(&front) = twins.front() else {
            let details = format!("output frame {number} left more often than it came in");
            report.add(What::Duplicate, details);
            continue;
        };
        // Twins leave in the order in which they came. Where some of them were dropped, the first
        // one that keeps the flow in order is meant.
        let flow = (egress, packets[front].from, packets[front].flow);
        let last = last_of_flow.get(&flow).copied();
        let ambiguous = twins.len() > copies_out[record.bytes.as_slice()];
        let meant = twins.iter().position(|twin| !ambiguous || Some(*twin) > last);
        let packet = twins.remove(meant.unwrap_or(0)).unwrap_or(front);
        if let Some(copies) = copies_out.get_mut(record.bytes.as_slice()) {
            *copies -= 1;
        }
        last_of_flow.insert(flow, packet.max(last.unwrap_or(0)));
        report.ambiguous += usize::from(ambiguous);
        departures.push(Departure { packet, t: record.t, ambiguous });
    }
    let missing: HashSet<usize> = waiting.values().flatten().copied().collect();
    account(config, packets, &missing, evidence, report);
    Ok(departures)
}

fn account(
    config: &Config,
    packets: &[Packet],
    missing: &HashSet<usize>,
    evidence: &Evidence<'_>,
    report: &mut Report,
) {
    let drops = evidence.run_json.map_or(0, total_drops);
    if missing.len() as u64 != drops {
        let mut first: Vec<_> = missing.iter().map(|index| index + 1).collect();
        first.sort_unstable();
        first.truncate(8);
        let details = format!(
            "{} frames are missing, {drops} are counted as dropped; missing first: {first:?}",
            missing.len()
        );
        report.add(What::Lost, details);
    }
    for (index, packet) in packets.iter().enumerate() {
        let number = index + 1;
        if !missing.contains(&index) {
            if packet.malformed {
                let reason = packet.end.unwrap_or_default();
                report.add(What::MalformedLeft, format!("frame {number} is {reason} and left"));
            }
        } else if packet.end.is_none()
            && packet.class.is_none_or(|class| !config.classes[class].allow_drop)
        {
            let class = packet.class.map_or(NON_IP, |class| &config.classes[class].name);
            report.add(What::DropForbidden, format!("frame {number} of class {class} ended"));
        }
    }
    if let Some(json) = evidence.run_json {
        counters(json, drops, evidence, report);
    }
}

fn total_drops(json: &Value) -> u64 {
    let drops = json.get("drops").and_then(Value::as_object);
    drops.map_or(0, |drops| drops.values().filter_map(Value::as_u64).sum())
}

/// The counters of a finished replay: conservation, nothing held, nothing early, nothing leaked.
fn counters(json: &Value, drops: u64, evidence: &Evidence<'_>, report: &mut Report) {
    let number = |key: &str| json.get(key).and_then(Value::as_u64);
    let bytes = |records: &[Record]| records.iter().map(|r| r.bytes.len() as u64).sum::<u64>();
    let (frames_in, frames_out) = (evidence.input.len() as u64, evidence.output.len() as u64);
    let expected = [
        ("packets_in", frames_in),
        ("packets_out", frames_out),
        ("bytes_in", bytes(evidence.input)),
        ("bytes_out", bytes(evidence.output)),
        ("held", 0),
        ("early", 0),
        ("mbufs_leaked", 0),
    ];
    for (key, want) in expected {
        if number(key) != Some(want) {
            let have = json.get(key).unwrap_or(&Value::Null);
            report.add(What::Counters, format!("{key} is {have}, the captures say {want}"));
        }
    }
    let added = number("segments_added").unwrap_or(0);
    if frames_in + added != frames_out + drops {
        let details =
            format!("{frames_in} in + {added} added is not {frames_out} out + {drops} dropped");
        report.add(What::Counters, details);
    }
}
