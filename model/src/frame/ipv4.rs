//! IPv4 (RFC 791).

use super::transport::{self, Transport};
use super::{FlowKey, Parsed, be16};
use crate::drop_reason::DropReason;

/// Length of a header without options, bytes.
const HEADER_BYTES: usize = 20;
/// "More fragments" and the fragment offset; "don't fragment" is not in it.
const FRAGMENT_MASK: u16 = 0x3fff;

/// Reads an IPv4 packet. `packet` is what the first segment holds from the IP header on,
/// `packet_room` the bytes that the whole frame has from there on.
#[inline]
pub(super) fn parse(packet: &[u8], packet_room: u32, vlan: u16) -> Result<Parsed, DropReason> {
    let header: &[u8; HEADER_BYTES] =
        packet.first_chunk().ok_or(DropReason::Ipv4HeaderMalformed)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_bytes < HEADER_BYTES {
        return Err(DropReason::Ipv4HeaderMalformed);
    }
    let above = packet.get(header_bytes..).ok_or(DropReason::Ipv4HeaderMalformed)?;
    let total_len = u32::from(be16(header, 2));
    if total_len < header_bytes as u32 || total_len > packet_room {
        return Err(DropReason::Ipv4LengthMalformed);
    }
    let above_len = total_len - header_bytes as u32;
    let protocol = header[9];
    let is_fragment = be16(header, 6) & FRAGMENT_MASK != 0;
    let transport = if is_fragment {
        Transport::unread(above_len)
    } else {
        transport::parse(protocol, above, above_len)?
    };
    let key = FlowKey {
        src: address(header, 12),
        dst: address(header, 16),
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        vlan,
        protocol,
        ip_version: 4,
    };
    Ok(transport.into_parsed(key, header[1] >> 2, is_fragment))
}

/// The address at `at`, followed by zeros: one number, so that it is written in two pieces, not ten.
#[inline]
fn address(header: &[u8; HEADER_BYTES], at: usize) -> [u8; 16] {
    let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    u128::from(u32::from_le_bytes(bytes)).to_le_bytes()
}
