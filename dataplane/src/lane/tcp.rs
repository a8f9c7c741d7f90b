//! What a row says of the TCP segment that a sampled packet carries.

use model::draw::mix;
use model::frame::{FlowKey, Frame, parse};
use model::meta::{PacketMeta, flags};
use model::sample::TcpSeen;

use crate::mbuf::Mbuf;
use crate::segment::tcp_header;

const ACK: u8 = 0x10;

/// Of `packet`, where it is sampled and carries TCP right above IP; fragments carry none.
#[inline]
pub(super) fn seen(meta: &PacketMeta, packet: &Mbuf) -> Option<TcpSeen> {
    if meta.has(flags::SAMPLED | flags::TCP) { read(packet) } else { None }
}

/// Of any packet.
#[cold]
pub(super) fn read(packet: &Mbuf) -> Option<TcpSeen> {
    let Frame::Ip(parsed) = parse(packet.data(), packet.len()) else { return None };
    let header = tcp_header(packet.data())?;
    let number = header.get(8..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    Some(TcpSeen {
        connection: connection(&parsed.key),
        ack: number.filter(|_| parsed.tcp_flags & ACK != 0),
        payload_bytes: u16::try_from(parsed.payload_len).unwrap_or(u16::MAX),
    })
}

/// The same for both directions. The VLAN is not part of it: a tag may differ by direction.
fn connection(key: &FlowKey) -> u64 {
    let (a, b) = ((key.src, key.src_port), (key.dst, key.dst_port));
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut hash = u64::from(key.ip_version);
    for (address, port) in [low, high] {
        let (first, second) = address.split_at(8);
        for bytes in [first, second] {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            hash = mix(hash ^ word);
        }
        hash = mix(hash ^ u64::from(port));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_one_connection_and_others_are_not() {
        let key = |src: u8, src_port, dst: u8, dst_port| {
            let mut key = FlowKey { src_port, dst_port, ip_version: 4, ..FlowKey::default() };
            (key.src[3], key.dst[3]) = (src, dst);
            key
        };
        let there = connection(&key(1, 40_000, 2, 7_000));
        assert_eq!(there, connection(&key(2, 7_000, 1, 40_000)));
        assert_eq!(there, connection(&FlowKey { vlan: 7, ..key(1, 40_000, 2, 7_000) }));
        for other in [key(1, 7_000, 2, 40_000), key(2, 40_000, 1, 7_000), key(1, 40_000, 2, 7_001)]
        {
            assert_ne!(there, connection(&other));
        }
    }
}
