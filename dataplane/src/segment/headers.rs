//! Where the headers of a frame lie: the few offsets that segmentation, checksums and ECN need.
//!
//! `model::frame` has read a packet before it comes here and says what it is; it does not keep
//! offsets. Every read is bounded, whatever the bytes say.

/// IP protocol number of TCP.
pub(super) const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const PROTOCOL_UDP: u8 = 17;

/// TCP flags, byte 13 of the header.
pub(super) const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
const URG: u8 = 0x20;
/// Congestion window reduced (RFC 3168, 6.1.2).
pub(super) const CWR: u8 = 0x80;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const TAGS_MAX: usize = 2;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES: usize = 20;
/// Bits of the IPv4 fragment word that make a packet a fragment: more fragments, offset.
const FRAGMENT_MASK: u16 = 0x3fff;

/// Bytes of headers that [`Tcp::read`] accepts at most: two tags, IPv6, TCP with all its options.
pub(super) const HEADER_BYTES_MAX: usize = ETHERNET_BYTES + TAGS_MAX * TAG_BYTES + IPV6_BYTES + 60;

/// TCP options that sign a segment as it was sent: MD5 (RFC 2385) and TCP-AO (RFC 5925).
const SIGNING_OPTIONS: [u8; 2] = [19, 29];

/// Two bytes in network order; 0 beyond the end.
pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_be_bytes(*b))
}

/// Four bytes in network order; 0 beyond the end.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
}

/// Writes `value` in network order; nothing when it does not fit.
pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(to) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *to = value.to_be_bytes();
    }
}

/// As [`put16`].
pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(to) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        *to = value.to_be_bytes();
    }
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// An IP header under at most two VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ip {
    pub(super) version: Version,
    /// Where the header begins in the frame.
    pub(super) at: usize,
    /// Its length, IPv4 options included, IPv6 extensions not.
    pub(super) header_bytes: usize,
    /// IPv4 protocol or IPv6 next header.
    pub(super) protocol: u8,
    /// Bytes above it, by its own account; not checked against the frame.
    pub(super) payload_bytes: usize,
    /// IPv4 only.
    pub(super) is_fragment: bool,
}

impl Ip {
    /// The header of a frame that begins with these bytes; `None` when it carries no IP or its
    /// header is cut off or contradicts itself.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = ETHERNET_BYTES;
        let mut ether_type = be16(bytes, ETHERNET_BYTES - 2);
        for _ in 0..TAGS_MAX {
            if !matches!(ether_type, 0x8100 | 0x88a8) {
                break;
            }
            ether_type = be16(bytes, at + 2);
            at += TAG_BYTES;
        }
        let header = bytes.get(at..)?;
        match ether_type {
            0x0800 => Self::v4(header, at),
            0x86dd => Self::v6(header, at),
            _ => None,
        }
    }

    fn v4(header: &[u8], at: usize) -> Option<Self> {
        let fixed = header.first_chunk::<IPV4_BYTES>()?;
        let header_bytes = usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] >> 4 != 4 || header_bytes < IPV4_BYTES || header.len() < header_bytes {
            return None;
        }
        Some(Self {
            version: Version::V4,
            at,
            header_bytes,
            protocol: fixed[9],
            payload_bytes: usize::from(be16(fixed, 2)).checked_sub(header_bytes)?,
            is_fragment: be16(fixed, 6) & FRAGMENT_MASK != 0,
        })
    }

    fn v6(header: &[u8], at: usize) -> Option<Self> {
        let fixed = header.first_chunk::<IPV6_BYTES>()?;
        (fixed[0] >> 4 == 6).then_some(Self {
            version: Version::V6,
            at,
            header_bytes: IPV6_BYTES,
            protocol: fixed[6],
            payload_bytes: usize::from(be16(fixed, 4)),
            is_fragment: false,
        })
    }

    /// Where the transport header begins in the frame.
    pub(super) const fn transport_at(&self) -> usize {
        self.at + self.header_bytes
    }

    /// Where the packet ends in the frame.
    pub(super) const fn end(&self) -> usize {
        self.transport_at() + self.payload_bytes
    }
}

/// What a frame holds from its TCP header on; `None` where TCP does not stand right above IP, in a
/// fragment, and where its header is cut off.
pub fn tcp_header(bytes: &[u8]) -> Option<&[u8]> {
    let ip = Ip::read(bytes).filter(|ip| ip.protocol == PROTOCOL_TCP && !ip.is_fragment)?;
    bytes.get(ip.transport_at()..).filter(|header| header.len() >= TCP_BYTES)
}

/// The headers of a TCP packet that may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) ip: Ip,
    /// Length of the TCP header with its options.
    pub(super) tcp_bytes: usize,
    /// Sequence number of the first payload byte.
    pub(super) seq: u32,
    pub(super) flags: u8,
}

impl Tcp {
    /// The headers of a frame of `frame_bytes` whose first buffer is `bytes`. `None` when it must not
    /// be cut:
    ///
    /// - not TCP right above IP: IPv6 extension headers, IPv4 options (a source route changes what
    ///   the checksum covers), fragments;
    /// - SYN, RST or URG: what they say belongs to one segment, and an urgent pointer counts from
    ///   the sequence number that a cut would change;
    /// - options that sign the segment as it was sent;
    /// - no payload, headers beyond the first buffer, or bytes behind the IP packet.
    pub(super) fn read(bytes: &[u8], frame_bytes: usize) -> Option<Self> {
        let ip = Ip::read(bytes)?;
        let plain = ip.protocol == PROTOCOL_TCP
            && !ip.is_fragment
            && (ip.version == Version::V6 || ip.header_bytes == IPV4_BYTES);
        if !plain || ip.end() != frame_bytes {
            return None;
        }
        let header = bytes.get(ip.transport_at()..)?;
        let tcp_bytes = usize::from(header.get(12)? >> 4) * 4;
        let options = header.get(TCP_BYTES..tcp_bytes)?;
        let flags = header[13];
        if flags & (SYN | RST | URG) != 0
            || !may_be_copied(options)
            || tcp_bytes >= ip.payload_bytes
        {
            return None;
        }
        Some(Self { ip, tcp_bytes, seq: be32(header, 4), flags })
    }

    /// Where the payload begins in the frame.
    pub(super) const fn header_bytes(&self) -> usize {
        self.ip.transport_at() + self.tcp_bytes
    }

    /// Bytes of payload, at least 1.
    pub(super) const fn payload_bytes(&self) -> usize {
        self.ip.payload_bytes - self.tcp_bytes
    }
}

/// Whether every segment may carry these TCP options (at most 40 bytes).
fn may_be_copied(mut options: &[u8]) -> bool {
    loop {
        match *options {
            [] | [0, ..] => return true,
            [1, ref rest @ ..] => options = rest,
            [kind, len, ..] if len >= 2 && !SIGNING_OPTIONS.contains(&kind) => {
                match options.get(usize::from(len)..) {
                    Some(rest) => options = rest,
                    None => return false,
                }
            }
            _ => return false,
        }
    }
}
