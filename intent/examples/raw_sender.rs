//! Sends UDP orders as raw frames, each with a shim that says what it is and when it is due.
//!
//! ```text
//! raw_sender INTERFACE SRC_MAC DST_MAC SRC_IP:PORT DST_IP:PORT COUNT
//! raw_sender veth0 02:00:00:00:00:01 02:00:00:00:00:02 10.1.0.7:40000 10.9.0.1:7000 100
//! ```
//!
//! The interface leads to a port of the gateway with `intent = "shim"`. Every frame is an order of
//! one message that is due 50 us after it was handed over. The MTU of the interface must have room
//! for 64 bytes more than the largest frame. Needs CAP_NET_RAW.
#![allow(unsafe_code, reason = "a packet socket is made with system calls")]

use std::env;
use std::ffi::CString;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use intent::{Kind, Record, shim};

/// Time from one order to the next.
const GAP: Duration = Duration::from_millis(1);
/// From the hand-over to the due time, ns.
const DUE_AFTER_NS: u64 = 50_000;
/// What the clock of this host may be wrong by, as its time daemon states it, ns.
const CLOCK_ERROR_NS: u32 = 1_000;
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;

/// Where datagrams go from and to.
struct Route {
    src_mac: [u8; 6],
    dst_mac: [u8; 6],
    src: SocketAddrV4,
    dst: SocketAddrV4,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [interface, src_mac, dst_mac, src, dst, count] = args.as_slice() else {
        return Err("raw_sender INTERFACE SRC_MAC DST_MAC SRC_IP:PORT DST_IP:PORT COUNT".into());
    };
    let route = Route {
        src_mac: mac(src_mac)?,
        dst_mac: mac(dst_mac)?,
        src: src.parse()?,
        dst: dst.parse()?,
    };
    let socket = PacketSocket::open(interface)?;
    for number in 1..=count.parse()? {
        let t_decision = tai_ns()?;
        let order = format!("order {number}");
        let frame = udp_frame(&route, order.as_bytes());
        socket.send(&tagged(&frame, number, t_decision, tai_ns()?)?)?;
        std::thread::sleep(GAP);
    }
    Ok(())
}

/// The frame with what is meant by it.
fn tagged(
    frame: &[u8],
    number: u64,
    t_decision: u64,
    t_dispatch: u64,
) -> Result<Vec<u8>, shim::TagError> {
    let record = Record {
        kind: Some(Kind::Order),
        messages: Some(1),
        correlation_id: Some(number),
        t_decision: Some(t_decision),
        t_dispatch: Some(t_dispatch),
        t_due: Some(t_dispatch + DUE_AFTER_NS),
        clock_error_ns: Some(CLOCK_ERROR_NS),
        ..Record::default()
    };
    let mut bytes = vec![0; frame.len() + shim::SHIM_BYTES];
    shim::tag_frame(frame, &record, &mut bytes)?;
    Ok(bytes)
}

/// A datagram as a frame. A UDP checksum of 0 means that there is none (RFC 768).
fn udp_frame(route: &Route, payload: &[u8]) -> Vec<u8> {
    let udp_len = (UDP_BYTES + payload.len()) as u16;
    let mut ip = [0_u8; IPV4_BYTES];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(IPV4_BYTES as u16 + udp_len).to_be_bytes());
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    ip[12..16].copy_from_slice(&route.src.ip().octets());
    ip[16..20].copy_from_slice(&route.dst.ip().octets());
    let checksum = ipv4_checksum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Vec::with_capacity(ETHERNET_BYTES + IPV4_BYTES + usize::from(udp_len));
    frame.extend(route.dst_mac);
    frame.extend(route.src_mac);
    frame.extend(ETHER_TYPE_IPV4.to_be_bytes());
    frame.extend(ip);
    frame.extend(route.src.port().to_be_bytes());
    frame.extend(route.dst.port().to_be_bytes());
    frame.extend(udp_len.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// RFC 791, 3.1: the ones' complement of the ones' complement sum of the header's words.
fn ipv4_checksum(header: &[u8; IPV4_BYTES]) -> u16 {
    let sum: u32 =
        header.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text} is not an address like 02:00:00:00:00:01"))
}

/// Gateway time: CLOCK_TAI.
fn tai_ns() -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_TAI, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}

/// A packet socket that sends on one interface.
struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    fn open(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: the name is terminated and lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // Protocol 0: this socket only sends, and gets no copies of what arrives.
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index.cast_signed();
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is live and of the length that is stated.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { fd })
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the bytes are live and as many as stated.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::net::Ipv4Addr;

    use super::*;

    fn route() -> Route {
        Route {
            src_mac: mac("02:00:00:00:00:01").unwrap(),
            dst_mac: mac("02:00:00:00:00:02").unwrap(),
            src: SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 7), 40_000),
            dst: SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 7_000),
        }
    }

    #[test]
    fn a_frame_says_what_is_meant_by_it() {
        let frame = udp_frame(&route(), b"order 1");
        assert_eq!(frame.len(), 14 + 20 + 8 + 7);
        assert_eq!(frame[12..16], [0x08, 0x00, 0x45, 0x00]);
        // A header with its checksum sums up to nothing.
        assert_eq!(ipv4_checksum(frame[14..34].first_chunk().unwrap()), 0);
        let bytes = tagged(&frame, 7, 1_000, 2_000).unwrap();
        let at = shim::find(&bytes).unwrap();
        let record = shim::decode(&bytes[at..]).unwrap();
        assert_eq!((record.correlation_id, record.t_due), (Some(7), Some(52_000)));
        assert_eq!((record.kind, record.t_decision), (Some(Kind::Order), Some(1_000)));
        assert!(mac("02:00:00:00:00").is_err() && mac("02:00:00:00:00:zz").is_err());
    }

    /// In a network namespace of its own, over its loopback interface.
    #[test]
    fn frames_leave_with_their_shim() {
        // SAFETY: no pointers; only this thread moves to the new namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("no namespace of our own ({}): not run", io::Error::last_os_error());
            return;
        }
        raise("lo");
        let listener = listen();
        let socket = PacketSocket::open("lo").unwrap();
        let frame = udp_frame(&route(), b"order 1");
        let bytes = tagged(&frame, 7, tai_ns().unwrap(), tai_ns().unwrap()).unwrap();
        socket.send(&bytes).unwrap();
        let mut received = [0_u8; 2048];
        // SAFETY: the buffer is live and as long as stated.
        let length = unsafe {
            libc::recv(listener.as_raw_fd(), received.as_mut_ptr().cast(), received.len(), 0)
        };
        assert_eq!(received[..usize::try_from(length).unwrap()], bytes);
    }

    /// Sets an interface up.
    fn raise(interface: &str) {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        // SAFETY: all-zero bytes are a valid ifreq; both calls get a live one with a terminated name.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
                *to = from.cast_signed();
            }
            assert_eq!(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request), 0);
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16;
            assert_eq!(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request), 0);
        }
    }

    /// A packet socket that hears frames with the EtherType of the shim, for at most 5 s.
    fn listen() -> OwnedFd {
        let protocol = libc::c_int::from(shim::ETHER_TYPE.to_be());
        let wait = libc::timeval { tv_sec: 5, tv_usec: 0 };
        // SAFETY: the descriptor is new and nobody else's; the option is live and of its length.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
            assert!(fd >= 0);
            let length = size_of_val(&wait) as libc::socklen_t;
            let option = (&raw const wait).cast();
            let set = libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, option, length);
            assert_eq!(set, 0);
            OwnedFd::from_raw_fd(fd)
        }
    }
}
