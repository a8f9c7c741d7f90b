//! What the kernel would still do on an interface that the gateway takes over.
//!
//! net_af_packet and net_af_xdp sit on an interface of the kernel, which goes on answering,
//! announcing and forwarding on it unless told not to: a frame would then be answered twice or
//! travel on unpaced. [`findings`] must be empty on such an interface.
//!
//! Read through netlink and `/proc/sys/net`, which show the network namespace of the reading
//! process; `/sys/class/net` shows that of its mount.

use std::collections::BTreeSet;
use std::fs;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of that name in this network namespace.
    #[error("there is no interface {name} in this network namespace; there are: {known}")]
    Absent {
        /// Its name.
        name: String,
        /// The interfaces that exist.
        known: String,
    },
    /// It is down.
    #[error("interface {0} is down: `ip link set {0} up`")]
    Down(String),
    /// net_af_xdp would see the packets of one queue only, the rest would go to the kernel.
    #[error(
        "interface {name} has {queues} receive queues and one is read: \
         `ethtool -L {name} combined 1`, or steer what you want to one queue and name it with \
         start_queue="
    )]
    Queues {
        /// Its name.
        name: String,
        /// Its receive queues.
        queues: u32,
    },
    /// The kernel did not say.
    #[error("the interfaces of this network namespace could not be read: {0}")]
    Unreadable(nix::errno::Errno),
}

/// What the kernel says of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Switched on.
    pub up: bool,
    /// Switched on and the other end is there.
    pub running: bool,
    /// Somebody asked it to receive every frame.
    pub promiscuous: bool,
}

/// The state of an interface of this network namespace.
///
/// # Errors
/// [`InterfaceError::Absent`], [`InterfaceError::Unreadable`].
pub fn state(name: &str) -> Result<InterfaceState, InterfaceError> {
    let mut known = BTreeSet::new();
    for entry in getifaddrs().map_err(InterfaceError::Unreadable)? {
        if entry.interface_name == name {
            return Ok(InterfaceState {
                up: entry.flags.contains(InterfaceFlags::IFF_UP),
                running: entry.flags.contains(InterfaceFlags::IFF_RUNNING),
                promiscuous: entry.flags.contains(InterfaceFlags::IFF_PROMISC),
            });
        }
        known.insert(entry.interface_name);
    }
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    Err(InterfaceError::Absent { name: name.to_owned(), known })
}

/// What the kernel would still do on `name`, in words, each with what stops it. Empty = silent.
///
/// # Errors
/// [`InterfaceError`]: absent, down, or not to be read.
pub fn findings(name: &str) -> Result<Vec<String>, InterfaceError> {
    if !state(name)?.up {
        return Err(InterfaceError::Down(name.to_owned()));
    }
    let mut findings = Vec::new();
    for entry in getifaddrs().map_err(InterfaceError::Unreadable)? {
        let Some(address) = entry.address.filter(|_| entry.interface_name == name) else {
            continue;
        };
        let address = address
            .as_sockaddr_in()
            .map(|a| a.ip().to_string())
            .or_else(|| address.as_sockaddr_in6().map(|a| a.ip().to_string()));
        if let Some(address) = address {
            findings.push(format!(
                "{name} has the address {address}: the kernel answers for it \
                 (`ip addr flush dev {name}`)"
            ));
        }
    }
    // A kernel without the protocol has no such file, and is silent.
    let setting = |key: &str| {
        let key = key.replace("IF", name);
        let value = fs::read_to_string(format!("/proc/sys/net/{key}")).ok()?;
        Some((key, value.trim().to_owned()))
    };
    if let Some((key, value)) = setting("ipv4/conf/IF/forwarding")
        && value != "0"
    {
        findings.push(format!("the kernel forwards IPv4 on {name} (`sysctl net/{key}=0`)"));
    }
    // Without IPv6 it does not forward it either.
    if let Some((key, value)) = setting("ipv6/conf/IF/disable_ipv6")
        && value != "1"
    {
        findings.push(format!("the kernel speaks IPv6 on {name} (`sysctl net/{key}=1`)"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_interface_is_named_with_those_that_exist() {
        let said = state("absent0").unwrap_err().to_string();
        assert!(said.contains("absent0") && said.contains("lo"), "{said}");
    }
}
