//! `wirepace check`.

use dataplane::placement;
use dataplane::port::device::DeviceSpec;
use dataplane::port::kernel_silence;
use model::config::{Config, report, report_json};

use crate::cli::Check;

/// Runs it.
pub fn main(args: &Check) -> u8 {
    let config = match crate::config::load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let interfaces = interface_findings(&config);
    let placement = placement_findings(&config);
    if args.json {
        match report_json(&config) {
            Ok(mut value) => {
                value["interfaces"] = serde_json::json!(interfaces);
                value["placement"] = serde_json::json!(placement);
                crate::print_json(&value);
            }
            Err(error) => return crate::failed(error),
        }
    } else {
        out!("{}", report(&config).trim_end());
        for finding in &interfaces {
            out!("interface: {finding}");
        }
        for finding in &placement {
            out!("placement: {finding}");
        }
    }
    crate::EXIT_DONE
}

/// What the kernel would still do on the interfaces of this host that the config takes.
pub fn interface_findings(config: &Config) -> Vec<String> {
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

/// What speaks against the config's choice of CPUs on this host, in words.
pub fn placement_findings(config: &Config) -> Vec<String> {
    let data_cpus: Vec<usize> = config.pairs.iter().filter_map(|pair| pair.core.cpu()).collect();
    if data_cpus.is_empty() {
        return Vec::new();
    }
    placement::findings(&data_cpus, config.gateway.control_cpu)
        .unwrap_or_else(|error| vec![error.to_string()])
}
