//! Devices: the drivers of DPDK, how PCI devices are bound, what the kernel does on interfaces.

use std::collections::BTreeSet;

use super::finding::{Check, Finding, Mend};
use super::host::{Host, cpu_list};
use super::subject::{Subject, Taken};

const PLUGINS: Check = Check {
    name: "dpdk-plugins",
    why: "DPDK loads the driver of each device from its plugin directory at start",
};
const BINDING: Check = Check {
    name: "nic-binding",
    why: "DPDK reaches a PCI device through vfio, or through the kernel's driver where that shares the device",
};
const IOMMU: Check = Check {
    name: "iommu",
    why: "vfio gives a device to a process only behind an IOMMU: it keeps the device to the process's memory",
};
const NUMA: Check = Check {
    name: "nic-numa",
    why: "a core on another NUMA node than its NIC fetches every descriptor and packet across the sockets",
};
const OFFLOADS: Check = Check {
    name: "nic-offloads",
    why: "merged frames are longer than the port may send and end as tx_oversize; unfinished checksums leave as \
          they are",
};
const SILENCE: Check = Check {
    name: "nic-silence",
    why: "what the kernel still does on an interface answers or forwards frames a second time, unpaced",
};
const PCI: &str = "/sys/bus/pci/devices";
/// Where Debian and its kin install the drivers of DPDK 22.11, and where a build of one's own does.
const PLUGIN_DIRS: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0",
    "/usr/lib64/dpdk-pmds",
    "/usr/local/lib/x86_64-linux-gnu/dpdk/pmds-23.0",
];
/// Drivers of the kernel that share their device with DPDK.
const SHARED: [&str; 4] = ["mlx4_core", "mlx5_core", "mana", "nfp"];

/// The NUMA nodes of the config's NICs, as `nodeN`.
pub fn nodes_of(host: &Host, subject: &Subject) -> Vec<String> {
    let nodes: BTreeSet<String> =
        subject.devices.iter().filter_map(|device| node_of(host, device)).collect();
    nodes.into_iter().collect()
}

fn node_of(host: &Host, device: &Taken) -> Option<String> {
    let file = match (&device.pci, &device.interface) {
        (Some(address), _) => format!("{PCI}/{address}/numa_node"),
        (None, Some(interface)) => format!("/sys/class/net/{interface}/device/numa_node"),
        (None, None) => return None,
    };
    let node: i64 = host.read(&file)?.parse().ok()?;
    (node >= 0).then(|| format!("node{node}"))
}

/// The drivers that the config's devices need.
pub fn plugins(host: &Host, subject: &Subject) -> Vec<Finding> {
    let mend = Mend::ByHand("install DPDK 22.11 with its drivers: scripts/setup".to_owned());
    let Some(dir) = PLUGIN_DIRS.into_iter().find(|dir| host.exists(dir)) else {
        return PLUGINS.bad(format!("none of {} is there", PLUGIN_DIRS.join(", ")), Some(mend));
    };
    let files = host.names(dir);
    let has =
        |driver: &str| files.iter().any(|file| file.starts_with(&format!("librte_{driver}.so")));
    let wanted: BTreeSet<&str> =
        subject.devices.iter().filter_map(|device| device.driver.as_deref()).collect();
    let missing: Vec<&str> = wanted.iter().copied().filter(|driver| !has(driver)).collect();
    if files.iter().any(|file| file.starts_with("librte_net_")) && missing.is_empty() {
        return PLUGINS.good(dir);
    }
    let lacks =
        if missing.is_empty() { "any network driver".to_owned() } else { missing.join(", ") };
    PLUGINS.bad(format!("{dir} has not {lacks}"), Some(mend))
}

/// IOMMU, binding and NUMA node of PCI devices.
pub fn pci(host: &Host, subject: &Subject) -> Vec<Finding> {
    let has_iommu = !host.names("/sys/class/iommu").is_empty();
    let unsafe_mode = host.read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    let mut found = match (has_iommu, unsafe_mode.as_deref()) {
        (true, _) => IOMMU.good("on"),
        (false, Some("Y" | "1")) => IOMMU.note("off; vfio runs unsafely without it (noiommu)"),
        (false, _) if subject.has_pci() => IOMMU.bad(
            "off, or there is none",
            Some(Mend::Boot("intel_iommu=on amd_iommu=on iommu=pt".to_owned())),
        ),
        (false, _) => IOMMU.note("off, or there is none; only PCI devices need it"),
    };
    for device in &subject.devices {
        if let Some(address) = &device.pci {
            found.extend(binding(host, &device.port, address));
        }
        found.extend(distance(host, subject, device));
    }
    found
}

fn binding(host: &Host, port: &str, address: &str) -> Vec<Finding> {
    if !host.exists(&format!("{PCI}/{address}")) {
        let found = format!("port {port}: there is no device {address}");
        let mend = "`lspci -D` lists what there is".to_owned();
        return BINDING.bad(found, Some(Mend::ByHand(mend)));
    }
    let driver = host.link(&format!("{PCI}/{address}/driver"));
    let found = format!("port {port}: {address} by {}", driver.as_deref().unwrap_or("no driver"));
    match driver.as_deref() {
        Some("vfio-pci") => BINDING.good(found),
        Some(shared) if SHARED.contains(&shared) => BINDING.good(found),
        _ => BINDING.bad(
            found,
            Some(Mend::Now(vec![
                "modprobe vfio-pci".to_owned(),
                format!("dpdk-devbind.py -b vfio-pci {address}"),
            ])),
        ),
    }
}

fn distance(host: &Host, subject: &Subject, device: &Taken) -> Vec<Finding> {
    let Some(node) = node_of(host, device) else { return Vec::new() };
    let near = host.cpus(&format!("/sys/devices/system/node/{node}/cpulist")).unwrap_or_default();
    let far: Vec<usize> = subject.data.difference(&near).copied().collect();
    let port = &device.port;
    if far.is_empty() {
        return NUMA.good(format!("port {port}: {node}, with the cores that poll"));
    }
    let found = format!("port {port}: {node}; CPUs {} that poll are not", cpu_list(far));
    let mend = format!("choose `core` of the pair among CPUs {}, or \"auto\"", cpu_list(near));
    NUMA.bad(found, Some(Mend::ByHand(mend)))
}

/// Offloads of the interfaces that the config takes, and what the kernel still does on them.
pub fn interfaces(host: &Host, subject: &Subject) -> Vec<Finding> {
    let mut found = Vec::new();
    for device in &subject.devices {
        let Some(interface) = &device.interface else { continue };
        let port = &device.port;
        let Some(on) = host.features_on(interface) else {
            found.extend(OFFLOADS.skipped(format!("port {port}: {interface} does not say")));
            continue;
        };
        let merging: Vec<&str> = on
            .iter()
            .map(String::as_str)
            .filter(|f| f.starts_with("rx-gro") || *f == "rx-lro")
            .collect();
        if merging.is_empty() {
            found.extend(OFFLOADS.good(format!("port {port}: {interface} merges no frames")));
        } else {
            let off = merging.iter().map(|feature| format!(" {feature} off")).collect::<String>();
            found.extend(OFFLOADS.bad(
                format!("port {port}: {interface} has {}", merging.join(", ")),
                Some(Mend::Now(vec![format!("ethtool -K {interface}{off}")])),
            ));
        }
    }
    // The words of `run`, which refuses to start for each of them; they end with what mends it.
    found.extend(subject.not_silent.iter().flat_map(|said| SILENCE.bad(said.clone(), None)));
    found
}
