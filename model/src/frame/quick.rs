//! The usual case at once: an untagged IPv4 packet without options that carries UDP or TCP and is
//! no fragment.
//!
//! [`quick`] says yes or "ask [`super::parse`]"; it never says no. What it answers is what `parse`
//! would have answered (tests/frame_quick.rs), from a few wide loads and without a branch for each
//! field.

use super::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, Parsed, VLAN_NONE, be16, be32};

/// Ethernet, IPv4 and TCP without options. A UDP packet has so many bytes too: the shortest frame
/// has 60.
const HEADERS: usize = 14 + 20 + 20;
/// EtherType 0x0800, version 4, five words of header: bytes 12 to 14 of the frame, as loaded.
const IPV4_PLAIN: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
const IPV4_PLAIN_MASK: u32 = 0x00ff_ffff;
/// "More fragments" and the offset, as loaded.
const FRAGMENT: u16 = u16::from_le_bytes([0x3f, 0xff]);
const IPV4_BYTES: u32 = 20;
const TCP_SYN: u8 = 0x02;

/// What [`quick`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quick {
    /// Source and destination address, each in network order, as they lie in the packet.
    pub addresses: [u8; 8],
    /// Source and destination port, each in network order.
    pub ports: [u8; 4],
    /// TCP or UDP.
    pub protocol: u8,
    /// DSCP, 0 to 63.
    pub dscp: u8,
    /// As in [`Parsed`].
    pub tcp_flags: u8,
    /// As in [`Parsed`].
    pub tcp_seq: u32,
    /// As in [`Parsed`].
    pub payload_len: u32,
}

/// Reads the headers of a frame of the usual kind; `None` where [`super::parse`] has to. `bytes` and
/// `wire_len` as there.
#[inline(always)]
pub fn quick(bytes: &[u8], wire_len: u32) -> Option<Quick> {
    let f: &[u8; HEADERS] = bytes.first_chunk()?;
    let start = u32::from_le_bytes([f[12], f[13], f[14], f[15]]);
    let fragment = u16::from_le_bytes([f[20], f[21]]);
    if start & IPV4_PLAIN_MASK != IPV4_PLAIN || fragment & FRAGMENT != 0 {
        return None;
    }
    let total_len = u32::from(be16(f, 16));
    if total_len < IPV4_BYTES || total_len + 14 > wire_len {
        return None;
    }
    let above_len = total_len - IPV4_BYTES;
    let protocol = f[23];
    let (tcp_flags, tcp_seq, payload_len);
    if protocol == PROTOCOL_UDP {
        let udp_len = u32::from(be16(f, 38));
        if udp_len < 8 || udp_len > above_len {
            return None;
        }
        (tcp_flags, tcp_seq, payload_len) = (0, 0, udp_len - 8);
    } else if protocol == PROTOCOL_TCP {
        let header_bytes = u32::from(f[46] >> 4) * 4;
        if header_bytes < 20 || header_bytes > above_len {
            return None;
        }
        tcp_flags = f[47];
        tcp_seq = be32(f, 38).wrapping_add(u32::from(tcp_flags & TCP_SYN != 0));
        payload_len = above_len - header_bytes;
    } else {
        return None;
    }
    Some(Quick {
        addresses: [f[26], f[27], f[28], f[29], f[30], f[31], f[32], f[33]],
        ports: [f[34], f[35], f[36], f[37]],
        protocol,
        dscp: f[15] >> 2,
        tcp_flags,
        tcp_seq,
        payload_len,
    })
}

impl Quick {
    /// The same as [`super::parse`] puts it.
    pub fn parsed(&self) -> Parsed {
        let mut key = FlowKey {
            src_port: u16::from_be_bytes([self.ports[0], self.ports[1]]),
            dst_port: u16::from_be_bytes([self.ports[2], self.ports[3]]),
            vlan: VLAN_NONE,
            protocol: self.protocol,
            ip_version: 4,
            ..FlowKey::default()
        };
        key.src[..4].copy_from_slice(&self.addresses[..4]);
        key.dst[..4].copy_from_slice(&self.addresses[4..]);
        Parsed {
            key,
            dscp: self.dscp,
            tcp_flags: self.tcp_flags,
            is_fragment: false,
            tcp_seq: self.tcp_seq,
            payload_len: self.payload_len,
        }
    }
}
