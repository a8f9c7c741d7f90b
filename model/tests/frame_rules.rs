//! Which packet which rule takes.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::config::Prefix;
use model::frame::{FlowKey, Parsed, VLAN_NONE};
use model::kind::Side;
use model::rules::{Rule, Rules, Verdict};

fn prefix(text: &str) -> Option<Prefix> {
    let (addr, bits) = text.split_once('/').unwrap();
    Some(Prefix { addr: addr.parse().unwrap(), bits: bits.parse().unwrap() })
}

fn octets(text: &str) -> (u8, [u8; 16]) {
    match text.parse().unwrap() {
        IpAddr::V4(v4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            (4, octets)
        }
        IpAddr::V6(v6) => (6, v6.octets()),
    }
}

/// A UDP packet to port 7001.
fn packet(src: &str, dst: &str) -> Parsed {
    let (ip_version, src) = octets(src);
    let key = FlowKey {
        src,
        dst: octets(dst).1,
        src_port: 40_000,
        dst_port: 7_001,
        vlan: VLAN_NONE,
        protocol: 17,
        ip_version,
    };
    Parsed { key, dscp: 0, tcp_flags: 0, is_fragment: false, tcp_seq: 0, payload_len: 10 }
}

fn order() -> Parsed {
    packet("10.1.0.5", "10.9.0.1")
}

fn any(class: u8) -> Rule {
    Rule {
        from: Side::Inside,
        vlan: None,
        src: None,
        dst: None,
        src_port: None,
        dst_port: None,
        protocol: None,
        dscp: None,
        class,
        label: u16::from(class) + 100,
    }
}

#[test]
fn a_rule_without_keys_matches_everything() {
    assert!(any(0).matches(&order()));
    assert!(any(0).matches(&Parsed { is_fragment: true, ..order() }));
    assert!(any(0).matches(&packet("fd00::1", "fd00::2")));
}

#[test]
fn prefixes_at_every_length() {
    for bits in 0..=32u8 {
        let rule = Rule { dst: prefix(&format!("10.9.0.1/{bits}")), ..any(0) };
        assert!(rule.matches(&order()), "/{bits}");
        // An address that differs in bit `i` alone is inside exactly when that bit does not count.
        for i in 0..32u8 {
            let other = u32::from(Ipv4Addr::new(10, 9, 0, 1)) ^ (1 << (31 - i));
            let other = packet("10.1.0.5", &Ipv4Addr::from(other).to_string());
            assert_eq!(rule.matches(&other), i >= bits, "/{bits} bit {i}");
        }
    }
    for bits in 0..=128u8 {
        let rule = Rule { src: prefix(&format!("2001:db8::9/{bits}")), ..any(0) };
        assert!(rule.matches(&packet("2001:db8::9", "fd00::2")), "/{bits}");
        for i in [0u8, 1, 31, 32, 63, 64, 126, 127] {
            let other = u128::from("2001:db8::9".parse::<Ipv6Addr>().unwrap()) ^ (1 << (127 - i));
            let other = packet(&Ipv6Addr::from(other).to_string(), "fd00::2");
            assert_eq!(rule.matches(&other), i >= bits, "/{bits} bit {i}");
        }
    }
}

#[test]
fn a_prefix_holds_only_its_own_ip_version() {
    // The first 32 bits of a09:1:: are those of 10.9.0.1.
    let six = packet("fd00::1", "a09:1::");
    assert!(!Rule { dst: prefix("10.9.0.1/32"), ..any(0) }.matches(&six));
    assert!(!Rule { dst: prefix("0.0.0.0/0"), ..any(0) }.matches(&six));
    assert!(!Rule { dst: prefix("::/0"), ..any(0) }.matches(&order()));
    assert!(Rule { dst: prefix("::/0"), ..any(0) }.matches(&six));
    assert!(Rule { dst: prefix("0.0.0.0/0"), ..any(0) }.matches(&order()));
}

#[test]
fn source_and_destination_are_not_mixed_up() {
    assert!(Rule { src: prefix("10.1.0.0/24"), ..any(0) }.matches(&order()));
    assert!(!Rule { dst: prefix("10.1.0.0/24"), ..any(0) }.matches(&order()));
    assert!(Rule { src_port: Some((40_000, 40_000)), ..any(0) }.matches(&order()));
    assert!(!Rule { dst_port: Some((40_000, 40_000)), ..any(0) }.matches(&order()));
}

#[test]
fn port_ranges_are_inclusive() {
    for (range, matches) in [
        ((7_001, 7_001), true),
        ((7_000, 7_001), true),
        ((7_001, 7_009), true),
        ((0, 65_535), true),
        ((7_000, 7_000), false),
        ((7_002, 7_009), false),
        ((0, 0), false),
    ] {
        let rule = Rule { dst_port: Some(range), ..any(0) };
        assert_eq!(rule.matches(&order()), matches, "{range:?}");
    }
}

#[test]
fn a_rule_with_a_port_needs_a_packet_with_ports() {
    let every_port = Some((0, 65_535));
    let mut fragment = Parsed { is_fragment: true, ..order() };
    (fragment.key.src_port, fragment.key.dst_port) = (0, 0);
    let mut icmp = Parsed { is_fragment: false, ..fragment };
    icmp.key.protocol = 1;
    for packet in [fragment, icmp] {
        assert!(!Rule { src_port: every_port, ..any(0) }.matches(&packet));
        assert!(!Rule { dst_port: every_port, ..any(0) }.matches(&packet));
        assert!(Rule { dst: prefix("10.9.0.0/24"), ..any(0) }.matches(&packet));
    }
    assert!(Rule { dst_port: every_port, ..any(0) }.matches(&order()));
}

#[test]
fn vlan_protocol_and_dscp() {
    let mut tagged = order();
    tagged.key.vlan = 100;
    tagged.dscp = 46;
    let vlan = |id| Rule { vlan: Some(id), ..any(0) };
    assert!(vlan(100).matches(&tagged) && !vlan(101).matches(&tagged));
    assert!(!vlan(100).matches(&order()) && !vlan(0).matches(&order()));
    let protocol = |n| Rule { protocol: Some(n), ..any(0) };
    assert!(protocol(17).matches(&tagged) && !protocol(6).matches(&tagged));
    let dscp = |n| Rule { dscp: Some(n), ..any(0) };
    assert!(dscp(46).matches(&tagged) && !dscp(0).matches(&tagged) && dscp(0).matches(&order()));
}

#[test]
fn every_key_must_match() {
    let rule = Rule {
        vlan: Some(VLAN_NONE),
        src: prefix("10.1.0.0/24"),
        dst: prefix("10.9.0.0/24"),
        src_port: Some((40_000, 40_000)),
        dst_port: Some((7_000, 7_009)),
        protocol: Some(17),
        dscp: Some(0),
        ..any(0)
    };
    assert!(rule.matches(&order()));
    for broken in [
        Rule { vlan: Some(1), ..rule.clone() },
        Rule { src: prefix("10.2.0.0/24"), ..rule.clone() },
        Rule { dst: prefix("10.8.0.0/24"), ..rule.clone() },
        Rule { src_port: Some((1, 2)), ..rule.clone() },
        Rule { dst_port: Some((7_010, 7_010)), ..rule.clone() },
        Rule { protocol: Some(6), ..rule.clone() },
        Rule { dscp: Some(1), ..rule.clone() },
    ] {
        assert!(!broken.matches(&order()), "{broken:?}");
    }
}

#[test]
fn the_first_match_wins_and_the_side_counts() {
    let rules = Rules {
        rules: vec![
            Rule { from: Side::Venue, ..any(1) },
            Rule { dst_port: Some((7_010, 7_010)), ..any(2) },
            Rule { dst: prefix("10.9.0.0/24"), ..any(3) },
            Rule { dst: prefix("10.9.0.1/32"), ..any(4) },
        ],
        default_class: [8, 9],
        non_ip_class: [10, 11],
    };
    let verdict = |class: u8, label| Verdict { class, label };
    assert_eq!(rules.classify(Side::Inside, &order()), verdict(3, 103));
    assert_eq!(rules.classify(Side::Venue, &order()), verdict(1, 101));
    let mut cancel = order();
    cancel.key.dst_port = 7_010;
    assert_eq!(rules.classify(Side::Inside, &cancel), verdict(2, 102));
    // No rule: the default of the side, with the empty label.
    assert_eq!(rules.classify(Side::Inside, &packet("10.1.0.5", "10.8.0.1")), verdict(8, 0));
    let none = Rules { rules: vec![], ..rules };
    assert_eq!(none.classify(Side::Inside, &order()), verdict(8, 0));
    assert_eq!(none.classify(Side::Venue, &order()), verdict(9, 0));
}
