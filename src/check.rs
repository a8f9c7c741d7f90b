//! `wirepace check`.

use dataplane::placement::{self, Placement};
use dataplane::port::device::DeviceSpec;
use dataplane::port::kernel_silence;
use model::config::{ClockKind, Config, CoreChoice, Observe, report, report_json};

use crate::cli::Check;

/// Runs it.
pub fn main(args: &Check) -> u8 {
    let config = match crate::config::read(&args.config) {
        Ok(config) => config,
        Err(unusable) => {
            unusable.print();
            if args.json {
                crate::print_json(&unusable.to_json());
            }
            return crate::EXIT_USAGE;
        }
    };
    if let Some(observe) = &config.observe {
        return of_observe(&config, observe, args.json);
    }
    let interfaces = interface_findings(&config);
    let placement = placement(&config);
    if args.json {
        match report_json(&config) {
            Ok(mut value) => {
                value["interfaces"] = serde_json::json!(interfaces);
                value["placement"] = serde_json::json!(placement.findings);
                value["cores"] = serde_json::json!(placement.cores);
                crate::print_json(&value);
            }
            Err(error) => return crate::failed(error),
        }
    } else {
        out!("{}", report(&config).trim_end());
        for finding in &interfaces {
            out!("interface: {finding}");
        }
        for (pair, core) in config.pairs.iter().zip(&placement.cores) {
            let name = |port: usize| &config.ports[port].name;
            if pair.core == CoreChoice::Auto {
                out!(
                    "core: on this host {core} polls {} <-> {}",
                    name(pair.inside),
                    name(pair.venue)
                );
            }
        }
        for finding in &placement.findings {
            out!("placement: {finding}");
        }
    }
    crate::EXIT_DONE
}

/// Nothing is promised of a path that is only looked at: what the config amounts to is what is looked at.
fn of_observe(config: &Config, observe: &Observe, json: bool) -> u8 {
    let classes: Vec<&str> = config.classes.iter().map(|class| class.name.as_str()).collect();
    if json {
        crate::print_json(&serde_json::json!({
            "name": config.gateway.name,
            "config_digest": config.digest,
            "observe": observe,
            "classes": classes,
            "rules": config.rules.rules.len(),
            "warnings": config.warnings,
        }));
        return crate::EXIT_DONE;
    }
    out!("observer {}: the config is good", config.gateway.name);
    out!("digest {}", config.digest);
    out!("egress {}, ingress {}", observe.egress, observe.ingress.as_deref().unwrap_or("none"));
    out!("sockets by {} filters, threads of {}", observe.sockets.len(), observe.threads.join(", "));
    out!("classes {}; {} rules", classes.join(", "), config.rules.rules.len());
    config.warnings.iter().for_each(|warning| out!("warning: {warning}"));
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

/// The CPUs of this host that poll the config's pairs, and what speaks against them. Where no CPUs
/// are wanted, in virtual time, there is nothing to say.
pub fn placement(config: &Config) -> Placement {
    if config.gateway.clock == ClockKind::Virtual {
        return Placement { cores: Vec::new(), findings: Vec::new() };
    }
    placement::of(config).unwrap_or_else(|error| Placement {
        cores: config.pairs.iter().filter_map(|pair| pair.core.cpu()).collect(),
        findings: vec![error.to_string()],
    })
}
