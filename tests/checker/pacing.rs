//! When might each departure have left at the earliest, and did it?

use std::collections::{BTreeMap, HashMap};

use super::config::{Config, Side};
use super::envelope::{
    Bucket, Envelope, Envelopes, Level, Limits, first_breach, first_breach_by_all_windows,
};
use super::exact::{Exact, NS_PER_S};
use super::frame::Flow;
use super::matching::{Departure, NON_IP, Packet};
use super::{Report, What};

/// Up to so many departures of a node, every window is also walked one by one.
const ALL_WINDOWS_UP_TO: usize = 2_000;

type FlowId = (usize, Side, Option<Flow>);

/// A node of the tree: its buckets, and the governed departures through it.
#[derive(Default)]
struct Node {
    limits: Limits,
    bits: Option<Bucket>,
    messages: Option<Bucket>,
    governed_bits: Vec<(u64, u64)>,
    governed_messages: Vec<(u64, u64)>,
}

impl Node {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            bits: limits.bits.map(Bucket::new),
            messages: limits.messages.map(Bucket::new),
            ..Self::default()
        }
    }

    /// When `packet` conforms here. A packet without messages does not ask the message bucket.
    fn conforming(&self, packet: &Packet) -> Option<Exact> {
        let bits = self.bits.and_then(|bucket| bucket.conforming(packet.bits));
        let asks = packet.messages > 0;
        let messages = self.messages.filter(|_| asks).and_then(|b| b.conforming(packet.messages));
        bits.max(messages)
    }

    fn charge(&mut self, packet: &Packet, t: u64, governed: bool) {
        if let Some(bits) = &mut self.bits {
            bits.charge(t, packet.bits);
        }
        if let Some(messages) = self.messages.as_mut().filter(|_| packet.messages > 0) {
            messages.charge(t, packet.messages);
        }
        if governed && self.bits.is_some() {
            self.governed_bits.push((t, packet.bits));
        }
        if governed && self.messages.is_some() && packet.messages > 0 {
            self.governed_messages.push((t, packet.messages));
        }
    }

    fn check_windows(&self, name: &str, report: &mut Report) {
        let units = [
            ("bits", self.limits.bits, &self.governed_bits),
            ("messages", self.limits.messages, &self.governed_messages),
        ];
        for (unit, envelope, departures) in units {
            let Some(envelope) = envelope else { continue };
            if let Some(details) = breach_of(envelope, departures) {
                report.add(What::Window, format!("{name}, {unit}: {details}"));
            }
        }
    }
}

fn breach_of(envelope: Envelope, departures: &[(u64, u64)]) -> Option<String> {
    let found = first_breach(envelope, departures);
    if departures.len() <= ALL_WINDOWS_UP_TO {
        let again = first_breach_by_all_windows(envelope, departures);
        assert_eq!(found, again, "the two proofs of a window disagree");
    }
    found.map(|index| format!("the window that ends at {} carries too much", departures[index].0))
}

/// What the checker knows of a flow while it walks the departures.
#[derive(Default)]
struct FlowState {
    node: Node,
    /// Index of the latest packet that left.
    latest: Option<usize>,
    /// When it left.
    latest_t: u64,
}

/// What the checker knows of an egress port.
#[derive(Default)]
struct PortState {
    node: Node,
    /// Latest departure.
    latest_t: Option<u64>,
    /// When the modelled link has sent everything before, in ns x its rate.
    link_idle: i128,
}

/// Walks the departures in wire order.
pub fn check(
    config: &Config,
    envelopes: &Envelopes,
    packets: &[Packet],
    departures: &[Departure],
    report: &mut Report,
) {
    let pushes = pushed_at(packets, departures);
    let limits_of = |level, name: &str| envelopes.of(level, name);
    let mut ports: Vec<PortState> = config
        .ports
        .iter()
        .map(|port| PortState {
            node: Node::new(limits_of(Level::Port, &port.name)),
            ..PortState::default()
        })
        .collect();
    // A class is one node for each egress port: every port has a tree of its own.
    let mut classes: BTreeMap<(usize, Option<usize>), Node> = BTreeMap::new();
    let mut flows: HashMap<FlowId, FlowState> = HashMap::new();

    for departure in departures {
        let packet = &packets[departure.packet];
        let number = departure.packet + 1;
        let class = packet.class.map(|class| &config.classes[class]);
        let class_name = class.map_or(NON_IP, |class| &class.name);
        *report.by_class.entry(class_name.to_owned()).or_default() += 1;

        let port = &mut ports[packet.egress];
        let level = classes
            .entry((packet.egress, packet.class))
            .or_insert_with(|| Node::new(limits_of(Level::Class, class_name)));
        let flow =
            flows.entry((packet.egress, packet.from, packet.flow)).or_insert_with(|| FlowState {
                node: Node::new(limits_of(Level::Flow, class_name)),
                ..FlowState::default()
            });

        if let Some(latest) = flow.latest.filter(|latest| *latest > departure.packet) {
            let details = format!("frame {number} left after frame {} of its flow", latest + 1);
            report.add(What::Reordered, details);
        }
        let arrival = Exact::whole(packet.arrival);
        let paced = packet.from == Side::Inside;
        // The earliest time that any rule allows, and whether the envelope governs the departure.
        let (allowed, governed) = if !paced {
            report.from_venue += 1;
            (arrival, false)
        } else if packet.exempt {
            report.exempt += 1;
            let behind = if packet.bare { flow.latest_t } else { 0 };
            (arrival.max(Exact::whole(behind)), false)
        } else {
            let eligible = [&flow.node, level, &port.node]
                .into_iter()
                .filter_map(|node| node.conforming(packet))
                .fold(arrival, Exact::max);
            let hold_end = class
                .and_then(|class| class.max_hold)
                .map(|hold| Exact::whole(packet.arrival.saturating_add(hold)));
            let pushed = pushes[departure.packet].map(|t| Exact::whole(t.max(packet.arrival)));
            let t = Exact::whole(departure.t);
            let released = |by: Option<Exact>| t < eligible && by.is_some_and(|time| t >= time);
            let by_push = released(pushed);
            let by_hold = !by_push && released(hold_end);
            report.forward += usize::from(by_push);
            report.max_hold += usize::from(by_hold);
            report.governed += usize::from(!by_push && !by_hold);
            let allowed = [pushed, hold_end].into_iter().flatten().fold(eligible, Exact::min);
            (allowed, !by_push && !by_hold)
        };
        if Exact::whole(departure.t) < allowed {
            let details = format!(
                "frame {number} of class {class_name} left at {}, not allowed before {allowed}",
                departure.t
            );
            report.add(What::Early, details);
        }
        report.delayed += usize::from(departure.t > packet.arrival + config.slot);
        if !departure.ambiguous {
            judge_lateness(config, port, packet, departure, allowed, report);
        }

        if paced {
            for node in [&mut flow.node, level, &mut port.node] {
                node.charge(packet, departure.t, governed);
            }
        }
        flow.latest = flow.latest.max(Some(departure.packet));
        flow.latest_t = departure.t;
        port.latest_t = Some(departure.t);
        if let Some(link) = config.ports[packet.egress].link {
            let now = i128::from(departure.t) * i128::from(link);
            port.link_idle = port.link_idle.max(now) + i128::from(packet.bits) * NS_PER_S;
        }
    }

    for (port, state) in config.ports.iter().zip(&ports) {
        state.node.check_windows(&format!("port {}", port.name), report);
    }
    for ((egress, class), node) in &classes {
        let class = class.map_or(NON_IP, |class| &config.classes[class].name);
        let port = &config.ports[*egress].name;
        node.check_windows(&format!("class {class} at {port}"), report);
    }
    for ((_, _, flow), state) in &flows {
        state.node.check_windows(&format!("flow {flow:?}"), report);
    }
}

/// When the next exempt packet with a say arrived behind each packet in its own flow: from then on
/// the flow is released forward. `None` = never, or that one left before.
fn pushed_at(packets: &[Packet], departures: &[Departure]) -> Vec<Option<u64>> {
    let mut left = vec![None; packets.len()];
    for departure in departures {
        left[departure.packet] = Some(departure.t);
    }
    let mut next: HashMap<FlowId, u64> = HashMap::new();
    let mut pushes = vec![None; packets.len()];
    for (index, packet) in packets.iter().enumerate().rev() {
        if left[index].is_none() {
            continue;
        }
        let flow = (packet.egress, packet.from, packet.flow);
        pushes[index] = next.get(&flow).copied();
        if packet.exempt && !packet.bare {
            next.insert(flow, packet.arrival);
        }
    }
    pushes
}

/// A port that has something it may send sends it within a slot. So the time from the later of
/// "it may leave" and "the port did something else" to the departure is below a slot.
fn judge_lateness(
    config: &Config,
    port: &PortState,
    packet: &Packet,
    departure: &Departure,
    allowed: Exact,
    report: &mut Report,
) {
    let (t, slot) = (departure.t, config.slot);
    if allowed.within(t, slot) {
        return;
    }
    let served = port.latest_t.map_or(allowed, |latest| allowed.max(Exact::whole(latest)));
    if served.within(t, slot) {
        report.waited_arbitration += 1;
        return;
    }
    // In flight until its completion: what waits for the in-flight limit waits so long at most.
    let egress = &config.ports[packet.egress];
    if let Some(link) = egress.link.map(i128::from) {
        let completed = port.link_idle + i128::from(egress.completion_delay) * link;
        if served.max(Exact::ratio(completed, link)).within(t, slot) {
            report.waited_link += 1;
            return;
        }
    }
    let details = format!(
        "frame {} might have left at {allowed}, left at {t}; {} wire bytes, port last active at {:?}",
        departure.packet + 1,
        packet.bits / 8,
        port.latest_t
    );
    report.add(What::Late, details);
}
