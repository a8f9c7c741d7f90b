//! What is in a frame: Ethernet, up to two VLAN tags, IPv4, IPv6, TCP, UDP. See `parse`.

use crate::drop_reason::DropReason;

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
    /// TCP sequence number of the first payload byte, 0 without TCP.
    pub tcp_seq: u32,
    /// Bytes above the transport header (above IP where the transport is not TCP or UDP).
    pub payload_len: u32,
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
