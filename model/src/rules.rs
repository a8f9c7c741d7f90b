//! Classification rules: first match wins. Evaluated once for each new flow; the flow table
//! remembers the answer, so this is not the per-packet path.

use std::net::IpAddr;

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
    /// Strategy, only from a tag.
    pub strategy: Option<String>,
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
    /// Whether it matches a packet, the side aside.
    ///
    /// A rule that names a port matches only packets whose ports are known: never a fragment, never
    /// another protocol than TCP and UDP, whatever range it names.
    pub fn matches(&self, packet: &Parsed) -> bool {
        let key = &packet.key;
        self.vlan.is_none_or(|vlan| vlan == key.vlan)
            && self.protocol.is_none_or(|protocol| protocol == key.protocol)
            && self.dscp.is_none_or(|dscp| dscp == packet.dscp)
            && self.src.is_none_or(|prefix| contains(prefix, key.ip_version, key.src))
            && self.dst.is_none_or(|prefix| contains(prefix, key.ip_version, key.dst))
            && self.src_port.is_none_or(|range| in_range(range, key.src_port, packet))
            && self.dst_port.is_none_or(|range| in_range(range, key.dst_port, packet))
    }
}

fn in_range((first, last): (u16, u16), port: u16, packet: &Parsed) -> bool {
    packet.has_ports() && (first..=last).contains(&port)
}

/// Whether the first `bits` of `addr` are the prefix's. Both stand left-aligned in 128 bits, as in
/// a flow key, so one comparison serves both IP versions. Bits beyond the prefix length are ignored
/// on both sides.
fn contains(prefix: Prefix, ip_version: u8, addr: [u8; 16]) -> bool {
    let (version, network) = match prefix.addr {
        IpAddr::V4(v4) => (4, u128::from(u32::from(v4)) << 96),
        IpAddr::V6(v6) => (6, u128::from(v6)),
    };
    let ignored_bits = 128u32.saturating_sub(u32::from(prefix.bits));
    let difference = network ^ u128::from_be_bytes(addr);
    // Shifting by all 128 bits is the prefix /0, which holds every address of its version.
    version == ip_version && difference.checked_shr(ignored_bits).unwrap_or(0) == 0
}
