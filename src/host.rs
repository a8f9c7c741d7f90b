//! What the machine did meanwhile: everything that stands under `host`.

use dataplane::eal::Eal;
use model::config::Config;
use serde_json::{Value, json};

/// Clock ticks per second of /proc/stat.
const USER_HZ: f64 = 100.0;

/// Its name.
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Seconds that the hypervisor took from all CPUs since boot; `None` where the kernel does not say.
pub fn steal_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: f64 = stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks / USER_HZ)
}

/// CPU model, kernel and number of CPUs.
pub fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split(':').nth(1))
        .map(str::trim);
    // Not what this process may use: main keeps off the CPUs that poll.
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let uname = rustix::system::uname();
    json!({
        "cpu": model,
        "cpus": (cpus > 0).then_some(cpus),
        "kernel": uname.release().to_string_lossy(),
    })
}

/// What baselines were learned under: another kernel, CPU, device or build, and they say nothing.
pub fn environment(config: &Config) -> String {
    let machine = machine();
    let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    let devices: Vec<String> = config.ports.iter().map(|p| format!("{:?}", p.device)).collect();
    let build = env!("WIREPACE_COMMIT");
    let parts = [text("kernel"), text("cpu"), Eal::version(), build.to_owned(), devices.join(" ")];
    parts.join("; ")
}
