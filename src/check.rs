//! `wirepace check`.

use dataplane::placement::{self, Placement};
use model::config::{ClockKind, Config, CoreChoice, Observe, report, report_json};

use crate::cli::Check;
use crate::start_here;

/// Runs it.
pub fn main(args: &Check) -> u8 {
    let config = match crate::config::read(&args.config) {
        Ok(config) => config,
        Err(unusable) => {
            unusable.print();
            return crate::EXIT_USAGE;
        }
    };
    if let Some(observe) = &config.observe {
        return of_observe(&config, observe, args.json);
    }
    let obstacles = start_here::obstacles(&config);
    let placement = placement(&config);
    if args.json {
        match report_json(&config) {
            Ok(mut value) => {
                value["interfaces"] = serde_json::json!(start_here::interfaces(&config));
                value["start_fails_here"] = serde_json::json!(obstacles);
                value["placement"] = serde_json::json!(placement.findings);
                value["cores"] = serde_json::json!(placement.cores);
                crate::print_json(&value);
            }
            Err(error) => return crate::failed(error),
        }
    } else {
        out!("{}", report(&config).trim_end());
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
        start_here::print(&obstacles);
    }
    if args.this_host && !obstacles.is_empty() { crate::EXIT_NOT_SHOWN } else { crate::EXIT_DONE }
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

/// The CPUs of this host that poll the config's pairs, and what speaks against them. Where no CPUs
/// are wanted, in virtual time, there is nothing to say.
pub fn placement(config: &Config) -> Placement {
    if config.gateway.clock == ClockKind::Virtual {
        return Placement { cores: Vec::new(), findings: Vec::new(), obstacles: Vec::new() };
    }
    placement::of(config).unwrap_or_else(|error| Placement {
        cores: config.pairs.iter().filter_map(|pair| pair.core.cpu()).collect(),
        findings: Vec::new(),
        obstacles: vec![error.to_string()],
    })
}
