//! What of a good config cannot start on the very host that is asked: a config may be checked on another one.

use control::access::Access;
use dataplane::placement;
use dataplane::port::device::DeviceSpec;
use dataplane::port::kernel_silence;
use model::config::{ClockKind, Config};

/// Everything by which `wirepace run` would fail here, each in words. Empty = nothing that is known before.
/// Virtual time and a path that is only looked at take nothing of a host.
pub fn obstacles(config: &Config) -> Vec<String> {
    if config.gateway.clock == ClockKind::Virtual || config.observe.is_some() {
        return Vec::new();
    }
    let mut found = interfaces(config);
    match placement::of(config) {
        Ok(placement) => found.extend(placement.obstacles),
        Err(error) => found.push(error.to_string()),
    }
    found.extend(Access::of(&config.control.access).err().map(|error| error.to_string()));
    found
}

/// Says so on stdout, each by itself.
pub fn print(obstacles: &[String]) {
    obstacles.iter().for_each(|obstacle| out!("on this host a start would fail: {obstacle}"));
}

/// What the kernel would still do on the interfaces of this host that the config takes.
pub fn interfaces(config: &Config) -> Vec<String> {
    let mut findings = Vec::new();
    for port in &config.ports {
        let Ok(device) = DeviceSpec::try_from(&port.device) else { continue };
        let Some(interface) = device.kernel_interface() else { continue };
        match kernel_silence::findings(interface) {
            Ok(found) => findings.extend(found.iter().map(|f| format!("port {}: {f}", port.name))),
            Err(error) => findings.push(format!("port {}: {error}", port.name)),
        }
    }
    findings
}
