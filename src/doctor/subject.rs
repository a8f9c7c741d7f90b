//! What is asked of a host.

use std::collections::BTreeSet;

use dataplane::port::device::DeviceSpec;
use model::config::{Config, Device, Hugepages};

use super::host::Host;

/// Memory that EAL takes where no config says, bytes: the default of `[dpdk] memory`.
const MEMORY: u64 = 256 << 20;

/// A device that the gateway takes.
pub struct Taken {
    /// Name of the port.
    pub port: String,
    /// The DPDK driver of a vdev, such as `net_af_xdp`; `None` = a PCI device's own.
    pub driver: Option<String>,
    /// Its PCI address.
    pub pci: Option<String>,
    /// The interface of the kernel that it sits on.
    pub interface: Option<String>,
}

/// What is asked of the host.
pub struct Subject {
    /// CPUs that poll: the config's, or those that the kernel keeps free.
    pub data: BTreeSet<usize>,
    /// The CPU of control.
    pub control: Option<usize>,
    /// Whether a config says so, and not a guess.
    pub is_given: bool,
    /// The devices of the config.
    pub devices: Vec<Taken>,
    /// Memory for EAL, bytes.
    pub memory: u64,
    /// Whether hugepages are wanted.
    pub hugepages: Hugepages,
    /// What the kernel would do on the interfaces of the config; only this host can be asked.
    pub not_silent: Vec<String>,
}

impl Subject {
    /// By the config, where there is one.
    pub fn new(host: &Host, config: Option<&Config>) -> Self {
        let isolated = host.cpus("/sys/devices/system/cpu/isolated").unwrap_or_default();
        let Some(config) = config else {
            return Self {
                data: isolated,
                control: None,
                is_given: false,
                devices: Vec::new(),
                memory: MEMORY,
                hugepages: Hugepages::Auto,
                not_silent: Vec::new(),
            };
        };
        let mut data: BTreeSet<usize> = config
            .pairs
            .iter()
            .flat_map(|pair| pair.core.cpu().into_iter().chain(pair.rx_cores.iter().copied()))
            .collect();
        // Chosen on the host itself; of a recorded one, of what it keeps free.
        if config.pairs.iter().any(|pair| pair.core.cpu().is_none()) {
            match host.is_this() {
                true => data.extend(crate::check::placement(config).cores),
                false => data.extend(isolated),
            }
        }
        Self {
            data,
            control: config.gateway.control_cpu,
            is_given: true,
            devices: config.ports.iter().map(|port| taken(&port.name, &port.device)).collect(),
            memory: config.dpdk.memory_bytes,
            hugepages: config.dpdk.hugepages,
            not_silent: match host.is_this() {
                true => crate::start_here::interfaces(config),
                false => Vec::new(),
            },
        }
    }

    /// Whether a device of the config is a PCI device.
    pub fn has_pci(&self) -> bool {
        self.devices.iter().any(|device| device.pci.is_some())
    }

    /// Why nothing can be said of CPUs.
    pub fn without_cores(&self) -> Option<&'static str> {
        self.data.is_empty().then_some(if self.is_given {
            "the config has no data cores"
        } else {
            "no CPU is kept free and no config names one: see isolation, or give --config"
        })
    }
}

fn taken(port: &str, device: &Device) -> Taken {
    let spec = DeviceSpec::try_from(device).ok();
    let interface = spec.as_ref().and_then(DeviceSpec::kernel_interface).map(str::to_owned);
    let (driver, pci) = match device {
        Device::Vdev(_) => (spec.as_ref().map(|spec| spec.driver().name().to_owned()), None),
        Device::Pci(text) => (None, text.split(',').next().map(str::to_owned)),
        Device::Capture => (None, None),
    };
    Taken { port: port.to_owned(), driver, pci, interface }
}
