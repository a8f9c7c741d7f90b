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

    /// What of a class goes on under a halt though somebody may expect it to end; `None` = its orders end.
    pub fn gap(class: &Class) -> Option<String> {
        let name = &class.name;
        if class.from == Side::Venue {
            return Some(format!("class {name} comes from the venue: a halt ends nothing of it"));
        }
        let tagged = if class.intent { "; datagrams that intent tags as orders end" } else { "" };
        match class.kind {
            Kind::Order | Kind::Replace | Kind::Mixed => {
                (class.halt_mixed == Some(HaltMixed::Pass)).then(|| {
                    format!(
                        "class {name} has halt_mixed = pass: its orders are not told apart and go on{tagged}"
                    )
                })
            }
            kind => Some(format!(
                "class {name} is declared to carry no orders (kind {}) and goes on under a halt{tagged}",
                kind.name()
            )),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_halts_a_class_is_told_what_of_it_goes_on() {
        let gap = |from, kind, halt_mixed, intent| {
            let class = Class { halt_mixed, intent, ..Class::new("a", from, kind) };
            HaltRule::gap(&class)
        };
        let inside = |kind| gap(Side::Inside, kind, None, false);
        assert_eq!(inside(Kind::Order), None);
        assert_eq!(gap(Side::Inside, Kind::Mixed, Some(HaltMixed::Block), false), None);
        let said = gap(Side::Inside, Kind::Mixed, Some(HaltMixed::Pass), false).unwrap();
        assert!(said.contains("halt_mixed = pass"), "{said}");
        let said = inside(Kind::Cancel).unwrap();
        assert!(said.contains("kind cancel") && !said.contains("intent"), "{said}");
        let said = gap(Side::Inside, Kind::Other, None, true).unwrap();
        assert!(said.contains("that intent tags as orders end"), "{said}");
        let said = gap(Side::Venue, Kind::Order, None, true).unwrap();
        assert!(said.contains("comes from the venue"), "{said}");
    }
}
