//! What is in a frame: Ethernet, up to two VLAN tags, IPv4, IPv6, TCP, UDP.
//!
//! [`parse`] is called once for each packet at RX. It reads headers only: it copies nothing but
//! the addresses, follows no pointer of the packet without a bound, and never allocates. Headers
//! must lie in the packet's first segment; the bytes above them need not.
//!
//! What is left to others, on purpose: checksums (the gateway forwards and the receiver checks),
//! the meaning of payload bytes, and reassembly. Everything that is neither IPv4 nor IPv6 under at
//! most two tags is [`Frame::NonIp`], also MPLS, PPPoE, 802.3 length frames and tags other than
//! 0x8100 and 0x88a8: such frames pass untouched.

mod connection;
mod ipv4;
mod ipv6;
mod quick;
mod text;
mod transport;

pub use quick::{Quick, quick};
pub use text::NotAFlow;

use crate::drop_reason::DropReason;

/// Length of an Ethernet header without tags, bytes.
const ETHERNET_BYTES: usize = 14;
/// Length of one VLAN tag, bytes.
const TAG_BYTES: usize = 4;

const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q customer tag.
const ETHER_TYPE_VLAN: u16 = 0x8100;
/// IEEE 802.1ad service tag.
const ETHER_TYPE_SERVICE_VLAN: u16 = 0x88a8;

/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// [`FlowKey::vlan`] of a frame without a tag.
pub const VLAN_NONE: u16 = 0xffff;

/// A flow's addresses. IPv4 addresses stand in the first 4 bytes, the rest is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Source address, network order.
    pub src: [u8; 16],
    /// Destination address, network order.
    pub dst: [u8; 16],
    /// Source port, 0 where there is none.
    pub src_port: u16,
    /// Destination port, 0 where there is none.
    pub dst_port: u16,
    /// Outer VLAN id, `0xffff` untagged.
    pub vlan: u16,
    /// IP protocol number of the transport header (after IPv6 extension headers).
    pub protocol: u8,
    /// 4 or 6; 0 for the one key of packets that are not IP.
    pub ip_version: u8,
}

const _: () = assert!(size_of::<FlowKey>() == 40);

/// What the parser found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Addresses.
    pub key: FlowKey,
    /// DSCP, 0 to 63.
    pub dscp: u8,
    /// TCP flags byte (FIN 0x01, SYN 0x02, RST 0x04, ACK 0x10), 0 without TCP.
    pub tcp_flags: u8,
    /// A fragment: the ports are 0 and no transport header was read.
    pub is_fragment: bool,
    /// TCP sequence number of the first payload byte, 0 without TCP. A SYN takes a number of its
    /// own, so this is one more than the header's number where SYN is set (RFC 9293, 3.4).
    pub tcp_seq: u32,
    /// Bytes above the transport header (above IP where the transport is not TCP or UDP).
    pub payload_len: u32,
}

impl Parsed {
    /// Whether [`FlowKey::src_port`] and [`FlowKey::dst_port`] come from a transport header.
    #[inline]
    pub const fn has_ports(&self) -> bool {
        !self.is_fragment && matches!(self.key.protocol, PROTOCOL_TCP | PROTOCOL_UDP)
    }
}

/// The parser's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// IPv4 or IPv6.
    Ip(Parsed),
    /// A well-formed Ethernet frame of another protocol; passes untouched in wire mode.
    NonIp {
        /// EtherType after VLAN tags; a value below 0x0600 is an 802.3 length.
        ether_type: u16,
    },
    /// Ends under this name.
    Malformed(DropReason),
}

/// Reads the headers of a frame.
///
/// `bytes` is the first segment, from the destination address on, without preamble and FCS.
/// `wire_len` is the length of the frame in all its segments, so `bytes.len()` for a packet in one
/// segment; for a capture record it is the length that was captured, which makes a record cut off
/// by a snap length end as a malformed length: its tail cannot be sent.
///
/// Ethernet padding after the IP packet is allowed and belongs to no length in the answer.
#[inline]
pub fn parse(bytes: &[u8], wire_len: u32) -> Frame {
    match parse_ethernet(bytes, wire_len) {
        Ok(frame) => frame,
        Err(reason) => Frame::Malformed(reason),
    }
}

#[inline]
fn parse_ethernet(bytes: &[u8], wire_len: u32) -> Result<Frame, DropReason> {
    let ethernet: &[u8; ETHERNET_BYTES] = bytes.first_chunk().ok_or(DropReason::Runt)?;
    let mut ether_type = be16(ethernet, 12);
    let mut header_bytes = ETHERNET_BYTES;
    let mut vlan = VLAN_NONE;
    if is_vlan(ether_type) {
        let tag = read_tag(bytes, header_bytes)?;
        vlan = tag.id;
        ether_type = tag.ether_type;
        header_bytes += TAG_BYTES;
        if is_vlan(ether_type) {
            ether_type = read_tag(bytes, header_bytes)?.ether_type;
            header_bytes += TAG_BYTES;
            if is_vlan(ether_type) {
                return Err(DropReason::VlanMalformed);
            }
        }
    }
    let packet = bytes.get(header_bytes..).unwrap_or_default();
    let packet_room = wire_len.saturating_sub(header_bytes as u32);
    match ether_type {
        ETHER_TYPE_IPV4 => ipv4::parse(packet, packet_room, vlan).map(Frame::Ip),
        ETHER_TYPE_IPV6 => ipv6::parse(packet, packet_room, vlan).map(Frame::Ip),
        _ => Ok(Frame::NonIp { ether_type }),
    }
}

/// The four bytes after a VLAN EtherType.
struct Tag {
    /// VLAN id, 0 to 4095; 0 is a priority tag.
    id: u16,
    /// EtherType of what follows.
    ether_type: u16,
}

#[inline]
fn read_tag(bytes: &[u8], at: usize) -> Result<Tag, DropReason> {
    let tag: &[u8; TAG_BYTES] =
        bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(DropReason::VlanMalformed)?;
    Ok(Tag { id: be16(tag, 0) & 0x0fff, ether_type: be16(tag, 2) })
}

#[inline]
const fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, ETHER_TYPE_VLAN | ETHER_TYPE_SERVICE_VLAN)
}

/// Two bytes in network order. The arrays are of fixed size, so a constant `at` costs no check.
#[inline(always)]
fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes in network order, as [`be16`].
#[inline(always)]
fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
