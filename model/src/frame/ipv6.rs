//! IPv6 (RFC 8200) and its extension headers. Jumbograms (RFC 2675) are not understood: their
//! payload length of 0 leaves no room for the hop-by-hop header that would carry the real one.

use super::transport::{self, Transport};
use super::{FlowKey, Parsed, be16};
use crate::drop_reason::DropReason;

/// Length of the fixed header, bytes.
const HEADER_BYTES: usize = 40;
/// Extension headers that are followed. A real packet has one or two; the bound keeps the work
/// per packet constant whatever a sender makes up.
const EXTENSIONS_MAX: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Reads an IPv6 packet. `packet` is what the first segment holds from the IP header on,
/// `packet_room` the bytes that the whole frame has from there on.
#[inline]
pub(super) fn parse(packet: &[u8], packet_room: u32, vlan: u16) -> Result<Parsed, DropReason> {
    let (header, above) =
        packet.split_first_chunk::<HEADER_BYTES>().ok_or(DropReason::Ipv6HeaderMalformed)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::Ipv6HeaderMalformed);
    }
    let payload_len = u32::from(be16(header, 4));
    if payload_len > packet_room.saturating_sub(HEADER_BYTES as u32) {
        return Err(DropReason::Ipv6LengthMalformed);
    }
    let mut upper =
        Upper { protocol: header[6], bytes: above, len: payload_len, is_fragment: false };
    if is_extension(upper.protocol) {
        upper = skip_extensions(upper)?;
    }
    let transport = if upper.is_fragment {
        Transport::unread(upper.len)
    } else {
        transport::parse(upper.protocol, upper.bytes, upper.len)?
    };
    let mut key = FlowKey {
        src_port: transport.src_port,
        dst_port: transport.dst_port,
        vlan,
        protocol: upper.protocol,
        ip_version: 6,
        ..FlowKey::default()
    };
    key.src.copy_from_slice(&header[8..24]);
    key.dst.copy_from_slice(&header[24..40]);
    let dscp = ((header[0] & 0x0f) << 2) | (header[1] >> 6);
    Ok(transport.into_parsed(key, dscp, upper.is_fragment))
}

/// What stands after the headers read so far.
struct Upper<'a> {
    /// Protocol number of `bytes`.
    protocol: u8,
    /// The rest of the first segment.
    bytes: &'a [u8],
    /// Bytes of the packet from here on, in all segments, without padding.
    len: u32,
    /// A fragment header was met.
    is_fragment: bool,
}

#[inline]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// Walks to the first header that is no extension, or to the end of a fragment header.
///
/// Out of line: order flow carries no extension headers, and the common path stays small.
#[inline(never)]
fn skip_extensions(mut upper: Upper<'_>) -> Result<Upper<'_>, DropReason> {
    const REASON: DropReason = DropReason::Ipv6ExtensionMalformed;
    for _ in 0..EXTENSIONS_MAX {
        let extension = upper.protocol;
        let start: &[u8; 2] = upper.bytes.first_chunk().ok_or(REASON)?;
        // Lengths count 8-octet units beyond the first, for AH 4-octet units beyond two
        // (RFC 8200, 4.3; RFC 4302, 2.2). A fragment header has no length: always 8 bytes.
        let extension_bytes = match extension {
            FRAGMENT => 8,
            // 8 bytes would cut AH's own sequence number off.
            AUTHENTICATION if start[1] == 0 => return Err(REASON),
            AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
            _ => (usize::from(start[1]) + 1) * 8,
        };
        if extension_bytes as u32 > upper.len {
            return Err(REASON);
        }
        upper = Upper {
            protocol: start[0],
            bytes: upper.bytes.get(extension_bytes..).ok_or(REASON)?,
            len: upper.len - extension_bytes as u32,
            is_fragment: extension == FRAGMENT,
        };
        if upper.is_fragment || !is_extension(upper.protocol) {
            return Ok(upper);
        }
    }
    Err(REASON)
}
