//! System calls without a safe wrapper: packet sockets with a ring, and socket options and control
//! messages that are plain bytes. What they give is read elsewhere, without `unsafe`.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::ring::{STATUS_AT, STATUS_USER};

/// Ethernet frames of every protocol.
const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();
const PACKET_VNET_HDR: i32 = 15;

/// `tpacket_req3`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RingRequest {
    block_bytes: u32,
    blocks: u32,
    frame_bytes: u32,
    frames: u32,
    retire_ms: u32,
    private_bytes: u32,
    features: u32,
}

/// A packet socket with a ring of blocks, shared with the kernel.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
}

// SAFETY: the mapping belongs to this value alone, and every access to it takes `&mut self`.
unsafe impl Send for Ring {}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How a thread comes to run among those that want its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Where nobody else wants to.
    Idle,
    /// In its share, by niceness.
    Shared,
    /// Before every thread that shares, the kernel's too, until it sleeps.
    RealTime,
}

/// Sets the policy of a thread; 0 is the calling one.
///
/// # Errors
/// There is no such thread, or it may not.
pub fn set_policy(thread: i32, policy: Policy) -> io::Result<()> {
    // The lowest priority of real-time threads is above all that share.
    let (policy, sched_priority) = match policy {
        Policy::Idle => (libc::SCHED_IDLE, 0),
        Policy::Shared => (libc::SCHED_OTHER, 0),
        Policy::RealTime => (libc::SCHED_FIFO, 1),
    };
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: `parameters` lives as long as the call, which reads it only.
    checked(unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) }).map(drop)
}

/// Sets an option to the bytes of `value`, a record without padding.
fn set<T: Copy>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let (bytes, len) = (ptr::from_ref(value).cast::<c_void>(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `bytes` points to `len` bytes that live as long as the call.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, bytes, len) }).map(drop)
}

/// The bytes of an option, as many as the kernel has and `room` takes.
///
/// # Errors
/// The kernel refuses.
pub fn option(socket: BorrowedFd<'_>, level: i32, name: i32, room: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; room];
    let mut len = room as libc::socklen_t;
    let target = bytes.as_mut_ptr().cast::<c_void>();
    // SAFETY: `target` points to `len` bytes that may be written; the kernel says how many it wrote.
    checked(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, target, &raw mut len) })?;
    bytes.truncate(len as usize);
    Ok(bytes)
}

/// Sets an option that is one number.
///
/// # Errors
/// The kernel refuses.
pub fn set_number(socket: BorrowedFd<'_>, level: i32, name: i32, value: u32) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// Sets `SO_MAX_PACING_RATE`, bytes per second.
///
/// # Errors
/// The kernel refuses.
pub fn set_max_pacing_rate(socket: BorrowedFd<'_>, bytes_per_s: u64) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &bytes_per_s)
}

/// A packet socket that receives nothing yet.
fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes numbers only.
    let socket = checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the call gave a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Ties a packet socket to an interface; from now on it receives frames of `protocol`, none if that is 0.
fn bind_packet(socket: BorrowedFd<'_>, interface: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: a record of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = interface.cast_signed();
    let (pointer, len) = ((&raw const address).cast(), size_of_val(&address) as libc::socklen_t);
    // SAFETY: `pointer` points to `len` bytes that live as long as the call.
    checked(unsafe { libc::bind(socket.as_raw_fd(), pointer, len) }).map(drop)
}

/// A socket that sends what is written to it by `interface`, as it is, and receives nothing.
///
/// # Errors
/// No such interface, or no permission (`CAP_NET_RAW`).
pub fn frame_sender(interface: u32) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    bind_packet(socket.as_fd(), interface, 0)?;
    Ok(socket)
}

/// Moves this thread, or its children to come where `flags` say so, into new namespaces.
///
/// # Errors
/// The kernel refuses.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "descriptors of others stay open");
    // SAFETY: the table of descriptors stays shared, so no descriptor that somebody owns closes or
    // changes its meaning.
    unsafe { unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// A count that an ioctl gives, such as `SIOCOUTQ`.
///
/// # Errors
/// The kernel refuses.
pub fn count(socket: BorrowedFd<'_>, request: u64) -> io::Result<u32> {
    let mut count = 0_i32;
    // SAFETY: the requests of this kind write one int to the address they are given.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut count) })?;
    Ok(u32::try_from(count).unwrap_or_default())
}

impl Ring {
    /// A socket that captures what passes `interface` in either direction into a ring of `blocks`
    /// blocks. A block is handed over when it is full, or `retire_ms` after its first frame. At most
    /// `snap_bytes` of each frame are kept. The interface has to exist in this thread's namespace.
    ///
    /// # Errors
    /// No such interface, or no permission (`CAP_NET_RAW`).
    pub fn open(
        interface: u32,
        block_bytes: usize,
        blocks: usize,
        retire_ms: u32,
        snap_bytes: u32,
    ) -> io::Result<Self> {
        // Nothing is captured before the ring stands and the interface is chosen.
        let socket = packet_socket()?;
        let fd = socket.as_fd();
        let packet = libc::SOL_PACKET;
        set_number(fd, packet, libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V3 as u32)?;
        set_number(fd, packet, PACKET_VNET_HDR, 1)?;
        snap(fd, snap_bytes)?;
        let request = RingRequest {
            block_bytes: block_bytes as u32,
            blocks: blocks as u32,
            // Only its product with `frames` matters to a ring of this version.
            frame_bytes: 2048,
            frames: (block_bytes / 2048 * blocks) as u32,
            retire_ms,
            private_bytes: 0,
            features: 0,
        };
        set(fd, packet, libc::PACKET_RX_RING, &request)?;
        let ring = Self::map(socket, block_bytes, blocks)?;
        bind_packet(ring.as_fd(), interface, EVERY_PROTOCOL)?;
        Ok(ring)
    }

    fn map(socket: OwnedFd, block_bytes: usize, blocks: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory of ours.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                block_bytes * blocks,
                protection,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { socket, memory, block_bytes, blocks })
    }

    /// How many blocks there are.
    pub const fn blocks(&self) -> usize {
        self.blocks
    }

    fn status(&self, block: usize) -> &AtomicU32 {
        debug_assert!(block < self.blocks, "a block of the ring");
        let at = (block % self.blocks) * self.block_bytes + STATUS_AT;
        // SAFETY: `at` lies inside the mapping, which lives as long as `self`; blocks begin on pages,
        // so it is aligned; the kernel writes the word as a whole.
        unsafe { AtomicU32::from_ptr(self.memory.as_ptr().add(at).cast()) }
    }

    /// Lends the bytes of block `block`, if the kernel has handed it over, and gives it back after.
    pub fn take<T>(&mut self, block: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.status(block).load(Ordering::Acquire) & STATUS_USER == 0 {
            return None;
        }
        let at = (block % self.blocks) * self.block_bytes;
        // SAFETY: inside the mapping; while the status says that the block is ours the kernel does not
        // write to it, and nobody else has it, because of `&mut self`.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(at), self.block_bytes) };
        let read = read(bytes);
        self.status(block).store(0, Ordering::Release);
        Some(read)
    }

    /// Frames that found no room in the ring since the last call.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn drops(&self) -> io::Result<u32> {
        let stats = option(self.socket.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, 12)?;
        Ok(super::bytes::u32_at(&stats, 4).unwrap_or_default())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length and is not used after.
        let _ =
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.block_bytes * self.blocks) };
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A filter that takes every frame and keeps so many bytes of it.
fn snap(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    let mut program =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: bytes }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// One message of the error queue of `socket` into `data`, and its control messages: level, type, bytes.
///
/// # Errors
/// `WouldBlock`: there is none.
pub fn error_queue(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    mut take: impl FnMut(i32, i32, &[u8]),
) -> io::Result<usize> {
    // Aligned as control messages have to be.
    let mut control = [0_u64; 64];
    let mut part =
        libc::iovec { iov_base: data.as_mut_ptr().cast::<c_void>(), iov_len: data.len() };
    // SAFETY: a record of integers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: header, data and control are alive and as long as the header says.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel filled `control` and wrote its length into the header.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give messages that lie whole inside `control`.
        unsafe {
            let found = &*message;
            let bytes = found.cmsg_len - (libc::CMSG_LEN(0) as usize);
            let bytes = std::slice::from_raw_parts(libc::CMSG_DATA(message), bytes);
            take(found.cmsg_level, found.cmsg_type, bytes);
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok(len)
}
