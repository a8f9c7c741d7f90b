//! The parser of the usual case against the whole one: what it answers is what the other would have
//! answered, and it answers the usual case.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use etherparse::PacketBuilder;
use model::frame::{Frame, parse, quick};
use proptest::prelude::*;

/// An untagged IPv4 frame of at least 60 bytes.
fn frame(udp: bool, ports: (u16, u16), payload: &[u8], flags: u8) -> Vec<u8> {
    let ip = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 2, 3], [10, 9, 8, 7], 64);
    let mut bytes = Vec::new();
    if udp {
        ip.udp(ports.0, ports.1).write(&mut bytes, payload).unwrap();
    } else {
        let mut tcp = ip.tcp(ports.0, ports.1, 0xffff_fff0, 9);
        if flags & 2 != 0 {
            tcp = tcp.syn();
        }
        tcp.ack(7).write(&mut bytes, payload).unwrap();
    }
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

fn check(bytes: &[u8], wire_len: u32) -> bool {
    let Some(found) = quick(bytes, wire_len) else { return false };
    assert_eq!(parse(bytes, wire_len), Frame::Ip(found.parsed()), "{bytes:02x?}");
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_usual_case_is_answered_and_any_answer_is_that_of_the_whole_parser(
        udp: bool,
        ports: (u16, u16),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        flags: u8,
        changes in prop::collection::vec((12usize..56, any::<u8>()), 0..3),
        cut in 0usize..80,
        missing in -4i32..4,
    ) {
        let mut bytes = frame(udp, ports, &payload, flags);
        let len = bytes.len() as u32;
        prop_assert!(check(&bytes, len));
        // Damaged, cut off, or in a frame of another length.
        for &(at, value) in &changes {
            bytes[at] = value;
        }
        check(&bytes, len);
        check(&bytes, len.saturating_add_signed(missing));
        check(&bytes[..bytes.len().min(cut)], len);
    }
}

#[test]
fn what_is_not_usual_is_left_to_the_whole_parser() {
    let good = frame(true, (1, 2), b"x", 0);
    assert!(check(&good, 60));
    // EtherType, version, header length, more fragments, offset, protocol, total length, UDP length.
    for (at, value) in
        [(12, 0x81), (14, 0x65), (14, 0x46), (20, 0x20), (21, 1), (23, 1), (17, 200), (39, 7)]
    {
        let mut other = good.clone();
        other[at] = value;
        assert!(!check(&other, 60), "byte {at}");
    }
    let mut unfragmented = good;
    unfragmented[20] = 0x40;
    assert!(check(&unfragmented, 60), "\"don't fragment\" is usual");
}
