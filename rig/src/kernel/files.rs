//! What the kernel says in texts under /proc and /sys. Each reader is pure over the text.

use std::fs;
use std::path::Path;

use super::bytes::ReadError;

/// One CPU's line of `/proc/net/softnet_stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// The CPU: a line's place says nothing where CPUs are offline. Kernels before 5.10 do not tell.
    pub cpu: Option<u32>,
    /// Frames processed.
    pub processed: u32,
    /// Frames dropped because the backlog was full.
    pub dropped: u32,
    /// Times that there was more to do than the budget or the time allowed.
    pub time_squeeze: u32,
}

/// Reads `/proc/net/softnet_stat`.
///
/// # Errors
/// A line without three numbers in hexadecimal.
pub fn softnet(text: &str) -> Result<Vec<Softnet>, ReadError> {
    let line = |line: &str| {
        let columns = line.split_ascii_whitespace().map(|hex| u32::from_str_radix(hex, 16));
        let columns: Result<Vec<u32>, _> = columns.collect();
        match columns.as_deref() {
            Ok([processed, dropped, time_squeeze, rest @ ..]) => Ok(Softnet {
                cpu: rest.get(9).copied(),
                processed: *processed,
                dropped: *dropped,
                time_squeeze: *time_squeeze,
            }),
            _ => Err(ReadError::text("softnet_stat", line)),
        }
    };
    text.lines().map(line).collect()
}

/// What the scheduler says of a thread: `/proc/PID/task/TID/schedstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a CPU, ns.
    pub run_ns: u64,
    /// Time runnable and waiting for a CPU, ns.
    pub wait_ns: u64,
    /// Times it was given a CPU.
    pub slices: u64,
}

/// Reads a `schedstat`.
///
/// # Errors
/// Other than three numbers.
pub fn schedstat(text: &str) -> Result<Schedstat, ReadError> {
    let numbers: Result<Vec<u64>, _> = text.split_ascii_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok([run_ns, wait_ns, slices]) => {
            Ok(Schedstat { run_ns: *run_ns, wait_ns: *wait_ns, slices: *slices })
        }
        _ => Err(ReadError::text("schedstat", text)),
    }
}

/// Where the time of all CPUs went, in ticks of 10 ms: the first line of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// Programs.
    pub user: u64,
    /// The kernel for programs.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Interrupts.
    pub irq: u64,
    /// Soft interrupts: most of the network.
    pub softirq: u64,
    /// Taken away by the hypervisor.
    pub steal: u64,
}

impl CpuTicks {
    /// Ticks in which a CPU worked.
    pub const fn busy(&self) -> u64 {
        self.user + self.system + self.irq + self.softirq
    }

    /// What came since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            idle: self.idle.saturating_sub(earlier.idle),
            irq: self.irq.saturating_sub(earlier.irq),
            softirq: self.softirq.saturating_sub(earlier.softirq),
            steal: self.steal.saturating_sub(earlier.steal),
        }
    }
}

/// Reads `/proc/stat`: all CPUs together.
///
/// # Errors
/// It does not begin with the line of all CPUs.
pub fn cpu_ticks(text: &str) -> Result<CpuTicks, ReadError> {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    line.and_then(ticks).ok_or_else(|| ReadError::text("/proc/stat", text))
}

/// Reads `/proc/stat`: each CPU that is online, with its number.
///
/// # Errors
/// The line of a CPU cannot be read.
pub fn ticks_by_cpu(text: &str) -> Result<Vec<(u32, CpuTicks)>, ReadError> {
    let of_cpus = text.lines().filter_map(|line| line.strip_prefix("cpu"));
    let numbered = of_cpus.filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let read = |line: &str| {
        let (number, rest) = line.split_once(' ')?;
        Some((number.parse().ok()?, ticks(rest)?))
    };
    numbered.map(|line| read(line).ok_or_else(|| ReadError::text("/proc/stat", line))).collect()
}

/// The numbers behind the name of a CPU.
fn ticks(numbers: &str) -> Option<CpuTicks> {
    let numbers: Result<Vec<u64>, _> = numbers.split_ascii_whitespace().map(str::parse).collect();
    let Ok([user, nice, system, idle, wait, irq, softirq, steal, ..]) = numbers.as_deref() else {
        return None;
    };
    Some(CpuTicks {
        user: user.saturating_add(*nice),
        system: *system,
        idle: idle.saturating_add(*wait),
        irq: *irq,
        softirq: *softirq,
        steal: *steal,
    })
}

/// How often the soft interrupt that receives has run, on all CPUs: `/proc/stat`. Polls of a NAPI thread are
/// not in it.
///
/// # Errors
/// No such line, or one that is too short.
pub fn receive_runs(text: &str) -> Result<u64, ReadError> {
    /// Behind the sum: HI, TIMER, NET_TX, NET_RX.
    const NET_RX: usize = 4;
    let wrong = || ReadError::text("/proc/stat", text);
    let line = text.lines().find_map(|line| line.strip_prefix("softirq ")).ok_or_else(wrong)?;
    let number = line.split_ascii_whitespace().nth(NET_RX).ok_or_else(wrong)?;
    number.parse().map_err(|_| wrong())
}

/// A line of `/proc/interrupts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number or name.
    pub name: String,
    /// Of each CPU that is online.
    pub counts: Vec<u64>,
    /// Controller and device.
    pub device: String,
}

/// Reads `/proc/interrupts`.
///
/// # Errors
/// No line of CPUs, or a line without a name.
pub fn interrupts(text: &str) -> Result<Vec<Interrupt>, ReadError> {
    const WHAT: &str = "/proc/interrupts";
    let mut lines = text.lines();
    let cpus = lines.next().ok_or_else(|| ReadError::text(WHAT, text))?;
    let cpus = cpus.split_ascii_whitespace().count();
    let line = |line: &str| {
        let (name, rest) = line.split_once(':').ok_or_else(|| ReadError::text(WHAT, line))?;
        let mut words = rest.split_ascii_whitespace().peekable();
        let mut counts = Vec::new();
        // ERR and MIS have one number for all.
        while counts.len() < cpus
            && let Some(Ok(count)) = words.peek().map(|word| word.parse())
        {
            counts.push(count);
            words.next();
        }
        let device = words.collect::<Vec<_>>().join(" ");
        Ok(Interrupt { name: name.trim().to_owned(), counts, device })
    };
    lines.filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// One TX queue's byte limit, by `byte_queue_limits` in sysfs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bql {
    /// Bytes that may be in the device.
    pub limit: u64,
    /// Bytes that are.
    pub inflight: u64,
    /// Stalls seen; `None`: the kernel (before 6.9) or the setting (`stall_thrs` = 0) counts none.
    pub stalls: Option<u64>,
    /// What it counts as a stall, ms.
    pub stall_threshold_ms: Option<u64>,
}

/// Reads the files of a folder `byte_queue_limits`, each given by its name.
///
/// # Errors
/// A file that is no number. `None`: there are none.
pub fn bql(read: impl Fn(&str) -> Option<String>) -> Result<Option<Bql>, ReadError> {
    let number = |file: &str| {
        let Some(text) = read(file) else { return Ok(None) };
        let number = text.trim().parse::<u64>();
        number.map(Some).map_err(|_| ReadError::text("byte_queue_limits", &text))
    };
    let (Some(limit), Some(inflight)) = (number("limit")?, number("inflight")?) else {
        return Ok(None);
    };
    let threshold = number("stall_thrs")?.filter(|threshold| *threshold > 0);
    let stalls = number("stall_cnt")?.filter(|_| threshold.is_some());
    Ok(Some(Bql { limit, inflight, stalls, stall_threshold_ms: threshold }))
}

/// Whether /sys shows `interface` with this number: it shows the network namespace that it was mounted
/// in, which need not be that of the caller.
pub fn sysfs_shows(interface: &str, index: u32) -> bool {
    let path = Path::new("/sys/class/net").join(interface).join("ifindex");
    fs::read_to_string(path).is_ok_and(|text| text.trim().parse() == Ok(index))
}

/// The byte limits of the TX queues of `interface`; empty: its driver has none.
///
/// # Errors
/// As [`bql`].
pub fn bql_of(interface: &str) -> Result<Vec<Bql>, ReadError> {
    let mut queues = Vec::new();
    for number in 0.. {
        let queue = Path::new("/sys/class/net").join(interface).join(format!("queues/tx-{number}"));
        if !queue.exists() {
            break;
        }
        let folder = queue.join("byte_queue_limits");
        let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
        queues.extend(bql(read)?);
    }
    Ok(queues)
}

/// Settings of NAPI and of the network stack that move departures and deliveries, by name. What the
/// kernel does not have is left out.
pub fn knobs(interface: &str) -> Vec<(&'static str, String)> {
    let device = Path::new("/sys/class/net").join(interface);
    let sys = |path: &str| Path::new("/proc/sys/net").join(path);
    let files = [
        ("napi_defer_hard_irqs", device.join("napi_defer_hard_irqs")),
        ("gro_flush_timeout_ns", device.join("gro_flush_timeout")),
        ("threaded_napi", device.join("threaded")),
        ("mtu_bytes", device.join("mtu")),
        ("busy_poll_us", sys("core/busy_poll")),
        ("busy_read_us", sys("core/busy_read")),
        ("netdev_budget", sys("core/netdev_budget")),
        ("netdev_budget_us", sys("core/netdev_budget_usecs")),
        ("dev_weight", sys("core/dev_weight")),
        ("default_qdisc", sys("core/default_qdisc")),
        ("tcp_autocorking", sys("ipv4/tcp_autocorking")),
        ("tcp_limit_output_bytes", sys("ipv4/tcp_limit_output_bytes")),
        ("tcp_notsent_lowat_bytes", sys("ipv4/tcp_notsent_lowat")),
        ("tcp_min_tso_segs", sys("ipv4/tcp_min_tso_segs")),
        ("tcp_congestion_control", sys("ipv4/tcp_congestion_control")),
        ("tcp_pacing_ca_ratio", sys("ipv4/tcp_pacing_ca_ratio")),
        ("tcp_pacing_ss_ratio", sys("ipv4/tcp_pacing_ss_ratio")),
    ];
    let read = |(name, path): (&'static str, std::path::PathBuf)| {
        Some((name, fs::read_to_string(path).ok()?.trim().to_owned()))
    };
    files.into_iter().filter_map(read).collect()
}

/// Threads of every process whose name (`comm`) is `name`, and the process ids of `ksoftirqd`.
pub fn threads_named(name: &str) -> Vec<(u32, u32)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let processes = processes.flatten().filter_map(number);
    let of_name = processes.filter(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let comm = comm.trim_end();
        // A kernel thread of each CPU: ksoftirqd/0 ...
        comm == name || comm.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
    });
    let threads = |pid: u32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.filter_map(number).map(move |tid| (pid, tid))
    };
    of_name.flat_map(threads).collect()
}

/// `schedstat` of a thread; `None`: it is gone, or the kernel keeps none.
pub fn schedstat_of(pid: u32, tid: u32) -> Option<Schedstat> {
    schedstat(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?).ok()
}
