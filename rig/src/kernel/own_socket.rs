//! A socket of our own: when its bytes reached the queueing discipline (SCHED), the driver (SND) and
//! the peer (ACK), and how much of it waits. The rig's senders use it; the sockets of other processes
//! are seen by [`super::inet_diag`] only.
//!
//! Call [`stamp`] once before the first write, [`stamps`] now and then: an error queue that nobody
//! reads fills up and costs the sender its buffer.

use std::io;
use std::os::fd::AsFd;

use super::bytes::{ReadError, at_least, u32_at, u64_at};
use super::sys;
use super::tcp_info::TcpInfo;

const TX_SOFTWARE: u32 = 1 << 1;
const SOFTWARE: u32 = 1 << 4;
const OPT_ID: u32 = 1 << 7;
const TX_SCHED: u32 = 1 << 8;
const TX_ACK: u32 = 1 << 9;
/// No payload comes back with a stamp.
const OPT_TSONLY: u32 = 1 << 11;
/// Ids count from the first byte after the option is set, whatever is in flight. Linux 6.1.
const OPT_ID_TCP: u32 = 1 << 16;

const SCM_TIMESTAMPING: i32 = libc::SO_TIMESTAMPING;
const ORIGIN_TIMESTAMPING: u8 = 4;
const SIOCOUTQ: u64 = 0x5411;
const SIOCOUTQNSD: u64 = 0x894b;
/// Longer than any `tcp_info` so far.
const TCP_INFO_BYTES_MAX: usize = 512;

/// Where on its way a stamp was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Before the queueing discipline.
    Sched,
    /// In the driver, before the device.
    Snd,
    /// Everything up to it was acknowledged.
    Ack,
}

/// A stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where.
    pub point: Point,
    /// TCP: the number of the last byte of the write, from 0, modulo 2^32. UDP: of the datagram.
    pub id: u32,
    /// Wall clock, ns since 1970.
    pub at_ns: u64,
}

/// Asks for stamps of every write.
///
/// # Errors
/// The kernel refuses.
pub fn stamp(socket: &impl AsFd) -> io::Result<()> {
    let flags = TX_SCHED | TX_SOFTWARE | TX_ACK | SOFTWARE | OPT_ID | OPT_TSONLY;
    let set =
        |flags| sys::set_number(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags);
    // Older kernels do not know the last flag, and UDP has no bytes to count.
    set(flags | OPT_ID_TCP).or_else(|_| set(flags))
}

/// Reads the stamps that have come.
///
/// # Errors
/// The socket. That there are none is no error.
pub fn stamps(socket: &impl AsFd, mut take: impl FnMut(Stamp)) -> io::Result<()> {
    loop {
        let (mut time, mut what) = (None, None);
        let read = sys::error_queue(socket.as_fd(), &mut [0; 64], |level, kind, bytes| {
            match (level, kind) {
                (libc::SOL_SOCKET, SCM_TIMESTAMPING) => time = Some(software_time(bytes)),
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                    what = Some(origin(bytes));
                }
                _ => {}
            }
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if let (Some(Ok(Some(at_ns))), Some(Ok(Some((point, id))))) = (time, what) {
            take(Stamp { point, id, at_ns });
        }
    }
}

/// Reads `scm_timestamping`: the software stamp, ns; `None` where it is not set.
///
/// # Errors
/// Cut off.
pub fn software_time(bytes: &[u8]) -> Result<Option<u64>, ReadError> {
    let b = at_least("scm_timestamping", bytes, 16)?;
    let (seconds, ns) = (u64_at(b, 0).unwrap_or_default(), u64_at(b, 8).unwrap_or_default());
    let at = seconds.checked_mul(1_000_000_000).and_then(|at| at.checked_add(ns));
    Ok(at.filter(|at| *at > 0))
}

/// Reads `sock_extended_err`: where the stamp was taken and of what; `None`: no stamp, but an error of
/// the network.
///
/// # Errors
/// Cut off.
pub fn origin(bytes: &[u8]) -> Result<Option<(Point, u32)>, ReadError> {
    let b = at_least("sock_extended_err", bytes, 16)?;
    let point = match (b[4], u32_at(b, 8)) {
        (ORIGIN_TIMESTAMPING, Some(0)) => Point::Snd,
        (ORIGIN_TIMESTAMPING, Some(1)) => Point::Sched,
        (ORIGIN_TIMESTAMPING, Some(2)) => Point::Ack,
        _ => return Ok(None),
    };
    Ok(Some((point, u32_at(b, 12).unwrap_or_default())))
}

/// Bytes that wait in the socket: not acknowledged, and of those not yet sent.
///
/// # Errors
/// The socket is not TCP.
pub fn out_queue(socket: &impl AsFd) -> io::Result<(u32, u32)> {
    Ok((sys::count(socket.as_fd(), SIOCOUTQ)?, sys::count(socket.as_fd(), SIOCOUTQNSD)?))
}

/// `TCP_INFO` in the full length that this kernel has.
///
/// # Errors
/// The socket is not TCP, or the answer cannot be read.
pub fn tcp_info(socket: &impl AsFd) -> io::Result<TcpInfo> {
    let bytes = sys::option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, TCP_INFO_BYTES_MAX)?;
    TcpInfo::read(&bytes).map_err(io::Error::other)
}

/// The rate at which TCP may pace at most, bytes per second (`SO_MAX_PACING_RATE`).
///
/// # Errors
/// The kernel refuses.
pub fn set_max_pacing_rate(socket: &impl AsFd, bytes_per_s: u64) -> io::Result<()> {
    sys::set_max_pacing_rate(socket.as_fd(), bytes_per_s)
}
