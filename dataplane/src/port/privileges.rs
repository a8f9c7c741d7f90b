//! Capabilities: which a device needs, and how a thread gives up the others.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use super::device::{DeviceSpec, Driver};

/// Capabilities that a thread is to keep of those that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges(CapsHashSet);

impl Privileges {
    /// None.
    pub fn none() -> Self {
        Self(CapsHashSet::new())
    }

    /// Whatever it has, where nobody knows yet which devices will be opened.
    pub fn all() -> Self {
        Self(caps::all())
    }

    /// What the drivers of `devices` need to add, configure, watch and close them. Files and sockets are
    /// opened by the right of the user and need none.
    pub fn for_devices<'a>(devices: impl IntoIterator<Item = &'a DeviceSpec>) -> Self {
        Self(devices.into_iter().flat_map(needed_by).copied().collect())
    }
}

fn needed_by(device: &DeviceSpec) -> &'static [Capability] {
    use Capability::{CAP_BPF, CAP_IPC_LOCK, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN};

    match device.driver() {
        Driver::Null | Driver::Ring | Driver::Memif | Driver::Vhost => &[],
        // Of an interface it is a packet socket, of a file nothing.
        Driver::Pcap if !device.captures_an_interface() => &[],
        // A packet socket; promiscuous mode, MTU and link.
        Driver::Pcap | Driver::Tap => &[CAP_NET_RAW, CAP_NET_ADMIN],
        // And a ring in locked memory.
        Driver::AfPacket => &[CAP_NET_RAW, CAP_NET_ADMIN, CAP_IPC_LOCK],
        // And a program in the kernel, with its map. libxdp finds the program
        // that is attached by its number, which the kernel lets nobody do without CAP_SYS_ADMIN.
        Driver::AfXdp => &[CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_SYS_ADMIN, CAP_IPC_LOCK],
        // Memory that the device reaches stays where it is (vfio); NICs that share their port with the
        // kernel (mlx5) ask for both others.
        Driver::Pci => &[CAP_IPC_LOCK, CAP_NET_RAW, CAP_NET_ADMIN],
    }
}

/// Gives up every capability of the calling thread, and of the threads that it starts from now on:
/// effective, permitted, inheritable, ambient and, where allowed, bounding. Nothing on a thread that
/// has none.
///
/// # Errors
/// When the kernel refuses to take a capability away.
pub fn drop_capabilities() -> Result<(), CapsError> {
    keep_capabilities(&Privileges::none())
}

/// The same for all but `kept`, of which the thread keeps what it has; no thread and no program that it
/// starts gets more.
///
/// # Errors
/// As [`drop_capabilities`].
pub(crate) fn keep_capabilities(Privileges(kept): &Privileges) -> Result<(), CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        if !caps::read(None, set)?.is_empty() {
            caps::clear(None, set)?;
        }
    }
    // The effective set must not exceed the permitted one at any moment.
    for set in [CapSet::Effective, CapSet::Permitted] {
        let held = caps::read(None, set)?;
        if !held.is_subset(kept) {
            caps::set(None, set, &held.intersection(kept).copied().collect())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_interface_needs_nothing() {
        let of = |device: &str| Privileges::for_devices([&DeviceSpec::parse(device).unwrap()]);
        for device in ["net_null0", "net_ring0", "net_pcap0,rx_pcap=a.pcap,tx_pcap=b.pcap"] {
            assert_eq!(of(device), Privileges::none(), "{device}");
        }
        let packet = of("net_af_packet0,iface=a");
        assert!(of("net_pcap0,iface=a").0.is_subset(&packet.0));
        assert!(packet.0.contains(&Capability::CAP_NET_RAW));
        assert!(packet.0.is_subset(&of("net_af_xdp0,iface=a").0));
        assert!(!of("0000:01:00.0").0.contains(&Capability::CAP_SYS_ADMIN));
    }

    #[test]
    fn a_thread_keeps_what_it_is_to_keep_and_has() {
        let kept = Privileges(CapsHashSet::from([Capability::CAP_NET_RAW]));
        let before = caps::read(None, CapSet::Permitted).unwrap();
        let expected: CapsHashSet = before.intersection(&kept.0).copied().collect();
        let of_thread = std::thread::spawn(move || {
            keep_capabilities(&kept).unwrap();
            let held = CapSet::Effective;
            let kept =
                (caps::read(None, held).unwrap(), caps::read(None, CapSet::Permitted).unwrap());
            drop_capabilities().unwrap();
            (kept, caps::read(None, held).unwrap())
        });
        let (kept, dropped) = of_thread.join().unwrap();
        assert_eq!(kept, (expected.clone(), expected));
        assert!(dropped.is_empty());
        assert_eq!(
            caps::read(None, CapSet::Permitted).unwrap(),
            before,
            "of other threads nothing"
        );
    }
}
