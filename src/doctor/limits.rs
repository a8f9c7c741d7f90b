//! What a process may take.

use super::finding::{Check, Finding, Mend};
use super::host::Host;
use super::subject::Subject;

const LOCKED: Check = Check {
    name: "memlock",
    why: "vfio and AF_XDP pin the packet buffers; what the limit does not cover makes the start fail",
};
const FILES: Check = Check {
    name: "nofile",
    why: "sockets of clients, devices, hugepage files and timelines are open files; at the limit control takes \
          no client",
};
/// Open files of a gateway with all that it may serve.
const FILES_MIN: u64 = 4_096;

/// The soft limit of this process; `None` = not to be known, `Some(None)` = none.
fn limit(host: &Host, name: &str) -> Option<Option<u64>> {
    let limits = host.read("/proc/self/limits")?;
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let soft = rest.split_whitespace().next()?;
    Some(if soft == "unlimited" { None } else { Some(soft.parse().ok()?) })
}

/// `RLIMIT_MEMLOCK`.
pub fn locked_memory(host: &Host, subject: &Subject) -> Vec<Finding> {
    let pins = |driver: &Option<String>| driver.as_deref() == Some("net_af_xdp");
    let pinned = subject.has_pci() || subject.devices.iter().any(|device| pins(&device.driver));
    match limit(host, "Max locked memory") {
        None => LOCKED.skipped("/proc/self/limits does not say"),
        Some(None) => LOCKED.good("unlimited"),
        Some(Some(bytes)) if bytes >= subject.memory => LOCKED.good(format!("{} MiB", bytes >> 20)),
        Some(Some(bytes)) => {
            let found =
                format!("{} KiB, the buffers take {} MiB", bytes >> 10, subject.memory >> 20);
            if pinned {
                let mend = "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` as root before the start";
                LOCKED.bad(found, Some(Mend::ByHand(mend.to_owned())))
            } else {
                LOCKED.note(found)
            }
        }
    }
}

/// `RLIMIT_NOFILE`.
pub fn open_files(host: &Host, _: &Subject) -> Vec<Finding> {
    match limit(host, "Max open files") {
        None => FILES.skipped("/proc/self/limits does not say"),
        Some(None) => FILES.good("unlimited"),
        Some(Some(files)) if files >= FILES_MIN => FILES.good(files.to_string()),
        Some(Some(files)) => {
            let mend = format!(
                "LimitNOFILE={FILES_MIN} in the unit, or `ulimit -n {FILES_MIN}` before the start"
            );
            FILES.bad(files.to_string(), Some(Mend::ByHand(mend)))
        }
    }
}
