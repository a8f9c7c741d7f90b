//! A flow's addresses for people: `10.1.0.2:4000-10.9.0.1:7000/udp`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{FlowKey, PROTOCOL_TCP, PROTOCOL_UDP, VLAN_NONE};

impl FlowKey {
    fn address(&self, bytes: &[u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = *bytes;
        match self.ip_version {
            6 => Ipv6Addr::from(*bytes).into(),
            _ => Ipv4Addr::new(a, b, c, d).into(),
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ip_version == 0 {
            return f.write_str("not IP");
        }
        let source = SocketAddr::new(self.address(&self.src), self.src_port);
        let destination = SocketAddr::new(self.address(&self.dst), self.dst_port);
        write!(f, "{source}-{destination}/")?;
        match self.protocol {
            PROTOCOL_TCP => f.write_str("tcp"),
            PROTOCOL_UDP => f.write_str("udp"),
            other => write!(f, "{other}"),
        }
    }
}

/// A text that is no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a flow is written as 10.1.0.2:4000-10.9.0.1:7000/udp, [2001:db8::1]:4000-[2001:db8::2]:7000/tcp"
)]
pub struct NotAFlow;

impl FromStr for FlowKey {
    type Err = NotAFlow;

    /// Untagged; both ends of one family.
    fn from_str(text: &str) -> Result<Self, NotAFlow> {
        let (ends, protocol) = text.rsplit_once('/').ok_or(NotAFlow)?;
        let (source, destination) = ends.split_once('-').ok_or(NotAFlow)?;
        let end = |text: &str| text.parse::<SocketAddr>().map_err(|_| NotAFlow);
        let (source, destination) = (end(source)?, end(destination)?);
        let protocol = match protocol {
            "tcp" => PROTOCOL_TCP,
            "udp" => PROTOCOL_UDP,
            number => number.parse().map_err(|_| NotAFlow)?,
        };
        let bytes = |end: SocketAddr| match end.ip() {
            IpAddr::V4(ip) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&ip.octets());
                bytes
            }
            IpAddr::V6(ip) => ip.octets(),
        };
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(NotAFlow);
        }
        Ok(Self {
            src: bytes(source),
            dst: bytes(destination),
            src_port: source.port(),
            dst_port: destination.port(),
            vlan: VLAN_NONE,
            protocol,
            ip_version: if source.is_ipv4() { 4 } else { 6 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "10.1.0.2:4000-10.9.0.1:7000/udp",
            "[2001:db8::1]:4000-[2001:db8::2]:7000/tcp",
            "10.1.0.2:0-224.0.0.18:0/112",
        ] {
            assert_eq!(text.parse::<FlowKey>().unwrap().to_string(), text);
        }
        assert_eq!(FlowKey::default().to_string(), "not IP");
    }

    #[test]
    fn what_is_no_flow_is_refused() {
        for text in [
            "",
            "10.1.0.2:1-10.9.0.1:2",
            "10.1.0.2-10.9.0.1/udp",
            "a/udp",
            "10.1.0.2:1-[::1]:2/udp",
        ] {
            assert_eq!(text.parse::<FlowKey>(), Err(NotAFlow), "{text}");
        }
    }
}
