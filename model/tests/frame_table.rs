//! The frame parser case by case: every end it can name, and both sides of every bound.

use model::drop_reason::DropReason;
use model::drop_reason::DropReason::*;
use model::frame::{Frame, Parsed, VLAN_NONE, parse};

const SRC4: [u8; 4] = [10, 1, 0, 7];
const DST4: [u8; 4] = [10, 9, 0, 1];

/// A MAC header and an EtherType; `tags` are (EtherType, TCI) from the outside in.
fn ethernet(tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    for (tag, tci) in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

fn ipv4(protocol: u8, above: &[u8]) -> Vec<u8> {
    let total_len = (20 + above.len()) as u16;
    let mut bytes = vec![0x45, 46 << 2, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    bytes[2..4].copy_from_slice(&total_len.to_be_bytes());
    bytes.extend(SRC4);
    bytes.extend(DST4);
    bytes.extend(above);
    bytes
}

fn ipv6(next_header: u8, above: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x6b, 0x80, 0, 0, 0, 0, next_header, 64];
    bytes[4..6].copy_from_slice(&(above.len() as u16).to_be_bytes());
    bytes.extend([0xfd; 16]);
    bytes.extend([0xfe; 16]);
    bytes.extend(above);
    bytes
}

fn udp(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x1b, 0x58, 0x1b, 0x59, 0, 0, 0, 0];
    bytes[4..6].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    bytes.resize(8 + payload, 0xaa);
    bytes
}

fn tcp(words: u8, flags: u8, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x1b, 0x58, 0x23, 0x29, 0, 0, 0x10, 0, 0, 0, 0, 0, words << 4, flags];
    bytes.resize(usize::from(words.max(5)) * 4 + payload, 0);
    bytes
}

/// A chain of `count` destination-option headers of 8 bytes, the last one before `next`.
fn options_chain(count: usize, next: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..count {
        bytes.extend([if i + 1 < count { 60 } else { next }, 0, 1, 4, 0, 0, 0, 0]);
    }
    bytes
}

fn frame4(protocol: u8, above: &[u8]) -> Vec<u8> {
    [ethernet(&[], 0x0800), ipv4(protocol, above)].concat()
}

fn frame6(next_header: u8, above: &[u8]) -> Vec<u8> {
    [ethernet(&[], 0x86dd), ipv6(next_header, above)].concat()
}

fn set(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

fn cut(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.truncate(len);
    bytes
}

fn padded(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.resize(len, 0xff);
    bytes
}

fn whole(bytes: &[u8]) -> Frame {
    parse(bytes, bytes.len() as u32)
}

#[track_caller]
fn ip(bytes: &[u8]) -> Parsed {
    match whole(bytes) {
        Frame::Ip(parsed) => parsed,
        other => panic!("expected IP, got {other:?}"),
    }
}

/// Offsets into an untagged frame.
const IP: usize = 14;
const L4_V4: usize = 34;

#[test]
#[rustfmt::skip]
fn every_malformed_case_has_its_reason() {
    let udp4 = || frame4(17, &udp(10));
    let tcp4 = || frame4(6, &tcp(5, 0x10, 10));
    let udp6 = || frame6(17, &udp(10));
    let chained = |count| frame6(60, &[options_chain(count, 17), udp(1)].concat());
    let three_tags = ethernet(&[(0x88a8, 1), (0x8100, 2), (0x8100, 3)], 0x0800);
    let cases: &[(&str, Vec<u8>, DropReason)] = &[
        ("nothing", vec![], Runt),
        ("one byte", vec![0], Runt),
        ("13 bytes", cut(udp4(), 13), Runt),
        ("tag without its bytes", ethernet(&[], 0x8100), VlanMalformed),
        ("tag cut at 17 bytes", cut(ethernet(&[(0x8100, 5)], 0x0800), 17), VlanMalformed),
        ("second tag cut", cut(ethernet(&[(0x88a8, 5), (0x8100, 6)], 0x0800), 21), VlanMalformed),
        ("three tags", [three_tags, ipv4(17, &udp(10))].concat(), VlanMalformed),
        ("no IPv4 header", ethernet(&[], 0x0800), Ipv4HeaderMalformed),
        ("IPv4 header cut at 19", cut(udp4(), IP + 19), Ipv4HeaderMalformed),
        ("IPv4 says version 6", set(udp4(), IP, &[0x65]), Ipv4HeaderMalformed),
        ("IHL 4", set(udp4(), IP, &[0x44]), Ipv4HeaderMalformed),
        ("IHL 0", set(udp4(), IP, &[0x40]), Ipv4HeaderMalformed),
        ("options beyond the frame", set(udp4(), IP, &[0x4f]), Ipv4HeaderMalformed),
        ("total length 0", set(udp4(), IP + 2, &[0, 0]), Ipv4LengthMalformed),
        ("total length 19", set(udp4(), IP + 2, &[0, 19]), Ipv4LengthMalformed),
        ("total length below IHL", set(udp4(), IP, &[0x46, 0, 0, 23]), Ipv4LengthMalformed),
        ("total length one too long", set(udp4(), IP + 2, &[0, 39]), Ipv4LengthMalformed),
        ("total length 65535", set(udp4(), IP + 2, &[0xff, 0xff]), Ipv4LengthMalformed),
        ("cut by a snap length", cut(frame4(17, &udp(1000)), 96), Ipv4LengthMalformed),
        ("cut fragment", cut(set(udp4(), IP + 6, &[0x20, 0]), 40), Ipv4LengthMalformed),
        ("no IPv6 header", ethernet(&[], 0x86dd), Ipv6HeaderMalformed),
        ("IPv6 header cut at 39", cut(udp6(), IP + 39), Ipv6HeaderMalformed),
        ("IPv6 says version 4", set(udp6(), IP, &[0x45]), Ipv6HeaderMalformed),
        ("payload length one too long", set(udp6(), IP + 4, &[0, 19]), Ipv6LengthMalformed),
        ("v6 cut by a snap length", cut(frame6(17, &udp(1000)), 96), Ipv6LengthMalformed),
        ("nine extensions", chained(9), Ipv6ExtensionMalformed),
        ("sixteen extensions", chained(16), Ipv6ExtensionMalformed),
        ("extension without bytes", frame6(0, &[]), Ipv6ExtensionMalformed),
        ("extension of one byte", frame6(43, &[17]), Ipv6ExtensionMalformed),
        ("extension cut at 7", frame6(60, &options_chain(1, 17)[..7]), Ipv6ExtensionMalformed),
        ("second extension cut", frame6(60, &options_chain(2, 17)[..12]), Ipv6ExtensionMalformed),
        ("extension beyond", frame6(0, &[17, 1, 1, 4, 0, 0, 0, 0]), Ipv6ExtensionMalformed),
        ("fragment header cut", frame6(44, &[17, 0, 0, 0, 0, 0, 0]), Ipv6ExtensionMalformed),
        ("AH beyond", frame6(51, &[17, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ipv6ExtensionMalformed),
        ("AH without a sequence number", frame6(51, &[17, 0, 0, 0, 0, 0, 0, 0]), Ipv6ExtensionMalformed),
        ("jumbogram", set(frame6(0, &options_chain(1, 17)), IP + 4, &[0, 0]), Ipv6ExtensionMalformed),
        ("padding is no extension", padded(frame6(0, &[]), 80), Ipv6ExtensionMalformed),
        ("TCP cut at 19", frame4(6, &tcp(5, 0x10, 0)[..19]), TcpMalformed),
        ("TCP without bytes", frame4(6, &[]), TcpMalformed),
        ("data offset 4", set(tcp4(), L4_V4 + 12, &[0x40]), TcpMalformed),
        ("data offset 0", set(tcp4(), L4_V4 + 12, &[0x00]), TcpMalformed),
        ("data offset beyond", set(tcp4(), L4_V4 + 12, &[0x80]), TcpMalformed),
        ("TCP header in the padding", padded(frame4(6, &tcp(5, 0x10, 0)[..13]), 60), TcpMalformed),
        ("UDP cut at 7", frame4(17, &udp(0)[..7]), UdpMalformed),
        ("UDP without bytes", frame4(17, &[]), UdpMalformed),
        ("UDP length 0", set(udp4(), L4_V4 + 4, &[0, 0]), UdpMalformed),
        ("UDP length 7", set(udp4(), L4_V4 + 4, &[0, 7]), UdpMalformed),
        ("UDP length beyond", set(udp4(), L4_V4 + 4, &[0, 19]), UdpMalformed),
        ("UDP header in the padding", padded(frame4(17, &udp(0)[..6]), 60), UdpMalformed),
    ];
    for (name, bytes, reason) in cases {
        assert_eq!(whole(bytes), Frame::Malformed(*reason), "{name}: {bytes:02x?}");
    }
    // The list is complete: a reason of the parser that no case reaches fails here.
    for reason in [
        Runt, VlanMalformed, Ipv4HeaderMalformed, Ipv4LengthMalformed, Ipv6HeaderMalformed,
        Ipv6LengthMalformed, Ipv6ExtensionMalformed, TcpMalformed, UdpMalformed,
    ] {
        assert!(cases.iter().any(|case| case.2 == reason), "{}", reason.name());
    }
}

#[test]
fn udp_over_ipv4_in_full() {
    let parsed = ip(&frame4(17, &udp(10)));
    assert_eq!(parsed.key.src[..4], SRC4);
    assert_eq!(parsed.key.dst[..4], DST4);
    assert_eq!(parsed.key.src[4..], [0; 12]);
    assert_eq!(parsed.key.dst[4..], [0; 12]);
    assert_eq!((parsed.key.src_port, parsed.key.dst_port), (7000, 7001));
    assert_eq!((parsed.key.vlan, parsed.key.protocol, parsed.key.ip_version), (VLAN_NONE, 17, 4));
    assert_eq!((parsed.dscp, parsed.payload_len), (46, 10));
    assert_eq!((parsed.tcp_flags, parsed.tcp_seq, parsed.is_fragment), (0, 0, false));
    assert!(parsed.has_ports());
}

#[test]
fn tcp_over_ipv6_in_full() {
    let parsed = ip(&frame6(6, &tcp(8, 0x18, 100)));
    assert_eq!((parsed.key.src, parsed.key.dst), ([0xfd; 16], [0xfe; 16]));
    assert_eq!((parsed.key.src_port, parsed.key.dst_port), (7000, 9001));
    assert_eq!((parsed.key.vlan, parsed.key.protocol, parsed.key.ip_version), (VLAN_NONE, 6, 6));
    // Traffic class 0xb8: the low nibble of the first byte and the high one of the second.
    assert_eq!((parsed.dscp, parsed.payload_len), (46, 100));
    assert_eq!((parsed.tcp_flags, parsed.tcp_seq), (0x18, 0x1000));
}

#[test]
fn a_syn_takes_a_sequence_number_and_the_last_one_wraps() {
    assert_eq!(ip(&frame4(6, &tcp(5, 0x02, 0))).tcp_seq, 0x1001);
    assert_eq!(ip(&frame4(6, &tcp(5, 0x11, 0))).tcp_seq, 0x1000);
    let last = set(frame4(6, &tcp(5, 0x02, 0)), L4_V4 + 4, &[0xff; 4]);
    assert_eq!(ip(&last).tcp_seq, 0);
}

#[test]
fn padding_counts_in_no_payload() {
    let ack = frame4(6, &tcp(5, 0x10, 0));
    assert_eq!(ack.len(), 54);
    assert_eq!(ip(&padded(ack, 60)).payload_len, 0);
    assert_eq!(ip(&padded(frame4(17, &udp(1)), 60)).payload_len, 1);
    assert_eq!(ip(&padded(frame6(17, &udp(2)), 90)).payload_len, 2);
    // Bytes between the end of the datagram and the end of the IP packet are no payload either.
    let slack = set(frame4(17, &udp(10)), L4_V4 + 4, &[0, 8]);
    assert_eq!(ip(&slack).payload_len, 0);
}

#[test]
fn header_lengths_at_their_bounds() {
    let with_options = |words: u8| {
        let mut packet = ipv4(17, &udp(3));
        packet[0] = 0x40 | words;
        let options = (usize::from(words) - 5) * 4;
        packet.splice(20..20, std::iter::repeat_n(1, options));
        let total_len = (packet.len() as u16).to_be_bytes();
        packet[2..4].copy_from_slice(&total_len);
        [ethernet(&[], 0x0800), packet].concat()
    };
    for words in 5..=15 {
        let parsed = ip(&with_options(words));
        assert_eq!((parsed.key.dst_port, parsed.payload_len), (7001, 3), "IHL {words}");
        let parsed = ip(&frame4(6, &tcp(words, 0x10, 3)));
        assert_eq!((parsed.key.dst_port, parsed.payload_len), (9001, 3), "data offset {words}");
    }
    assert_eq!(ip(&frame4(17, &udp(0))).payload_len, 0);
    assert_eq!(ip(&frame4(6, &tcp(5, 0x10, 0))).payload_len, 0);
    assert_eq!(ip(&frame4(1, &[])).payload_len, 0);
    assert_eq!(ip(&frame6(59, &[])).payload_len, 0);
    // The longest IPv4 packet there is.
    assert_eq!(ip(&frame4(17, &udp(65_507))).payload_len, 65_507);
}

#[test]
fn tags_up_to_two() {
    let packet = ipv4(17, &udp(10));
    for (tags, vlan) in [
        (&[][..], VLAN_NONE),
        (&[(0x8100, 100)], 100),
        (&[(0x88a8, 200)], 200),
        // Priority and drop-eligible bits are no part of the id; id 0 is a priority tag.
        (&[(0x8100, 0xf064)], 100),
        (&[(0x8100, 0xe000)], 0),
        (&[(0x8100, 0x0fff)], 4095),
        (&[(0x88a8, 200), (0x8100, 100)], 200),
        (&[(0x8100, 1), (0x8100, 2)], 1),
        (&[(0x8100, 1), (0x88a8, 2)], 1),
    ] {
        let parsed = ip(&[ethernet(tags, 0x0800), packet.clone()].concat());
        assert_eq!(parsed.key.vlan, vlan, "{tags:x?}");
        assert_eq!((parsed.key.dst_port, parsed.payload_len), (7001, 10), "{tags:x?}");
        let parsed = ip(&[ethernet(tags, 0x86dd), ipv6(6, &tcp(5, 0x10, 4))].concat());
        assert_eq!((parsed.key.vlan, parsed.payload_len), (vlan, 4), "{tags:x?}");
    }
}

#[test]
fn what_is_not_ip_passes_by_its_ether_type() {
    // ARP, LLDP, PTP, MPLS, PPPoE, loopback, another tag type, 802.3 lengths, the ends.
    for ether_type in
        [0x0806, 0x88cc, 0x88f7, 0x8847, 0x8864, 0x9000, 0x9100, 0x0026, 0x05dc, 0, 0x07ff, 0xffff]
    {
        for body in [0, 1, 46] {
            let bytes = [ethernet(&[], ether_type), vec![0x45; body]].concat();
            assert_eq!(whole(&bytes), Frame::NonIp { ether_type }, "{ether_type:04x} + {body}");
        }
        let tagged = ethernet(&[(0x88a8, 1), (0x8100, 2)], ether_type);
        assert_eq!(whole(&tagged), Frame::NonIp { ether_type });
    }
}

#[test]
fn other_protocols_have_no_ports() {
    // ICMP, IGMP, GRE, ESP, ICMPv6, SCTP; AH hides its transport in IPv4.
    for protocol in [1, 2, 47, 50, 58, 132, 51] {
        let parsed = ip(&frame4(protocol, &[0xff; 12]));
        assert_eq!((parsed.key.src_port, parsed.key.dst_port), (0, 0));
        assert_eq!((parsed.key.protocol, parsed.payload_len), (protocol, 12));
        assert!(!parsed.has_ports() && !parsed.is_fragment);
    }
}

#[test]
fn ipv4_fragments_show_no_ports() {
    let cases = [
        ([0x40, 0], false), // don't fragment
        ([0x80, 0], false), // the reserved bit
        ([0x20, 0], true),  // first, more follow
        ([0x00, 1], true),  // last
        ([0x20, 1], true),  // in between
        ([0x1f, 0xff], true),
    ];
    for (bits, is_fragment) in cases {
        let parsed = ip(&set(frame4(17, &udp(16)), IP + 6, &bits));
        assert_eq!(parsed.is_fragment, is_fragment, "{bits:02x?}");
        let expected = if is_fragment { (0, 0, 24) } else { (7000, 7001, 16) };
        assert_eq!((parsed.key.src_port, parsed.key.dst_port, parsed.payload_len), expected);
        assert_eq!(parsed.key.protocol, 17);
        assert_eq!(parsed.has_ports(), !is_fragment);
    }
    // A short last fragment of TCP is no malformed TCP.
    assert!(ip(&set(frame4(6, &[1, 2, 3]), IP + 6, &[0, 9])).is_fragment);
}

#[test]
#[rustfmt::skip]
fn ipv6_extensions_up_to_eight() {
    for count in 1..=8 {
        let parsed = ip(&frame6(60, &[options_chain(count, 17), udp(5)].concat()));
        assert_eq!((parsed.key.protocol, parsed.key.dst_port), (17, 7001), "{count}");
        assert_eq!((parsed.payload_len, parsed.is_fragment), (5, false), "{count}");
    }
    let one_of_each = [
        vec![43, 1, 5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // hop-by-hop, 16 bytes
        vec![51, 0, 0, 0, 0, 0, 0, 0], // routing
        vec![60, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // AH, 24
        vec![6, 0, 1, 4, 0, 0, 0, 0], // destination options
        tcp(5, 0x18, 9),
    ]
    .concat();
    let parsed = ip(&frame6(0, &one_of_each));
    assert_eq!((parsed.key.protocol, parsed.key.dst_port, parsed.payload_len), (6, 9001, 9));
    // "No next header" ends a chain without a transport.
    let parsed = ip(&frame6(60, &options_chain(1, 59)));
    assert_eq!((parsed.key.protocol, parsed.payload_len), (59, 0));
}

#[test]
fn ipv6_fragments_show_no_ports() {
    // First, in between, last, and atomic: offset and "more" both zero (RFC 6946).
    for offset_and_more in [[0, 1], [0, 9], [0, 8], [0, 0]] {
        let header = set(vec![17, 0, 0, 0, 0, 0, 0, 1], 2, &offset_and_more);
        let parsed = ip(&frame6(44, &[header, udp(8)].concat()));
        assert!(parsed.is_fragment);
        assert_eq!((parsed.key.src_port, parsed.key.dst_port), (0, 0));
        assert_eq!((parsed.key.protocol, parsed.payload_len), (17, 16));
    }
    // As the eighth extension it is still read; as the ninth it is not.
    let fragment = vec![17, 0, 0, 0, 0, 0, 0, 1];
    assert!(ip(&frame6(60, &[options_chain(7, 44), fragment.clone()].concat())).is_fragment);
    let nine = frame6(60, &[options_chain(8, 44), fragment].concat());
    assert_eq!(whole(&nine), Frame::Malformed(Ipv6ExtensionMalformed));
}

#[test]
fn a_frame_in_several_segments_needs_its_headers_in_the_first() {
    let frame = frame4(17, &udp(3000));
    let wire_len = frame.len() as u32;
    let Frame::Ip(parsed) = parse(&frame[..L4_V4 + 8], wire_len) else { panic!("headers suffice") };
    assert_eq!((parsed.key.dst_port, parsed.payload_len), (7001, 3000));
    assert_eq!(parse(&frame[..L4_V4 + 7], wire_len), Frame::Malformed(UdpMalformed));
    assert_eq!(parse(&frame[..IP + 19], wire_len), Frame::Malformed(Ipv4HeaderMalformed));
    assert_eq!(parse(&frame[..100], 100), Frame::Malformed(Ipv4LengthMalformed));
    let frame = frame6(6, &tcp(5, 0x10, 3000));
    let Frame::Ip(parsed) = parse(&frame[..IP + 60], frame.len() as u32) else { panic!() };
    assert_eq!(parsed.payload_len, 3000);
}
