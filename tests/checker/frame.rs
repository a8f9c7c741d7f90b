//! A frame reader of its own: Ethernet, up to two VLAN tags, IPv4, IPv6, TCP, UDP.

use std::net::IpAddr;

/// TCP flags.
const FIN_SYN_RST: u8 = 0x01 | 0x02 | 0x04;

/// What names a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Outer VLAN id.
    pub vlan: Option<u16>,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol of the transport header.
    pub protocol: u8,
    /// Source port, 0 without one.
    pub src_port: u16,
    /// Destination port, 0 without one.
    pub dst_port: u16,
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its flow.
    pub flow: Flow,
    /// 0 to 63.
    pub dscp: u8,
    /// FIN, SYN or RST is set.
    pub tcp_control: bool,
    /// A fragment; its ports are not read.
    pub fragment: bool,
    /// Bytes above the transport header, Ethernet padding not counted.
    pub payload: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// IPv4 or IPv6.
    Ip(Packet),
    /// Another protocol.
    NonIp,
    /// Broken, with the name that the product gives to such an end.
    Malformed(&'static str),
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Reads a frame.
pub fn read(frame: &[u8]) -> Frame {
    if frame.len() < 14 {
        return Frame::Malformed("runt");
    }
    let (mut at, mut vlan, mut tags) = (12, None, 0);
    loop {
        match be16(frame, at) {
            Some(0x8100 | 0x88a8) => {
                let Some(tci) = be16(frame, at + 2).filter(|_| tags < 2) else {
                    return Frame::Malformed("vlan_malformed");
                };
                vlan = vlan.or(Some(tci & 0x0fff));
                tags += 1;
                at += 4;
            }
            Some(0x0800) => return ipv4(&frame[at + 2..], vlan),
            Some(0x86dd) => return ipv6(&frame[at + 2..], vlan),
            Some(_) => return Frame::NonIp,
            None => return Frame::Malformed("vlan_malformed"),
        }
    }
}

fn ipv4(ip: &[u8], vlan: Option<u16>) -> Frame {
    let Some(header) = ip.get(..20) else { return Frame::Malformed("ipv4_header_malformed") };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < 20 || header_len > ip.len() {
        return Frame::Malformed("ipv4_header_malformed");
    }
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total < header_len || total > ip.len() {
        return Frame::Malformed("ipv4_length_malformed");
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let address = |at: usize| {
        let mut octets = [0; 4];
        octets.copy_from_slice(&header[at..at + 4]);
        IpAddr::from(octets)
    };
    transport(
        Flow {
            vlan,
            src: address(12),
            dst: address(16),
            protocol: header[9],
            src_port: 0,
            dst_port: 0,
        },
        header[1] >> 2,
        fragment,
        &ip[header_len..total],
    )
}

fn ipv6(ip: &[u8], vlan: Option<u16>) -> Frame {
    let Some(header) = ip.get(..40).filter(|h| h[0] >> 4 == 6) else {
        return Frame::Malformed("ipv6_header_malformed");
    };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let Some(mut rest) = ip[40..].get(..length) else {
        return Frame::Malformed("ipv6_length_malformed");
    };
    let (mut next, mut fragment) = (header[6], false);
    let mut extensions = 0;
    // Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6.
    while matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) && !fragment {
        extensions += 1;
        let len = match (next, rest.get(1)) {
            (44, _) => 8,
            (51, Some(&words)) => (usize::from(words) + 2) * 4,
            (_, Some(&units)) => (usize::from(units) + 1) * 8,
            (_, None) => usize::MAX,
        };
        if extensions > 8 || len > rest.len() {
            return Frame::Malformed("ipv6_extension_malformed");
        }
        if next == 44 {
            fragment = true;
        }
        next = rest[0];
        rest = &rest[len..];
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::from(octets)
    };
    let dscp = (header[0] & 0x0f) << 2 | header[1] >> 6;
    transport(
        Flow { vlan, src: address(8), dst: address(24), protocol: next, src_port: 0, dst_port: 0 },
        dscp,
        fragment,
        rest,
    )
}

fn transport(mut flow: Flow, dscp: u8, fragment: bool, bytes: &[u8]) -> Frame {
    let mut packet = Packet { flow, dscp, tcp_control: false, fragment, payload: bytes.len() };
    if fragment || !matches!(flow.protocol, 6 | 17) {
        return Frame::Ip(packet);
    }
    let ports = be16(bytes, 0).zip(be16(bytes, 2));
    if flow.protocol == 6 {
        let header_len = bytes.get(12).map_or(0, |b| usize::from(b >> 4) * 4);
        if bytes.len() < 20 || header_len < 20 || header_len > bytes.len() {
            return Frame::Malformed("tcp_malformed");
        }
        packet.tcp_control = bytes[13] & FIN_SYN_RST != 0;
        packet.payload = bytes.len() - header_len;
    } else {
        let length = be16(bytes, 4).map_or(0, usize::from);
        if bytes.len() < 8 || length < 8 || length > bytes.len() {
            return Frame::Malformed("udp_malformed");
        }
        packet.payload = length - 8;
    }
    (flow.src_port, flow.dst_port) = ports.unwrap_or_default();
    packet.flow = flow;
    Frame::Ip(packet)
}
