//! Whether the frame parser and `etherparse` say the same of a frame.
//!
//! Differences that are meant, and why they are left out of the comparison:
//! - etherparse follows tag type 0x9100, a third tag and MACsec; here the first and the last are
//!   other protocols and a third tag is malformed.
//! - etherparse takes an IPv6 payload length or UDP length of 0 for "the rest of the frame";
//!   here there are no jumbograms.
//! - etherparse looks through AH in IPv4, and in IPv6 through ESP, Mobility, HIP and Shim6 where
//!   it can; here these are transports without ports.
//! - etherparse reads the ports of an atomic IPv6 fragment and goes on behind a fragment header;
//!   here every fragment hides its ports.
//! - etherparse refuses a hop-by-hop header that is not the first, and malformed ICMP, IGMP and
//!   ARP; here these are passed on.
//! - etherparse puts no bound on the number of extension headers.

use etherparse::{
    EtherType, LaxSlicedPacket, LenSource, LinkExtSlice, NetSlice, SlicedPacket, TransportSlice,
};
use model::frame::{Frame, Parsed, VLAN_NONE, parse};

/// Extension headers that our parser follows.
const EXTENSIONS_MAX: usize = 8;

/// What came of it.
pub struct Compared {
    /// Both read the packet in full, and nothing in it is a meant difference.
    pub in_full: bool,
    /// Where they differ and should not.
    pub differs: Option<String>,
}

/// Lets both parse `bytes`.
pub fn compare(bytes: &[u8]) -> Compared {
    let frame = parse(bytes, bytes.len() as u32);
    let mut in_full = false;
    let differs = match (&frame, SlicedPacket::from_ethernet(bytes)) {
        (Frame::Ip(parsed), Ok(packet)) => oracle(&packet).and_then(|theirs| {
            in_full = true;
            let ours = View::of(parsed);
            (ours != theirs).then(|| format!("{ours:?}, there {theirs:?}"))
        }),
        // Named here, so it must be refused there too, but for the meant differences.
        (Frame::Malformed(reason), Ok(packet)) => {
            oracle(&packet).map(|theirs| format!("{reason:?}, there {theirs:?}"))
        }
        // An EtherType that is not ours to read.
        (Frame::NonIp { ether_type }, Ok(_)) => {
            matches!(ether_type, 0x0800 | 0x86dd).then(|| format!("{ether_type:#x} is no IP"))
        }
        (Frame::Ip(_) | Frame::NonIp { .. }, Err(error)) => {
            (!is_stricter_there(bytes)).then(|| format!("{frame:?}, there {error}"))
        }
        (Frame::Malformed(_), Err(_)) => None,
    };
    Compared { in_full, differs: differs.map(|how| format!("{how}: {bytes:02x?}")) }
}

/// What both parsers say of an IP packet that hides nothing.
#[derive(Debug, PartialEq)]
struct View {
    vlan: u16,
    src: [u8; 16],
    dst: [u8; 16],
    protocol: u8,
    dscp: u8,
    ports: (u16, u16),
    tcp: Option<(u32, u8)>,
    payload_len: u32,
}

impl View {
    fn of(parsed: &Parsed) -> Self {
        let key = &parsed.key;
        let syn = u32::from(parsed.tcp_flags & 2 != 0);
        Self {
            vlan: key.vlan,
            src: key.src,
            dst: key.dst,
            protocol: key.protocol,
            dscp: parsed.dscp,
            ports: (key.src_port, key.dst_port),
            tcp: (key.protocol == 6 && !parsed.is_fragment)
                .then(|| (parsed.tcp_seq.wrapping_sub(syn), parsed.tcp_flags)),
            payload_len: parsed.payload_len,
        }
    }
}

/// What etherparse says: a view, `None` for a meant difference or for what is not IP.
fn oracle(packet: &SlicedPacket<'_>) -> Option<View> {
    let mut vlan = VLAN_NONE;
    if packet.link_exts.len() > 2 {
        return None;
    }
    for (i, extension) in packet.link_exts.iter().enumerate() {
        let LinkExtSlice::Vlan(tag) = extension else { return None };
        if i == 0 {
            vlan = tag.vlan_identifier().value();
        }
    }
    let left = |octets: [u8; 4]| {
        let mut wide = [0; 16];
        wide[..4].copy_from_slice(&octets);
        wide
    };
    let (src, dst, dscp, payload) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            if ip.extensions().auth.is_some() {
                return None;
            }
            (left(header.source()), left(header.destination()), header.dcp().value(), ip.payload())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let mut next = header.next_header().0;
            for extension in ip.extensions().clone().into_iter() {
                use etherparse::Ipv6ExtensionSlice as E;
                next = match extension {
                    E::HopByHop(e) | E::Routing(e) | E::DestinationOptions(e) => e.next_header().0,
                    E::Authentication(e) => e.next_header().0,
                    E::Fragment(_) => return None,
                };
            }
            let many = ip.extensions().clone().into_iter().count() > EXTENSIONS_MAX;
            if many || next != ip.payload().ip_number.0 {
                return None;
            }
            (header.source(), header.destination(), header.traffic_class() >> 2, ip.payload())
        }
        NetSlice::Arp(_) => return None,
    };
    // ESP, Mobility, HIP, Shim6; and lengths of zero that were taken for "the rest".
    if matches!(payload.ip_number.0, 50 | 135 | 139 | 140) || payload.len_source == LenSource::Slice
    {
        return None;
    }
    let mut view = View {
        vlan,
        src,
        dst,
        protocol: payload.ip_number.0,
        dscp,
        ports: (0, 0),
        tcp: None,
        payload_len: payload.payload.len() as u32,
    };
    match packet.transport.as_ref() {
        Some(TransportSlice::Udp(udp)) => {
            if udp.length() == 0 {
                return None;
            }
            view.ports = (udp.source_port(), udp.destination_port());
            view.payload_len = udp.payload().len() as u32;
        }
        Some(TransportSlice::Tcp(tcp)) => {
            view.ports = (tcp.source_port(), tcp.destination_port());
            view.tcp = Some((tcp.sequence_number(), tcp.slice()[13]));
            view.payload_len = tcp.payload().len() as u32;
        }
        _ => {}
    }
    Some(view)
}

/// Whether only a layer that is not read here is at fault: MACsec, tag type 0x9100, ARP, ICMP,
/// IGMP, AH in IPv4, the order of IPv6 extensions, what follows a fragment header.
fn is_stricter_there(bytes: &[u8]) -> bool {
    match parse(bytes, bytes.len() as u32) {
        Frame::NonIp { ether_type } => {
            [EtherType::MACSEC.0, EtherType::ARP.0, 0x9100].contains(&ether_type)
        }
        Frame::Ip(parsed) => {
            let lax = LaxSlicedPacket::from_ethernet(bytes);
            let hop_by_hop_late = lax.is_ok_and(|lax| {
                lax.stop_err.is_some_and(|(error, _)| error.to_string().contains("hop-by-hop"))
            });
            parsed.is_fragment
                || matches!(parsed.key.protocol, 1 | 2 | 51 | 58 | 135 | 139 | 140)
                || hop_by_hop_late
        }
        Frame::Malformed(_) => false,
    }
}
