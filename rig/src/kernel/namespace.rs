//! Network namespaces without names. One is gone, with its interfaces and their queueing disciplines, as
//! soon as no thread, process or descriptor is in it: nothing has to be removed, however a run ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::sys;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, in which there is nothing but a loopback that is down.
    ///
    /// # Errors
    /// No permission (`CAP_SYS_ADMIN`).
    pub fn new() -> io::Result<Self> {
        let make = || {
            sys::unshare(UnshareFlags::NEWNET)?;
            Ok(Self { file: File::open("/proc/thread-self/ns/net")? })
        };
        // A thread of its own: where it moved it stays.
        let made = thread::scope(|scope| scope.spawn(make).join());
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A path by which other programs, such as `ip`, find it as long as this lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Does `action` on a thread in it. A socket stays in the namespace that it was made in, and a process
    /// begins in that of the thread that starts it.
    ///
    /// # Errors
    /// No permission.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> io::Result<T> {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(action())
        };
        let done = thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
