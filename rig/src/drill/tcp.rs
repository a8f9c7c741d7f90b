//! TCP connections of drills: a sender that writes by a period, in whole segments or in super-frames.

use model::meta::wire_len;
use model::time::Nanos;

use super::peer::Peer;
use super::traffic::PORT_FIRST;
use super::wire::Wire;
use crate::generate::{PacketPath, Segment, host_mac, tcp};

/// Payload bytes of a segment.
pub const SEGMENT_BYTES: u16 = 1_460;
/// Port of the side that writes.
pub const WRITER_PORT: u16 = 30_000;
/// Windows that a tap counts bytes in, as SBF does.
const WINDOW: Nanos = Nanos::from_micros(250);
const ACK: u8 = 0x10;
const PSH_ACK: u8 = 0x18;

/// Addresses of the writer and of its peer.
fn path(to_venue: bool) -> PacketPath {
    let (writer, peer) = ([10, 1, 0, 1], [10, 9, 0, 1]);
    let (src, dst) = if to_venue { (writer, peer) } else { (peer, writer) };
    PacketPath {
        src_mac: host_mac(1),
        dst_mac: host_mac(2),
        vlan: None,
        src,
        dst,
        dscp: 0,
        ttl: 64,
    }
}

/// An acknowledgement of everything before `number`, from the venue.
pub fn ack(id: u16, number: u32) -> Vec<u8> {
    let segment = Segment { seq: 1, ack: number, flags: ACK, window: 65_535 };
    tcp(&path(false), id, (PORT_FIRST, WRITER_PORT), segment, &[], &[])
}

/// Writes so many segments at once, every so often, as one frame.
pub struct Stream {
    next: Nanos,
    until: Nanos,
    every: Nanos,
    segments: u16,
    seq: u32,
    id: u16,
}

impl Stream {
    /// From the first time of the span on, up to the second.
    pub const fn new((from, until): (Nanos, Nanos), every: Nanos, segments: u16) -> Self {
        Self { next: from, until, every, segments, seq: 1, id: 0 }
    }
}

impl Peer for Stream {
    fn next_event(&self) -> Option<Nanos> {
        Some(self.next).filter(|next| *next < self.until)
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            let payload = vec![0; usize::from(self.segments * SEGMENT_BYTES)];
            let segment = Segment { seq: self.seq, ack: 1, flags: PSH_ACK, window: 65_535 };
            let ports = (WRITER_PORT, PORT_FIRST);
            to_gateway.send(at, tcp(&path(true), self.id, ports, segment, &[], &payload));
            self.seq = self.seq.wrapping_add(payload.len() as u32);
            self.id = self.id.wrapping_add(self.segments);
            self.next = at.saturating_add(self.every);
        }
    }
}

/// A tap at the venue: super-frames stand on the wire as their segments, one behind the other.
pub struct Tap {
    link_bits_per_s: u64,
    /// When the last segment had left.
    wire_free: Nanos,
    /// Bytes of the burst that is going on.
    burst_bytes: u64,
    ahead_ns: Vec<u64>,
    /// Bytes of a window, and the most of one.
    window: (u64, u64),
    window_most: u64,
}

impl Tap {
    /// On a link of this rate.
    pub const fn new(link_bits_per_s: u64) -> Self {
        Self {
            link_bits_per_s,
            wire_free: Nanos::ZERO,
            burst_bytes: 0,
            ahead_ns: Vec::new(),
            window: (0, 0),
            window_most: 0,
        }
    }

    fn takes(&self, bytes: u64) -> u64 {
        bytes * 8_000_000_000 / self.link_bits_per_s.max(1)
    }

    /// A segment of so many wire bytes begins at `at` or behind the one ahead.
    fn segment(&mut self, at: Nanos, bytes: u64) {
        if at > self.wire_free {
            self.burst_bytes = 0;
        }
        let begins = at.max(self.wire_free);
        self.ahead_ns.push(self.takes(self.burst_bytes));
        self.burst_bytes += bytes;
        self.wire_free = begins.saturating_add(Nanos(self.takes(bytes)));
        let window = begins.0 / WINDOW.0;
        self.window = if self.window.0 == window { self.window } else { (window, 0) };
        self.window.1 += bytes;
        self.window_most = self.window_most.max(self.window.1);
    }
}

impl Peer for Tap {
    fn next_event(&self) -> Option<Nanos> {
        None
    }

    fn act(&mut self, _: Nanos, _: &Wire) {}

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        const HEADER_BYTES: usize = 54;
        let payload = frame.len().saturating_sub(HEADER_BYTES);
        let segments = payload.div_ceil(usize::from(SEGMENT_BYTES)).max(1);
        let mut left = payload;
        for _ in 0..segments {
            let bytes = left.min(usize::from(SEGMENT_BYTES));
            left -= bytes;
            self.segment(at, u64::from(wire_len((HEADER_BYTES + bytes) as u32)));
        }
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        let mut ahead = self.ahead_ns.clone();
        ahead.sort_unstable();
        let p95 = ahead.get(ahead.len() * 95 / 100).map(|ns| *ns as f64);
        let wst = p95.map(|p95| ("tap_wst_p95_ns", p95));
        let counts = [
            ("tap_segments", self.ahead_ns.len() as f64),
            ("tap_window_bytes_max", self.window_most as f64),
        ];
        counts.into_iter().chain(wst).collect()
    }
}

/// The number after the last byte of payload in a frame of the writer; `None` without payload.
pub fn end_of(frame: &[u8]) -> Option<u32> {
    let total = frame.get(16..18).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))?;
    let seq = frame.get(38..42).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))?;
    let header = usize::from(frame.get(46)? >> 4) * 4;
    let payload = total.checked_sub(20 + header).filter(|bytes| *bytes > 0)?;
    Some(seq.wrapping_add(payload as u32))
}
