//! The compiled rules against the rules themselves: the same verdict for every packet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use dataplane::acl::{Acl, AclError};
use model::config::Prefix;
use model::frame::{FlowKey, Parsed, VLAN_NONE};
use model::kind::Side;
use model::rules::{Rule, Rules, Verdict};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Few values of everything, so that rules and packets meet and overlap.
fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
    (0u8..4, 0u8..4, prop_oneof![Just(0u8), Just(127), Just(128), Just(255)]).prop_map(
        move |(a, b, c)| {
            if v6 {
                let last = u16::from_be_bytes([b, c]);
                Ipv6Addr::new(0x2001, 0xdb8, a.into(), 0, 0, b.into(), 0, last).into()
            } else {
                Ipv4Addr::new(10, a, b, c).into()
            }
        },
    )
}

fn prefix() -> impl Strategy<Value = Prefix> {
    any::<bool>().prop_flat_map(|v6| (address(v6), 0u8..=if v6 { 128 } else { 32 })).prop_map(
        // Bits beyond the length may be set: they do not count.
        |(addr, bits)| Prefix { addr, bits },
    )
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(0u16),
        Just(1),
        Just(255),
        Just(256),
        Just(7_000),
        Just(u16::MAX),
        6_990u16..7_010
    ]
}

fn range() -> impl Strategy<Value = (u16, u16)> {
    (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn protocol() -> impl Strategy<Value = u8> {
    prop_oneof![Just(6u8), Just(17), Just(1), Just(0), Just(255)]
}

fn vlan() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), Just(1), Just(256), Just(4_095)]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Inside), Just(Side::Venue)]
}

/// Mostly not said: a rule that says everything matches nothing.
fn of<S: Strategy>(field: S) -> impl Strategy<Value = Option<S::Value>> {
    prop::option::weighted(0.35, field)
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        side(),
        of(vlan()),
        of(prefix()),
        of(prefix()),
        of(range()),
        of(range()),
        of(protocol()),
        of(0u8..64),
    )
        .prop_map(|(from, vlan, src, dst, src_port, dst_port, protocol, dscp)| Rule {
            from,
            vlan,
            src,
            dst,
            src_port,
            dst_port,
            protocol,
            dscp,
            class: 0,
            label: 0,
        })
}

fn packet() -> impl Strategy<Value = Parsed> {
    let addresses = any::<bool>().prop_flat_map(|v6| (address(v6), address(v6)));
    let vlan = prop_oneof![vlan(), Just(VLAN_NONE)];
    // 255 is what stands there when no rule reads the DSCP.
    let dscp = prop_oneof![0u8..64, Just(255)];
    (addresses, vlan, port(), port(), protocol(), dscp, prop::bool::weighted(0.2)).prop_map(
        |((src, dst), vlan, src_port, dst_port, protocol, dscp, is_fragment)| {
            let octets = |addr: IpAddr| {
                let mut wide = [0; 16];
                match addr {
                    IpAddr::V4(v4) => wide[..4].copy_from_slice(&v4.octets()),
                    IpAddr::V6(v6) => wide = v6.octets(),
                }
                wide
            };
            let has_ports = !is_fragment && matches!(protocol, 6 | 17);
            let known = |port| if has_ports { port } else { 0 };
            Parsed {
                key: FlowKey {
                    src: octets(src),
                    dst: octets(dst),
                    src_port: known(src_port),
                    dst_port: known(dst_port),
                    vlan,
                    protocol,
                    ip_version: if src.is_ipv4() { 4 } else { 6 },
                },
                dscp,
                tcp_flags: 0,
                is_fragment,
                tcp_seq: 0,
                payload_len: 0,
            }
        },
    )
}

/// Every rule has a verdict of its own.
fn numbered(mut rules: Vec<Rule>) -> Rules {
    for (i, rule) in rules.iter_mut().enumerate() {
        (rule.class, rule.label) = (i as u8, i as u16 + 1_000);
    }
    Rules { rules, default_class: [200, 201], non_ip_class: [202, 203] }
}

#[test]
fn the_compiled_rules_say_what_the_rules_say() {
    let eal = common::eal();
    let seed = std::env::var("WIREPACE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into()
    });
    println!("WIREPACE_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(
        Config { failure_persistence: None, ..Config::with_cases(150) },
        rng,
    );
    let world = (prop::collection::vec(rule(), 0..24), prop::collection::vec(packet(), 200..201));
    let mut met = [0u32; 2];
    let outcome = runner.run(&world, |(rules, packets)| {
        let rules = numbered(rules);
        for side in [Side::Inside, Side::Venue] {
            let mut acl = Acl::compile(&eal, "property", &rules, side).unwrap();
            let mut verdicts = vec![Verdict { class: 255, label: 9 }; packets.len()];
            acl.classify(&packets, &mut verdicts);
            for (packet, verdict) in packets.iter().zip(verdicts) {
                prop_assert_eq!(verdict, rules.classify(side, packet), "{:?}", packet);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
    // The same cases again, to see that they were worth something.
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        let (rules, packets) = world.new_tree(&mut runner).unwrap().current();
        let rules = numbered(rules);
        for packet in &packets {
            met[usize::from(rules.classify(Side::Inside, packet).class < 200)] += 1;
        }
    }
    assert!(met.iter().all(|&n| n > 1_000), "matched none and some: {met:?}");
}

#[test]
fn a_name_is_given_once_and_comes_back() {
    let eal = common::eal();
    let rules = numbered(vec![Rule {
        from: Side::Inside,
        vlan: None,
        src: None,
        dst: None,
        src_port: None,
        dst_port: None,
        protocol: Some(17),
        dscp: None,
        class: 0,
        label: 0,
    }]);
    let held = Acl::compile(&eal, "twice", &rules, Side::Inside).unwrap();
    let again = Acl::compile(&eal, "twice", &rules, Side::Inside);
    assert!(matches!(again, Err(AclError::Name(name)) if name == "twice-4"));
    drop(held);
    assert!(Acl::compile(&eal, "twice", &rules, Side::Inside).is_ok());
    // A side without rules needs no table and so no name.
    assert!(Acl::compile(&eal, "a name that is longer than any", &rules, Side::Venue).is_ok());
}
