//! What is known of the packets of a burst between the stages.

use model::drop_reason::DropReason;
use model::frame::{Parsed, Quick};
use model::meta::{CONNECTION_BEGINS, flags, segment_in_place};

use crate::flow_cache::ShortKey;
use crate::flow_table::{Entry, FlowTable};
use crate::mbuf::prefetch;

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
pub(super) const PROTOCOL_TCP: u8 = 6;

/// Place of a packet that belongs to no flow of the table.
pub(super) const NO_FLOW: u32 = u32::MAX;
/// Place of a packet whose key is not a short one.
pub(super) const LONG_KEY: u32 = u32::MAX - 1;

/// What is kept of an IP packet beside its key until its flow is known.
#[derive(Clone, Copy)]
pub(super) struct Above {
    /// [`flags`] of its metadata, where its class is not exempt.
    pub flags: u8,
    pub tcp_flags: u8,
    pub is_fragment: bool,
    /// 0 without TCP.
    pub tcp_end_seq: u32,
    pub payload_len: u32,
}

impl Above {
    pub const NOTHING: Self =
        Self { flags: 0, tcp_flags: 0, is_fragment: false, tcp_end_seq: 0, payload_len: 0 };

    #[inline(always)]
    pub const fn quick(packet: &Quick) -> Self {
        let is_tcp = packet.protocol == PROTOCOL_TCP;
        Self::new(is_tcp, packet.tcp_flags, packet.tcp_seq, packet.payload_len)
    }

    #[inline]
    pub const fn of(parsed: &Parsed) -> Self {
        let is_tcp = parsed.key.protocol == PROTOCOL_TCP && !parsed.is_fragment;
        let above = Self::new(is_tcp, parsed.tcp_flags, parsed.tcp_seq, parsed.payload_len);
        Self { is_fragment: parsed.is_fragment, ..above }
    }

    #[inline(always)]
    const fn new(is_tcp: bool, tcp_flags: u8, tcp_seq: u32, payload_len: u32) -> Self {
        let mut flags = if payload_len > 0 { flags::PAYLOAD } else { 0 };
        let mut tcp_end_seq = 0;
        if is_tcp {
            tcp_end_seq = tcp_seq.wrapping_add(payload_len);
            flags |= flags::TCP;
            if tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST) != 0 {
                flags |= flags::EXEMPT;
            } else if payload_len == 0 {
                flags |= flags::EXEMPT | flags::BARE;
            }
        }
        Self { flags, tcp_flags, is_fragment: false, tcp_end_seq, payload_len }
    }

    pub const fn is_tcp(&self) -> bool {
        self.flags & flags::TCP != 0
    }

    pub const fn tcp_seq(&self) -> u32 {
        if self.is_tcp() { self.tcp_end_seq.wrapping_sub(self.payload_len) } else { 0 }
    }

    /// What stands in the place of a segment's bytes.
    #[inline(always)]
    pub const fn segment(&self, is_alone: bool) -> i32 {
        if !is_alone || !self.is_tcp() {
            0
        } else if self.tcp_flags & TCP_SYN != 0 {
            CONNECTION_BEGINS
        } else {
            segment_in_place(self.payload_len)
        }
    }
}

/// What is known of a packet of the burst: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Seen {
    /// Where it belongs, or the name of its end.
    pub verdict: Result<Entry, DropReason>,
    pub key: ShortKey,
    /// Where its key is in the cache, [`LONG_KEY`], or [`NO_FLOW`].
    pub place: u32,
    pub above: Above,
}

impl Seen {
    pub const NOTHING: Self = Self {
        verdict: Err(DropReason::Runt),
        key: ShortKey::NONE,
        place: NO_FLOW,
        above: Above::NOTHING,
    };

    #[inline(always)]
    pub fn set_short(&mut self, table: &FlowTable, key: ShortKey, above: Above) {
        self.place = table.locate(key);
        prefetch(table.line(self.place));
        (self.key, self.above) = (key, above);
    }
}

const _: () = assert!(size_of::<Seen>() == 64);
