//! Strategy host -- gateway -- venue host: two veth pairs, and sockets on the hosts.
//!
//! The gateway's interfaces `gw-in` and `gw-out` are silent as `run` demands. The hosts compute
//! checksums in software and send no super-frames: a gateway reads their frames before any device
//! could finish them.

use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::sandbox::command;

/// A host beside the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Inside.
    Strategy,
    /// Outside.
    Venue,
}

impl Host {
    /// Its network namespace.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Venue => "venue",
        }
    }

    /// Its address.
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Strategy => Ipv4Addr::new(10, 9, 0, 1),
            Self::Venue => Ipv4Addr::new(10, 9, 0, 2),
        }
    }

    /// The gateway's interface towards it.
    pub const fn gateway_interface(self) -> &'static str {
        match self {
            Self::Strategy => "gw-in",
            Self::Venue => "gw-out",
        }
    }

    /// Runs `action` on a thread in its namespace. Sockets stay in the namespace they were made in.
    pub fn enter<T: Send + 'static>(self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let inside = move || {
            let path = Path::new("/run/netns").join(self.namespace());
            let namespace = File::open(path).expect("the namespace was made");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            action()
        };
        thread::spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A UDP socket on it; port 0 takes any.
    pub fn udp(self, port: u16) -> UdpSocket {
        self.enter(move || {
            let socket = UdpSocket::bind((self.address(), port)).expect("the port is free");
            // What the receiving thread has not read yet must not be lost here.
            set_socket_recv_buffer_size_force(&socket, 32 << 20).expect("root may");
            socket
        })
    }

    /// The command line that runs something on it.
    pub fn exec(self) -> String {
        format!("ip netns exec {} ", self.namespace())
    }

    /// Frames that its interface has sent and received.
    pub fn frames(self) -> (u64, u64) {
        let said = command(&format!("ip -s -j -n {} link show host", self.namespace()));
        let said: Value = serde_json::from_str(&said).expect("ip writes JSON");
        let count = |way: &str| {
            said[0]["stats64"][way]["packets"].as_u64().unwrap_or_else(|| panic!("{said}"))
        };
        (count("tx"), count("rx"))
    }

    /// The hardware address of its interface.
    pub fn hardware_address(self) -> String {
        let said = command(&format!("ip -j -n {} link show host", self.namespace()));
        let said: Value = serde_json::from_str(&said).expect("ip writes JSON");
        said[0]["address"].as_str().expect("Ethernet has addresses").to_owned()
    }
}

/// Makes hosts and interfaces.
pub fn make() {
    for host in [Host::Strategy, Host::Venue] {
        let (space, gateway) = (host.namespace(), host.gateway_interface());
        command(&format!("ip netns add {space}"));
        command(&format!("ip link add {gateway} type veth peer name host netns {space}"));
        let settings =
            [("ipv6".to_owned(), "disable_ipv6", "1"), ("ipv4".to_owned(), "forwarding", "0")];
        for (family, key, value) in settings {
            let path = format!("/proc/sys/net/{family}/conf/{gateway}/{key}");
            std::fs::write(path, value).expect("root may");
        }
        let ipv6_off = "/proc/sys/net/ipv6/conf/host/disable_ipv6";
        host.enter(move || std::fs::write(ipv6_off, "1")).expect("root may");
        command(&format!("ip link set {gateway} up"));
        command(&format!("ip -n {space} link set lo up"));
        command(&format!("{}ethtool -K host tx off tso off gso off", host.exec()));
        command(&format!("ip -n {space} address add {}/24 dev host", host.address()));
        command(&format!("ip -n {space} link set host up"));
    }
}

/// Lets the hosts find each other through a gateway that forwards: each learns the other's hardware
/// address by ARP. Before that the kernel holds what a host sends, and on the answer may send newer
/// datagrams ahead of those.
pub fn meet() {
    let (here, there) = (Host::Strategy.udp(7999), Host::Venue.udp(7999));
    for (from, to, name) in [(&here, &there, Host::Venue), (&there, &here, Host::Strategy)] {
        to.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
        from.send_to(b"hello", (name.address(), 7999)).expect("a route is there");
        to.recv(&mut [0; 8]).expect("the gateway forwards ARP and UDP");
    }
}
