//! What segmentation asks of DPDK: rte_gso for TCP/IPv4, and the mbuf fields that a NIC's TSO reads.
//!
//! rte_gso 22.11 cuts TCP/IPv4 only and answers 0 for anything else, as if there were nothing to do.
//! It sets lengths, ids, sequence numbers and takes FIN and PSH off all but the last segment; it
//! fills no checksum and leaves CWR on every segment. A segment is a copy of the headers in a buffer
//! of one pool, followed by buffers without bytes of their own, of another pool, that point into the
//! super-frame.
#![allow(unsafe_code)]

use model::drop_reason::DropReason;

use super::SEGMENTS_MAX;
use super::headers::{HEADER_BYTES_MAX, Tcp, Version};
use crate::batch::Batch;
use crate::mbuf::Mbuf;
use crate::pool::{HEADROOM_BYTES, Pool, PoolError};

/// Buffers of one super-frame that rte_gso is given at most. Segments point into them with a buffer
/// for each piece, so at most this many pieces more than there are segments.
const INPUT_BUFFERS_MAX: usize = 191;
/// 2^n - 1 buffers use a pool's memory best.
const HEADER_BUFFERS: usize = 127;
const PIECE_BUFFERS: usize = SEGMENTS_MAX + INPUT_BUFFERS_MAX;

/// The two pools that rte_gso takes its buffers from; all are back when a cut is over.
pub(super) struct Pools {
    headers: Pool,
    pieces: Pool,
}

impl Pools {
    /// Pools of their own beside `pool`, so that a cut cannot fail half-way for want of them. Without
    /// caches: they are used rarely, by one thread, and a cache would keep buffers.
    pub(super) fn create(pool: &Pool, name: &str) -> Result<Self, PoolError> {
        let make = |what: &str, buffers: usize, bytes: usize| {
            let room = HEADROOM_BYTES + bytes as u16;
            Pool::create(pool.eal(), &format!("{name}-{what}"), buffers as u32, room, 0)
        };
        Ok(Self {
            headers: make("hdr", HEADER_BUFFERS, HEADER_BYTES_MAX)?,
            // Not a byte is used; a pool of none is not to be had.
            pieces: make("seg", PIECE_BUFFERS, 1)?,
        })
    }

    /// Buffers that are out.
    pub(super) fn in_use(&self) -> u32 {
        self.headers.in_use() + self.pieces.in_use()
    }
}

/// The mbuf of a packet.
fn raw(packet: &Mbuf) -> *mut dpdk_sys::rte_mbuf {
    // SAFETY: an `Mbuf` is exactly such a pointer (`repr(transparent)`).
    unsafe { std::ptr::from_ref(packet).cast::<*mut dpdk_sys::rte_mbuf>().read() }
}

fn set_lengths(packet: &mut Mbuf, tcp: &Tcp, payload_max: u16) {
    let (l2, l3, l4) = (tcp.ip.at as u32, tcp.ip.header_bytes as u32, tcp.tcp_bytes as u32);
    // SAFETY: the packet is live and owned. 22, 40 and 60 bytes at most: all fit their bits.
    unsafe { dpdk_sys::wp_mbuf_set_tx_lengths(raw(packet), l2, l3, l4, u32::from(payload_max)) }
}

/// Cuts a TCP/IPv4 packet into `expected` segments of up to `frame_bytes_max`, added to `parts`, which
/// is empty. They point into `packet`, which stays.
pub(super) fn cut_tcp4(
    packet: &mut Mbuf,
    tcp: &Tcp,
    frame_bytes_max: u16,
    expected: usize,
    pools: &Pools,
    parts: &mut Batch,
) -> Result<(), DropReason> {
    if usize::from(packet.segment_count()) > INPUT_BUFFERS_MAX {
        return Err(DropReason::SegmentUnsupported);
    }
    set_lengths(packet, tcp, 0);
    let room = expected.min(parts.room()) as u16;
    // SAFETY: the packet is live and owned, its lengths are set and its headers lie in its first
    // buffer (`Tcp::read`); both pools are live; the tail of `parts` has room for `room` entries.
    let made = unsafe {
        dpdk_sys::wp_gso_tcp4(
            raw(packet),
            pools.headers.raw(),
            pools.pieces.raw(),
            frame_bytes_max,
            parts.tail_ptr(),
            room,
        )
    };
    let Ok(made) = usize::try_from(made) else {
        let no_buffer = made == -libc::ENOMEM;
        return Err(if no_buffer { DropReason::PoolEmpty } else { DropReason::SegmentUnsupported });
    };
    // SAFETY: so many packets were written, at most `room`, and nobody else owns them.
    unsafe { parts.grow(made) };
    // Buffers without bytes at the end of a chain would make segments without payload.
    if made == expected { Ok(()) } else { Err(DropReason::SegmentUnsupported) }
}

/// What a packet asks of a NIC's TSO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsoRequest {
    /// TCP/IPv6; else TCP/IPv4, with its header checksum left to the NIC.
    pub is_ipv6: bool,
    /// Bytes of Ethernet header and tags.
    pub l2_bytes: u8,
    /// Bytes of the IP header.
    pub l3_bytes: u16,
    /// Bytes of the TCP header.
    pub l4_bytes: u8,
    /// Payload bytes of each segment but the last.
    pub payload_max: u16,
}

/// Reads what [`super::Segmenter`] has asked of the NIC for this packet; `None` = nothing.
pub fn tso_request(packet: &Mbuf) -> Option<TsoRequest> {
    // SAFETY: the packet is live and borrowed.
    let (flags, lengths) =
        unsafe { ((*raw(packet)).ol_flags, dpdk_sys::wp_mbuf_tx_lengths(raw(packet))) };
    (flags & dpdk_sys::WP_MBUF_F_TX_TCP_SEG != 0).then_some(TsoRequest {
        is_ipv6: flags & dpdk_sys::WP_MBUF_F_TX_IPV6 != 0,
        l2_bytes: (lengths & 0x7f) as u8,
        l3_bytes: (lengths >> 7 & 0x1ff) as u16,
        l4_bytes: (lengths >> 16) as u8,
        payload_max: (lengths >> 24) as u16,
    })
}

/// Asks the NIC to cut the packet. The caller writes the sums that TSO begins from.
pub(super) fn request_tso(packet: &mut Mbuf, tcp: &Tcp, payload_max: u16) {
    set_lengths(packet, tcp, payload_max);
    let ip = match tcp.ip.version {
        Version::V4 => dpdk_sys::WP_MBUF_F_TX_IPV4 | dpdk_sys::WP_MBUF_F_TX_IP_CKSUM,
        Version::V6 => dpdk_sys::WP_MBUF_F_TX_IPV6,
    };
    // SAFETY: the packet is live and owned.
    unsafe {
        (*raw(packet)).ol_flags |=
            ip | dpdk_sys::WP_MBUF_F_TX_TCP_SEG | dpdk_sys::WP_MBUF_F_TX_TCP_CKSUM;
    }
}

/// The payload of each frame that a driver has merged into this packet (LRO); `None` where it says
/// nothing of the kind.
pub(super) fn merged_payload_bytes(packet: &Mbuf) -> Option<u16> {
    // SAFETY: the packet is live and borrowed.
    let (flags, lengths) =
        unsafe { ((*raw(packet)).ol_flags, dpdk_sys::wp_mbuf_tx_lengths(raw(packet))) };
    let payload = (lengths >> 24) as u16;
    (flags & dpdk_sys::WP_MBUF_F_RX_LRO != 0 && payload > 0).then_some(payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Plan, checksum, leave_to_nic};
    use super::*;

    /// DPDK's checksums of a frame without tags whose checksum fields are 0: IPv4 header, transport,
    /// as they lie in memory.
    fn by_dpdk(frame: &[u8], is_v6: bool) -> (u16, u16) {
        let ip = frame[14..].as_ptr();
        // SAFETY: the frame holds what the IP header's length says.
        unsafe {
            if is_v6 {
                let transport = frame[54..].as_ptr();
                (0, dpdk_sys::wp_ipv6_udptcp_cksum(ip.cast(), transport.cast()))
            } else {
                let transport = frame[34..].as_ptr();
                let of_header = dpdk_sys::wp_ipv4_cksum(ip.cast());
                (of_header, dpdk_sys::wp_ipv4_udptcp_cksum(ip.cast(), transport.cast()))
            }
        }
    }

    /// A frame without tags, checksum fields 0.
    fn frame(is_v6: bool, is_udp: bool, addresses: &[u8; 32], payload: &[u8]) -> Vec<u8> {
        let header = if is_udp { 8 } else { 20 };
        let transport_len = header + payload.len();
        let mut f = vec![2; 12];
        let protocol = if is_udp { 17 } else { 6 };
        if is_v6 {
            f.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            f.extend((transport_len as u16).to_be_bytes());
            f.extend([protocol, 64]);
            f.extend(addresses);
        } else {
            f.extend([8, 0, 0x45, 0]);
            f.extend((transport_len as u16 + 20).to_be_bytes());
            f.extend([addresses[8], addresses[9], 0x40, 0, 64, protocol, 0, 0]);
            f.extend(&addresses[..8]);
        }
        f.extend([addresses[10], addresses[11], 0, 80]);
        if is_udp {
            f.extend((transport_len as u16).to_be_bytes());
            f.extend([0, 0]);
        } else {
            f.extend(&addresses[12..20]);
            f.extend([0x50, 0x18, 1, 2, 0, 0, 0, 0]);
        }
        f.extend(payload);
        f
    }

    proptest! {
        #[test]
        fn checksums_are_those_of_dpdk(
            is_v6: bool,
            is_udp: bool,
            addresses: [u8; 32],
            payload in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let mut f = frame(is_v6, is_udp, &addresses, &payload);
            let (of_header, of_transport) = by_dpdk(&f, is_v6);
            prop_assert!(checksum::fill(&mut f));
            let at = if is_v6 { 54 } else { 34 } + if is_udp { 6 } else { 16 };
            prop_assert_eq!(&f[at..at + 2], of_transport.to_ne_bytes());
            if !is_v6 {
                prop_assert_eq!(&f[24..26], of_header.to_ne_bytes());
            }
        }
    }

    /// Calls `with` with a packet of these bytes, whose driver has left these flags and this segment
    /// size.
    fn received<T>(
        frame: &mut [u8],
        flags: u64,
        merged: u32,
        with: impl FnOnce(&mut Mbuf) -> T,
    ) -> T {
        let mut header =
            dpdk_sys::rte_mbuf { buf_addr: frame.as_mut_ptr().cast(), ..Default::default() };
        (header.nb_segs, header.ol_flags) = (1, flags);
        (header.data_len, header.buf_len) = (frame.len() as u16, frame.len() as u16);
        header.pkt_len = frame.len() as u32;
        // SAFETY: `header` is live and ours; the lengths fit.
        unsafe { dpdk_sys::wp_mbuf_set_tx_lengths(&mut header, 1, 2, 3, merged) };
        // SAFETY: it describes `frame`, which outlives it. It belongs to no pool: it must not be freed.
        let packet = unsafe { Mbuf::from_raw(std::ptr::NonNull::from(&mut header)) };
        let mut packet = std::mem::ManuallyDrop::new(packet);
        with(&mut packet)
    }

    #[test]
    fn what_a_driver_has_merged_is_cut_as_it_was() {
        let mut f = frame(true, false, &[7; 32], &[1; 4000]);
        checksum::fill(&mut f);
        let mut plan = |flags, merged| {
            let plan = received(&mut f, flags, merged, |packet| Plan::new(packet, 1514).ok());
            plan.map(|plan| (plan.payload_max, plan.count))
        };
        assert_eq!(plan(0, 1000), Some((1440, 3)), "a number without the flag");
        assert_eq!(plan(dpdk_sys::WP_MBUF_F_RX_LRO, 1000), Some((1000, 4)));
        assert_eq!(plan(dpdk_sys::WP_MBUF_F_RX_LRO, 0), Some((1440, 3)));
        assert_eq!(plan(dpdk_sys::WP_MBUF_F_RX_LRO, 9000), Some((1440, 3)));
        assert_eq!(plan(dpdk_sys::WP_MBUF_F_RX_LRO, 10), None, "400 segments");
    }

    #[test]
    fn what_is_asked_of_the_nic_is_what_dpdk_wants_to_see() {
        for is_v6 in [false, true] {
            let mut f = frame(is_v6, false, &[7; 32], &[1; 4000]);
            checksum::fill(&mut f);
            received(&mut f, 0, 0, |packet| {
                assert_eq!(tso_request(packet), None);
                leave_to_nic(packet, 1514).unwrap();
                let l3_bytes = if is_v6 { 40 } else { 20 };
                let payload_max = 1514 - 14 - l3_bytes - 20;
                let (l2_bytes, l4_bytes) = (14, 20);
                let asked =
                    TsoRequest { is_ipv6: is_v6, l2_bytes, l3_bytes, l4_bytes, payload_max };
                assert_eq!(tso_request(packet), Some(asked));
                // SAFETY: the packet is live.
                assert_eq!(unsafe { dpdk_sys::wp_validate_tx_offload(raw(packet)) }, 0);
            });
        }
    }
}
