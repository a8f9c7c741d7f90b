//! The named ends of a packet that does not leave. A closed list: every interface shows these names.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal),+ $(,)?) => {
        /// Why a packet ended without leaving.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant),+ }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in JSON, in labels and in captures.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means, in one sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

reasons! {
    /// Shorter than an Ethernet header (14 bytes).
    Runt => "runt",
    /// More VLAN tags than the two that are understood, or a tag cut off.
    VlanMalformed => "vlan_malformed",
    /// IPv4 header: version, IHL below 5, or cut off.
    Ipv4HeaderMalformed => "ipv4_header_malformed",
    /// IPv4 total length below its header or beyond the frame.
    Ipv4LengthMalformed => "ipv4_length_malformed",
    /// IPv6 header: version, or cut off.
    Ipv6HeaderMalformed => "ipv6_header_malformed",
    /// IPv6 payload length beyond the frame.
    Ipv6LengthMalformed => "ipv6_length_malformed",
    /// IPv6 extension headers: more than eight, one too short for its type, or cut off.
    Ipv6ExtensionMalformed => "ipv6_extension_malformed",
    /// A fragment from the inside: its ports are not all visible, so its class is not known.
    IpFragment => "ip_fragment",
    /// TCP header: data offset below 5 or beyond the segment, or cut off.
    TcpMalformed => "tcp_malformed",
    /// UDP header: length below 8 or beyond the datagram, or cut off.
    UdpMalformed => "udp_malformed",
    /// Longer than the egress port may send.
    TxOversize => "tx_oversize",
    /// The class's queue budget is spent and its policy is to drop.
    QueueFull => "queue_full",
    /// The profile in force closes the class.
    ProfileClosed => "profile_closed",
    /// A halt stopped it.
    Halted => "halted",
    /// Older than `max_hold` when it could have left.
    Stale => "stale",
    /// Still held when the drain at shutdown was over.
    Stopped => "stopped",
    /// No buffer was left to receive it into.
    PoolEmpty => "pool_empty",
    /// The pool is down to its reserve and the class allows drops.
    PoolLow => "pool_low",
    /// The ring between two data cores was full.
    RingFull => "ring_full",
    /// Its bytes are already held: the original has not left yet.
    DuplicateHeld => "duplicate_held",
    /// Too late for a class whose lateness policy is to drop.
    Late => "late",
    /// Due beyond the horizon of a class that drops such packets.
    Horizon => "horizon",
    /// A super-frame that may be segmented, of a kind that cannot be.
    SegmentUnsupported => "segment_unsupported",
    /// A super-frame of more than 64 segments.
    SegmentTooMany => "segment_too_many",
    /// An intent shim that cannot be read.
    IntentMalformed => "intent_malformed",
    /// An intent shim from the venue side, or from a port that takes none.
    IntentRefused => "intent_refused",
}
