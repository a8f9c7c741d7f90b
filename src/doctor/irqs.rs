//! Interrupts that may land on a data core.

use super::finding::{Check, Finding, Mend};
use super::host::{Host, cpu_list};
use super::subject::Subject;

const IRQS: Check = Check {
    name: "irqs",
    why: "an interrupt takes a polling core away for microseconds at a time that it does not choose",
};
/// So many are named.
const NAMED: usize = 8;

/// None of them may be served by a CPU that polls.
pub fn interrupts(host: &Host, subject: &Subject) -> Vec<Finding> {
    if let Some(why) = subject.without_cores() {
        return IRQS.skipped(why);
    }
    let mut irqs: Vec<u32> =
        host.names("/proc/irq").iter().filter_map(|name| name.parse().ok()).collect();
    irqs.sort_unstable();
    if irqs.is_empty() {
        return IRQS.skipped("/proc/irq has none");
    }
    let others = host.cpus("/sys/devices/system/cpu/online").unwrap_or_default();
    let others = cpu_list(others.difference(&subject.data).copied());
    let (mut named, mut commands) = (Vec::new(), Vec::new());
    for irq in irqs {
        let file = |name: &str| host.cpus(&format!("/proc/irq/{irq}/{name}"));
        let served = file("effective_affinity_list").filter(|cpus| !cpus.is_empty());
        let Some(served) = served.or_else(|| file("smp_affinity_list")) else { continue };
        if !served.is_disjoint(&subject.data) {
            let handlers = host.names(&format!("/proc/irq/{irq}"));
            let handlers = handlers
                .iter()
                .filter(|name| !name.contains("affinity"))
                .filter(|name| !["node", "spurious"].contains(&name.as_str()));
            let handler = handlers.cloned().collect::<Vec<_>>().join(" ");
            // One that no device uses comes to nobody.
            if handler.is_empty() {
                continue;
            }
            named.push(format!("{irq} ({handler}) on {}", cpu_list(served)));
            commands.push(format!("echo {others} > /proc/irq/{irq}/smp_affinity_list"));
        }
    }
    let data = cpu_list(subject.data.iter().copied());
    if named.is_empty() {
        return IRQS.good(format!("none is served by CPUs {data}"));
    }
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let found = format!("on CPUs that poll ({data}): {}{more}", named.join(", "));
    if others.is_empty() {
        return IRQS.bad(found, None);
    }
    IRQS.bad(found, Some(Mend::Now(commands)))
}
