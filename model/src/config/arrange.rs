//! `[[pair]]`: which ports forward to each other, and which CPUs poll them.

use std::net::Ipv4Addr;

use super::error::{At, Findings};
use super::names;
use super::raw::{RawConfig, RawPair, RawPort};
use super::reader::Field;
use super::second_path;
use super::{Arrangement, ClockKind, CoreChoice, Gateway, Pair, Port, PortIntent, SecondPath};
use crate::kind::Side;
use crate::profile::Segment;
use crate::time::Nanos;

/// Packets that a ring between two cores holds where the file says none.
const RING: u32 = 1024;
/// Least stay of a flow that moved where the file says none: that of a regime's state.
const DWELL: Nanos = Nanos::from_secs(10);

pub(super) fn pairs(
    findings: &Findings,
    root: At,
    raw: &[RawPair],
    raw_ports: &[RawPort],
    ports: &[Port],
    gateway: &Gateway,
) -> Vec<Pair> {
    if raw.is_empty() {
        findings.error(root, "there is no [[pair]]", "a [[pair]] for each two ports");
    }
    let mut paired: Vec<usize> = Vec::new();
    let mut cores: Vec<usize> = Vec::new();
    let pairs = raw
        .iter()
        .map(|raw| {
            let mut end = |field, side| pair_end(findings, field, side, ports, &mut paired);
            let (inside, venue) = (end(&raw.inside, Side::Inside), end(&raw.venue, Side::Venue));
            let second_path = raw.second_path.as_ref().map(|second| SecondPath {
                venue: end(&second.venue, Side::Venue).unwrap_or(0),
                path_drain: second.path_drain.or(Nanos::ZERO),
                allow_session_move: second.allow_session_move.or(false),
                dwell: second.dwell.or(DWELL),
                probe_to: second.probe_to.or(Ipv4Addr::UNSPECIFIED),
                probe_from: second.probe_from.or(Ipv4Addr::UNSPECIFIED),
                probe_mac: second.probe_mac.or([0; 6]),
            });
            let pair = Pair {
                inside: inside.unwrap_or(0),
                venue: venue.unwrap_or(0),
                core: raw.core.or(CoreChoice::Auto),
                arrangement: raw.arrangement.or(Arrangement::RunToCompletion),
                rx_cores: raw.rx_cores.or(Vec::new()),
                ring: raw.ring.or(RING),
                link_follow: raw.link_follow.or(false),
                second_path,
            };
            check_cores(findings, raw, gateway, &mut cores);
            check_arrangement(findings, raw, &pair, ports, gateway);
            second_path::check(findings, raw, &pair, raw_ports);
            pair
        })
        .collect();
    if gateway.clock == ClockKind::Virtual
        && let Some(second) = raw.get(1)
    {
        findings.error(second.at, "a second [[pair]] in virtual time", "one pair: one thread");
    }
    for (index, port) in raw_ports.iter().enumerate() {
        // A pair names the first of two ports with the same name, and that is an error already.
        let first = ports.iter().position(|known| known.name == ports[index].name);
        let named = port.name.value.is_some() && first == Some(index);
        if named && !paired.contains(&index) && !raw.is_empty() {
            let problem = format!("port {:?} is in no pair", ports[index].name);
            findings.error(port.name.at(port.at), problem, "every port in exactly one [[pair]]");
        }
    }
    pairs
}

fn pair_end(
    findings: &Findings,
    field: &Field<String>,
    side: Side,
    ports: &[Port],
    paired: &mut Vec<usize>,
) -> Option<usize> {
    let names: Vec<String> = ports.iter().map(|port| port.name.clone()).collect();
    let (index, at) = names::look_up(findings, "port", field, &names)?;
    let port = &ports[index];
    if port.side != side {
        let problem = format!("port {:?} is on side {:?}", port.name, port.side.name());
        findings.error(at, problem, format!("a port with side = {:?}", side.name()));
    }
    if paired.contains(&index) {
        let problem = format!("port {:?} is in two pairs", port.name);
        findings.error(at, problem, "every port in exactly one pair: one core paces it");
    }
    paired.push(index);
    Some(index)
}

fn check_cores(findings: &Findings, raw: &RawPair, gateway: &Gateway, cores: &mut Vec<usize>) {
    if gateway.clock == ClockKind::Tsc && !raw.core.is_present() {
        let problem = "[[pair]] has no `core`";
        let allowed = "`core`, the CPU that polls the pair or \"auto\", with clock = \"tsc\"";
        findings.error(raw.at, problem, allowed);
    }
    let paces = raw.core.get().and_then(|(core, at)| Some((core.cpu()?, at, "polls two pairs")));
    let receive = raw.rx_cores.get().into_iter().flat_map(|(cpus, at)| {
        cpus.iter().map(move |cpu| (*cpu, at, "receives and polls elsewhere"))
    });
    for (cpu, at, twice) in paces.into_iter().chain(receive) {
        if cores.contains(&cpu) {
            let allowed = "a core for each pair, and others that receive";
            findings.error(at, format!("core {cpu} {twice}"), allowed);
        }
        if gateway.control_cpu == Some(cpu) {
            let text = format!("core {cpu} polls a pair and runs the control thread as well");
            findings.warn(at, text);
        }
        cores.push(cpu);
    }
}

fn check_arrangement(
    findings: &Findings,
    raw: &RawPair,
    pair: &Pair,
    ports: &[Port],
    gateway: &Gateway,
) {
    let pipeline = pair.arrangement == Arrangement::Pipeline;
    if !pipeline {
        for (key, at) in [
            ("rx_cores", raw.rx_cores.is_present().then(|| raw.rx_cores.at(raw.at))),
            ("ring", raw.ring.is_present().then(|| raw.ring.at(raw.at))),
        ] {
            let Some(at) = at else { continue };
            let problem = format!("`{key}` where one core receives and paces");
            findings.error(at, problem, format!("`{key}` with arrangement = \"pipeline\""));
        }
        return;
    }
    let at = raw.arrangement.at(raw.at);
    if gateway.clock == ClockKind::Virtual {
        let problem = "arrangement = \"pipeline\" with clock = \"virtual\"";
        findings.error(at, problem, "\"run_to_completion\": one thread steps everything");
    }
    if pair.rx_cores.is_empty() {
        if raw.rx_cores.value.is_some() || !raw.rx_cores.is_present() {
            let at = raw.rx_cores.at(at);
            let problem = "arrangement = \"pipeline\" without cores that receive";
            findings.error(at, problem, "`rx_cores`, the CPUs that receive, such as [2, 3]");
        }
        return;
    }
    let queues: usize = [pair.inside, pair.venue]
        .iter()
        .filter_map(|p| ports.get(*p))
        .map(|p| p.queues.len())
        .sum();
    if pair.rx_cores.len() > queues {
        let problem = format!("{} cores receive from {queues} queues", pair.rx_cores.len());
        let allowed = format!("up to {queues} `rx_cores`, or more `rx_queues` on the ports");
        findings.error(raw.rx_cores.at(at), problem, allowed);
    }
}

/// Intent and the cutting of long frames stand between classifying and pacing, so on one core.
pub(super) fn refuse_beside_a_pipeline(findings: &Findings, raw: &RawConfig, pairs: &[Pair]) {
    let piped = |pair: &&Pair| pair.arrangement == Arrangement::Pipeline;
    let of_pipelines = || pairs.iter().filter(piped);
    if of_pipelines().next().is_none() {
        return;
    }
    if raw.regime.allow.get().is_some_and(|(allowed, _)| !allowed.is_empty()) {
        let text = "no canary with arrangement = \"pipeline\", whose pacing core does not know ordering \
                    groups: `wirepace mode switchback` compares profiles there";
        findings.warn(raw.regime.allow.at(raw.regime.at), text);
    }
    let no = |at, what: String| {
        let problem = format!("{what} with arrangement = \"pipeline\"");
        findings.error(at, problem, "this where one core receives and paces");
    };
    for (key, at) in [
        ("udp", raw.intent.udp.get().and_then(|(address, at)| address.and(Some(at)))),
        ("shm", raw.intent.shm.get().map(|(_, at)| at)),
    ] {
        if let Some(at) = at {
            no(at, format!("intent by `{key}`"));
        }
    }
    let of_ports = of_pipelines().flat_map(|pair| [pair.inside, pair.venue]);
    for port in of_ports.filter_map(|port| raw.ports.get(port)) {
        if let Some((PortIntent::Shim, at)) = port.intent.get() {
            no(at, "intent = \"shim\"".to_owned());
        }
        refuse_cutting(&port.segment, no);
    }
    for class in &raw.classes {
        refuse_cutting(&class.shape.shaping.segment, no);
    }
}

fn refuse_cutting(segment: &Field<Segment>, no: impl Fn(At, String)) {
    if let Some((segment, at)) = segment.get()
        && *segment != Segment::Refuse
    {
        no(at, format!("segment = {:?}", segment.name()));
    }
}
