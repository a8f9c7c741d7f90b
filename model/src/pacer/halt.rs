//! Which packets a halt stops. Nothing can be cut out of a TCP stream: on TCP the words of the
//! session's class decide, whatever a packet is tagged as (docs/safety.md, rule 1).

use crate::config::{Class, HaltMixed};
use crate::kind::{Kind, Side};
use crate::meta::{PacketMeta, flags};

/// What a halt does to the packets of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HaltRule {
    /// The session carries orders that cannot be told apart, and the operator chose to block it:
    /// whatever has payload ends. Segments without payload pass, so that the session can be closed.
    stops_payload: bool,
    /// Datagrams are stopped by their own kind, whatever their class was declared as: an intent may
    /// name an order in any class that its sender may use.
    stops_by_kind: bool,
}

impl HaltRule {
    /// A class that a halt does not touch.
    pub const NONE: Self = Self { stops_payload: false, stops_by_kind: false };

    /// The rule of a class.
    pub fn of(class: &Class) -> Self {
        if class.from == Side::Venue {
            return Self::NONE;
        }
        let blocks = class.halt_mixed != Some(HaltMixed::Pass);
        Self {
            stops_payload: blocks
                && matches!(class.kind, Kind::Mixed | Kind::Order | Kind::Replace),
            stops_by_kind: true,
        }
    }

    /// Whether a halt ends this packet.
    pub fn stops(self, meta: &PacketMeta) -> bool {
        if meta.has(flags::TCP) || meta.kind() == Kind::Mixed {
            self.stops_payload && meta.has(flags::PAYLOAD)
        } else {
            self.stops_by_kind && meta.kind().is_halted()
        }
    }
}
