//! From text to a checked config, topic by topic.

use toml::de::DeTable;

use super::classes::RawClasses;
use super::error::{At, ConfigError, Findings};
use super::profiles::{self, Base};
use super::raw::RawConfig;
use super::reader::Reader;
use super::{
    Budget, ClockKind, Config, arrange, budget, classes, digest, intent, limits, matching, nic,
    observe, ports, queues, regime, sections, timeline,
};

pub(super) fn from_toml(file: &str, text: &str) -> Result<Config, Vec<ConfigError>> {
    let findings = Findings::default();
    let (root, syntax) = DeTable::parse_recoverable(text);
    // What a broken line meant is a guess: no rule is held against it.
    if !syntax.is_empty() {
        for error in syntax {
            let at = error.span().map_or(At { start: text.len(), end: text.len() }, At::from);
            findings.error(at, format!("syntax: {}", error.message()), "TOML");
        }
        return Err(findings.into_errors(file, text));
    }
    let root = Reader::new(&findings, "the file", root.get_ref(), At::default());
    let config = checked(&findings, &RawConfig::read(root));
    if findings.has_errors() {
        return Err(findings.into_errors(file, text));
    }
    let mut config = config;
    match digest::digest(&config) {
        Ok(digest) => config.digest = digest,
        Err(error) => {
            findings.error(At::default(), format!("digest: {error}"), "values that JSON can hold");
            return Err(findings.into_errors(file, text));
        }
    }
    config.warnings = findings.into_warnings(file, text);
    Ok(config)
}

/// Every rule, in the order in which one needs the other's answer. Where there are errors the
/// result only serves to find more of them.
fn checked(findings: &Findings, raw: &RawConfig) -> Config {
    let root = At::default();
    let gateway = sections::gateway(&raw.gateway);
    let dpdk = sections::dpdk(findings, &raw.dpdk);
    let control = sections::control(findings, &raw.control);
    let timeline = timeline::timeline(findings, raw.timeline.as_ref(), &gateway);
    let observe = observe::observe(findings, raw, &gateway);
    let mut ports = ports::ports(findings, &raw.ports, &gateway, &dpdk);
    let pairs = if observe.is_some() {
        Vec::new()
    } else {
        arrange::pairs(findings, root, &raw.pairs, &raw.ports, &ports, &gateway)
    };

    arrange::refuse_beside_a_pipeline(findings, raw, &pairs);

    let raw_classes = RawClasses::new(findings, root, &raw.classes);
    let mut matching = matching::matching(findings, &raw.rules, &raw.default_class, &raw_classes);
    let intent = intent::intent(findings, raw, &mut matching.labels, &mut matching.venues);
    let (mut classes, shapes) =
        classes::classes(findings, raw, &matching.may_carry_tcp, &ports, &gateway);
    if observe.is_none() {
        classes::require_start_state(findings, &raw.gateway, &gateway, &classes);
    }
    ports::refuse_fragments_of_orders(findings, &raw.ports, &classes);
    classes::check_port_messages(findings, &raw.ports, &classes);

    nic::refuse_live_faults(findings, &raw.ports, &ports, &gateway, &classes);
    queues::queues(findings, &raw.ports, &mut ports, &classes[..raw.classes.len()]);
    intent::warn_unused(findings, raw, &intent, &classes, &ports);
    let of_limits = limits::Base {
        findings,
        raw_classes: &raw.classes,
        rules: &matching.rules,
        labels: &matching.labels,
        venues: &matching.venues,
        pairs: u32::try_from(pairs.len()).unwrap_or(u32::MAX),
    };
    let (venue_limits, limit_derivations) =
        limits::venue_limits(&of_limits, &raw.venue_limits, &mut classes);

    let base = Base {
        findings,
        raw_classes: &raw.classes,
        raw_ports: &raw.ports,
        classes: &classes,
        shapes: &shapes,
        ports: &ports,
        pairs: &pairs,
        slot: gateway.slot,
    };
    let (mut profiles, derivations) = profiles::profiles(&base, &raw.profiles);
    profiles[0].venue_limits.clone_from(&venue_limits);
    let of_regime = regime::Base {
        findings,
        gateway: &gateway,
        control: &control,
        raw_classes: &raw.classes,
        classes: &classes,
    };
    let regime = regime::regime(&of_regime, &raw.regime);
    let budget = Budget::of(&ports, &pairs, &profiles[0].classes, &dpdk);
    budget::refuse_beyond_pool(findings, raw.dpdk.mbufs.at(raw.dpdk.at), &budget);
    if observe.is_none() {
        warn_of_the_whole(findings, &gateway, &pairs);
    }

    Config {
        gateway,
        dpdk,
        control,
        timeline,
        observe,
        intent,
        ports,
        pairs,
        classes,
        rules: matching.rules,
        labels: matching.labels,
        venues: matching.venues,
        venue_limits,
        profiles,
        regime,
        derivations,
        limit_derivations,
        digest: String::new(),
        warnings: Vec::new(),
    }
}

fn warn_of_the_whole(findings: &Findings, gateway: &super::Gateway, pairs: &[super::Pair]) {
    if gateway.clock == ClockKind::Tsc {
        findings.warn(
            None,
            "PTP passes the pacer by where it is not IP (EtherType 0x88f7) and is paced with its class \
             over UDP (ports 319 and 320); its stamps do not know of the time it spends here",
        );
    }
    if pairs.len() > 1 {
        findings.warn(
            None,
            format!("{} pairs: the caps of a class hold on each egress port apart", pairs.len()),
        );
    }
}
