//! What a row says of the TCP segment that a sampled packet carries.

use model::frame::{Frame, parse};
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
        connection: parsed.key.connection(),
        ack: number.filter(|_| parsed.tcp_flags & ACK != 0),
        payload_bytes: u16::try_from(parsed.payload_len).unwrap_or(u16::MAX),
    })
}
