//! Devargs: which driver a device has and what of the host it will take.
//!
//! Read just far enough to lock the host's resource and to know the driver's habits; every other
//! argument goes to the driver as it is. Arguments are given as DPDK documents them, nothing is
//! added: net_af_packet for instance keeps its own defaults (`framesz=2048`, `blocksz=4096`,
//! `framecnt=512`, `qdisc_bypass=0`).

use std::fmt;
use std::path::PathBuf;

use model::config::Device;

/// A driver whose habits we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// `net_null`: receives without end, sends into nothing.
    Null,
    /// `net_pcap`: capture files or an interface through libpcap.
    Pcap,
    /// `net_ring`: what is sent comes back.
    Ring,
    /// `net_af_packet`: a Linux interface through a packet socket.
    AfPacket,
    /// `net_af_xdp`: a Linux interface through AF_XDP.
    AfXdp,
    /// `net_tap`: makes a Linux interface.
    Tap,
    /// `net_memif`: shared memory with another process.
    Memif,
    /// `net_vhost`: a virtio back-end.
    Vhost,
    /// A physical or virtual function on the PCI bus.
    Pci,
}

/// The virtual devices, longest name first where one begins another.
const VDEVS: [(&str, Driver); 8] = [
    ("net_af_packet", Driver::AfPacket),
    ("net_af_xdp", Driver::AfXdp),
    ("net_memif", Driver::Memif),
    ("net_null", Driver::Null),
    ("net_pcap", Driver::Pcap),
    ("net_ring", Driver::Ring),
    ("net_tap", Driver::Tap),
    ("net_vhost", Driver::Vhost),
];

impl Driver {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "net_null",
            Self::Pcap => "net_pcap",
            Self::Ring => "net_ring",
            Self::AfPacket => "net_af_packet",
            Self::AfXdp => "net_af_xdp",
            Self::Tap => "net_tap",
            Self::Memif => "net_memif",
            Self::Vhost => "net_vhost",
            Self::Pci => "pci",
        }
    }

    /// Whether the device receives every frame by nature: there is no address filter to switch off.
    pub const fn has_no_address_filter(self) -> bool {
        matches!(self, Self::Null | Self::Pcap | Self::Ring | Self::Memif | Self::Vhost)
    }

    /// Whether the device is an interface of this host's kernel that existed before.
    pub const fn is_kernel_interface(self) -> bool {
        matches!(self, Self::AfPacket | Self::AfXdp)
    }

    /// Whether the same mbuf object that was sent is received again.
    pub const fn loops_back(self) -> bool {
        matches!(self, Self::Ring)
    }
}

/// Something of the host that only one process may use at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A PCI address in full form, `0000:01:00.0`.
    Pci(String),
    /// A network interface of this network namespace.
    Interface(String),
    /// A socket or an output file.
    Path(PathBuf),
    /// One end of a shared-memory link: its socket as given, and which end.
    Memif {
        /// The socket, an abstract one unless the driver is told otherwise.
        socket: String,
        /// Role and link id: many links may use one socket.
        end: String,
    },
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => write!(f, "PCI device {address}"),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Memif { socket, end } => write!(f, "memif {socket}, {end}"),
        }
    }
}

/// Why devargs are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Neither a known virtual device nor a PCI address.
    #[error(
        "{0:?} is no device: allowed are net_null<N>, net_ring<N>, net_pcap<N>,rx_pcap=F,tx_pcap=F, \
         net_af_packet<N>,iface=I, net_af_xdp<N>,iface=I, net_tap<N>,iface=I, net_memif<N>,socket=F, \
         net_vhost<N>,iface=F, and PCI addresses such as 0000:01:00.0, with DPDK's devargs"
    )]
    Unknown(String),
    /// `capture` is the reader of `replay`, not a port of DPDK.
    #[error("device \"capture\" is for `wirepace replay`, which reads the capture itself")]
    Capture,
    /// An argument that the driver cannot work without.
    #[error("{driver} needs {argument}: {device:?}")]
    Missing {
        /// The driver.
        driver: &'static str,
        /// The argument with its form.
        argument: &'static str,
        /// What was given.
        device: String,
    },
    /// A name longer than DPDK takes, or not in its alphabet.
    #[error("device name {0:?}: 1 to 63 letters, digits and '_' are allowed")]
    Name(String),
}

/// A device as EAL adds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    driver: Driver,
    name: String,
    arguments: String,
}

impl TryFrom<&Device> for DeviceSpec {
    type Error = DeviceError;

    fn try_from(device: &Device) -> Result<Self, DeviceError> {
        match device {
            Device::Capture => Err(DeviceError::Capture),
            Device::Pci(text) | Device::Vdev(text) => Self::parse(text),
        }
    }
}

impl DeviceSpec {
    /// Reads a device as it stands in a config: name or PCI address, then `,key=value`...
    ///
    /// # Errors
    /// [`DeviceError`], naming the allowed forms.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let (name, arguments) = text.split_once(',').unwrap_or((text, ""));
        let (driver, name) = match pci_address(name) {
            Some(address) => (Driver::Pci, address),
            None => match VDEVS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
                Some(&(_, driver)) => (driver, name.to_owned()),
                None => return Err(DeviceError::Unknown(text.to_owned())),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if driver != Driver::Pci && (name.len() > 63 || !name.chars().all(plain)) {
            return Err(DeviceError::Name(name));
        }
        if text.contains('\0') {
            return Err(DeviceError::Unknown(text.to_owned()));
        }
        let spec = Self { driver, name, arguments: arguments.to_owned() };
        let needs = match driver {
            Driver::AfPacket | Driver::AfXdp => Some(("iface", "iface=INTERFACE")),
            Driver::Vhost => Some(("iface", "iface=SOCKET")),
            _ => None,
        };
        if let Some((key, argument)) = needs
            && spec.values(key).next().is_none()
        {
            let device = text.to_owned();
            return Err(DeviceError::Missing { driver: driver.name(), argument, device });
        }
        Ok(spec)
    }

    /// The driver.
    pub const fn driver(&self) -> Driver {
        self.driver
    }

    /// The name by which EAL knows it: `net_ring0`, `0000:01:00.0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything behind the first comma, as given.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The bus by which EAL adds it.
    pub(crate) const fn bus(&self) -> &'static str {
        match self.driver {
            Driver::Pci => "pci",
            _ => "vdev",
        }
    }

    /// The values given for `key`, in order; net_pcap takes some keys several times.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.arguments
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .filter(move |(k, v)| *k == key && !v.is_empty())
            .map(|(_, v)| v)
    }

    /// The argument that says how many queues the driver makes, 1 where it is not given, and the
    /// number given; `None` for drivers without one.
    pub fn queue_argument(&self) -> Option<(&'static str, &str)> {
        let argument = match self.driver {
            Driver::AfPacket => "qpairs",
            Driver::AfXdp => "queue_count",
            Driver::Vhost => "queues",
            _ => return None,
        };
        Some((argument, self.values(argument).last().unwrap_or("1")))
    }

    /// The kernel interface that it takes over: net_af_packet and net_af_xdp only.
    pub fn kernel_interface(&self) -> Option<&str> {
        if self.driver.is_kernel_interface() { self.values("iface").next() } else { None }
    }

    /// Whether net_pcap is to use an interface rather than files.
    pub(crate) fn captures_an_interface(&self) -> bool {
        let keys = ["iface", "rx_iface", "rx_iface_in", "tx_iface"];
        keys.into_iter().any(|key| self.values(key).next().is_some())
    }

    /// What of the host must be locked before EAL touches the device. A second net_af_xdp on an
    /// interface would remove the first one's program, a second net_af_packet would double every
    /// frame. Input captures may be read by many.
    pub fn claims(&self) -> Vec<Claim> {
        let interfaces = |key| self.values(key).map(|v| Claim::Interface(v.to_owned()));
        let paths = |key| self.values(key).map(|v| Claim::Path(PathBuf::from(v)));
        match self.driver {
            Driver::Null | Driver::Ring => Vec::new(),
            Driver::AfPacket | Driver::AfXdp | Driver::Tap => interfaces("iface").collect(),
            Driver::Pcap => interfaces("iface")
                .chain(interfaces("rx_iface"))
                .chain(interfaces("rx_iface_in"))
                .chain(interfaces("tx_iface"))
                .chain(paths("tx_pcap"))
                .fold(Vec::new(), |mut seen, claim| {
                    // One port may read and write the same interface.
                    if !seen.contains(&claim) {
                        seen.push(claim);
                    }
                    seen
                }),
            Driver::Memif => {
                // The driver's own defaults where nothing is given.
                let value = |key, default| self.values(key).last().unwrap_or(default).to_owned();
                let role = match value("role", "client").as_str() {
                    "server" | "master" => "server",
                    _ => "client",
                };
                let socket = value("socket", "/run/memif.sock");
                vec![Claim::Memif { socket, end: format!("{role} of link {}", value("id", "0")) }]
            }
            Driver::Vhost => paths("iface").collect(),
            Driver::Pci => vec![Claim::Pci(self.name.clone())],
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.arguments.is_empty() { Ok(()) } else { write!(f, ",{}", self.arguments) }
    }
}

/// `01:00.0` or `0000:01:00.0` in full form and lower case.
fn pci_address(text: &str) -> Option<String> {
    let hex = |s: &str, digits: usize| {
        (s.len() == digits && s.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())
    };
    let (rest, function) = text.rsplit_once('.')?;
    let parts: Vec<_> = rest.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [bus, device] => ("0000", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    if !(4..=8).contains(&domain.len()) {
        return None;
    }
    hex(domain, domain.len())?;
    hex(bus, 2)?;
    hex(device, 2)?;
    hex(function, 1)?;
    Some(format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> DeviceSpec {
        DeviceSpec::parse(text).unwrap()
    }

    #[test]
    fn every_allowed_form_is_read() {
        for (text, driver, claims) in [
            ("net_null0,size=64", Driver::Null, vec![]),
            ("net_ring_a", Driver::Ring, vec![]),
            (
                "net_pcap0,rx_pcap=in.pcap,tx_pcap=/x/out.pcap",
                Driver::Pcap,
                vec![Claim::Path("/x/out.pcap".into())],
            ),
            ("net_pcap1,iface=lo", Driver::Pcap, vec![Claim::Interface("lo".into())]),
            (
                "net_pcap1,rx_iface=lo,tx_iface=lo",
                Driver::Pcap,
                vec![Claim::Interface("lo".into())],
            ),
            (
                "net_af_packet0,iface=veth0,qpairs=1",
                Driver::AfPacket,
                vec![Claim::Interface("veth0".into())],
            ),
            ("net_af_xdp0,iface=veth0", Driver::AfXdp, vec![Claim::Interface("veth0".into())]),
            ("net_tap0,iface=tap7", Driver::Tap, vec![Claim::Interface("tap7".into())]),
            (
                "net_memif0,role=server,socket=/run/m.sock",
                Driver::Memif,
                vec![Claim::Memif { socket: "/run/m.sock".into(), end: "server of link 0".into() }],
            ),
            (
                "net_vhost0,iface=/tmp/v.sock",
                Driver::Vhost,
                vec![Claim::Path("/tmp/v.sock".into())],
            ),
            ("0000:01:00.0,tx_pp=500", Driver::Pci, vec![Claim::Pci("0000:01:00.0".into())]),
            ("3B:00.1", Driver::Pci, vec![Claim::Pci("0000:3b:00.1".into())]),
        ] {
            let spec = spec(text);
            assert_eq!(spec.driver(), driver, "{text}");
            assert_eq!(spec.claims(), claims, "{text}");
        }
    }

    #[test]
    fn name_and_arguments_go_on_as_given() {
        let spec = spec("net_af_packet0,iface=v0,blocksz=8192,framesz=4096");
        assert_eq!((spec.name(), spec.bus()), ("net_af_packet0", "vdev"));
        assert_eq!(spec.arguments(), "iface=v0,blocksz=8192,framesz=4096");
        assert_eq!(spec.to_string(), "net_af_packet0,iface=v0,blocksz=8192,framesz=4096");
        assert_eq!(spec.kernel_interface(), Some("v0"));
    }

    #[test]
    fn a_refusal_names_what_is_allowed() {
        for text in ["", "eth0", "net_foo0", "00:00", "zz:00.0", "0000:01:00", "1:00.0"] {
            let said = DeviceSpec::parse(text).unwrap_err().to_string();
            assert!(said.contains("net_af_xdp<N>,iface=I"), "{text}: {said}");
        }
        let said = DeviceSpec::parse("net_af_xdp0").unwrap_err().to_string();
        assert!(said.contains("needs iface=INTERFACE"), "{said}");
        let said = DeviceSpec::parse("net_af_packet0,iface=").unwrap_err().to_string();
        assert!(said.contains("needs iface=INTERFACE"), "{said}");
        let made = |text| DeviceSpec::parse(text).unwrap().queue_argument().map(|q| q.1.to_owned());
        assert_eq!(made("net_af_packet0,iface=v0,qpairs=2").as_deref(), Some("2"));
        assert_eq!((made("net_vhost0,iface=s").as_deref(), made("net_ring0")), (Some("1"), None));
        assert!(DeviceSpec::parse(&format!("net_null{}", "0".repeat(60))).is_err());
        assert!(DeviceSpec::parse("net_null 0").is_err());
        assert_eq!(DeviceSpec::try_from(&Device::Capture), Err(DeviceError::Capture));
    }
}
