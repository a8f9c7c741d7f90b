//! A captured frame as the KPIs need it: headers read, wherever its bytes are gone.

use dataplane::segment::tcp_header;
use model::frame::{Frame as Headers, PROTOCOL_TCP, Parsed, parse};
use model::meta::{PacketMeta, flags};
use model::time::Nanos;

use crate::kernel::bytes::be16_at;
use crate::kernel::ring::Frame;

const ACK: u8 = 0x10;
const BEGIN_OR_END: u8 = 0x07;
/// Frame bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

/// Where a frame was captured, and which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It left towards the venue.
    EgressOut,
    /// It came from the venue.
    EgressIn,
    /// It left towards the strategies.
    IngressOut,
    /// It came from the strategies.
    IngressIn,
}

/// A frame of IP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// When, gateway time.
    pub at: Nanos,
    /// Where.
    pub place: Place,
    /// Its headers.
    pub parsed: Parsed,
    /// Frame bytes, a tag and padding included.
    pub len: u32,
    /// Of those, in front of the payload.
    pub header_bytes: u32,
    /// Payload bytes of a segment, of a super-frame.
    pub segment_bytes: Option<u16>,
    /// TCP: what its sender waits for.
    pub ack: Option<u32>,
    /// Of the first payload bytes: tells datagrams apart.
    pub digest: u64,
}

/// Why a frame is none of those that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSeen {
    /// ARP and the like.
    NotIp,
    /// Its headers cannot be read.
    Malformed,
}

impl Seen {
    /// Reads `frame`, captured at `at` in `place`.
    ///
    /// # Errors
    /// It is not IP, or cannot be read.
    pub fn read(frame: &Frame<'_>, at: Nanos, place: Place) -> Result<Self, NotSeen> {
        let mut parsed = match parse(frame.bytes, frame.len) {
            Headers::Ip(parsed) => parsed,
            Headers::NonIp { .. } => return Err(NotSeen::NotIp),
            Headers::Malformed(_) => return Err(NotSeen::Malformed),
        };
        let mut len = frame.len;
        // The kernel takes the outer tag out and tells it beside the frame.
        if let Some(vlan) = frame.vlan {
            parsed.key.vlan = vlan;
            len += TAG_BYTES;
        }
        let header = tcp_header(frame.bytes);
        let number = header.and_then(|header| header.get(8..)?.first_chunk().copied());
        let ack = number.map(u32::from_be_bytes).filter(|_| parsed.tcp_flags & ACK != 0);
        let end = packet_end(frame.bytes);
        let payload_at = end.saturating_sub(parsed.payload_len as usize);
        // Not all of it may have been kept, and padding is none of it.
        let payload = frame.bytes.get(payload_at..end.min(frame.bytes.len()));
        Ok(Self {
            at,
            place,
            parsed,
            len,
            header_bytes: payload_at as u32 + (len - frame.len),
            segment_bytes: frame.segment_bytes,
            ack,
            digest: fnv(payload.unwrap_or_default()),
        })
    }

    /// Whether it carries TCP that is no fragment.
    pub const fn is_tcp(&self) -> bool {
        self.parsed.key.protocol == PROTOCOL_TCP && !self.parsed.is_fragment
    }

    /// Payload bytes of each frame that it is on the wire: its own, or those of the segments of a
    /// super-frame.
    pub fn segments(&self) -> impl Iterator<Item = u32> + Clone + use<> {
        let payload = self.parsed.payload_len;
        let each = self.segment_bytes.map_or(payload, u32::from).max(1);
        let count = payload.div_ceil(each).max(1);
        (0..count).map(move |n| payload.saturating_sub(n * each).min(each))
    }

    /// The bits of [`PacketMeta::flags`].
    pub const fn flags(&self) -> u8 {
        let mut bits = 0;
        if self.is_tcp() {
            bits |= flags::TCP;
        }
        if self.parsed.payload_len > 0 {
            bits |= flags::PAYLOAD;
        } else if self.is_tcp() && self.parsed.tcp_flags & BEGIN_OR_END == 0 {
            bits |= flags::BARE;
        }
        bits
    }

    /// Its metadata, of a frame of `len` bytes that was handed over at `dispatch`.
    pub fn meta(&self, class: u8, label: u16, dispatch: Nanos, len: u32) -> PacketMeta {
        PacketMeta {
            arrival: dispatch,
            due: dispatch,
            sched: dispatch,
            decision_lag_ns: u32::MAX,
            label,
            class,
            len: u16::try_from(len).unwrap_or(u16::MAX),
            flags: self.flags(),
            ..PacketMeta::default()
        }
    }
}

/// Where the IP packet of a frame ends and padding begins; the frame was parsed before.
fn packet_end(bytes: &[u8]) -> usize {
    const TAGS: [u16; 2] = [0x8100, 0x88a8];
    const IPV4: u16 = 0x0800;
    let mut at = 12;
    while be16_at(bytes, at).is_some_and(|kind| TAGS.contains(&kind)) {
        at += TAG_BYTES as usize;
    }
    // IPv4 counts its header in its length, IPv6 does not.
    let (length_at, header) = if be16_at(bytes, at) == Some(IPV4) { (2, 0) } else { (4, 40) };
    let packet = at + 2;
    packet + header + usize::from(be16_at(bytes, packet + length_at).unwrap_or_default())
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
