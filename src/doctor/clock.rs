//! The clock that gateway time is made of.

use super::finding::{Check, Finding, Mend};
use super::host::Host;
use super::subject::Subject;

const SOURCE: Check = Check {
    name: "clocksource",
    why: "gateway time is read from the TSC; a kernel that keeps off it has seen it go wrong, or makes every \
          reading of its own clock, from which ours is steered, slow",
};
const TSC: Check = Check {
    name: "tsc",
    why: "gateway time is a line through readings of the TSC: it must run at one rate whatever the CPU does",
};

/// What the kernel counts time by.
pub fn source(host: &Host, _: &Subject) -> Vec<Finding> {
    const DIR: &str = "/sys/devices/system/clocksource/clocksource0";
    let Some(current) = host.read(&format!("{DIR}/current_clocksource")) else {
        return SOURCE.skipped("the kernel does not say");
    };
    let available = host.read(&format!("{DIR}/available_clocksource")).unwrap_or_default();
    match current.as_str() {
        "tsc" => SOURCE.good(current),
        // Made of the TSC, by what the hypervisor says of it.
        "kvm-clock" | "hyperv_clocksource_tsc_page" => {
            SOURCE.note(format!("{current}: a virtual machine's view of the TSC"))
        }
        _ if available.split_whitespace().any(|name| name == "tsc") => {
            let command = format!("echo tsc > {DIR}/current_clocksource");
            SOURCE.bad(current, Some(Mend::Now(vec![command])))
        }
        _ => SOURCE.bad(
            format!("{current}; tsc is not on offer ({available})"),
            Some(Mend::Boot("tsc=reliable".to_owned())),
        ),
    }
}

/// Flags of the CPU.
pub fn invariant_tsc(host: &Host, _: &Subject) -> Vec<Finding> {
    let cpuinfo = host.read("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split(':').nth(1));
    let Some(flags) = flags else { return TSC.skipped("/proc/cpuinfo has no flags") };
    let has = |wanted: &str| flags.split_whitespace().any(|flag| flag == wanted);
    let missing: Vec<&str> =
        ["constant_tsc", "nonstop_tsc"].into_iter().filter(|flag| !has(flag)).collect();
    if missing.is_empty() {
        return TSC.good("constant_tsc nonstop_tsc");
    }
    let mend = "another CPU; of a virtual machine: let it see the host's invtsc";
    TSC.bad(format!("not there: {}", missing.join(", ")), Some(Mend::ByHand(mend.to_owned())))
}
