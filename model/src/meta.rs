//! What travels with a packet through the gateway: one record of at most 64 bytes, written at RX.

use crate::kind::Kind;
use crate::time::Nanos;

/// Per-packet metadata. Lives in the private area of the mbuf, or in a plain record in tests.
///
/// Written once at RX; the pacer fills the three deadlines at entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PacketMeta {
    /// When the gateway had it, gateway time.
    pub arrival: Nanos,
    /// The sender's wish: from the intent, else `arrival`.
    pub due: Nanos,
    /// The pacer's deadline under the caps in force, first ns that conforms (see `pacer`).
    pub sched: Nanos,
    /// The sender's opaque id, 0 without an intent.
    pub correlation_id: u64,
    /// `arrival - t_decision` in ns, `u32::MAX` when the decision time is not known.
    pub decision_lag_ns: u32,
    /// `arrival - t_dispatch` in ns, 0 without an intent.
    pub dispatch_lag_ns: u32,
    /// `sched - t_normal` in ns, `i32::MIN` when it is not known. Before the pacer has taken the
    /// packet: [`PacketMeta::segment_bytes`].
    pub normal_lag_ns: i32,
    /// Its own jitter offset beyond `max(arrival, due)`, ns.
    pub jitter_ns: u32,
    /// TCP sequence number after its last payload byte, 0 without TCP.
    pub tcp_end_seq: u32,
    /// Index into the label table.
    pub label: u16,
    /// Frame length in bytes, without preamble, FCS and gap.
    pub len: u16,
    /// Order-entry messages in it.
    pub messages: u16,
    /// Index into the class table.
    pub class: u8,
    /// [`Kind`] as a number.
    pub kind: u8,
    /// 0 to 255.
    pub urgency: u8,
    /// [`flags`].
    pub flags: u8,
    /// Low nibble [`StampSource`], high nibble [`IntentSource`].
    pub sources: u8,
    /// Index of the venue it goes to, 255 = none; the pacer writes it at entry.
    pub venue: u8,
}

const _: () = assert!(size_of::<PacketMeta>() == 64);

// Where [`PacketMeta::words`] puts the fields.
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(PacketMeta, arrival) == 0 && offset_of!(PacketMeta, due) == 8);
    assert!(offset_of!(PacketMeta, decision_lag_ns) == 32);
    assert!(offset_of!(PacketMeta, normal_lag_ns) == 40);
    assert!(offset_of!(PacketMeta, tcp_end_seq) == 48);
    assert!(offset_of!(PacketMeta, label) == 52 && offset_of!(PacketMeta, len) == 54);
    assert!(offset_of!(PacketMeta, messages) == 56 && offset_of!(PacketMeta, class) == 58);
    assert!(offset_of!(PacketMeta, kind) == 59 && offset_of!(PacketMeta, urgency) == 60);
    assert!(offset_of!(PacketMeta, flags) == 61 && offset_of!(PacketMeta, sources) == 62);
    assert!(offset_of!(PacketMeta, venue) == 63);
};

/// A [`PacketMeta`] as it lies in memory.
///
/// Whoever writes one for each packet writes whole words: field by field it takes twice as many stores.
pub type MetaWords = [u64; 8];

/// What is known of a packet at RX, beside what its flow says of all of them ([`PacketMeta::words`]).
#[derive(Clone, Copy, Debug)]
pub struct AtRx {
    /// [`PacketMeta::arrival`] and [`PacketMeta::due`].
    pub arrival: Nanos,
    /// [`PacketMeta::normal_lag_ns`].
    pub segment: i32,
    /// [`PacketMeta::tcp_end_seq`].
    pub tcp_end_seq: u32,
    /// [`PacketMeta::len`].
    pub len: u16,
    /// [`PacketMeta::flags`].
    pub flags: u8,
    /// [`PacketMeta::sources`].
    pub sources: u8,
}

/// What is the same for packets of a flow, as the last eight bytes of [`PacketMeta`] hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowMeta {
    /// [`PacketMeta::messages`], where there is payload.
    pub messages: u16,
    /// [`PacketMeta::class`].
    pub class: u8,
    /// [`PacketMeta::kind`].
    pub kind: u8,
    /// [`PacketMeta::urgency`].
    pub urgency: u8,
    /// [`flags`] that all of them have.
    pub flags: u8,
    /// [`PacketMeta::sources`] that all of them have.
    pub sources: u8,
    /// [`PacketMeta::venue`].
    pub venue: u8,
}

impl FlowMeta {
    #[inline(always)]
    const fn word(self) -> u64 {
        let [a, b] = self.messages.to_le_bytes();
        u64::from_le_bytes([
            a,
            b,
            self.class,
            self.kind,
            self.urgency,
            self.flags,
            self.sources,
            self.venue,
        ])
    }
}

/// Bits of [`PacketMeta::flags`].
pub mod flags {
    /// Never waits for a rate, message, jitter, window, budget or profile rule.
    pub const EXEMPT: u8 = 1;
    /// Exempt only because it carries no payload: it does not release its group forward.
    pub const BARE: u8 = 2;
    /// Carries TCP.
    pub const TCP: u8 = 4;
    /// Carries payload above its transport header.
    pub const PAYLOAD: u8 = 8;
    /// A full sample is kept of it.
    pub const SAMPLED: u8 = 16;
    /// That sample stands for this packet alone.
    pub const SAMPLED_IN_FULL: u8 = 32;
}

/// Ethernet bytes beyond the frame: preamble 8, FCS 4, inter-frame gap 12.
pub const WIRE_OVERHEAD_BYTES: u32 = 24;
/// The shortest frame without FCS.
pub const MIN_FRAME_BYTES: u32 = 60;

/// Bytes that a frame of `len` bytes occupies on the wire: `max(len, 60) + 24`.
pub const fn wire_len(len: u32) -> u32 {
    (if len < MIN_FRAME_BYTES { MIN_FRAME_BYTES } else { len }) + WIRE_OVERHEAD_BYTES
}

/// In place of a segment's bytes: it begins a connection.
pub const CONNECTION_BEGINS: i32 = -1;

/// A segment's bytes, at most 2^31 - 1, as [`PacketMeta::normal_lag_ns`] holds them until the pacer has
/// taken the packet.
pub const fn segment_in_place(bytes: u32) -> i32 {
    (bytes & i32::MAX as u32).cast_signed()
}
impl PacketMeta {
    /// The kind; a number out of range reads as [`Kind::Other`].
    pub fn kind(&self) -> Kind {
        Kind::from_u8(self.kind).unwrap_or(Kind::Other)
    }

    /// Whether it never waits for a bucket.
    pub const fn is_exempt(&self) -> bool {
        self.flags & flags::EXEMPT != 0
    }

    /// Whether all of `mask` is set in its flags.
    pub const fn has(&self, mask: u8) -> bool {
        self.flags & mask == mask
    }

    /// Payload bytes of a TCP segment whose flow is one connection; 0 = not told. Stands in
    /// `normal_lag_ns` until the pacer has taken the packet and writes its deadlines.
    pub const fn segment_bytes(&self) -> u32 {
        if self.normal_lag_ns > 0 { self.normal_lag_ns as u32 } else { 0 }
    }

    /// Whether it is the SYN of such a flow: sequence numbers begin anew.
    pub const fn begins_connection(&self) -> bool {
        self.normal_lag_ns == CONNECTION_BEGINS
    }

    /// Says that it does, in the place of [`PacketMeta::segment_bytes`].
    pub const fn set_begins_connection(&mut self) {
        self.normal_lag_ns = CONNECTION_BEGINS;
    }

    /// Writes [`PacketMeta::segment_bytes`], at most 2^31 - 1, before the pacer takes the packet.
    pub const fn set_segment_bytes(&mut self, bytes: u32) {
        self.normal_lag_ns = segment_in_place(bytes);
    }

    /// Wire bytes, the unit of every byte budget and rate.
    pub const fn wire_len(&self) -> u32 {
        wire_len(self.len as u32)
    }

    /// The earliest it may leave for its own sake: `max(arrival, due)` and its jitter.
    pub fn not_before(&self) -> Nanos {
        self.wanted().saturating_add(Nanos(u64::from(self.jitter_ns)))
    }

    /// When the sender wants it out: `max(arrival, due)`. `max_hold` and hold count from here.
    pub fn wanted(&self) -> Nanos {
        self.arrival.max(self.due)
    }

    /// When the strategy handed the packet over: intent, else arrival.
    pub const fn dispatched(&self) -> Nanos {
        self.arrival.saturating_sub(Nanos(self.dispatch_lag_ns as u64))
    }

    /// Where its arrival stamp comes from.
    pub fn stamp_source(&self) -> StampSource {
        StampSource::from_nibble(self.sources & 0xf)
    }

    /// Where its due time comes from.
    pub fn intent_source(&self) -> IntentSource {
        IntentSource::from_nibble(self.sources >> 4)
    }

    /// The metadata of a packet of a flow with `label`, without an intent, before the pacer has it.
    #[inline(always)]
    pub const fn words(label: u16, flow: FlowMeta, packet: &AtRx) -> MetaWords {
        let with_payload = if packet.flags & flags::PAYLOAD == 0 { !0xffff } else { !0 };
        [
            packet.arrival.0,
            packet.arrival.0,
            0,
            0,
            u32::MAX as u64,
            packet.segment.cast_unsigned() as u64,
            packet.tcp_end_seq as u64 | (label as u64) << 32 | (packet.len as u64) << 48,
            flow.word() & with_payload
                | (packet.flags as u64) << (8 * 5)
                | (packet.sources as u64) << (8 * 6),
        ]
    }

    /// Writes both sources.
    pub const fn set_sources(&mut self, stamp: StampSource, intent: IntentSource) {
        self.sources = Self::sources_of(stamp, intent);
    }

    /// Both sources as [`PacketMeta::sources`] holds them.
    #[inline]
    pub const fn sources_of(stamp: StampSource, intent: IntentSource) -> u8 {
        stamp as u8 | (intent as u8) << 4
    }
}

/// Where a time stamp comes from. Stands beside every number that is made of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StampSource {
    /// One TSC read for the burst.
    #[default]
    Tsc = 0,
    /// The NIC's clock, turned into gateway time.
    Nic = 1,
    /// A capture's own time.
    Capture = 2,
    /// The virtual clock.
    Virtual = 3,
    /// The kernel's wall clock, turned into gateway time: in microseconds where libpcap gives it, in
    /// nanoseconds from a packet socket.
    Kernel = 4,
}

impl StampSource {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tsc => "tsc",
            Self::Nic => "nic",
            Self::Capture => "capture",
            Self::Virtual => "virtual",
            Self::Kernel => "kernel",
        }
    }

    fn from_nibble(n: u8) -> Self {
        match n {
            1 => Self::Nic,
            2 => Self::Capture,
            3 => Self::Virtual,
            4 => Self::Kernel,
            _ => Self::Tsc,
        }
    }
}

/// Where `t_due` comes from; kinds are never mixed in one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum IntentSource {
    /// No intent: due at arrival.
    #[default]
    Implicit = 0,
    /// From the packet's own tag.
    Tag = 1,
    /// From a workload's schedule.
    Schedule = 2,
}

impl IntentSource {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::Tag => "tag",
            Self::Schedule => "schedule",
        }
    }

    fn from_nibble(n: u8) -> Self {
        match n {
            1 => Self::Tag,
            2 => Self::Schedule,
            _ => Self::Implicit,
        }
    }
}
