//! TCP connections of drills: a sender that writes by a period, in whole segments or in super-frames.

use model::time::Nanos;

use super::peer::Peer;
use super::traffic::PORT_FIRST;
use super::wire::Wire;
use crate::generate::{PacketPath, Segment, host_mac, tcp};

/// Payload bytes of a segment.
pub const SEGMENT_BYTES: u16 = 1_400;
/// Port of the side that writes.
pub const WRITER_PORT: u16 = 30_000;
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

/// The number after the last byte of payload in a frame of the writer; `None` without payload.
pub fn end_of(frame: &[u8]) -> Option<u32> {
    let total = frame.get(16..18).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))?;
    let seq = frame.get(38..42).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))?;
    let header = usize::from(frame.get(46)? >> 4) * 4;
    let payload = total.checked_sub(20 + header).filter(|bytes| *bytes > 0)?;
    Some(seq.wrapping_add(payload as u32))
}
