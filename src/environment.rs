//! What a figure was measured in: figures of another environment are not to be compared with it.

use std::fs;

use dataplane::eal::Eal;
use dataplane::port::device::DeviceSpec;
use model::config::{Config, Device};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Machine, kernel, DPDK, build and ports.
pub fn describe(config: &Config) -> Value {
    let ports = config.ports.iter().map(|port| nic(&port.device));
    let observed = config.observe.iter().flat_map(|observe| {
        let interfaces = std::iter::once(&observe.egress).chain(&observe.ingress);
        interfaces.map(|name| hardware(name, &format!("/sys/class/net/{name}"), "device/"))
    });
    let ports: Vec<Value> = ports.chain(observed).collect();
    json!({
        "machine": crate::host::machine(),
        "dpdk": Eal::version(),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("WIREPACE_COMMIT"),
        "ports": ports,
    })
}

/// SHA-256 of [`describe`], as hex.
pub fn digest(config: &Config) -> String {
    let digest = Sha256::digest(describe(config).to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The device as the config names it, and what the kernel says of the hardware behind it.
fn nic(device: &Device) -> Value {
    let name = match device {
        Device::Capture => "capture",
        Device::Vdev(name) | Device::Pci(name) => name,
    };
    let interface = DeviceSpec::try_from(device).ok();
    let interface = interface.as_ref().and_then(DeviceSpec::kernel_interface);
    let folder = match (device, interface) {
        (_, Some(interface)) => format!("/sys/class/net/{interface}"),
        (Device::Pci(address), None) => {
            format!("/sys/bus/pci/devices/{}", address.split(',').next().unwrap_or(address))
        }
        _ => return json!({ "device": name }),
    };
    hardware(name, &folder, if interface.is_some() { "device/" } else { "" })
}

/// What stands in `folder` and, of the hardware, `below`.
fn hardware(name: &str, folder: &str, below: &str) -> Value {
    let read = |file: &str| {
        let text = fs::read_to_string(format!("{folder}/{file}")).ok()?;
        Some(text.trim().to_owned())
    };
    let driver = fs::read_link(format!("{folder}/{below}driver")).ok();
    let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    json!({
        "device": name,
        "vendor": read(&format!("{below}vendor")),
        "model": read(&format!("{below}device")),
        "driver": driver,
        "mtu": read("mtu"),
    })
}
