//! Frames as the tests send them: each carries its number in its first four payload bytes.

/// What goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A datagram from 10.1.0.`host` to port `port`.
    Udp { host: u8, port: u16, dscp: u8 },
    /// A TCP segment of `payload` bytes with these flags.
    Tcp { host: u8, port: u16, flags: u8, payload: u16 },
    /// The second fragment of a datagram.
    Fragment { host: u8 },
    /// ARP.
    Arp,
    /// These bytes.
    Raw(Vec<u8>),
}

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// Ports of the rules in `world::CONFIG`.
pub const ORDERS: u16 = 7000;
pub const ORDERS_EUR: u16 = 7100;
pub const REPLACES: u16 = 7020;
pub const CANCELS: u16 = 7010;
pub const FIX: u16 = 9001;
pub const FIX_PASS: u16 = 9002;
pub const CANCEL_SESSION: u16 = 9003;
pub const TCP_ORDERS: u16 = 9004;
pub const MIXED_UDP: u16 = 7030;
pub const LOGS: u16 = 514;
/// With this DSCP a datagram to an order port is a cancel.
pub const CANCEL_DSCP: u8 = 46;

/// An order of `host`: all orders of a host are one flow.
pub fn order(host: u8) -> Frame {
    Frame::Udp { host, port: ORDERS, dscp: 0 }
}

/// A cancel in the flow of the host's orders.
pub fn cancel_in_flow(host: u8) -> Frame {
    Frame::Udp { host, port: ORDERS, dscp: CANCEL_DSCP }
}

pub fn udp(host: u8, port: u16) -> Frame {
    Frame::Udp { host, port, dscp: 0 }
}

pub fn tcp(host: u8, port: u16, flags: u8, payload: u16) -> Frame {
    Frame::Tcp { host, port, flags, payload }
}

impl Frame {
    /// The bytes of frame `number`.
    pub fn bytes(&self, number: u32) -> Vec<u8> {
        let mut body = number.to_be_bytes().to_vec();
        match *self {
            Self::Raw(ref bytes) => bytes.clone(),
            Self::Arp => {
                body.resize(46, 0);
                ethernet(0x0806, &body)
            }
            Self::Udp { host, port, dscp } => {
                body.resize(32, 0);
                let mut udp = ports(port);
                udp.extend((8 + body.len() as u16).to_be_bytes());
                udp.extend([0, 0]);
                udp.extend(body);
                ipv4(host, dscp, 17, 0, &udp)
            }
            Self::Fragment { host } => {
                body.resize(64, 0);
                ipv4(host, 0, 17, 100, &body)
            }
            Self::Tcp { host, port, flags, payload } => {
                let mut tcp = ports(port);
                tcp.extend(number.to_be_bytes());
                tcp.extend([0; 4]);
                tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
                tcp.extend(vec![0; usize::from(payload)]);
                ipv4(host, 0, 6, 0, &tcp)
            }
        }
    }
}

/// The number of a frame that [`Frame::bytes`] made: the first payload bytes, or for TCP the sequence
/// number.
pub fn number_of(bytes: &[u8]) -> u32 {
    let at = match (bytes[12], bytes[13], bytes[23]) {
        (0x08, 0x06, _) => 14,
        (_, _, 6) => 38,
        _ if u16::from_be_bytes([bytes[20], bytes[21]]) & 0x1fff != 0 => 34,
        _ => 42,
    };
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn ports(dst: u16) -> Vec<u8> {
    let mut bytes = 40_000u16.to_be_bytes().to_vec();
    bytes.extend(dst.to_be_bytes());
    bytes
}

fn ipv4(host: u8, dscp: u8, protocol: u8, offset: u16, above: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, dscp << 2];
    ip.extend((20 + above.len() as u16).to_be_bytes());
    ip.extend([0, 0]);
    ip.extend(offset.to_be_bytes());
    ip.extend([64, protocol, 0, 0, 10, 1, 0, host, 10, 9, 0, 1]);
    ip.extend(above);
    ethernet(0x0800, &ip)
}

fn ethernet(ether_type: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(body);
    frame.resize(frame.len().max(60), 0);
    frame
}
