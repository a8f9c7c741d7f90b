//! Netlink: the framing, pure over bytes, and a socket that asks.
//!
//! [`messages`] and [`attributes`] walk over what the kernel answered; [`Request`] builds what it is
//! asked; [`Netlink`] carries both. Of the families only a handful of attributes is read here, and the
//! statistics that matter (`tcp_info`, `tc_fq_qd_stats`) are plain records in them, so the few lines of
//! framing are our own.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto,
    socket_with, sockopt,
};

use super::bytes::{ReadError, at_least, u16_at, u32_at};

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;
/// Nested and byte-order flags in the type of an attribute.
const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
const FLAG_REQUEST: u16 = 0x1;
/// The kernel says when it has nothing to answer.
const FLAG_ACKNOWLEDGE: u16 = 0x4;
const FLAG_DUMP: u16 = 0x300;
/// The dump was interrupted by a change: it may lack something.
const FLAG_INTERRUPTED: u16 = 0x10;

/// Largest answer that is taken at once; the kernel makes none above 32 KiB unless asked with more.
const ANSWER_BYTES: usize = 64 << 10;
/// Longest wait for an answer: the kernel answers at once.
const WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without flags.
    pub kind: u16,
    /// What it holds.
    pub payload: &'a [u8],
}

/// Walks over records of a header with a length, padded to 4 bytes. Ends after the first error.
struct Walk<'a, F> {
    rest: &'a [u8],
    next: F,
}

impl<'a, T, F> Iterator for Walk<'a, F>
where
    F: Fn(&'a [u8]) -> Result<(T, usize), ReadError>,
{
    type Item = Result<T, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match (self.next)(self.rest) {
            Ok((item, len)) => {
                self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or_default();
                Some(Ok(item))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// The bytes of a record of `len` bytes behind a header of `header` bytes.
fn body<'a>(
    what: &'static str,
    bytes: &'a [u8],
    len: usize,
    header: usize,
) -> Result<&'a [u8], ReadError> {
    bytes.get(header..len).ok_or(ReadError::Length { what, len, room: bytes.len() })
}

/// The messages of an answer.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, ReadError>> {
    const WHAT: &str = "netlink message";
    let next = |bytes| {
        let header = at_least(WHAT, bytes, HEADER_BYTES)?;
        let len = u32_at(header, 0).unwrap_or_default() as usize;
        let message = Message {
            kind: u16_at(header, 4).unwrap_or_default(),
            flags: u16_at(header, 6).unwrap_or_default(),
            sequence: u32_at(header, 8).unwrap_or_default(),
            payload: body(WHAT, bytes, len, HEADER_BYTES)?,
        };
        Ok((message, len))
    };
    Walk { rest: bytes, next }
}

/// The attributes in `bytes`.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, ReadError>> {
    const WHAT: &str = "netlink attribute";
    let next = |bytes| {
        let header = at_least(WHAT, bytes, ATTRIBUTE_BYTES)?;
        let len = usize::from(u16_at(header, 0).unwrap_or_default());
        let kind = u16_at(header, 2).unwrap_or_default() & TYPE_MASK;
        let attribute = Attribute { kind, payload: body(WHAT, bytes, len, ATTRIBUTE_BYTES)? };
        Ok((attribute, len))
    };
    Walk { rest: bytes, next }
}

/// The attributes of a message whose fixed part takes `fixed` bytes.
pub fn attributes_behind<'a>(
    what: &'static str,
    payload: &'a [u8],
    fixed: usize,
) -> Result<impl Iterator<Item = Result<Attribute<'a>, ReadError>> + use<'a>, ReadError> {
    // A fixed part that is not padded is followed by padding.
    let behind = payload.get(fixed.next_multiple_of(4)..).unwrap_or_default();
    at_least(what, payload, fixed).map(|_| attributes(behind))
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Request(Vec<u8>);

impl Request {
    /// A request of type `kind`: for everything there is, or for one thing.
    pub fn new(kind: u16, dump: bool) -> Self {
        let flags = FLAG_REQUEST | if dump { FLAG_DUMP } else { FLAG_ACKNOWLEDGE };
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self(bytes)
    }

    /// Puts `bytes` behind what is there.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Puts an attribute behind what is there.
    #[must_use]
    pub fn attribute(mut self, kind: u16, payload: &[u8]) -> Self {
        put_attribute(&mut self.0, kind, payload);
        self
    }

    /// The same, of an attribute that holds others.
    #[must_use]
    pub fn nest(self, kind: u16, inside: &Attributes) -> Self {
        self.attribute(kind | NESTED, &inside.0)
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// What an attribute of a request holds.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Puts an attribute behind what is there.
    #[must_use]
    pub fn attribute(mut self, kind: u16, payload: &[u8]) -> Self {
        put_attribute(&mut self.0, kind, payload);
        self
    }

    /// The same, of an attribute that holds others.
    #[must_use]
    pub fn nest(self, kind: u16, inside: &Self) -> Self {
        self.attribute(kind | NESTED, &inside.0)
    }
}

fn put_attribute(bytes: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    let len = u16::try_from(ATTRIBUTE_BYTES + payload.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&len.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Why the kernel gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The socket.
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    /// The kernel refused.
    #[error("the kernel answered: {0}")]
    Refused(io::Error),
    /// The answer cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl AskError {
    /// The kernel does not know what was asked for.
    pub fn is_unknown(&self) -> bool {
        let refused = |error: &io::Error| {
            [libc::EOPNOTSUPP, libc::ENOENT, libc::ENODEV, libc::EPROTONOSUPPORT]
                .contains(&error.raw_os_error().unwrap_or_default())
        };
        matches!(self, Self::Io(error) | Self::Refused(error) if refused(error))
    }

    /// There is no such interface, or not any more.
    pub fn is_no_device(&self) -> bool {
        matches!(self, Self::Refused(error) if error.raw_os_error() == Some(libc::ENODEV))
    }
}

impl From<rustix::io::Errno> for AskError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Which part of the kernel a socket asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Interfaces, queueing disciplines.
    Route,
    /// Sockets.
    SockDiag,
    /// Families with a name, such as `ethtool`.
    Generic,
}

impl Family {
    fn protocol(self) -> Option<Protocol> {
        match self {
            // NETLINK_ROUTE is 0, which is "none" to a socket.
            Self::Route => None,
            Self::SockDiag => Some(netlink::SOCK_DIAG),
            Self::Generic => Some(netlink::GENERIC),
        }
    }
}

/// A socket that asks one question at a time.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    answer: Vec<u8>,
}

impl Netlink {
    /// A socket to `family`, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel lacks the family.
    pub fn open(family: Family) -> Result<Self, AskError> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            family.protocol(),
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(WAIT))?;
        Ok(Self { socket, sequence: 0, answer: vec![0; ANSWER_BYTES] })
    }

    /// Asks, and gives each message of the answer to `take`. Returns false when the kernel says that
    /// the answer may lack something because it changed meanwhile.
    ///
    /// # Errors
    /// The kernel refuses, or `take` cannot read a message.
    pub fn ask(
        &mut self,
        request: Request,
        mut take: impl FnMut(Message<'_>) -> Result<(), ReadError>,
    ) -> Result<bool, AskError> {
        self.sequence = self.sequence.wrapping_add(1);
        let is_dump = u16_at(&request.0, 6).is_some_and(|flags| flags & FLAG_DUMP == FLAG_DUMP);
        let request = request.finish(self.sequence);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut whole = true;
        loop {
            let (_, len) = recv(&self.socket, self.answer.as_mut_slice(), RecvFlags::TRUNC)?;
            let answer = self.answer.get(..len).ok_or(ReadError::Length {
                what: "netlink answer",
                len,
                room: ANSWER_BYTES,
            })?;
            for message in messages(answer) {
                let message = message?;
                // The acknowledgement of an earlier answer.
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & FLAG_INTERRUPTED == 0;
                match message.kind {
                    TYPE_DONE => return Ok(whole),
                    TYPE_ERROR => return refused(message.payload).map(|()| whole),
                    _ => take(message)?,
                }
                if !is_dump {
                    return Ok(whole);
                }
            }
        }
    }
}

/// A number of 0 is an acknowledgement.
fn refused(payload: &[u8]) -> Result<(), AskError> {
    let payload = at_least("netlink error", payload, 4)?;
    match u32_at(payload, 0).unwrap_or_default() as i32 {
        0 => Ok(()),
        number => Err(AskError::Refused(io::Error::from_raw_os_error(number.saturating_neg()))),
    }
}
