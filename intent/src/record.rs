//! The record: what a sender may say of a packet.

/// What an order-entry packet does. The numbers go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Anything that is not order entry.
    Other = 0,
    /// A new order.
    Order = 1,
    /// A replace of a live order.
    Replace = 2,
    /// A cancel of a live order.
    Cancel = 3,
    /// A cancel of many orders.
    MassCancel = 4,
    /// An order that only reduces a position.
    Exit = 5,
    /// Logon, heartbeat, logout.
    Session = 6,
    /// Messages of several kinds in one packet.
    Mixed = 7,
    /// Market data.
    MarketData = 8,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 9] = [
        Self::Other,
        Self::Order,
        Self::Replace,
        Self::Cancel,
        Self::MassCancel,
        Self::Exit,
        Self::Session,
        Self::Mixed,
        Self::MarketData,
    ];

    /// The kind with number `n`.
    pub const fn from_u8(n: u8) -> Option<Self> {
        if (n as usize) < Self::ALL.len() { Some(Self::ALL[n as usize]) } else { None }
    }
}

/// What a sender says of a packet. `None` = not stated. The default states nothing.
///
/// Times are gateway time, CLOCK_TAI in ns since 1970. A time that is further off than the gateway
/// allows is not used (docs/intent.md states the bounds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Index of the class in the gateway's table. Used only where the class may be named by a tag.
    pub class: Option<u8>,
    /// Id of a label in the gateway's label table (symbol, venue, tactic, strategy, urgency).
    pub label: Option<u16>,
    /// What the packet does.
    pub kind: Option<Kind>,
    /// 0 to 255.
    pub urgency: Option<u8>,
    /// Order-entry messages in the packet; out of band, in the bytes that the record is about.
    pub messages: Option<u16>,
    /// Packets with the same group from the same source address keep their order among each other.
    pub group: Option<u32>,
    /// An opaque id, for instance of the child order; 0 reads as none.
    pub correlation_id: Option<u64>,
    /// When the decision was made, ns.
    pub t_decision: Option<u64>,
    /// When the packet was handed to the network, ns.
    pub t_dispatch: Option<u64>,
    /// When the packet should leave, ns.
    pub t_due: Option<u64>,
    /// When the packet should have left at the latest, ns.
    pub deadline: Option<u64>,
    /// How wrong the sender's clock may be, ns.
    pub clock_error_ns: Option<u32>,
}
