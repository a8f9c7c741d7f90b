//! Super-frames, frames above the egress port's maximum: refused, cut here, or left to the NIC.
//!
//! Order of use: where a posture is hardware, [`check_hardware`] before the port starts. Make one
//! [`SegmentStage`] for each lane; it knows the posture of each class and asks one [`Segmenter`]. Then,
//! for each packet that is classified and not fit to send as it is, [`SegmentStage::pass`]; each packet
//! that comes out of it enters its flow with metadata of its own. Whatever happens, the packet that went in has one end: it is replaced by
//! its segments, comes back to be sent whole, or comes back with the one reason under which it ends.
//!
//! **Where the cuts are.** Every segment but the last is a full frame of the egress maximum, tags
//! included, and no longer than one buffer of the pool. What the sending host would have cut it to
//! does not stand in a frame; only a driver that has merged frames (LRO) says what it was, and then
//! segments are no longer than that.
//!
//! **What is cut.** TCP right above IPv4 or IPv6 under at most two VLAN tags. All else ends as
//! `segment_unsupported`: UDP, IPv4 options, IPv6 extension headers, fragments, SYN, RST, URG, signed
//! segments (MD5, TCP-AO), bytes behind the IP packet, and a checksum that is wrong: cutting would
//! make it right. A checksum that the sender left to its device ([`checksum::State::Unfinished`]) is
//! finished by cutting.
//!
//! **What each segment gets.** IPv4 id counting up, lengths, sequence number; FIN and PSH on the last
//! only, CWR on the first only; full checksums. Metadata as the super-frame's, except its length,
//! its payload and the end of its sequence numbers, so that the pacer tells bytes that it holds already
//! segment by segment, and its messages: the first segment carries all of them, the others none, so
//! their sum stays.

pub mod checksum;
mod ecn;
mod gso;
mod headers;
mod stage;

use model::drop_reason::DropReason;
use model::meta::{PacketMeta, WIRE_OVERHEAD_BYTES};
/// What becomes of a super-frame: refused, cut here so that each segment is paced, or cut by the NIC,
/// paced as one packet.
pub use model::profile::Segment as Posture;

pub use ecn::mark_ce;
pub use gso::{TsoRequest, tso_request};
pub use headers::tcp_header;
pub use stage::SegmentStage;

use crate::batch::{Batch, Drain};
use crate::mbuf::Mbuf;
use crate::pool::{Pool, PoolError};
use checksum::{IPV4_CHECKSUM_AT, State, TCP_CHECKSUM_AT};
use gso::Pools;
use headers::{CWR, FIN, HEADER_BYTES_MAX, Ip, PSH, Tcp, Version, be16, put16, put32};

/// Segments of one super-frame at most: 64 KB in frames of 1,514 bytes are 45.
pub const SEGMENTS_MAX: usize = 64;

/// TX offloads (`RTE_ETH_TX_OFFLOAD_*`) that a port needs for [`Posture::Hardware`], to be asked for
/// at its configuration.
pub const HARDWARE_OFFLOADS: u64 = dpdk_sys::WP_TX_OFFLOAD_TCP_TSO
    | dpdk_sys::WP_TX_OFFLOAD_TCP_CKSUM
    | dpdk_sys::WP_TX_OFFLOAD_IPV4_CKSUM
    | dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS;

/// The longest super-frame that is left to a NIC, bytes: with what it takes on the wire besides, a
/// turn in the pacer still counts it in 16 bits. 64 KiB of TCP with its headers may be 38 bytes longer;
/// such a one ends as `tx_oversize`.
pub const HARDWARE_BYTES_MAX: u32 = u16::MAX as u32 - WIRE_OVERHEAD_BYTES;

/// A port that cannot cut super-frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "segment = \"hardware\" needs a device that cuts TCP, and this one lacks {missing}: say \
     segment = \"software\" or \"refuse\""
)]
pub struct NoHardware {
    /// Names of the offloads that it lacks.
    pub missing: String,
}

/// Whether a port whose device offers these TX offloads can be given super-frames.
///
/// # Errors
/// [`NoHardware`]: start is to be refused.
pub fn check_hardware(tx_offload_capa: u64) -> Result<(), NoHardware> {
    let missing: Vec<_> = [
        (dpdk_sys::WP_TX_OFFLOAD_TCP_TSO, "TCP_TSO"),
        (dpdk_sys::WP_TX_OFFLOAD_TCP_CKSUM, "TCP_CKSUM"),
        (dpdk_sys::WP_TX_OFFLOAD_IPV4_CKSUM, "IPV4_CKSUM"),
        (dpdk_sys::WP_TX_OFFLOAD_MULTI_SEGS, "MULTI_SEGS"),
    ]
    .into_iter()
    .filter(|(bit, _)| tx_offload_capa & bit == 0)
    .map(|(_, name)| name)
    .collect();
    if missing.is_empty() { Ok(()) } else { Err(NoHardware { missing: missing.join(", ") }) }
}

/// Whether a packet can be sent as it is: in one buffer and no longer than the egress port's frames.
#[inline]
pub const fn is_fit(packet: &Mbuf, frame_bytes_max: u32) -> bool {
    packet.len() <= frame_bytes_max && packet.segment_count() == 1
}

/// What a cut adds to the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Packets beyond the one that came: `segments_added`.
    pub segments: u32,
    /// Bytes of headers beyond those that came: `bytes_added`.
    pub bytes: u32,
}

/// A super-frame in pieces.
pub struct Cut<'a> {
    /// The segments in order, at least two. Those that are not taken are freed.
    pub segments: Drain<'a>,
    /// See [`Added`].
    pub added: Added,
}

/// What [`Segmenter::pass`] makes of a packet.
pub enum Passed<'a> {
    /// One packet, to go on in its place: it was fit, or was made so, or the NIC cuts it.
    Whole(Mbuf),
    /// Its segments.
    Cut(Cut<'a>),
}

/// Cuts super-frames. One for each lane: it is used by one thread.
pub struct Segmenter {
    pool: Pool,
    gso: Pools,
    /// What leaves as the answer.
    segments: Batch,
    /// What rte_gso makes; empty between calls.
    parts: Batch,
}

impl Segmenter {
    /// A segmenter that takes the buffers of its segments from `pool`. `name` (up to 21 bytes, of its
    /// own) names two small pools that it makes beside it, about 180 KiB together.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new(pool: &Pool, name: &str) -> Result<Self, PoolError> {
        Ok(Self {
            pool: pool.clone(),
            gso: Pools::create(pool, name)?,
            segments: Batch::new(),
            parts: Batch::new(),
        })
    }

    /// Makes a classified packet fit for a port that sends frames of up to `frame_bytes_max`, as
    /// `posture` says. Its metadata is that of the whole packet.
    ///
    /// A packet that is fit comes back untouched. One that is a chain of buffers, but not too long,
    /// comes back in one buffer unless the posture is to refuse. Bounded by [`SEGMENTS_MAX`] segments
    /// and 64 KiB; nothing is allocated but buffers of the pools.
    ///
    /// # Errors
    /// The packet, and why it ends: `tx_oversize`, `segment_unsupported`, `segment_too_many`,
    /// `pool_empty`. No buffer is kept.
    pub fn pass(
        &mut self,
        posture: Posture,
        mut packet: Mbuf,
        frame_bytes_max: u32,
    ) -> Result<Passed<'_>, (Mbuf, DropReason)> {
        if is_fit(&packet, frame_bytes_max) {
            return Ok(Passed::Whole(packet));
        }
        let done = match posture {
            Posture::Refuse => Err(DropReason::TxOversize),
            _ if packet.len() <= frame_bytes_max => {
                return match self.in_one_buffer(&packet) {
                    Ok(whole) => Ok(Passed::Whole(whole)),
                    Err(reason) => Err((packet, reason)),
                };
            }
            Posture::Software => self.cut(&mut packet, frame_bytes_max),
            Posture::Hardware => {
                return match leave_to_nic(&mut packet, frame_bytes_max) {
                    Ok(()) => Ok(Passed::Whole(packet)),
                    Err(reason) => Err((packet, reason)),
                };
            }
        };
        self.parts.clear();
        match done {
            Ok(added) => Ok(Passed::Cut(Cut { segments: self.segments.drain(), added })),
            Err(reason) => {
                self.segments.clear();
                Err((packet, reason))
            }
        }
    }

    /// Buffers of its own pools that are out; 0 between calls.
    pub fn buffers_in_use(&self) -> u32 {
        self.gso.in_use()
    }

    /// Fills `self.segments`; leaves `self.parts` for the caller to free.
    fn cut(&mut self, packet: &mut Mbuf, frame_bytes_max: u32) -> Result<Added, DropReason> {
        // Both bounds are below 2^16, so segments are.
        let frame_bytes_max = frame_bytes_max.min(u32::from(self.pool.segment_bytes_max()));
        let plan = Plan::new(packet, frame_bytes_max)?;
        if !self.pool.alloc_bulk(plan.count, &mut self.segments) {
            return Err(DropReason::PoolEmpty);
        }
        match plan.tcp.ip.version {
            Version::V4 => self.cut_by_gso(packet, &plan)?,
            Version::V6 => self.cut_by_hand(packet, &plan)?,
        }
        let stamp = packet.rx_stamp();
        let mut offset = 0;
        for (i, segment) in self.segments.iter_mut().enumerate() {
            let payload = plan.payload_max.min(plan.tcp.payload_bytes() - offset);
            offset += payload;
            finish(segment.data_mut(), &plan.tcp, i == 0);
            *segment.meta_mut() = PacketMeta {
                len: segment.len() as u16,
                tcp_end_seq: plan.tcp.seq.wrapping_add(offset as u32),
                messages: if i == 0 { packet.meta().messages } else { 0 },
                ..*packet.meta()
            };
            if packet.meta().segment_bytes() > 0 {
                segment.meta_mut().set_segment_bytes(payload as u32);
            }
            if let Some(stamp) = stamp {
                segment.set_rx_stamp(stamp);
            }
        }
        let segments = plan.count as u32 - 1;
        Ok(Added { segments, bytes: segments * plan.tcp.header_bytes() as u32 })
    }

    /// TCP/IPv4: rte_gso cuts, each of its segments is copied into one buffer.
    fn cut_by_gso(&mut self, packet: &mut Mbuf, plan: &Plan) -> Result<(), DropReason> {
        let frame_bytes_max = (plan.tcp.header_bytes() + plan.payload_max) as u16;
        gso::cut_tcp4(packet, &plan.tcp, frame_bytes_max, plan.count, &self.gso, &mut self.parts)?;
        for (segment, part) in self.segments.iter_mut().zip(&self.parts) {
            for piece in part.segments() {
                segment.append(piece).map_err(|_| DropReason::SegmentUnsupported)?;
            }
        }
        Ok(())
    }

    /// TCP/IPv6: the same shape, which rte_gso 22.11 cannot make.
    fn cut_by_hand(&mut self, packet: &Mbuf, plan: &Plan) -> Result<(), DropReason> {
        let tcp = &plan.tcp;
        let mut headers = [0; HEADER_BYTES_MAX];
        let headers = &mut headers[..tcp.header_bytes()];
        headers.copy_from_slice(&packet.data()[..tcp.header_bytes()]);
        let tcp_at = tcp.ip.transport_at();
        let mut payload = Bytes::of(packet);
        payload.skip(tcp.header_bytes());
        let mut offset = 0;
        for segment in &mut self.segments {
            let wanted = plan.payload_max.min(tcp.payload_bytes() - offset);
            let is_last = offset + wanted == tcp.payload_bytes();
            put16(headers, tcp.ip.at + 4, (tcp.tcp_bytes + wanted) as u16);
            put32(headers, tcp_at + 4, tcp.seq.wrapping_add(offset as u32));
            headers[tcp_at + 13] = if is_last { tcp.flags } else { tcp.flags & !(FIN | PSH) };
            let mut fits = segment.append(headers).is_ok();
            payload.take(wanted, |piece| fits &= segment.append(piece).is_ok());
            if !fits {
                return Err(DropReason::SegmentUnsupported);
            }
            offset += wanted;
        }
        Ok(())
    }

    /// A copy of a chain in one buffer.
    fn in_one_buffer(&self, packet: &Mbuf) -> Result<Mbuf, DropReason> {
        if packet.len() > u32::from(self.pool.segment_bytes_max()) {
            return Err(DropReason::TxOversize);
        }
        let mut whole = self.pool.alloc().ok_or(DropReason::PoolEmpty)?;
        for piece in packet.segments() {
            whole.append(piece).map_err(|_| DropReason::TxOversize)?;
        }
        *whole.meta_mut() = *packet.meta();
        if let Some(stamp) = packet.rx_stamp() {
            whole.set_rx_stamp(stamp);
        }
        Ok(whole)
    }
}

/// How a super-frame is to be cut.
struct Plan {
    tcp: Tcp,
    /// Payload bytes of each segment but the last, at least 1.
    payload_max: usize,
    /// Segments, 2 to [`SEGMENTS_MAX`].
    count: usize,
}

impl Plan {
    fn new(packet: &Mbuf, frame_bytes_max: u32) -> Result<Self, DropReason> {
        const UNSUPPORTED: DropReason = DropReason::SegmentUnsupported;
        let tcp = Tcp::read(packet.data(), packet.len() as usize).ok_or(UNSUPPORTED)?;
        let room = (frame_bytes_max as usize).checked_sub(tcp.header_bytes());
        let merged = gso::merged_payload_bytes(packet).map_or(usize::MAX, usize::from);
        let payload_max = room.unwrap_or(0).min(merged).min(usize::from(u16::MAX));
        if payload_max == 0 {
            return Err(UNSUPPORTED);
        }
        let count = tcp.payload_bytes().div_ceil(payload_max);
        if count > SEGMENTS_MAX {
            return Err(DropReason::SegmentTooMany);
        }
        if !is_honest(packet, &tcp.ip) {
            return Err(UNSUPPORTED);
        }
        Ok(Self { tcp, payload_max, count })
    }
}

/// Whether checksums may be made anew: those that stand there are right, or were left to a device.
fn is_honest(packet: &Mbuf, ip: &Ip) -> bool {
    let bytes = packet.data();
    if ip.version == Version::V4 {
        let header = bytes.get(ip.at..ip.transport_at()).unwrap_or_default();
        if be16(header, IPV4_CHECKSUM_AT) != 0 && !checksum::ipv4_header_is_intact(header) {
            return false;
        }
    }
    matches!(checksum::state_of(packet.segments(), ip), Some(State::Intact | State::Unfinished))
}

/// What neither way of cutting does: CWR and the checksums of a segment in one buffer.
fn finish(frame: &mut [u8], tcp: &Tcp, is_first: bool) {
    if let Some(flags) = frame.get_mut(tcp.ip.transport_at() + 13)
        && !is_first
    {
        *flags &= !CWR;
    }
    checksum::fill(frame);
}

/// Writes into the packet and its mbuf what a NIC's TSO wants to find.
fn leave_to_nic(packet: &mut Mbuf, frame_bytes_max: u32) -> Result<(), DropReason> {
    if packet.len() > HARDWARE_BYTES_MAX {
        return Err(DropReason::TxOversize);
    }
    let Plan { tcp, payload_max, .. } = Plan::new(packet, frame_bytes_max)?;
    let frame = packet.data_mut();
    // The NIC adds the length of each segment to the sum.
    let sum = checksum::pseudo_header(frame, &tcp.ip, 0).folded();
    put16(frame, tcp.ip.transport_at() + TCP_CHECKSUM_AT, sum);
    if tcp.ip.version == Version::V4 {
        put16(frame, tcp.ip.at + IPV4_CHECKSUM_AT, 0);
    }
    gso::request_tso(packet, &tcp, payload_max as u16);
    Ok(())
}

/// The bytes of a packet from front to back, whatever buffers they lie in.
struct Bytes<'a> {
    piece: &'a [u8],
    rest: crate::mbuf::Segments<'a>,
}

impl<'a> Bytes<'a> {
    fn of(packet: &'a Mbuf) -> Self {
        Self { piece: &[], rest: packet.segments() }
    }

    /// Gives the next `n` bytes, or all that is left, piece by piece.
    fn take(&mut self, mut n: usize, mut each: impl FnMut(&'a [u8])) {
        while n > 0 {
            if self.piece.is_empty() {
                let Some(piece) = self.rest.next() else { return };
                self.piece = piece;
            }
            let (piece, rest) = self.piece.split_at(n.min(self.piece.len()));
            self.piece = rest;
            n -= piece.len();
            each(piece);
        }
    }

    fn skip(&mut self, n: usize) {
        self.take(n, |_| ());
    }
}
