//! The process at the other end of a Unix socket, as the kernel noted it when that process connected
//! (`SO_PEERCRED`, `SO_PEERGROUPS`). What it became since changes nothing.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use nix::sys::socket::{getsockopt, sockopt};

/// Groups that most users have at most; more cost a second call.
const GROUPS_USUAL: usize = 64;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    /// Its primary group.
    pub(crate) gid: u32,
    /// Absent where it lives in a process namespace that this one does not see.
    pub(crate) pid: Option<i32>,
    /// Its other groups.
    pub(crate) groups: Vec<u32>,
}

impl Peer {
    /// Of the connected socket `of`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of(of: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(of, sockopt::PeerCredentials)?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: Some(credentials.pid()).filter(|&pid| pid > 0),
            groups: groups(of.as_fd())?,
        })
    }

    /// Whether it is a member of `group`.
    pub(crate) fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// `SO_PEERGROUPS`, which no safe wrapper has.
fn groups(of: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_USUAL];
    loop {
        let mut bytes = libc::socklen_t::try_from(size_of_val(groups.as_slice()))
            .map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: `groups` is writable for `bytes` bytes, any bits are a u32, and the descriptor is open
        // for the length of the call.
        let failed = unsafe {
            libc::getsockopt(
                of.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                ptr::from_mut(&mut bytes),
            )
        } != 0;
        // Filled, or what it would take.
        let count = bytes as usize / size_of::<u32>();
        if !failed {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_peer_is_known_by_user_process_and_all_its_groups() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getegid().as_raw());
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        let mut own: Vec<_> =
            nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut seen = peer.groups.clone();
        own.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, own);
        assert!(peer.is_in(peer.gid) && !peer.is_in(u32::MAX));
    }
}
