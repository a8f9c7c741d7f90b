//! The frame parser against `etherparse`, a parser by other people, on generated and mutated
//! frames. Both must agree wherever both read the frame in full.
//!
//! The seed is printed when a case fails; `WIREPACE_TEST_SEED` repeats a run.
//!
//! What both must not agree on stands in `oracle.rs`.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

mod oracle;

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use etherparse::PacketBuilder;
use model::drop_reason::DropReason;
use model::frame::{Frame, parse};
use oracle::compare;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

#[derive(Clone, Debug)]
struct Case {
    v6: bool,
    tcp: bool,
    tags: u8,
    vlan: u16,
    ports: (u16, u16),
    seq: u32,
    flags: u8,
    /// Type-of-service byte or traffic class.
    tos: u8,
    payload: usize,
    padding: usize,
    fragment: Option<u16>,
    /// IPv6 extension headers: type and length beyond the first 8 bytes, in units of 8 (AH: 4).
    extensions: Vec<(u8, u8)>,
    /// (position, new byte), the position modulo the length of the headers.
    mutations: Vec<(u16, u8)>,
    cut: Option<u16>,
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (any::<bool>(), any::<bool>(), 0u8..=2, 0u16..4096, any::<(u16, u16)>());
    let header = (any::<u32>(), any::<u8>(), any::<u8>());
    let lengths = (0usize..200, 0usize..20);
    // Mostly small changes: a frame that is broken in many places only shows the first check.
    let byte = prop_oneof![any::<u8>(), Just(0u8), Just(17), Just(43), Just(44), Just(60)];
    let damage = (
        proptest::option::weighted(0.1, any::<u16>()),
        vec((prop_oneof![Just(43u8), Just(60), Just(51)], 0u8..4), 0..4),
        vec((any::<u16>(), byte), 0..4),
        proptest::option::weighted(0.2, any::<u16>()),
    );
    (shape, header, lengths, damage).prop_map(|(shape, header, lengths, damage)| Case {
        v6: shape.0,
        tcp: shape.1,
        tags: shape.2,
        vlan: shape.3,
        ports: shape.4,
        seq: header.0,
        flags: header.1,
        tos: header.2,
        payload: lengths.0,
        padding: lengths.1,
        fragment: damage.0,
        extensions: damage.1,
        mutations: damage.2,
        cut: damage.3,
    })
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let vlan = |id: u16| etherparse::VlanId::try_new(id).unwrap();
        let payload = vec![0x5a; self.payload];
        let mut bytes = Vec::new();
        let network = match (self.tags, self.v6) {
            (0, false) => link.ipv4([10, 1, 0, 5], [10, 9, 0, 1], 64),
            (0, true) => link.ipv6([0xfd; 16], [0xfe; 16], 64),
            (1, false) => link.single_vlan(vlan(self.vlan)).ipv4([10, 1, 0, 5], [10, 9, 0, 1], 64),
            (1, true) => link.single_vlan(vlan(self.vlan)).ipv6([0xfd; 16], [0xfe; 16], 64),
            (_, v6) => {
                let link = link.double_vlan(vlan(self.vlan), vlan(7));
                if v6 {
                    link.ipv6([0xfd; 16], [0xfe; 16], 64)
                } else {
                    link.ipv4([10, 1, 0, 5], [10, 9, 0, 1], 64)
                }
            }
        };
        if self.tcp {
            let tcp = network.tcp(self.ports.0, self.ports.1, self.seq, 1024);
            tcp.write(&mut bytes, &payload).unwrap();
        } else {
            network.udp(self.ports.0, self.ports.1).write(&mut bytes, &payload).unwrap();
        }
        let ip = 14 + 4 * usize::from(self.tags);
        if self.v6 {
            bytes[ip] = 0x60 | self.tos >> 4;
            bytes[ip + 1] = self.tos << 4;
        } else {
            bytes[ip + 1] = self.tos;
            if let Some(bits) = self.fragment {
                bytes[ip + 6..ip + 8].copy_from_slice(&bits.to_be_bytes());
            }
        }
        if self.tcp {
            let flags = ip + if self.v6 { 40 } else { 20 } + 13;
            bytes[flags] = self.flags;
        }
        if self.v6 {
            self.insert_extensions(&mut bytes, ip);
        }
        let headers = bytes.len() - self.payload;
        for (at, value) in &self.mutations {
            bytes[usize::from(*at) % headers] = *value;
        }
        bytes.resize(bytes.len() + self.padding, 0);
        if let Some(cut) = self.cut {
            let len = usize::from(cut) % (bytes.len() + 1);
            bytes.truncate(len);
        }
        bytes
    }

    /// Puts the extensions between the IPv6 header at `ip` and the transport.
    fn insert_extensions(&self, bytes: &mut Vec<u8>, ip: usize) {
        let mut chain = Vec::new();
        let mut next = bytes[ip + 6];
        for (kind, units) in self.extensions.iter().rev() {
            // AH counts 4-byte units beyond two, and its header alone is three of them.
            let (length, total) = match kind {
                51 => (units + 1, (usize::from(*units) + 3) * 4),
                _ => (*units, (usize::from(*units) + 1) * 8),
            };
            let mut extension = vec![next, length];
            extension.resize(total, 0);
            extension.append(&mut chain);
            chain = extension;
            next = *kind;
        }
        bytes[ip + 6] = next;
        let payload_len = u16::from_be_bytes([bytes[ip + 4], bytes[ip + 5]]) + chain.len() as u16;
        bytes[ip + 4..ip + 6].copy_from_slice(&payload_len.to_be_bytes());
        bytes.splice(ip + 40..ip + 40, chain);
    }
}

fn seed() -> u64 {
    match std::env::var("WIREPACE_TEST_SEED") {
        Ok(text) => text.parse().expect("WIREPACE_TEST_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    }
}

#[track_caller]
fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    match TestRunner::new_with_rng(config, rng).run(strategy, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => {
            panic!("WIREPACE_TEST_SEED={seed}: {reason}\nsmallest case: {value:?}");
        }
        Err(other) => panic!("WIREPACE_TEST_SEED={seed}: {other}"),
    }
}

#[test]
fn both_parsers_agree_where_both_accept() {
    let compared = Cell::new(0u32);
    run(20_000, &case(), |case| {
        let found = compare(&case.bytes());
        compared.set(compared.get() + u32::from(found.in_full));
        prop_assert_eq!(found.differs, None);
        Ok(())
    });
    // The comparison is worth something only while most frames reach it.
    assert!(compared.get() > 8_000, "only {} of 20000 frames were compared", compared.get());
}

#[test]
fn any_bytes_are_answered() {
    let ether_types = prop_oneof![
        Just([0x08, 0x00]),
        Just([0x86, 0xdd]),
        Just([0x81, 0x00]),
        Just([0x88, 0xa8]),
        any::<[u8; 2]>()
    ];
    let strategy = (vec(any::<u8>(), 0..200), ether_types, 0u32..300, any::<bool>());
    run(20_000, &strategy, |(mut bytes, ether_type, extra, claims_all)| {
        if bytes.len() >= 14 {
            bytes[12..14].copy_from_slice(&ether_type);
        }
        let held = bytes.len() as u32;
        let wire_len = if claims_all { extra } else { held + extra };
        match parse(&bytes, wire_len) {
            Frame::Malformed(reason) => prop_assert_eq!(reason == DropReason::Runt, held < 14),
            Frame::Ip(parsed) => prop_assert!(parsed.payload_len + 34 <= wire_len),
            Frame::NonIp { .. } => prop_assert!(held >= 14),
        }
        Ok(())
    });
}
