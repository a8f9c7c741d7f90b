//! Builds frames with right lengths and checksums.

/// Shortest frame without FCS, bytes.
const FRAME_BYTES_MIN: usize = 60;

/// Longest payload that is made, bytes: with every header it fits an MTU of 1,500.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 1_400;

/// A MAC address of the made-up hosts, locally administered.
pub(crate) const fn host_mac(n: u8) -> [u8; 6] {
    [0x02, 0x57, 0x50, 0, 0, n]
}

/// MAC address of the gateway's inside, and so of every frame to the venue.
pub(crate) const ROUTER_MAC: [u8; 6] = [0x02, 0x57, 0x50, 0xff, 0, 1];

/// Everything below the transport header.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    pub(crate) src_mac: [u8; 6],
    pub(crate) dst_mac: [u8; 6],
    pub(crate) vlan: Option<u16>,
    pub(crate) src: [u8; 4],
    pub(crate) dst: [u8; 4],
    pub(crate) dscp: u8,
    pub(crate) ttl: u8,
}

/// A TCP header's changing fields.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
}

/// A frame of another protocol than IP.
pub(crate) fn ethernet(src: [u8; 6], dst: [u8; 6], ether_type: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES_MIN.max(14 + body.len()));
    frame.extend(dst);
    frame.extend(src);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(body);
    pad(frame)
}

/// A UDP datagram.
pub(crate) fn udp(path: &Path, id: u16, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend(((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = transport_checksum(path, 17, &datagram);
    // Zero would mean "none" (RFC 768).
    let sum = if sum == 0 { 0xffff } else { sum };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(path, id, 17, &datagram)
}

/// A TCP segment; `options` is a multiple of 4 bytes.
pub(crate) fn tcp(
    path: &Path,
    id: u16,
    ports: (u16, u16),
    segment: Segment,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + options.len() + payload.len());
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.to_be_bytes());
    bytes.extend([((20 + options.len()) as u8 / 4) << 4, segment.flags]);
    bytes.extend(segment.window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes.extend(payload);
    let sum = transport_checksum(path, 6, &bytes);
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(path, id, 6, &bytes)
}

fn ipv4(path: &Path, id: u16, protocol: u8, above: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[1] = path.dscp << 2;
    header[2..4].copy_from_slice(&((20 + above.len()) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6] = 0x40; // don't fragment
    header[8] = path.ttl;
    header[9] = protocol;
    header[12..16].copy_from_slice(&path.src);
    header[16..20].copy_from_slice(&path.dst);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(FRAME_BYTES_MIN.max(18 + header.len() + above.len()));
    frame.extend(path.dst_mac);
    frame.extend(path.src_mac);
    if let Some(vlan) = path.vlan {
        frame.extend(0x8100u16.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(0x0800u16.to_be_bytes());
    frame.extend(header);
    frame.extend(above);
    pad(frame)
}

fn pad(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(FRAME_BYTES_MIN), 0);
    frame
}

fn transport_checksum(path: &Path, protocol: u8, bytes: &[u8]) -> u16 {
    let len = (bytes.len() as u16).to_be_bytes();
    checksum(&[&path.src, &path.dst, &[0, protocol], &len, bytes])
}

/// The Internet checksum (RFC 1071). Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
