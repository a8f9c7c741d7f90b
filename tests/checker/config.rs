//! What the checker needs of a config, read straight from the TOML: no line of the product's own
//! reader stands behind it.

use std::net::IpAddr;

use toml::{Table, Value};

use super::frame::Packet;
use super::limits::{self, VenueLimit};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Paced towards the venue.
    Inside,
    /// Forwarded at once.
    Venue,
}

/// One `[[port]]`.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its side.
    pub side: Side,
    /// Largest frame, bytes.
    pub frame_max: u64,
    /// Modelled link, bits per second.
    pub link: Option<u64>,
    /// A completion may be so late, ns.
    pub completion_delay: u64,
    /// Fragments may pass.
    pub forward_fragments: bool,
    /// Stated caps.
    pub caps: StatedCaps,
}

/// One `[[class]]`.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its side.
    pub from: Side,
    /// Declared kind.
    pub kind: String,
    /// Longest hold, ns; `None` = unlimited.
    pub max_hold: Option<u64>,
    /// Messages in a packet with payload, where stated.
    pub messages_per_segment: Option<u64>,
    /// It may lose packets.
    pub allow_drop: bool,
    /// Stated caps of the class.
    pub caps: StatedCaps,
    /// Stated caps of each of its flows.
    pub flow_caps: StatedCaps,
    /// The longest jitter that it has in any profile, ns: its bursts hold that much.
    pub jitter_bound: u64,
    /// A venue limit counts its messages by its own name.
    pub limited: bool,
}

impl Class {
    /// Kinds that never wait for a rate.
    pub fn exempt(&self) -> bool {
        matches!(self.kind.as_str(), "cancel" | "mass_cancel" | "exit" | "session")
    }

    /// Messages in a packet with payload: what the config states, else one in a datagram where
    /// messages matter, that is in order entry and under a message rate. What a sender's TCP puts
    /// in a segment is not known unless it is stated.
    pub fn messages(&self, tcp: bool) -> u64 {
        let order_entry = !matches!(self.kind.as_str(), "other" | "market_data");
        let caps = self.caps.messages.is_some() || self.flow_caps.messages.is_some();
        let limited = self.limited || caps;
        let unstated = !tcp && (order_entry || limited);
        self.messages_per_segment.unwrap_or(u64::from(unstated))
    }
}

/// Caps as the file states them.
#[derive(Clone, Debug, Default)]
pub struct StatedCaps {
    /// Bits per second.
    pub rate: Option<u64>,
    /// Burst, where one is stated.
    pub burst: Option<Burst>,
    /// Messages per second.
    pub messages: Option<u64>,
    /// Billionths of a message at once, where stated.
    pub message_burst: Option<u128>,
}

/// A stated burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// Wire bytes.
    Bytes(u64),
    /// Largest frames.
    Packets(u64),
    /// What the rate carries in so many ns.
    Time(u64),
}

/// One `[[rule]]`.
#[derive(Clone, Debug)]
struct Rule {
    class: usize,
    from: Side,
    venue: Option<String>,
    vlan: Option<u16>,
    dscp: Option<u8>,
    protocol: Option<u8>,
    src: Option<(IpAddr, u32)>,
    dst: Option<(IpAddr, u32)>,
    src_port: Option<(u16, u16)>,
    dst_port: Option<(u16, u16)>,
}

/// The config.
#[derive(Clone, Debug)]
pub struct Config {
    /// Slot of the pacer, ns.
    pub slot: u64,
    /// `[[port]]`.
    pub ports: Vec<Port>,
    /// `[[pair]]`: inside port, venue port.
    pub pairs: Vec<(usize, usize)>,
    /// `[[class]]`.
    pub classes: Vec<Class>,
    /// `[[venue_limit]]`.
    pub venue_limits: Vec<VenueLimit>,
    rules: Vec<Rule>,
    default_class: [usize; 2],
}

impl Config {
    /// Reads a config as it is under the profile `normal`.
    ///
    /// # Errors
    /// The key that is missing or not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_under(text, "normal")
    }

    /// Reads a config as it is under `profile`.
    ///
    /// # Errors
    /// The key that is missing or not understood; no such profile.
    pub fn parse_under(text: &str, profile: &str) -> Result<Self, String> {
        let mut root: Table = text.parse().map_err(|e| format!("{e}"))?;
        // A switch of profiles leaves bursts as they are, so the jitter of all profiles counts.
        let jitters = jitter_bounds(&root)?;
        if profile != "normal" {
            put_in_force(&mut root, profile)?;
        }
        let slot = match root.get("gateway").and_then(|g| g.get("slot")) {
            Some(slot) => duration(slot)?,
            None => 1_024,
        };
        let ports = array(&root, "port")?.map(port).collect::<Result<Vec<_>, _>>()?;
        let port_index = |key: &str, pair: &Value| {
            let name = required(pair, key)?;
            let found = ports.iter().position(|p: &Port| p.name == name);
            found.ok_or_else(|| format!("no port `{name}`"))
        };
        let pairs = array(&root, "pair")?
            .map(|pair| Ok((port_index("inside", pair)?, port_index("venue", pair)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let mut classes = array(&root, "class")?.map(class).collect::<Result<Vec<_>, _>>()?;
        for class in &mut classes {
            let of_class = jitters.iter().filter(|(name, _)| *name == class.name);
            class.jitter_bound = of_class.map(|(_, jitter)| *jitter).max().unwrap_or(0);
        }
        let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        let venue_limits = limits::read(&root, &names)?;
        for limit in &venue_limits {
            if let limits::Subject::Session(class) = limit.subject {
                classes[class].limited = true;
            }
        }
        let class_index = |name: &str| {
            let found = classes.iter().position(|c: &Class| c.name == name);
            found.ok_or_else(|| format!("no class `{name}`"))
        };
        let rules = match root.get("rule") {
            None => Vec::new(),
            Some(_) => array(&root, "rule")?
                .map(|rule| rule_of(rule, &class_index))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let default = root.get("default_class").ok_or("no [default_class]")?;
        let default_class =
            [class_index(required(default, "inside")?)?, class_index(required(default, "venue")?)?];
        Ok(Self { slot, ports, pairs, classes, venue_limits, rules, default_class })
    }

    /// The class of an IP packet: the first rule that matches, else the side's default.
    pub fn classify(&self, from: Side, packet: &Packet) -> usize {
        self.rules
            .iter()
            .find(|rule| rule.from == from && rule.matches(packet))
            .map_or(self.default_class[from as usize], |rule| rule.class)
    }

    /// The venue of an IP packet: what the first rule that matches names.
    pub fn venue_of(&self, from: Side, packet: &Packet) -> Option<&str> {
        let rule = self.rules.iter().find(|rule| rule.from == from && rule.matches(packet));
        rule.and_then(|rule| rule.venue.as_deref())
    }

    /// The index of a port by its name.
    pub fn port(&self, name: &str) -> Option<usize> {
        self.ports.iter().position(|port| port.name == name)
    }
}

impl Rule {
    fn matches(&self, packet: &Packet) -> bool {
        let flow = &packet.flow;
        let prefix = |want: Option<(IpAddr, u32)>, have| want.is_none_or(|w| contains(w, have));
        let range = |want: Option<(u16, u16)>, have: u16| {
            want.is_none_or(|(low, high)| (low..=high).contains(&have))
        };
        self.vlan.is_none_or(|vlan| flow.vlan == Some(vlan))
            && self.dscp.is_none_or(|dscp| packet.dscp == dscp)
            && self.protocol.is_none_or(|protocol| flow.protocol == protocol)
            && prefix(self.src, flow.src)
            && prefix(self.dst, flow.dst)
            && range(self.src_port, flow.src_port)
            && range(self.dst_port, flow.dst_port)
    }
}

fn contains((network, bits): (IpAddr, u32), address: IpAddr) -> bool {
    let shift = |all: u32| all.saturating_sub(bits);
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let differing = n.to_bits() ^ a.to_bits();
            differing.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let differing = n.to_bits() ^ a.to_bits();
            differing.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Each class and profile that states a jitter, ns.
fn jitter_bounds(root: &Table) -> Result<Vec<(String, u64)>, String> {
    let tables = |key: &str| root.get(key).and_then(Value::as_array).into_iter().flatten();
    let in_profiles =
        tables("profile").filter_map(|p| p.get("class").and_then(Value::as_array)).flatten();
    let mut found = Vec::new();
    for class in tables("class").chain(in_profiles) {
        if let Some(jitter) = optional(class, "jitter", duration)? {
            found.push((required(class, "name")?.to_owned(), jitter));
        }
    }
    Ok(found)
}

/// Writes the keys of a profile over those of the classes and ports it names.
fn put_in_force(root: &mut Table, profile: &str) -> Result<(), String> {
    let profiles = array(root, "profile")?;
    let found = profiles.clone().find(|p| text(p, "name") == Some(profile));
    let found = found.ok_or_else(|| format!("no profile `{profile}`"))?.clone();
    for kind in ["class", "port"] {
        let overrides = found.get(kind).and_then(Value::as_array).into_iter().flatten();
        for change in overrides.filter_map(Value::as_table) {
            let nodes = root.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten();
            let node = nodes
                .filter_map(Value::as_table_mut)
                .find(|node| node.get("name") == change.get("name"))
                .ok_or_else(|| format!("profile `{profile}`: no such {kind}: {change:?}"))?;
            node.extend(change.clone());
        }
    }
    Ok(())
}

pub(super) fn array<'a>(
    table: &'a Table,
    key: &str,
) -> Result<std::slice::Iter<'a, Value>, String> {
    let array = table.get(key).and_then(Value::as_array);
    Ok(array.ok_or_else(|| format!("no [[{key}]]"))?.iter())
}

pub(super) fn required<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    text(value, key).ok_or_else(|| format!("no `{key}` in {value:?}"))
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

pub(super) fn optional<T>(
    value: &Value,
    key: &str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match value.get(key) {
        None => Ok(None),
        Some(found) => read(found).map(Some).map_err(|e| format!("{key}: {e}")),
    }
}

fn flag(value: &Value, key: &str) -> bool {
    flag_or(value, key, false)
}

/// A flag, `otherwise` where it is not stated.
pub(super) fn flag_or(value: &Value, key: &str, otherwise: bool) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(otherwise)
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "inside" => Ok(Side::Inside),
        "venue" => Ok(Side::Venue),
        other => Err(format!("`{other}` is no side")),
    }
}

fn port(value: &Value) -> Result<Port, String> {
    Ok(Port {
        name: required(value, "name")?.to_owned(),
        side: side(required(value, "side")?)?,
        frame_max: optional(value, "frame_max", size)?.unwrap_or(1_514),
        link: optional(value, "link", bit_rate)?,
        completion_delay: optional(value, "completion_delay", duration)?.unwrap_or(0),
        forward_fragments: flag(value, "forward_fragments"),
        caps: caps(value, "")?,
    })
}

fn class(value: &Value) -> Result<Class, String> {
    let kind = text(value, "kind").unwrap_or("other");
    let max_hold = match value.get("max_hold") {
        Some(v) if v.as_str() == Some("unlimited") => None,
        Some(v) => Some(duration(v)?),
        None if matches!(kind, "order" | "replace" | "mixed") => Some(1_000_000),
        None => None,
    };
    Ok(Class {
        name: required(value, "name")?.to_owned(),
        from: side(text(value, "from").unwrap_or("inside"))?,
        kind: kind.to_owned(),
        max_hold,
        messages_per_segment: optional(value, "messages_per_segment", whole)?,
        allow_drop: flag(value, "allow_drop"),
        caps: caps(value, "")?,
        flow_caps: caps(value, "flow_")?,
        jitter_bound: 0,
        limited: text(value, "participant").is_some(),
    })
}

fn caps(value: &Value, prefix: &str) -> Result<StatedCaps, String> {
    let key = |name: &str| format!("{prefix}{name}");
    Ok(StatedCaps {
        rate: optional(value, &key("rate"), bit_rate)?,
        burst: optional(value, &key("burst"), burst)?,
        messages: optional(value, &key("messages"), message_rate)?,
        message_burst: optional(value, &key("message_burst"), billionths)?,
    })
}

fn rule_of(
    value: &Value,
    class_index: &impl Fn(&str) -> Result<usize, String>,
) -> Result<Rule, String> {
    Ok(Rule {
        class: class_index(required(value, "class")?)?,
        from: side(text(value, "from").unwrap_or("inside"))?,
        venue: text(value, "venue").map(str::to_owned),
        vlan: optional(value, "vlan", narrow)?,
        dscp: optional(value, "dscp", narrow)?,
        protocol: optional(value, "protocol", |v| match v.as_str() {
            Some("tcp") => Ok(6),
            Some("udp") => Ok(17),
            _ => narrow(v),
        })?,
        src: optional(value, "src", prefix)?,
        dst: optional(value, "dst", prefix)?,
        src_port: optional(value, "src_port", port_range)?,
        dst_port: optional(value, "dst_port", port_range)?,
    })
}

/// A decimal number of messages.
fn billionths(value: &Value) -> Result<u128, String> {
    match value {
        Value::Float(number) => Ok((number * 1e3).round() as u128 * 1_000_000),
        _ => whole(value).map(|number| u128::from(number) * 1_000_000_000),
    }
}

pub(super) fn whole(value: &Value) -> Result<u64, String> {
    let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
    number.ok_or_else(|| format!("{value:?} is no whole number"))
}

fn narrow<T: TryFrom<u64>>(value: &Value) -> Result<T, String> {
    T::try_from(whole(value)?).map_err(|_| format!("{value:?} is out of range"))
}

fn prefix(value: &Value) -> Result<(IpAddr, u32), String> {
    let written = value.as_str().ok_or_else(|| format!("{value:?} is no prefix"))?;
    let (address, bits) = match written.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (written, None),
    };
    let address: IpAddr = address.parse().map_err(|e| format!("{written}: {e}"))?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(all), str::parse).map_err(|e| format!("{written}: {e}"))?;
    Ok((address, bits))
}

fn port_range(value: &Value) -> Result<(u16, u16), String> {
    let Some(written) = value.as_str() else {
        return narrow(value).map(|port| (port, port));
    };
    let (low, high) = written.split_once('-').unwrap_or((written, written));
    let parse = |s: &str| s.trim().parse::<u16>().map_err(|e| format!("{written}: {e}"));
    Ok((parse(low)?, parse(high)?))
}

/// `number` and its unit, with the unit's size looked up in `units`.
fn quantity(value: &Value, units: &[(&str, u64)]) -> Result<u64, String> {
    let written = value.as_str().ok_or_else(|| format!("{value:?} is no text with a unit"))?;
    let end = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let number: u64 = written[..end].parse().map_err(|e| format!("{written}: {e}"))?;
    let unit = written[end..].trim();
    let (_, scale) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("{written}: the unit `{unit}` is not known here"))?;
    number.checked_mul(*scale).ok_or_else(|| format!("{written} is too large"))
}

const TIMES: [(&str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const SIZES: [(&str, u64); 3] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

pub(super) fn duration(value: &Value) -> Result<u64, String> {
    quantity(value, &TIMES)
}

fn size(value: &Value) -> Result<u64, String> {
    quantity(value, &SIZES)
}

fn bit_rate(value: &Value) -> Result<u64, String> {
    let (kilo, mega, giga) = (1_000, 1_000_000, 1_000_000_000);
    quantity(value, &[("", 1), ("k", kilo), ("K", kilo), ("M", mega), ("G", giga)])
}

fn message_rate(value: &Value) -> Result<u64, String> {
    quantity(value, &[("/s", 1)])
}

fn burst(value: &Value) -> Result<Burst, String> {
    size(value)
        .map(Burst::Bytes)
        .or_else(|_| quantity(value, &[("packets", 1), ("packet", 1)]).map(Burst::Packets))
        .or_else(|_| duration(value).map(Burst::Time))
}
