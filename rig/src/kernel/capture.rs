//! Capturing what passes an interface, with the kernel's stamps in nanoseconds.
//!
//! The tap of outgoing frames stands behind the queueing discipline and before the driver: it shows
//! the paced shape. A capture only collects until it is drained, so nothing needs to run meanwhile
//! when its ring is large enough.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::bytes::ReadError;
use super::ring::{Frame, frames};
use super::sys::{self, Ring};

/// Bytes of a frame that are kept: two tags, IPv6 with a few extensions, TCP with all its options,
/// and some payload to tell datagrams apart.
const SNAP_BYTES: u32 = 192;
/// A ring consists of blocks of this size.
pub const BLOCK_BYTES: usize = 256 << 10;
/// A block that is not full is handed over after so long where frames are wanted soon: a frame is this old at
/// most when it is seen.
pub const RETIRE_MS: u32 = 8;

/// Why nothing is captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The interface.
    #[error("{interface}: no such interface in this network namespace")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The socket.
    #[error("{interface}: cannot capture (root, or CAP_NET_RAW and CAP_NET_ADMIN): {source}")]
    Socket {
        /// Its name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    /// Number of the interface.
    interface: u32,
    ring: Ring,
    next: usize,
    drops: u64,
    unreadable: u64,
}

/// The number of an interface in this thread's network namespace.
///
/// # Errors
/// There is none of this name.
pub fn interface_index(interface: &str) -> Result<u32, CaptureError> {
    // Not by /sys, which shows the namespace that it was mounted in.
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let index = socket.and_then(|socket| name_to_index(&socket, interface)).ok();
    index.ok_or_else(|| CaptureError::NoInterface { interface: interface.to_owned() })
}

/// Sends frames by an interface, as they are.
#[derive(Debug)]
pub struct FrameSender(OwnedFd);

impl FrameSender {
    /// One that sends by `interface`.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(interface: &str) -> Result<Self, CaptureError> {
        let index = interface_index(interface)?;
        let failed = |source| CaptureError::Socket { interface: interface.to_owned(), source };
        sys::frame_sender(index).map(Self).map_err(failed)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface does not take it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.0, frame)?;
        Ok(())
    }
}

impl Capture {
    /// Begins to capture on `interface`, with so many bytes of memory at least. A block is handed over when
    /// it is full or after `retire_ms`, so a ring that nobody drains holds no more than so long for each
    /// block.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(interface: &str, ring_bytes: usize, retire_ms: u32) -> Result<Self, CaptureError> {
        let index = interface_index(interface)?;
        let blocks = ring_bytes.div_ceil(BLOCK_BYTES).max(2);
        let ring = Ring::open(index, BLOCK_BYTES, blocks, retire_ms, SNAP_BYTES);
        let failed = |source| CaptureError::Socket { interface: interface.to_owned(), source };
        let ring = ring.map_err(failed)?;
        Ok(Self { interface: index, ring, next: 0, drops: 0, unreadable: 0 })
    }

    /// Number of the interface that is captured.
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// Gives every frame that the kernel has handed over to `take`, at most the ring once around.
    pub fn drain(&mut self, mut take: impl FnMut(&Frame<'_>)) {
        for _ in 0..self.ring.blocks() {
            let read = self.ring.take(self.next, |block| {
                frames(block).try_for_each(|frame| frame.map(|frame| take(&frame)))
            });
            let Some(read) = read else { return };
            self.unreadable += u64::from(read.is_err_and(|_: ReadError| true));
            self.next = (self.next + 1) % self.ring.blocks();
        }
    }

    /// Frames that found no room in the ring since the start.
    pub fn drops(&mut self) -> u64 {
        self.drops += self.ring.drops().map_or(0, u64::from);
        self.drops
    }

    /// Blocks whose rest could not be read. Must stay 0.
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }
}
