//! INET_DIAG: the TCP sockets of a network namespace, those of other processes too.
//!
//! [`list`] asks for all that are established, [`one`] for one that is known; [`Socket::read`] reads a
//! message of either answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::{ReadError, at_least, be16_at, text, u32_at, u64_at};
use super::netlink::{Request, attributes_behind};
use super::tcp_info::TcpInfo;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const MESSAGE_BYTES: usize = 72;
/// `inet_diag_sockid`: where it stands in a message, and its length.
const ID_AT: usize = 4;
const ID_BYTES: usize = 48;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u32 = 1;
const STATE_ALL: u32 = u32::MAX;

const DIAG_INFO: u16 = 2;
const DIAG_CONG: u16 = 4;
const DIAG_SKMEMINFO: u16 = 7;
/// What is asked for beside the message: bit n - 1 for attribute n.
const EXTENSIONS: u8 = 1 << (DIAG_INFO - 1) | 1 << (DIAG_CONG - 1) | 1 << (DIAG_SKMEMINFO - 1);

/// What tells a socket from all others; a cookie too, so that a new socket on the same ports is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    family: u8,
    raw: [u8; ID_BYTES],
}

/// Memory of a socket, bytes as the kernel charges them: whole buffers, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketMemory {
    /// Below TCP: in the queueing discipline and in the driver. `t` in `ss -m`.
    pub wmem_alloc: u32,
    /// Limit of the send buffer.
    pub sndbuf: u32,
    /// In the send queue: not sent, and sent but not acknowledged. `w` in `ss -m`.
    pub wmem_queued: u32,
    /// Waiting to be received.
    pub rmem_alloc: u32,
    /// Limit of the receive buffer.
    pub rcvbuf: u32,
    /// Packets that found it full; `None` = the kernel does not tell.
    pub drops: Option<u32>,
}

impl SocketMemory {
    /// Reads `SK_MEMINFO`: seven numbers at least, nine today.
    ///
    /// # Errors
    /// Fewer than seven.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let b = at_least("skmeminfo", bytes, 28)?;
        let number = |n: usize| u32_at(b, 4 * n);
        let first = |n| number(n).unwrap_or_default();
        Ok(Self {
            rmem_alloc: first(0),
            rcvbuf: first(1),
            wmem_alloc: first(2),
            sndbuf: first(3),
            wmem_queued: first(5),
            drops: number(8),
        })
    }
}

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What to ask for it by.
    pub id: SocketId,
    /// Number of the state; 1 = established.
    pub state: u8,
    /// Our end.
    pub local: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
    /// Bytes received and not read.
    pub receive_queue_bytes: u32,
    /// Bytes not acknowledged: what `SIOCOUTQ` says.
    pub out_queue_bytes: u32,
    /// Number of the socket among files.
    pub inode: u32,
    /// `TCP_INFO`, which a socket that is closing has not.
    pub info: Option<TcpInfo>,
    /// Memory.
    pub memory: Option<SocketMemory>,
    /// Congestion control.
    pub congestion: Option<String>,
}

impl Socket {
    /// Reads the payload of a message.
    ///
    /// # Errors
    /// It is cut off, or of a family that is not IP.
    pub fn read(payload: &[u8]) -> Result<Self, ReadError> {
        let b = at_least("inet_diag_msg", payload, MESSAGE_BYTES)?;
        let mut raw = [0; ID_BYTES];
        raw.copy_from_slice(&b[ID_AT..ID_AT + ID_BYTES]);
        let family = b[0];
        let end = |port_at, address_at| {
            let port = be16_at(b, port_at).unwrap_or_default();
            Ok(SocketAddr::new(address(family, &b[address_at..])?, port))
        };
        let number = |at| u32_at(b, at).unwrap_or_default();
        let mut socket = Self {
            id: SocketId { family, raw },
            state: b[1],
            local: end(4, 8)?,
            remote: end(6, 24)?,
            receive_queue_bytes: number(56),
            out_queue_bytes: number(60),
            inode: number(68),
            info: None,
            memory: None,
            congestion: None,
        };
        for attribute in attributes_behind("inet_diag_msg", payload, MESSAGE_BYTES)? {
            let attribute = attribute?;
            let bytes = attribute.payload;
            match attribute.kind {
                // A socket without one gives an attribute without bytes.
                DIAG_INFO if !bytes.is_empty() => socket.info = Some(TcpInfo::read(bytes)?),
                DIAG_SKMEMINFO => socket.memory = Some(SocketMemory::read(bytes)?),
                DIAG_CONG => socket.congestion = Some(text("congestion control", bytes)?),
                _ => {}
            }
        }
        Ok(socket)
    }

    /// The kernel's number of it, the same as long as it lives.
    pub fn cookie(&self) -> u64 {
        u64_at(&self.id.raw, 40).unwrap_or_default()
    }
}

fn address(family: u8, bytes: &[u8]) -> Result<IpAddr, ReadError> {
    match (family, bytes.first_chunk::<4>(), bytes.first_chunk::<16>()) {
        (AF_INET, Some(four), _) => Ok(IpAddr::V4(Ipv4Addr::from(*four))),
        // A socket for both families that talks IPv4 is an IPv4 one to every rule.
        (AF_INET6, _, Some(sixteen)) => Ok(Ipv6Addr::from(*sixteen).to_canonical()),
        _ => Err(ReadError::text("family of a socket", &family.to_string())),
    }
}

fn request(family: u8, states: u32, id: &[u8; ID_BYTES], dump: bool) -> Request {
    let mut fixed = [0; 8 + ID_BYTES];
    fixed[..3].copy_from_slice(&[family, IPPROTO_TCP, EXTENSIONS]);
    fixed[4..8].copy_from_slice(&states.to_ne_bytes());
    fixed[8..].copy_from_slice(id);
    Request::new(SOCK_DIAG_BY_FAMILY, dump).with(&fixed)
}

/// Asks for every established TCP socket over IPv4, or over IPv6.
pub fn list(v6: bool) -> Request {
    let family = if v6 { AF_INET6 } else { AF_INET };
    request(family, 1 << TCP_ESTABLISHED, &[0; ID_BYTES], true)
}

/// Asks for one socket.
pub fn one(id: &SocketId) -> Request {
    request(id.family, STATE_ALL, &id.raw, false)
}
