//! `[pair.second_path]`: what its port has to be, so that one pacer can send by both.

use super::error::{At, Findings};
use super::raw::{RawPair, RawPort, RawSecondPath};
use super::{Arrangement, LaunchTime, Pair};
use crate::profile::Segment;

/// Caps, budgets and limits count what leaves by either path, so the second has none of its own; what a
/// flow may send must not depend on where it is.
pub(super) fn check(findings: &Findings, raw: &RawPair, pair: &Pair, ports: &[RawPort]) {
    let (Some(second), Some(raw_second)) = (pair.second_path, &raw.second_path) else { return };
    if pair.arrangement == Arrangement::Pipeline {
        let problem = "[pair.second_path] with arrangement = \"pipeline\"";
        findings.error(raw_second.at, problem, "a second path where one core receives and paces");
    }
    check_probes(findings, raw_second);
    let (Some(first), Some(other)) = (ports.get(pair.venue), ports.get(second.venue)) else {
        return;
    };
    for (key, at) in other.caps.present() {
        let problem = format!("`{key}` on the port of a second path");
        findings.error(at, problem, "caps on the first: they count what leaves by either path");
    }
    if let Some((Segment::Software | Segment::Hardware, at)) = other.segment.get() {
        let problem = "`segment` on the port of a second path";
        findings.error(
            at,
            problem,
            "`segment` on the first: frames are cut before a path is chosen",
        );
    }
    if let (Some((Some(_), at)), false) = (other.inflight_limit.get(), other.link.is_present()) {
        let problem = "`inflight_limit` on the port of a second path";
        findings.error(at, problem, "`inflight_limit` beside `link`: its completions are modelled");
    }
    let frame = |port: &RawPort| port.frame_max.value.unwrap_or(1514);
    if frame(other) < frame(first) {
        let at = other.frame_max.at(other.at);
        let problem = format!("frame_max {}B on the port of a second path", frame(other));
        findings.error(at, problem, format!("at least {}B, as on the first", frame(first)));
    }
    for port in [first, other] {
        let own_clock = |key: &str, at: At| {
            let problem = format!("`{key}` on a port of two paths");
            findings.error(
                at,
                problem,
                "ports without a clock of their own: arrivals come from both",
            );
        };
        if let Some((LaunchTime::Prefer | LaunchTime::Require, at)) = port.launch_time.get() {
            own_clock("launch_time", at);
        }
        if let Some((true, at)) = port.timesync.get() {
            own_clock("timesync", at);
        }
    }
}

/// A probe is an ARP request from one host of the venue's network to another: it has an answer only where both
/// addresses are those of a host.
fn check_probes(findings: &Findings, raw: &RawSecondPath) {
    let addresses = [("probe_to", &raw.probe_to), ("probe_from", &raw.probe_from)];
    for (key, field) in addresses {
        if let Some((address, at)) = field.get()
            && (address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast())
        {
            let problem = format!("{key} = \"{address}\" is the address of no host");
            findings.error(at, problem, "an address of a host, such as \"10.9.0.1\"");
        }
    }
    if let (Some((to, at)), Some((from, _))) = (raw.probe_to.get(), raw.probe_from.get())
        && to == from
    {
        let problem = format!("probe_to = \"{to}\" is `probe_from` too: nobody would answer");
        findings.error(at, problem, "the address of a host at the venue");
    }
}
