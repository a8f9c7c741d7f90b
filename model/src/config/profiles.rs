//! `normal`, and the `[[profile]]` tables that tighten it.

use super::bursts::Scale;
use super::caps::{self, Stated};
use super::classes::{self, Shape};
use super::error::{At, Findings};
use super::names;
use super::ports::check_inflight_limit;
use super::raw::{RawClass, RawPort, RawProfile, RawProfileClass, RawProfilePort};
use super::shaping::{self, Of};
use super::units::{format_bit_rate, format_size};
use super::{Class, Derivation, Level, Pair, Port};
use crate::kind::Side;
use crate::profile::{Caps, ClassParams, EgressParams, Profile, Segment};
use crate::time::Nanos;

/// Most profiles: more than any regime engine chooses between.
const PROFILES_MAX: usize = 64;

/// What the profiles are built from.
pub(super) struct Base<'a> {
    pub findings: &'a Findings,
    pub raw_classes: &'a [RawClass],
    pub raw_ports: &'a [RawPort],
    pub classes: &'a [Class],
    pub shapes: &'a [Shape],
    pub ports: &'a [Port],
    pub pairs: &'a [Pair],
    pub slot: Nanos,
}

/// All profiles, `normal` first, and how their buckets came to be.
pub(super) fn profiles(base: &Base<'_>, raw: &[RawProfile]) -> (Vec<Profile>, Vec<Derivation>) {
    let names = names::collect(base.findings, "profile", raw.iter().map(|profile| &profile.name));
    if let Some((_, at)) = raw.iter().filter_map(|p| p.name.get()).find(|(n, _)| *n == "normal") {
        let allowed = "any other name: normal is the table of [[class]] and [[port]]";
        base.findings.error(at, "a profile cannot be named \"normal\"", allowed);
    }
    if let Some((_, at)) = raw.get(PROFILES_MAX - 1).and_then(|profile| profile.name.get()) {
        let problem = format!("{} profiles", raw.len());
        base.findings.error(at, problem, format!("up to {}", PROFILES_MAX - 1));
    }
    let mut derivations = Vec::new();
    let mut profiles = vec![normal(base, &mut derivations)];
    for (index, (raw, name)) in raw.iter().zip(names).enumerate() {
        let mut profile = profiles[0].clone();
        profile.name = name;
        profile.index = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let mut own: Vec<Derivation> = derivations
            .iter()
            .filter(|derivation: &&Derivation| derivation.profile == 0)
            .cloned()
            .map(|derivation| Derivation { profile: index + 1, ..derivation })
            .collect();
        tighten(base, raw, &mut profile, &mut own);
        refuse_overbooked(base, Some(raw), &profile);
        derivations.append(&mut own);
        profiles.push(profile);
    }
    (profiles, derivations)
}

fn normal(base: &Base<'_>, derivations: &mut Vec<Derivation>) -> Profile {
    let mut profile = Profile {
        name: "normal".to_owned(),
        index: 0,
        classes: Vec::new(),
        egress: Vec::new(),
        canary: None,
        venue_limits: Vec::new(),
    };
    for (index, shape) in base.shapes.iter().enumerate() {
        // Built-in classes stand behind those of the file and state nothing.
        let raw = base.raw_classes.get(index);
        let mut node = |level, stated| {
            let node = raw.map_or_else(caps::Node::default, |raw| {
                let caps = if level == Level::Flow { &raw.shape.flow } else { &raw.shape.class };
                caps::derive(base.findings, caps, raw.at, stated, shape.scale)
            });
            derivations.push(derivation(0, level, index, &node));
            node.caps
        };
        let flow = node(Level::Flow, shape.flow);
        let class = node(Level::Class, shape.class);
        let shaping = shaping::default(base.classes[index].from);
        let shaping = raw.map_or(shaping, |raw| {
            let of = base.of(index, flow, class, shape.max_hold);
            shaping::stated(base.findings, &raw.shape, raw.at, &of, shaping)
        });
        profile.classes.push(ClassParams {
            flow,
            class,
            priority: shape.priority,
            max_hold: shape.max_hold,
            queue_packets: shape.queue_packets,
            queue_bytes: shape.queue_bytes,
            drops_when_full: shape.drops_when_full,
            closed: false,
            second_path: false,
            shaping,
        });
    }
    for (index, (raw, port)) in base.raw_ports.iter().zip(base.ports).enumerate() {
        let stated = Stated::over(Stated::default(), &raw.caps);
        let node = caps::derive(base.findings, &raw.caps, raw.at, stated, base.port_scale(port));
        derivations.push(derivation(0, Level::Port, index, &node));
        profile.egress.push(EgressParams {
            port: node.caps,
            inflight_limit_bytes: port.inflight_limit_bytes,
        });
    }
    refuse_overbooked(base, None, &profile);
    profile
}

fn derivation(profile: usize, level: Level, index: usize, node: &caps::Node) -> Derivation {
    Derivation { profile, level, index, bits: node.bits.clone(), messages: node.messages.clone() }
}

impl Base<'_> {
    /// Bursts of a port are measured in its own largest frame and in the fullest packet behind it.
    fn port_scale(&self, port: &Port) -> Scale {
        let from = port.side.peer();
        let counts = self.classes.iter().filter(|class| class.from == from);
        let messages = counts.filter_map(|class| class.messages_per_segment).max().unwrap_or(1);
        let behind = self.classes.iter().zip(self.shapes).filter(|(class, _)| class.from == from);
        let jitter = behind.map(|(_, shape)| shape.jitter).max().unwrap_or(Nanos::ZERO);
        Scale::new(port.frame_bytes_max, u64::from(messages), self.slot, jitter)
    }

    fn of(&self, index: usize, flow: Caps, class: Caps, max_hold: Nanos) -> Of<'_> {
        let record = &self.classes[index];
        Of {
            name: &record.name,
            kind: record.kind,
            from: record.from,
            allow_drop: record.allow_drop.is_some(),
            legs: record.legs,
            scale: self.shapes[index].scale,
            flow,
            class,
            max_hold,
        }
    }

    /// The most that is done with frames of a class that are too long, over all ports it leaves by.
    fn most_segmented(&self, class: &Class) -> Segment {
        let leaves_by = self.ports.iter().filter(|port| port.side == class.from.peer());
        let by_port = leaves_by.map(|port| port.segment).max().unwrap_or_default();
        class.segment.unwrap_or(by_port)
    }
}

fn tighten(
    base: &Base<'_>,
    raw: &RawProfile,
    profile: &mut Profile,
    derivations: &mut [Derivation],
) {
    let findings = base.findings;
    let own_classes = &base.classes[..base.raw_classes.len()];
    let class_names: Vec<String> = own_classes.iter().map(|class| class.name.clone()).collect();
    let port_names: Vec<String> = base.ports.iter().map(|port| port.name.clone()).collect();
    names::collect(findings, "[[profile.class]]", raw.classes.iter().map(|class| &class.name));
    names::collect(findings, "[[profile.port]]", raw.ports.iter().map(|port| &port.name));
    for raw in &raw.classes {
        if let Some((index, _)) = names::look_up(findings, "class", &raw.name, &class_names) {
            tighten_class(base, raw, index, &mut profile.classes[index], derivations);
        }
    }
    for raw in &raw.ports {
        if let Some((index, _)) = names::look_up(findings, "port", &raw.name, &port_names) {
            tighten_port(base, raw, index, &mut profile.egress[index], derivations);
        }
    }
}

fn tighten_class(
    base: &Base<'_>,
    raw: &RawProfileClass,
    index: usize,
    params: &mut ClassParams,
    derivations: &mut [Derivation],
) {
    let (findings, class, shape) = (base.findings, &base.classes[index], &base.shapes[index]);
    let normal = *params;
    if class.from == Side::Venue {
        let caps = raw.shape.class.present().chain(raw.shape.flow.present());
        for (key, at) in caps.chain(raw.shape.shaping.present()) {
            let problem = format!("`{key}` for class {:?} from the venue", class.name);
            findings.error(at, problem, "nothing that paces: it is forwarded at once");
        }
    }
    for (level, caps, stated, normal, target) in [
        (Level::Flow, &raw.shape.flow, shape.flow, &normal.flow, &mut params.flow),
        (Level::Class, &raw.shape.class, shape.class, &normal.class, &mut params.class),
    ] {
        let stated = Stated::over(stated, caps);
        let node = caps::derive(findings, caps, raw.at, stated, shape.scale);
        caps::refuse_looser(findings, caps, raw.at, normal, &node.caps);
        if let (Some((Some(_), at)), None) = (caps.messages.get(), class.messages_per_segment) {
            classes::refuse_uncounted(findings, class, at);
        }
        replace(derivations, level, index, &node);
        *target = node.caps;
    }
    params.max_hold = raw.shape.max_hold.or(normal.max_hold);
    params.queue_packets = raw.shape.queue_packets.or(normal.queue_packets);
    params.queue_bytes = raw.shape.queue_bytes.or(normal.queue_bytes);
    params.closed = raw.closed.or(false);
    params.second_path = raw.second_path.or(false);
    if params.second_path {
        let at = raw.second_path.at(raw.at);
        if class.from == Side::Venue {
            let problem = format!("`second_path` for class {:?} from the venue", class.name);
            findings.error(at, problem, "`second_path` for classes from inside");
        }
        if base.pairs.iter().all(|pair| pair.second_path.is_none()) {
            let problem = "second_path = true without a second path";
            findings.error(at, problem, "a [pair.second_path]");
        }
    }
    classes::check_queue_and_hold(
        findings,
        &raw.shape,
        raw.at,
        params.max_hold,
        params.queue_bytes,
        shape.scale,
    );
    refuse_longer(findings, raw, params, &normal);
    let of = base.of(index, params.flow, params.class, params.max_hold);
    params.shaping = shaping::stated(findings, &raw.shape, raw.at, &of, normal.shaping);
    let keys = &raw.shape.shaping;
    shaping::refuse_looser(findings, keys, raw.at, &normal.shaping, &params.shaping);
    shaping::tighten_segment(findings, keys, base.most_segmented(class), &mut params.shaping);
    if params.closed && class.allow_drop.is_none() {
        let problem =
            format!("closed = true on class {:?}, which does not allow drops", class.name);
        findings.error(raw.closed.at(raw.at), problem, "closed = true on allow_drop classes only");
    }
}

/// Shares that a port cannot pay together are no shares.
fn refuse_overbooked(base: &Base<'_>, raw: Option<&RawProfile>, profile: &Profile) {
    let reserved = |params: &ClassParams| params.shaping.reserved.map_or(0, |b| b.rate_per_s);
    let sum: u64 = profile.classes.iter().map(reserved).sum();
    if sum == 0 {
        return;
    }
    for (index, port) in base.ports.iter().enumerate().filter(|(_, p)| p.side == Side::Venue) {
        let Some(cap) = profile.egress[index].port.bits else { continue };
        if sum <= cap.rate_per_s {
            continue;
        }
        let raw_port = &base.raw_ports[index];
        let at = match raw {
            None => {
                let keys = base.raw_classes.iter().rev().map(|class| &class.shape.shaping.reserved);
                keys.filter_map(|key| key.get()).next().map_or(raw_port.at, |(_, at)| at)
            }
            Some(raw) => {
                let of_port = raw.ports.iter().find(|p| p.name.value.as_ref() == Some(&port.name));
                of_port.map_or(raw.name.at(raw_port.at), |port| port.caps.rate.at(port.at))
            }
        };
        let (sum, rate) = (format_bit_rate(sum), format_bit_rate(cap.rate_per_s));
        let problem = format!("reserved shares of {sum} on port {:?} with rate {rate}", port.name);
        base.findings.error(at, problem, format!("shares of {rate} in all"));
    }
}

fn refuse_longer(
    findings: &Findings,
    raw: &RawProfileClass,
    params: &ClassParams,
    normal: &ClassParams,
) {
    let refuse = |at: At, key: &str, found: String, most: String| {
        let problem = format!("{key}: {found} is looser than normal");
        findings.error(at, problem, format!("at most {most}, as in normal"));
    };
    if params.max_hold > normal.max_hold {
        let at = raw.shape.max_hold.at(raw.at);
        refuse(at, "max_hold", params.max_hold.to_string(), normal.max_hold.to_string());
    }
    if params.queue_packets > normal.queue_packets {
        let at = raw.shape.queue_packets.at(raw.at);
        refuse(
            at,
            "queue_packets",
            params.queue_packets.to_string(),
            normal.queue_packets.to_string(),
        );
    }
    if params.queue_bytes > normal.queue_bytes {
        let at = raw.shape.queue_bytes.at(raw.at);
        refuse(at, "queue_bytes", format_size(params.queue_bytes), format_size(normal.queue_bytes));
    }
}

fn tighten_port(
    base: &Base<'_>,
    raw: &RawProfilePort,
    index: usize,
    params: &mut EgressParams,
    derivations: &mut [Derivation],
) {
    let (findings, port) = (base.findings, &base.ports[index]);
    let normal = *params;
    if port.side == Side::Inside {
        for (key, at) in raw.caps.present() {
            let problem = format!("`{key}` for port {:?} of the inside", port.name);
            findings.error(at, problem, "no caps: what goes inside leaves at once");
        }
    }
    let in_normal = Stated::over(Stated::default(), &base.raw_ports[index].caps);
    let stated = Stated::over(in_normal, &raw.caps);
    let node = caps::derive(findings, &raw.caps, raw.at, stated, base.port_scale(port));
    caps::refuse_looser(findings, &raw.caps, raw.at, &normal.port, &node.caps);
    if let Some((Some(_), at)) = raw.caps.messages.get() {
        classes::refuse_uncounted_behind_port(findings, at, base.classes);
    }
    replace(derivations, Level::Port, index, &node);
    params.port = node.caps;
    if let Some((limit, at)) = raw.inflight_limit.get() {
        check_inflight_limit(findings, port, raw.inflight_limit.get());
        let most = normal.inflight_limit_bytes;
        if most.is_some_and(|most| limit.is_none_or(|limit| limit > most)) {
            let found = limit.map_or("unlimited".to_owned(), format_size);
            let problem = format!("inflight_limit: {found} is looser than normal");
            let most = most.map(format_size).unwrap_or_default();
            findings.error(at, problem, format!("at most {most}, as in normal"));
        }
        params.inflight_limit_bytes = *limit;
    }
}

fn replace(derivations: &mut [Derivation], level: Level, index: usize, node: &caps::Node) {
    if let Some(derivation) = derivations.iter_mut().find(|d| d.level == level && d.index == index)
    {
        *derivation = self::derivation(derivation.profile, level, index, node);
    }
}
