//! Good files with bad frames.

use model::drop_reason::DropReason::{self, *};

use super::super::packet::{Path, ROUTER_MAC, Segment, ethernet, host_mac, tcp, udp};
use super::files::{Pcap, pcap};
use super::{HostileCase, HostileFile};

/// Offsets into an untagged frame.
const IP: usize = 14;
const V4_ABOVE: usize = 34;

const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;

const PATH: Path = Path {
    src_mac: host_mac(10),
    dst_mac: ROUTER_MAC,
    vlan: None,
    src: [10, 1, 0, 10],
    dst: [10, 9, 0, 1],
    dscp: 46,
    ttl: 64,
};

/// A good order of `payload` bytes.
pub(super) fn order(payload: usize) -> Vec<u8> {
    udp(&PATH, 1, (40_000, 7_000), &vec![0x5a; payload])
}

/// A good TCP segment of 40 payload bytes, without options.
fn segment() -> Vec<u8> {
    let header = Segment { seq: 1_000, ack: 1, flags: 0x18, window: 501 };
    tcp(&PATH, 1, (42_000, 9_001), header, &[], &[0x5a; 40])
}

/// A good frame with other bytes at `at`.
fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

/// An IPv6 packet without padding.
fn ipv6(next_header: u8, above: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
    packet[4..6].copy_from_slice(&(above.len() as u16).to_be_bytes());
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(above);
    ethernet(host_mac(10), ROUTER_MAC, ETHER_TYPE_IPV6, &packet)
}

/// `count` destination options of 8 bytes, then a UDP datagram.
fn chained(count: usize) -> Vec<u8> {
    let mut above = Vec::new();
    for i in 1..=count {
        let next = if i < count { 60 } else { 17 };
        above.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    above.extend([0x9c, 0x40, 0x1b, 0x58, 0, 12, 0, 0, 1, 2, 3, 4]);
    ipv6(60, &above)
}

/// A good order behind these tags.
fn tagged(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = order(30);
    let mut bytes = Vec::new();
    for (ether_type, tci) in tags {
        bytes.extend(ether_type.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    frame.splice(12..12, bytes);
    frame
}

fn file(file: &'static str, frames: &[Vec<u8>], case: HostileCase) -> HostileFile {
    let bytes = pcap(Pcap::default(), frames);
    HostileFile { bytes, case: HostileCase { file, records: frames.len() as u64, ..case } }
}

/// A file of frames that all end under the same name.
fn malformed(name: &'static str, reason: DropReason, frames: &[Vec<u8>]) -> HostileFile {
    let malformed = vec![(reason, frames.len() as u64)];
    file(name, frames, HostileCase { malformed, ..HostileCase::default() })
}

/// A file of frames that are well-formed IP.
fn ip(name: &'static str, frames: &[Vec<u8>], case: HostileCase) -> HostileFile {
    file(name, frames, HostileCase { ip: frames.len() as u64, ..case })
}

pub(super) fn all() -> Vec<HostileFile> {
    let none = HostileCase::default;
    let runts: Vec<_> = (0..14).map(|len| cut(order(30), len)).collect();
    let fragment = |bits: [u8; 2]| with(order(40), IP + 6, &bits);
    let v6_fragment = |bits: [u8; 2]| {
        ipv6(44, &[17, 0, bits[0], bits[1], 0, 0, 0, 9, 0x9c, 0x40, 0x1b, 0x58, 0, 8, 0, 0])
    };
    let tags = [(0x88a8, 200), (0x8100, 100), (0x8100, 7)];
    // Frames of 9,000 and 60,000 bytes.
    let jumbos = [order(8_958), order(59_958)];
    vec![
        malformed("runts.pcap", Runt, &runts),
        ip("vlan-0-to-2.pcap", &[tagged(&[]), tagged(&tags[1..2]), tagged(&tags[..2])], none()),
        malformed("vlan-3.pcap", VlanMalformed, &[tagged(&tags)]),
        malformed(
            "vlan-cut.pcap",
            VlanMalformed,
            &[
                cut(tagged(&tags[1..2]), 14),
                cut(tagged(&tags[1..2]), 17),
                cut(tagged(&tags[..2]), 20),
            ],
        ),
        malformed(
            "ipv4-header.pcap",
            Ipv4HeaderMalformed,
            &[
                with(order(30), IP, &[0x44]),
                with(order(30), IP, &[0x40]),
                with(order(30), IP, &[0x65]),
                cut(order(30), IP),
                cut(order(30), IP + 19),
                // Options that reach beyond the frame.
                cut(with(order(30), IP, &[0x4f]), IP + 59),
            ],
        ),
        malformed(
            "ipv4-length.pcap",
            Ipv4LengthMalformed,
            &[
                with(order(30), IP + 2, &[0, 0]),
                with(order(30), IP + 2, &[0, 19]),
                with(order(30), IP + 2, &[0, 59]),
                with(order(30), IP + 2, &[0xff, 0xff]),
            ],
        ),
        ip(
            "ipv4-fragments.pcap",
            &[fragment([0x20, 0]), fragment([0x20, 5]), fragment([0, 10]), fragment([0x40, 0])],
            HostileCase { fragments: 3, ..none() },
        ),
        malformed(
            "ipv6-header.pcap",
            Ipv6HeaderMalformed,
            &[with(chained(1), IP, &[0x40]), cut(chained(1), IP), cut(chained(1), IP + 39)],
        ),
        malformed(
            "ipv6-length.pcap",
            Ipv6LengthMalformed,
            &[with(chained(8), IP + 4, &[0, 77]), with(chained(8), IP + 4, &[0xff, 0xff])],
        ),
        ip("ipv6-extensions-8.pcap", &[chained(1), chained(8)], none()),
        malformed(
            "ipv6-extensions-beyond.pcap",
            Ipv6ExtensionMalformed,
            &[
                chained(9),
                chained(16),
                // Cut off: without a byte, in the middle, a length beyond the packet.
                ipv6(60, &[]),
                ipv6(60, &[17, 0, 1, 4]),
                ipv6(0, &[17, 200, 1, 4, 0, 0, 0, 0]),
                // A jumbogram: the payload length is 0.
                with(chained(1), IP + 4, &[0, 0]),
            ],
        ),
        ip(
            "ipv6-fragments.pcap",
            &[v6_fragment([0, 1]), v6_fragment([0, 8]), v6_fragment([0, 0])],
            HostileCase { fragments: 3, ..none() },
        ),
        malformed(
            "udp-length.pcap",
            UdpMalformed,
            &[
                with(order(30), V4_ABOVE + 4, &[0, 0]),
                with(order(30), V4_ABOVE + 4, &[0, 7]),
                with(order(30), V4_ABOVE + 4, &[0, 39]),
                with(order(30), V4_ABOVE + 4, &[0xff, 0xff]),
                // IP ends within the UDP header; the rest is padding.
                with(order(30), IP + 2, &[0, 27]),
            ],
        ),
        malformed(
            "tcp-offset.pcap",
            TcpMalformed,
            &[
                with(segment(), V4_ABOVE + 12, &[0x00]),
                with(segment(), V4_ABOVE + 12, &[0x40]),
                with(with(segment(), IP + 2, &[0, 79]), V4_ABOVE + 12, &[0xf0]),
                with(segment(), IP + 2, &[0, 39]),
            ],
        ),
        ip("jumbo.pcap", &jumbos, HostileCase { oversize: 2, ..none() }),
        file(
            "not-ip.pcap",
            &[
                ethernet(host_mac(1), [0xff; 6], 0x0806, &[0; 28]),
                ethernet(host_mac(1), ROUTER_MAC, 0x8847, &[0; 46]),
                ethernet(host_mac(1), ROUTER_MAC, 0x9000, &[0; 46]),
                // An 802.3 length; and a header with nothing behind it.
                ethernet(host_mac(1), [1, 0x80, 0xc2, 0, 0, 0], 38, &[0x42; 38]),
                cut(ethernet(host_mac(1), ROUTER_MAC, 0x0806, &[]), 14),
            ],
            HostileCase { non_ip: 5, ..none() },
        ),
        malformed("ethernet-alone.pcap", Ipv4HeaderMalformed, &[ethernet_alone()]),
    ]
}

/// A header that announces IPv4, and nothing behind it.
fn ethernet_alone() -> Vec<u8> {
    cut(ethernet(host_mac(1), ROUTER_MAC, ETHER_TYPE_IPV4, &[]), IP)
}
