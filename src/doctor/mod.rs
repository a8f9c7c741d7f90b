//! `wirepace doctor`: what of this host stands in the way of a gateway, why, and what mends it.
//!
//! Every check is a function of a [`Host`], which reads files below a root directory, and a [`Subject`], what is
//! asked for: the ports and cores of a config, or without one what the kernel keeps free. It returns findings and
//! changes nothing. Which checks there are stands in [`examine`].

mod clock;
mod cpus;
mod devices;
mod finding;
mod host;
mod irqs;
mod limits;
mod memory;
mod subject;

use std::path::Path;

use model::config::Config;
use serde_json::{Value, json};

use crate::cli::{Commands, Doctor};
pub use finding::{Finding, Level, Mend};
pub use host::Host;
use subject::Subject;

/// Runs it.
pub fn main(args: &Doctor) -> u8 {
    let config = match args.config.as_deref().map(crate::config::load).transpose() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let findings = examine(&Host::at(&args.root), config.as_ref());
    match (args.commands, args.json) {
        (Some(which), _) => print_commands(&findings, which),
        (None, true) => crate::print_json(&to_json(&findings)),
        (None, false) => print(&findings),
    }
    if findings.iter().any(|finding| finding.level == Level::Bad) {
        crate::EXIT_NOT_SHOWN
    } else {
        crate::EXIT_DONE
    }
}

/// Everything that is looked at, in the order in which it is shown.
pub fn examine(host: &Host, config: Option<&Config>) -> Vec<Finding> {
    let subject = Subject::new(host, config);
    let checks: [fn(&Host, &Subject) -> Vec<Finding>; 16] = [
        memory::hugepages,
        limits::locked_memory,
        limits::open_files,
        cpus::isolation,
        cpus::ticks,
        cpus::callbacks,
        cpus::governor,
        cpus::idle_states,
        cpus::siblings,
        cpus::real_time,
        irqs::interrupts,
        clock::source,
        clock::invariant_tsc,
        devices::plugins,
        devices::pci,
        devices::interfaces,
    ];
    checks.iter().flat_map(|check| check(host, &subject)).collect()
}

/// The findings of this host, for a bundle.
pub fn report(config: Option<&Config>) -> Value {
    to_json(&examine(&Host::at(Path::new("/")), config))
}

fn to_json(findings: &[Finding]) -> Value {
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    json!({
        "bad": bad,
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    })
}

fn print(findings: &[Finding]) {
    for finding in findings {
        out!("{:<8} {:<14} {}", finding.level.name(), finding.check, finding.found);
        if matches!(finding.level, Level::Good | Level::Skipped) {
            continue;
        }
        out!("{:23} why:  {}", "", finding.why);
        if let Some(mend) = &finding.mend {
            mend.in_words().iter().for_each(|line| out!("{:23} mend: {line}", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    out!(
        "\n{} bad, {} to know, {} good, {} skipped",
        count(Level::Bad),
        count(Level::Note),
        count(Level::Good),
        count(Level::Skipped)
    );
}

/// A script for a shell: what is wrong as a comment, what mends it as a command.
fn print_commands(findings: &[Finding], which: Commands) {
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad);
    match which {
        Commands::Now => {
            for finding in bad {
                let Some(Mend::Now(commands)) = &finding.mend else { continue };
                out!("# {}: {}", finding.check, finding.found);
                commands.iter().for_each(|command| out!("{command}"));
            }
        }
        Commands::Boot => {
            let parameters = bad.filter_map(|finding| match &finding.mend {
                Some(Mend::Boot(parameters)) => Some(parameters.as_str()),
                _ => None,
            });
            let parameters = parameters.collect::<Vec<_>>().join(" ");
            if !parameters.is_empty() {
                out!("{parameters}");
            }
        }
    }
}
