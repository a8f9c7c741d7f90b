//! A claim on a kernel interface that every user of the host sees.
//!
//! Two gateways on one interface would forward each frame twice, whoever runs them. A lock that every user
//! may take could also be taken by one who has no business with the interface, and keep gateways from
//! starting. So the claim is what only they can have who could open the interface itself: a packet socket,
//! bound to it, for an EtherType that nobody sends. The kernel lists such sockets to everybody, only in the
//! network namespace of the interface, and takes them away with their process.
//!
//! A claimant makes its socket first and looks for others then. Of two at the same time both may be refused,
//! never both let in.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::LinkAddr;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType};

/// The second EtherType for local experiments; intent has the first. What comes with it anyway fills the
/// socket's small buffer and is dropped behind it.
const ETHERTYPE: u16 = 0x88b6;
/// The kernel makes the least it has of it.
const BUFFER_BYTES: usize = 0;

/// A claim that is held. Dropping it lets go.
#[derive(Debug)]
pub struct InterfaceClaim {
    _socket: OwnedFd,
}

/// Why it was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// A process of this user has it.
    Held {
        /// The user's number.
        uid: u32,
    },
    /// The kernel did not make the socket or did not list those that there are.
    Io(io::Error),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl InterfaceClaim {
    /// Claims the interface `name` of this thread's network namespace. `None` where no claim is needed: there
    /// is no such interface yet, or this thread may not open it.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(name: &str) -> Result<Option<Self>, NotTaken> {
        let Some(address) = link_address(name)? else { return Ok(None) };
        let protocol = RawProtocol::new(u32::from(ETHERTYPE.to_be())).map(Protocol::from_raw);
        let (family, flags) = (AddressFamily::PACKET, SocketFlags::CLOEXEC);
        let socket = match rustix::net::socket_with(family, SocketType::RAW, flags, protocol) {
            Ok(socket) => socket,
            Err(Errno::PERM) => return Ok(None),
            Err(error) => return Err(NotTaken::Io(error.into())),
        };
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES)
            .map_err(io::Error::from)?;
        // The address names no EtherType, so the socket keeps its own.
        nix::sys::socket::bind(socket.as_raw_fd(), &address).map_err(io::Error::from)?;
        let own = rustix::fs::fstat(&socket).map_err(io::Error::from)?.st_ino;
        let listed = fs::read_to_string(Path::new("/proc/thread-self/net/packet"))?;
        match other_holder(&listed, address.ifindex(), own) {
            Some(uid) => Err(NotTaken::Held { uid }),
            None => Ok(Some(Self { _socket: socket })),
        }
    }
}

/// Its address in the family of packet sockets, which every interface has, up or down.
fn link_address(name: &str) -> io::Result<Option<LinkAddr>> {
    let mut addresses = getifaddrs()?.filter(|entry| entry.interface_name == name);
    Ok(addresses.find_map(|entry| entry.address?.as_link_addr().copied()))
}

/// The user of a claim on the interface numbered `index` in the kernel's list of packet sockets, other than
/// the one whose inode is `own`.
fn other_holder(listed: &str, index: usize, own: u64) -> Option<u32> {
    // sk RefCnt Type Proto Iface R Rmem User Inode
    listed.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, protocol, interface, _, _, user, inode, ..] = columns[..] else {
            return None;
        };
        let is_claim = u16::from_str_radix(protocol, 16) == Ok(ETHERTYPE)
            && interface.parse() == Ok(index)
            && inode.parse() != Ok(own);
        is_claim.then(|| user.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_claims_of_others_on_the_same_interface_count() {
        let listed = "\
sk               RefCnt Type Proto  Iface R Rmem   User   Inode
0000000000000000 3      3    0003   2     1 0      0      100
0000000000000000 3      3    88b6   3     1 0      1001   101
0000000000000000 3      3    88b6   2     1 0      0      102
0000000000000000 3      3    88b6   2     1 0      1002   103
not a line of it
";
        assert_eq!(other_holder(listed, 2, 102), Some(1002));
        assert_eq!(other_holder(listed, 2, 103), Some(0));
        assert_eq!(other_holder(listed, 3, 101), None);
        assert_eq!(other_holder(listed, 4, 101), None);
        assert_eq!(other_holder("", 2, 1), None);
    }

    #[test]
    fn an_interface_that_is_not_there_yet_is_claimed_by_nobody() {
        assert!(InterfaceClaim::take("wp-none").unwrap().is_none());
    }

    /// Where a thread may open packet sockets; tests on live interfaces have namespaces in which it may.
    #[test]
    fn a_second_claim_is_told_the_user_of_the_first_and_may_follow_it() {
        let Some(first) = InterfaceClaim::take("lo").unwrap() else {
            println!("skipped: packet sockets need CAP_NET_RAW");
            return;
        };
        let uid = rustix::process::geteuid().as_raw();
        assert!(matches!(InterfaceClaim::take("lo"), Err(NotTaken::Held { uid: of }) if of == uid));
        drop(first);
        assert!(InterfaceClaim::take("lo").unwrap().is_some());
    }
}
