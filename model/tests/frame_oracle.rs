//! The frame parser against `etherparse`, a parser by other people, on generated and mutated
//! frames. Both must agree wherever both read the frame in full.
//!
//! The seed is printed when a case fails; `WIREPACE_TEST_SEED` repeats a run.
//!
//! Differences that are meant, and why they are left out of the comparison:
//! - etherparse follows tag type 0x9100, a third tag and MACsec; here the first and the last are
//!   other protocols and a third tag is malformed.
//! - etherparse takes an IPv6 payload length or UDP length of 0 for "the rest of the frame";
//!   here there are no jumbograms.
//! - etherparse looks through AH in IPv4, and in IPv6 through ESP, Mobility, HIP and Shim6 where
//!   it can; here these are transports without ports.
//! - etherparse reads the ports of an atomic IPv6 fragment and goes on behind a fragment header;
//!   here every fragment hides its ports.
//! - etherparse refuses a hop-by-hop header that is not the first, and malformed ICMP, IGMP and
//!   ARP; here these are passed on.
//! - etherparse puts no bound on the number of extension headers.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use etherparse::{
    EtherType, LaxSlicedPacket, LenSource, LinkExtSlice, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice,
};
use model::drop_reason::DropReason;
use model::frame::{Frame, Parsed, VLAN_NONE, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

/// What both parsers say of an IP packet that hides nothing.
#[derive(Debug, PartialEq)]
struct View {
    vlan: u16,
    src: [u8; 16],
    dst: [u8; 16],
    protocol: u8,
    dscp: u8,
    ports: (u16, u16),
    tcp: Option<(u32, u8)>,
    payload_len: u32,
}

impl View {
    fn of(parsed: &Parsed) -> Self {
        let key = &parsed.key;
        let syn = u32::from(parsed.tcp_flags & 2 != 0);
        Self {
            vlan: key.vlan,
            src: key.src,
            dst: key.dst,
            protocol: key.protocol,
            dscp: parsed.dscp,
            ports: (key.src_port, key.dst_port),
            tcp: (key.protocol == 6 && !parsed.is_fragment)
                .then(|| (parsed.tcp_seq.wrapping_sub(syn), parsed.tcp_flags)),
            payload_len: parsed.payload_len,
        }
    }
}

/// What etherparse says: a view, `None` for a meant difference or for what is not IP.
fn oracle(packet: &SlicedPacket<'_>) -> Option<View> {
    let mut vlan = VLAN_NONE;
    if packet.link_exts.len() > 2 {
        return None;
    }
    for (i, extension) in packet.link_exts.iter().enumerate() {
        let LinkExtSlice::Vlan(tag) = extension else { return None };
        if i == 0 {
            vlan = tag.vlan_identifier().value();
        }
    }
    let left = |octets: [u8; 4]| {
        let mut wide = [0; 16];
        wide[..4].copy_from_slice(&octets);
        wide
    };
    let (src, dst, dscp, payload) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            if ip.extensions().auth.is_some() {
                return None;
            }
            (left(header.source()), left(header.destination()), header.dcp().value(), ip.payload())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let mut next = header.next_header().0;
            for extension in ip.extensions().clone().into_iter() {
                use etherparse::Ipv6ExtensionSlice as E;
                next = match extension {
                    E::HopByHop(e) | E::Routing(e) | E::DestinationOptions(e) => e.next_header().0,
                    E::Authentication(e) => e.next_header().0,
                    E::Fragment(_) => return None,
                };
            }
            if next != ip.payload().ip_number.0 {
                return None;
            }
            (header.source(), header.destination(), header.traffic_class() >> 2, ip.payload())
        }
        NetSlice::Arp(_) => return None,
    };
    // ESP, Mobility, HIP, Shim6; and lengths of zero that were taken for "the rest".
    if matches!(payload.ip_number.0, 50 | 135 | 139 | 140) || payload.len_source == LenSource::Slice
    {
        return None;
    }
    let mut view = View {
        vlan,
        src,
        dst,
        protocol: payload.ip_number.0,
        dscp,
        ports: (0, 0),
        tcp: None,
        payload_len: payload.payload.len() as u32,
    };
    match packet.transport.as_ref() {
        Some(TransportSlice::Udp(udp)) => {
            if udp.length() == 0 {
                return None;
            }
            view.ports = (udp.source_port(), udp.destination_port());
            view.payload_len = udp.payload().len() as u32;
        }
        Some(TransportSlice::Tcp(tcp)) => {
            view.ports = (tcp.source_port(), tcp.destination_port());
            view.tcp = Some((tcp.sequence_number(), tcp.slice()[13]));
            view.payload_len = tcp.payload().len() as u32;
        }
        _ => {}
    }
    Some(view)
}

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
        let bytes = case.bytes();
        let ours = parse(&bytes, bytes.len() as u32);
        match (ours, SlicedPacket::from_ethernet(&bytes)) {
            (Frame::Ip(parsed), Ok(packet)) => {
                // `None` is a meant difference.
                if let Some(theirs) = oracle(&packet) {
                    compared.set(compared.get() + 1);
                    prop_assert_eq!(View::of(&parsed), theirs, "{:02x?}", bytes);
                }
            }
            // Named here, so it must be refused there too, but for the meant differences.
            (Frame::Malformed(reason), Ok(packet)) => {
                let meant = oracle(&packet).is_none();
                prop_assert!(meant, "{:?} accepted: {:02x?}", reason, bytes);
            }
            // An EtherType that is not ours to read.
            (Frame::NonIp { ether_type }, Ok(_)) => {
                prop_assert!(ether_type != 0x0800 && ether_type != 0x86dd, "{:02x?}", bytes);
            }
            (Frame::Ip(_) | Frame::NonIp { .. }, Err(error)) => {
                prop_assert!(is_stricter_there(&bytes), "{} refused: {:02x?}", error, bytes);
            }
            (Frame::Malformed(_), Err(_)) => {}
        }
        Ok(())
    });
    // The comparison is worth something only while most frames reach it.
    assert!(compared.get() > 8_000, "only {} of 20000 frames were compared", compared.get());
}

/// Whether only a layer that is not read here is at fault: MACsec, tag type 0x9100, ARP, ICMP,
/// IGMP, AH in IPv4, the order of IPv6 extensions, what follows a fragment header.
fn is_stricter_there(bytes: &[u8]) -> bool {
    match parse(bytes, bytes.len() as u32) {
        Frame::NonIp { ether_type } => {
            [EtherType::MACSEC.0, EtherType::ARP.0, 0x9100].contains(&ether_type)
        }
        Frame::Ip(parsed) => {
            let lax = LaxSlicedPacket::from_ethernet(bytes);
            let hop_by_hop_late = lax.is_ok_and(|lax| {
                lax.stop_err.is_some_and(|(error, _)| error.to_string().contains("hop-by-hop"))
            });
            parsed.is_fragment
                || matches!(parsed.key.protocol, 1 | 2 | 51 | 58 | 135 | 139 | 140)
                || hop_by_hop_late
        }
        Frame::Malformed(_) => false,
    }
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
