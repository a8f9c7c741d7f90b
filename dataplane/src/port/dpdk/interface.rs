//! What only the kernel knows of, or can do to, an interface under net_af_packet and net_af_xdp.
#![allow(unsafe_code)]

use std::mem;
use std::os::fd::AsRawFd;

use crate::eal::Errno;

/// Runs an interface request of the kernel on `name`.
fn interface_request(
    name: &str,
    request: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> Result<libc::ifreq, Errno> {
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .map_err(|e| Errno(e.raw_os_error()))?;
    // SAFETY: an ifreq of zeros is valid.
    let mut ifreq: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= ifreq.ifr_name.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    fill(&mut ifreq);
    // SAFETY: the requests used here take an ifreq, which lives through the call, as does what
    // `fill` lets it point to.
    if unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut ifreq) } < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
    }
    Ok(ifreq)
}

pub(super) fn interface_mtu(name: &str) -> Result<u16, Errno> {
    let answer = interface_request(name, libc::SIOCGIFMTU, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFMTU, which writes this field. The loopback interface has
    // 65536.
    Ok(u16::try_from(unsafe { answer.ifr_ifru.ifru_mtu }).unwrap_or(u16::MAX))
}

/// Receive queues of an interface; `None` when its driver does not say.
pub(super) fn receive_queues(name: &str) -> Option<u32> {
    /// `struct ethtool_channels` of the kernel.
    #[repr(C)]
    #[derive(Default)]
    struct Channels {
        command: u32,
        /// Largest number of RX, TX, other and combined channels.
        largest: [u32; 4],
        rx: u32,
        tx: u32,
        other: u32,
        combined: u32,
    }
    const ETHTOOL_GCHANNELS: u32 = 0x3c;
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    let data = (&raw mut channels).cast();
    interface_request(name, libc::SIOCETHTOOL, |r| r.ifr_ifru.ifru_data = data).ok()?;
    Some(channels.rx + channels.combined)
}

/// Which interface bears the name, and whether it is up with somebody at the other end.
pub(super) fn interface_link(name: &str) -> Result<(libc::c_int, bool), Errno> {
    let answer = interface_request(name, libc::SIOCGIFINDEX, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFINDEX, which writes this field.
    let index = unsafe { answer.ifr_ifru.ifru_ifindex };
    let answer = interface_request(name, libc::SIOCGIFFLAGS, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFFLAGS, which writes this field.
    let flags = libc::c_int::from(unsafe { answer.ifr_ifru.ifru_flags });
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    Ok((index, flags & up == up))
}

pub(super) fn set_interface_up(name: &str, up: bool) -> Result<(), Errno> {
    let answer = interface_request(name, libc::SIOCGIFFLAGS, |_| {})?;
    // SAFETY: the kernel answered SIOCGIFFLAGS, which writes this field.
    let flags = unsafe { answer.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    let wanted = if up { flags | bit } else { flags & !bit };
    interface_request(name, libc::SIOCSIFFLAGS, |r| r.ifr_ifru.ifru_flags = wanted)?;
    Ok(())
}
