//! The out-of-band record: which bytes of which flow, and what they mean.
//!
//! ```text
//! offset bytes field
//!      0     2 magic 0x7766
//!      2     1 version, 1
//!      3     1 length of the record, 112
//!      4     1 IP version, 4 or 6
//!      5     1 protocol, 6 TCP or 17 UDP
//!      6     1 position: 0 TCP stream offset, 1 TCP sequence number, 2 next datagram
//!      7     1 unused, 0
//!      8    16 source address; IPv4 in the first 4 bytes, the rest 0
//!     24    16 destination address, likewise
//!     40     2 source port
//!     42     2 destination port
//!     44     2 flags: which fields are stated
//!     46     2 unused, 0
//!     48     8 value of the position
//!     56    56 fields, as in the table of docs/intent.md
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::VERSION;
use crate::error::{DecodeError, NoRoom};
use crate::fields::{self, FIELDS_BYTES, be16, be64};
use crate::record::Record;

/// Bytes of an out-of-band record; the whole of a datagram to the side channel.
pub const FLOW_RECORD_BYTES: usize = 112;

const MAGIC: u16 = 0x7766;
const HEAD_BYTES: usize = FLOW_RECORD_BYTES - FIELDS_BYTES;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// The addresses of a flow as they stand in its packets, seen from the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// Source address, network order; IPv4 in the first 4 bytes, the rest 0.
    pub src: [u8; 16],
    /// Destination address, likewise.
    pub dst: [u8; 16],
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// 4 or 6.
    pub ip_version: u8,
}

impl FlowTuple {
    /// The flow from a socket's local address to its peer. `None` when one is IPv4 and the other
    /// IPv6; an IPv4 address mapped into IPv6 is IPv4, as in its packets.
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Option<Self> {
        let (src, from) = octets(local.ip());
        let (dst, to) = octets(peer.ip());
        (from == to).then_some(Self {
            src,
            dst,
            src_port: local.port(),
            dst_port: peer.port(),
            ip_version: from,
        })
    }
}

fn octets(address: IpAddr) -> ([u8; 16], u8) {
    let v4 = |v4: Ipv4Addr| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&v4.octets());
        (bytes, 4)
    };
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or((Ipv6Addr::octets(&address), 6), v4),
    }
}

/// Which bytes of the flow the record is about. Each but the last also says that the flow is TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Up to here: how many bytes the application has written to the connection since it was opened,
    /// the record's own included. The gateway adds the initial sequence number, which it saw in the
    /// SYN.
    StreamOffset(u64),
    /// Up to here: the TCP sequence number after the last byte, for who has his own TCP.
    Sequence(u32),
    /// The next datagram of a UDP flow that no earlier record is about. `payload_bytes` is its
    /// length above UDP, 0 = not stated; a datagram of another length is another one.
    NextDatagram {
        /// 0 or the length.
        payload_bytes: u16,
    },
}

/// An out-of-band record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The flow.
    pub flow: FlowTuple,
    /// Its bytes.
    pub position: Position,
    /// What they mean.
    pub record: Record,
}

impl FlowRecord {
    /// Writes the record to the start of `to`. Returns [`FLOW_RECORD_BYTES`].
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was written.
    pub fn encode(&self, to: &mut [u8]) -> Result<usize, NoRoom> {
        let to =
            to.first_chunk_mut::<FLOW_RECORD_BYTES>().ok_or(NoRoom { need: FLOW_RECORD_BYTES })?;
        *to = self.to_bytes();
        Ok(FLOW_RECORD_BYTES)
    }

    /// The record as bytes.
    pub fn to_bytes(&self) -> [u8; FLOW_RECORD_BYTES] {
        let (protocol, position, value) = match self.position {
            Position::StreamOffset(offset) => (PROTOCOL_TCP, 0, offset),
            Position::Sequence(sequence) => (PROTOCOL_TCP, 1, u64::from(sequence)),
            Position::NextDatagram { payload_bytes } => (PROTOCOL_UDP, 2, u64::from(payload_bytes)),
        };
        let mut fields = [0; FIELDS_BYTES];
        let flags = fields::encode(&self.record, &mut fields);
        let mut to = [0; FLOW_RECORD_BYTES];
        to[0..2].copy_from_slice(&MAGIC.to_be_bytes());
        to[2] = VERSION;
        to[3] = FLOW_RECORD_BYTES as u8;
        to[4] = self.flow.ip_version;
        to[5] = protocol;
        to[6] = position;
        to[8..24].copy_from_slice(&self.flow.src);
        to[24..40].copy_from_slice(&self.flow.dst);
        to[40..42].copy_from_slice(&self.flow.src_port.to_be_bytes());
        to[42..44].copy_from_slice(&self.flow.dst_port.to_be_bytes());
        to[44..46].copy_from_slice(&flags.to_be_bytes());
        to[48..56].copy_from_slice(&value.to_be_bytes());
        to[HEAD_BYTES..].copy_from_slice(&fields);
        to
    }

    /// Reads the record at the start of `from`; what follows it is not looked at.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(from: &[u8]) -> Result<Self, DecodeError> {
        let truncated = DecodeError::Truncated { have: from.len(), need: FLOW_RECORD_BYTES };
        let bytes = from.first_chunk::<FLOW_RECORD_BYTES>().ok_or(truncated)?;
        match (be16(bytes, 0), bytes[2], bytes[3]) {
            (MAGIC, VERSION, length) if usize::from(length) == FLOW_RECORD_BYTES => {}
            (MAGIC, VERSION, length) => return Err(DecodeError::Length(length)),
            (MAGIC, version, _) => return Err(DecodeError::Version(version)),
            (magic, ..) => return Err(DecodeError::Magic(magic)),
        }
        let ip_version = bytes[4];
        if !matches!(ip_version, 4 | 6) {
            return Err(DecodeError::IpVersion(ip_version));
        }
        let value = be64(bytes, 48);
        let position = match (bytes[5], bytes[6]) {
            (PROTOCOL_TCP, 0) => Position::StreamOffset(value),
            (PROTOCOL_TCP, 1) => Position::Sequence(value as u32),
            (PROTOCOL_UDP, 2) => Position::NextDatagram { payload_bytes: value as u16 },
            (PROTOCOL_TCP | PROTOCOL_UDP, position) => return Err(DecodeError::Position(position)),
            (protocol, _) => return Err(DecodeError::Protocol(protocol)),
        };
        let fields = bytes.last_chunk::<FIELDS_BYTES>().ok_or(truncated)?;
        let record = fields::decode(be16(bytes, 44), fields)?;
        Ok(Self {
            flow: FlowTuple {
                src: address(bytes, 8, ip_version),
                dst: address(bytes, 24, ip_version),
                src_port: be16(bytes, 40),
                dst_port: be16(bytes, 42),
                ip_version,
            },
            position,
            record,
        })
    }
}

/// Bytes behind an IPv4 address are not looked at, so that equal flows are equal values.
fn address(bytes: &[u8; FLOW_RECORD_BYTES], at: usize, ip_version: u8) -> [u8; 16] {
    let mut address = [0; 16];
    let length = if ip_version == 4 { 4 } else { 16 };
    address[..length].copy_from_slice(&bytes[at..at + length]);
    address
}
