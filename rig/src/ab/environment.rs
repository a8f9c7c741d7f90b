//! Where a comparison runs: what else could explain its figures.

use std::fs;

use dataplane::eal::Eal;
use rustix::thread::{CpuSet, sched_getaffinity};

use super::config::Config;
use super::cpu;
use super::result::{Environment, Fact};

/// Files, and what they are called.
const FILES: [(&str, &str); 12] = [
    ("kernel", "/proc/sys/kernel/osrelease"),
    ("kernel build", "/proc/sys/kernel/version"),
    ("kernel command line", "/proc/cmdline"),
    ("clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("CPUs online", "/sys/devices/system/cpu/online"),
    ("CPUs isolated", "/sys/devices/system/cpu/isolated"),
    ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("SMT", "/sys/devices/system/cpu/smt/control"),
    ("TCP congestion control", "/proc/sys/net/ipv4/tcp_congestion_control"),
    ("default queueing discipline", "/proc/sys/net/core/default_qdisc"),
    ("busy poll", "/proc/sys/net/core/busy_poll"),
    ("load", "/proc/loadavg"),
];

/// CPUs that this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
}

/// Whether this process may use `cpu`.
pub fn may_use(cpu: usize) -> bool {
    cpu < CpuSet::MAX_CPU && sched_getaffinity(None).is_ok_and(|allowed| allowed.is_set(cpu))
}

/// What there is to read.
pub fn read(config: &Config) -> Environment {
    let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
    let file = |(name, path): &(&str, &str)| {
        let text = fs::read_to_string(path).ok()?;
        let text = text.trim();
        let said = if text.is_empty() { "none" } else { text };
        Some(fact(name, said.to_owned()))
    };
    let mut facts: Vec<Fact> = cpu_model().map(|model| fact("CPU", model)).into_iter().collect();
    facts.push(fact("DPDK", Eal::version()));
    facts.extend(FILES.iter().filter_map(file));
    facts.extend(vulnerabilities());
    facts.push(cpu::precedence());
    let (sender, arm) = (config.cpu.sender, config.cpu.arm);
    let cpu_roles = vec![
        fact(
            &format!("CPU {sender}"),
            "the sender, spinning in front of everything else; the observer's taps of what it sends"
                .to_owned(),
        ),
        fact(
            &format!("CPU {arm}"),
            "the arm under test: wirepace's data core, or the kernel's forwarding, steered here by rps_cpus"
                .to_owned(),
        ),
    ];
    Environment { facts, cpu_roles }
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What the kernel does about faults of the CPU: it costs system calls, and a packet many.
fn vulnerabilities() -> Option<Fact> {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").ok()?;
    let one = |entry: fs::DirEntry| {
        let said = fs::read_to_string(entry.path()).ok()?;
        let said = said.trim();
        let name = entry.file_name().to_string_lossy().into_owned();
        said.starts_with("Mitigation").then(|| format!("{name}: {said}"))
    };
    let mut all: Vec<String> = entries.flatten().filter_map(one).collect();
    all.sort();
    Some(Fact { name: "mitigations".to_owned(), value: all.join("; ") })
}
