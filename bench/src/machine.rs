//! What the machine is, and what it did to a block: time that the hypervisor or the scheduler took.

use std::{fmt, fs};

use serde::Serialize;

/// What a result was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model name of the CPU.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Load average of the last minute at the start.
    pub load: f64,
    /// Runs on a hypervisor.
    pub virtualised: bool,
}

impl Machine {
    /// Reads `/proc`.
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            .unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu,
            cpus: cpuinfo.matches("processor\t").count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            load: load.split(' ').next().and_then(|x| x.parse().ok()).unwrap_or(0.0),
            virtualised: cpuinfo.contains(" hypervisor"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let virtual_machine = if self.virtualised { ", virtual machine" } else { "" };
        let Self { cpu, cpus, kernel, load, .. } = self;
        write!(f, "{cpu}, {cpus} CPUs{virtual_machine}, kernel {kernel}, load {load}")
    }
}

/// Counters that grow when this thread loses its CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// Ticks that the hypervisor took from `cpu`.
    steal_ticks: u64,
    /// Times the scheduler took the CPU away.
    preemptions: u64,
}

/// What happened between two marks.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Disturbed {
    /// Ticks of 10 ms that the hypervisor took.
    pub steal_ticks: u64,
    /// Times the scheduler took the CPU away.
    pub preemptions: u64,
}

impl Disturbed {
    /// Whether anything happened.
    pub const fn is_any(self) -> bool {
        self.steal_ticks > 0 || self.preemptions > 0
    }
}

impl Marks {
    /// The counters now, for the calling thread on `cpu`.
    pub fn read(cpu: usize) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let steal_ticks = stat
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")))
            .and_then(|rest| rest.split(' ').nth(7)?.parse().ok())
            .unwrap_or(0);
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let preemptions = status
            .lines()
            .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))
            .and_then(|rest| rest.trim().parse().ok())
            .unwrap_or(0);
        Self { steal_ticks, preemptions }
    }

    /// What has happened from `self` to `later`.
    pub const fn until(self, later: Self) -> Disturbed {
        Disturbed {
            steal_ticks: later.steal_ticks.saturating_sub(self.steal_ticks),
            preemptions: later.preemptions.saturating_sub(self.preemptions),
        }
    }
}

/// Binds the calling thread to `cpu`. Whether it could.
pub fn pin(cpu: usize) -> bool {
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return false;
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).is_ok()
}

/// Resident memory of this process, bytes.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    kib * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::read();
        assert!(machine.cpus > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert!(resident_bytes() > 1 << 16);
    }

    #[test]
    fn marks_differ_by_what_happened() {
        let before = Marks { steal_ticks: 3, preemptions: 10 };
        let after = Marks { steal_ticks: 3, preemptions: 12 };
        let between = before.until(after);
        assert_eq!((between.steal_ticks, between.preemptions), (0, 2));
        assert!(between.is_any() && !before.until(before).is_any());
    }
}
