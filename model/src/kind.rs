//! What an order-entry packet does. A kind is declared for a session, or it comes from an intent:
//! it is never guessed from bytes.

/// The kind of a packet.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// Anything that is not order entry: logs, control, bulk.
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
    /// An order session whose messages are not told apart: one FIFO, nothing overtakes in it.
    Mixed = 7,
    /// A market-data feed.
    MarketData = 8,
}

/// Who a packet comes from, and so where it goes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Side {
    /// The strategies' side: packets from here are paced towards the venue.
    Inside = 0,
    /// The venue's side: packets from here are forwarded at once.
    Venue = 1,
}

impl Side {
    /// The name used in the config and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Venue => "venue",
        }
    }

    /// The other side.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Inside => Self::Venue,
            Self::Venue => Self::Inside,
        }
    }
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

    /// The name used in the config, in JSON and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Order => "order",
            Self::Replace => "replace",
            Self::Cancel => "cancel",
            Self::MassCancel => "mass_cancel",
            Self::Exit => "exit",
            Self::Session => "session",
            Self::Mixed => "mixed",
            Self::MarketData => "market_data",
        }
    }

    /// Kinds that never wait for a rate, message, budget or profile rule (docs/safety.md, rule 2).
    pub const fn is_exempt(self) -> bool {
        matches!(self, Self::Cancel | Self::MassCancel | Self::Exit | Self::Session)
    }

    /// Kinds that put risk on: what a halt stops.
    pub const fn is_halted(self) -> bool {
        matches!(self, Self::Order | Self::Replace)
    }

    /// Kinds of an order session, whatever their direction of risk.
    pub const fn is_order_entry(self) -> bool {
        !matches!(self, Self::Other | Self::MarketData)
    }
}
