//! `[[rule]]` and `[default_class]`: what leads where, and what never can.

use super::Prefix;
use super::classes::RawClasses;
use super::error::Findings;
use super::names;
use super::network::{TCP, UDP, network_address};
use super::raw::{RawDefaultClass, RawRule};
use super::reader::Field;
use crate::kind::Side;
use crate::profile::VENUES_MAX;
use crate::rules::{Label, Rule, Rules};

/// Most rules: their labels are numbered with 16 bits, and a new flow may look at all of them.
const RULES_MAX: usize = 4096;

/// What the rules come to.
pub(super) struct Matching {
    pub rules: Rules,
    pub labels: Vec<Label>,
    pub venues: Vec<String>,
    /// For each class of the file, whether TCP may be led into it.
    pub may_carry_tcp: Vec<bool>,
}

pub(super) fn matching(
    findings: &Findings,
    raw: &[RawRule],
    raw_default: &RawDefaultClass,
    classes: &RawClasses<'_>,
) -> Matching {
    if let Some(rule) = raw.get(RULES_MAX) {
        findings.error(rule.at, format!("{} rules", raw.len()), format!("up to {RULES_MAX}"));
    }
    let mut labels = vec![Label::default()];
    let mut venues = Vec::new();
    let mut rules = Vec::new();
    for raw in raw {
        let label = label_index(findings, raw, &mut labels, &mut venues);
        refuse_impossible(findings, raw);
        if let Some(rule) = rule(findings, raw, classes, label) {
            warn_if_covered(findings, raw, &rule, &rules);
            rules.push(rule);
        }
    }
    let default = |field: &Field<String>, side| default_class(findings, field, side, classes);
    let default_class =
        [default(&raw_default.inside, Side::Inside), default(&raw_default.venue, Side::Venue)];
    let built_in = |offset: usize| class_number(classes.names.len() + offset);
    let rules = Rules { rules, default_class, non_ip_class: [built_in(0), built_in(1)] };
    let may_carry_tcp =
        (0..classes.names.len()).map(|class| may_carry_tcp(&rules, class)).collect();
    warn_unreachable(findings, &rules, classes);
    Matching { rules, labels, venues, may_carry_tcp }
}

/// A class's number. A config with more classes than a byte holds is refused where it counts them.
fn class_number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

fn rule(findings: &Findings, raw: &RawRule, classes: &RawClasses<'_>, label: u16) -> Option<Rule> {
    let (class, _) = names::look_up(findings, "class", &raw.class, &classes.names)?;
    let side = classes.side(class);
    if let Some((from, at)) = raw.from.get()
        && *from != side
    {
        let name = &classes.names[class];
        let problem =
            format!("from = {:?}, but class {name:?} is from {:?}", from.name(), side.name());
        findings.error(at, problem, format!("from = {:?}", side.name()));
    }
    Some(Rule {
        from: side,
        vlan: raw.vlan.value,
        src: raw.src.value,
        dst: raw.dst.value,
        src_port: raw.src_port.value,
        dst_port: raw.dst_port.value,
        protocol: raw.protocol.value,
        dscp: raw.dscp.value,
        class: class_number(class),
        label,
    })
}

fn label_index(
    findings: &Findings,
    raw: &RawRule,
    labels: &mut Vec<Label>,
    venues: &mut Vec<String>,
) -> u16 {
    let label = Label {
        symbol: raw.symbol.value.clone(),
        venue: venue_number(findings, &raw.venue, venues),
        tactic: raw.tactic.value.clone(),
        strategy: None,
        urgency: raw.urgency.or(0),
    };
    label_number(label, labels)
}

/// The number of a venue, which is added where it is new.
pub(super) fn venue_number(
    findings: &Findings,
    field: &Field<String>,
    venues: &mut Vec<String>,
) -> Option<u8> {
    let (venue, at) = field.get()?;
    let index = venues.iter().position(|known| known == venue).unwrap_or_else(|| {
        venues.push(venue.clone());
        if venues.len() == VENUES_MAX + 1 {
            findings.error(
                at,
                format!("venue {venue:?} is one too many"),
                format!("up to {VENUES_MAX} venues"),
            );
        }
        venues.len() - 1
    });
    Some(u8::try_from(index).unwrap_or(u8::MAX))
}

/// The index of a label, which is added where it is new.
pub(super) fn label_number(label: Label, labels: &mut Vec<Label>) -> u16 {
    let index = labels.iter().position(|known| *known == label).unwrap_or_else(|| {
        labels.push(label);
        labels.len() - 1
    });
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Conditions that no packet meets together.
fn refuse_impossible(findings: &Findings, raw: &RawRule) {
    if let (Some((src, _)), Some((dst, at))) = (raw.src.get(), raw.dst.get())
        && src.addr.is_ipv4() != dst.addr.is_ipv4()
    {
        findings.error(at, "`src` and `dst` of different IP versions", "both IPv4 or both IPv6");
    }
    let Some(protocol) = raw.protocol.value.filter(|p| ![TCP, UDP].contains(p)) else { return };
    for (key, field) in [("src_port", &raw.src_port), ("dst_port", &raw.dst_port)] {
        if let Some((_, at)) = field.get() {
            let problem = format!("`{key}` with protocol {protocol}, which has no ports");
            findings.error(at, problem, format!("`{key}` with \"udp\", \"tcp\" or no protocol"));
        }
    }
}

fn warn_if_covered(findings: &Findings, raw: &RawRule, rule: &Rule, earlier: &[Rule]) {
    if let Some(index) = earlier.iter().position(|first| covers(first, rule)) {
        let text = format!("this rule never matches: rule {} before it takes all of it", index + 1);
        findings.warn(raw.at, text);
    }
}

/// Whether every packet that `second` matches is matched by `first`.
fn covers(first: &Rule, second: &Rule) -> bool {
    fn same<T: PartialEq + Copy>(first: Option<T>, second: Option<T>) -> bool {
        first.is_none() || first == second
    }
    fn range(first: Option<(u16, u16)>, second: Option<(u16, u16)>) -> bool {
        first.is_none_or(|(low, high)| second.is_some_and(|(l, h)| low <= l && h <= high))
    }
    fn prefix(first: Option<Prefix>, second: Option<Prefix>) -> bool {
        first.is_none_or(|outer| {
            second.is_some_and(|inner| {
                outer.addr.is_ipv4() == inner.addr.is_ipv4()
                    && outer.bits <= inner.bits
                    && network_address(inner.addr, outer.bits) == outer.addr
            })
        })
    }
    first.from == second.from
        && same(first.vlan, second.vlan)
        && prefix(first.src, second.src)
        && prefix(first.dst, second.dst)
        && range(first.src_port, second.src_port)
        && range(first.dst_port, second.dst_port)
        && same(first.protocol, second.protocol)
        && same(first.dscp, second.dscp)
}

fn default_class(
    findings: &Findings,
    field: &Field<String>,
    side: Side,
    classes: &RawClasses<'_>,
) -> u8 {
    let Some((index, at)) = names::look_up(findings, "class", field, &classes.names) else {
        // No class has this number, so no rule about the default class speaks of it.
        return u8::MAX;
    };
    let found = classes.side(index);
    if found != side {
        let problem = format!("class {:?} is from {:?}", classes.names[index], found.name());
        findings.error(at, problem, format!("a class with from = {:?}", side.name()));
    }
    class_number(index)
}

/// Whether TCP may be led into a class: by a rule that does not exclude it, or as the default of a
/// side whose rules do not take all TCP before.
fn may_carry_tcp(rules: &Rules, class: usize) -> bool {
    let takes_tcp = |rule: &&Rule| rule.protocol.is_none_or(|protocol| protocol == TCP);
    let by_rule = rules.rules.iter().filter(takes_tcp).any(|rule| usize::from(rule.class) == class);
    let as_default = [Side::Inside, Side::Venue].into_iter().any(|side| {
        let all_tcp = Rule {
            from: side,
            vlan: None,
            src: None,
            dst: None,
            src_port: None,
            dst_port: None,
            protocol: Some(TCP),
            dscp: None,
            class: 0,
            label: 0,
        };
        usize::from(rules.default_class[side as usize]) == class
            && !rules.rules.iter().any(|rule| covers(rule, &all_tcp))
    });
    by_rule || as_default
}

fn warn_unreachable(findings: &Findings, rules: &Rules, classes: &RawClasses<'_>) {
    for (index, name) in classes.names.iter().enumerate() {
        let number = class_number(index);
        let led_to = rules.rules.iter().any(|rule| rule.class == number);
        if !led_to && !rules.default_class.contains(&number) && !name.is_empty() {
            findings.warn(classes.at(index), format!("class {name:?}: no rule leads to it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(from: Side) -> Rule {
        Rule {
            from,
            vlan: None,
            src: None,
            dst: None,
            src_port: None,
            dst_port: None,
            protocol: None,
            dscp: None,
            class: 0,
            label: 0,
        }
    }

    fn prefix(text: &str, bits: u8) -> Option<Prefix> {
        Some(Prefix { addr: text.parse().unwrap(), bits })
    }

    #[test]
    fn a_rule_without_conditions_covers_its_side_and_no_other() {
        let narrow = Rule { protocol: Some(UDP), dscp: Some(46), ..any(Side::Inside) };
        assert!(covers(&any(Side::Inside), &narrow));
        assert!(!covers(&any(Side::Venue), &narrow));
        assert!(!covers(&narrow, &any(Side::Inside)));
    }

    #[test]
    fn ranges_and_prefixes_cover_what_lies_within_them() {
        let wide =
            Rule { dst: prefix("10.9.0.0", 16), dst_port: Some((7000, 7010)), ..any(Side::Inside) };
        let within =
            Rule { dst: prefix("10.9.4.0", 24), dst_port: Some((7001, 7010)), ..wide.clone() };
        let beyond = Rule { dst_port: Some((7001, 7011)), ..within.clone() };
        let elsewhere = Rule { dst: prefix("10.8.0.0", 16), ..within.clone() };
        let other_version = Rule { dst: prefix("::", 64), ..within.clone() };
        assert!(covers(&wide, &within));
        for rule in [beyond, elsewhere, other_version] {
            assert!(!covers(&wide, &rule), "{rule:?}");
        }
    }
}
