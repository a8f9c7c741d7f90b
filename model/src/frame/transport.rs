//! TCP (RFC 9293) and UDP (RFC 768): ports, lengths, sequence number.

use super::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, Parsed, be16, be32};
use crate::drop_reason::DropReason;

const UDP_HEADER_BYTES: usize = 8;
const TCP_HEADER_BYTES: usize = 20;
const TCP_SYN: u8 = 0x02;

/// What a transport header says.
pub(super) struct Transport {
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    tcp_flags: u8,
    tcp_seq: u32,
    payload_len: u32,
}

impl Transport {
    /// A transport that is not looked into: `len` bytes above IP.
    #[inline]
    pub(super) const fn unread(len: u32) -> Self {
        Self { src_port: 0, dst_port: 0, tcp_flags: 0, tcp_seq: 0, payload_len: len }
    }

    /// Puts it together with what IP said.
    #[inline]
    pub(super) const fn into_parsed(self, key: FlowKey, dscp: u8, is_fragment: bool) -> Parsed {
        Parsed {
            key,
            dscp,
            tcp_flags: self.tcp_flags,
            is_fragment,
            tcp_seq: self.tcp_seq,
            payload_len: self.payload_len,
        }
    }
}

/// Reads the header of `protocol`. `bytes` is the rest of the first segment, padding included;
/// `len` is what IP says stands above it.
#[inline]
pub(super) fn parse(protocol: u8, bytes: &[u8], len: u32) -> Result<Transport, DropReason> {
    match protocol {
        PROTOCOL_UDP => udp(bytes, len).ok_or(DropReason::UdpMalformed),
        PROTOCOL_TCP => tcp(bytes, len).ok_or(DropReason::TcpMalformed),
        _ => Ok(Transport::unread(len)),
    }
}

/// A length below IP's is allowed: what is beyond it is no payload (RFC 768 leaves it open).
#[inline]
fn udp(bytes: &[u8], len: u32) -> Option<Transport> {
    let header: &[u8; UDP_HEADER_BYTES] = bytes.first_chunk()?;
    let udp_len = u32::from(be16(header, 4));
    // The lower bound also covers an IP length that cuts the header: udp_len would be beyond it.
    if udp_len < UDP_HEADER_BYTES as u32 || udp_len > len {
        return None;
    }
    Some(Transport {
        src_port: be16(header, 0),
        dst_port: be16(header, 2),
        tcp_flags: 0,
        tcp_seq: 0,
        payload_len: udp_len - UDP_HEADER_BYTES as u32,
    })
}

#[inline]
fn tcp(bytes: &[u8], len: u32) -> Option<Transport> {
    let header: &[u8; TCP_HEADER_BYTES] = bytes.first_chunk()?;
    let header_bytes = u32::from(header[12] >> 4) * 4;
    // As above: the lower bound covers an IP length that cuts the header.
    if header_bytes < TCP_HEADER_BYTES as u32 || header_bytes > len {
        return None;
    }
    let flags = header[13];
    Some(Transport {
        src_port: be16(header, 0),
        dst_port: be16(header, 2),
        tcp_flags: flags,
        tcp_seq: be32(header, 4).wrapping_add(u32::from(flags & TCP_SYN != 0)),
        payload_len: len - header_bytes,
    })
}
