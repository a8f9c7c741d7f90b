//! The DPDK environment of the process: started once, without devices, cleaned up last.
//!
//! Order at start: spawn the [`crate::port::thread::PortThread`], drop capabilities, then
//! [`Eal::init`] on the main thread, then pools, then ports. EAL's own threads are born here, so
//! they have the capabilities (none) of the thread that calls and run on the control CPU.
//! Pools and ports hold the `Arc`, so the clean-up in `Drop` comes after the last of them.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, c_char};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::config::Hugepages;

use crate::mbuf;

/// An error number of the operating system or of DPDK, always positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errno(pub i32);

impl Errno {
    /// What a function that returns -1 or NULL left behind on this thread (`rte_errno`).
    pub(crate) fn of_thread() -> Self {
        // SAFETY: no precondition.
        Self(unsafe { dpdk_sys::wp_errno() })
    }

    /// From a function that returns a negative error number.
    pub(crate) fn check(returned: i32) -> Result<(), Self> {
        if returned < 0 { Err(Self(-returned)) } else { Ok(()) }
    }

    /// The driver has no such operation.
    pub const fn is_unsupported(self) -> bool {
        self.0 == libc::ENOTSUP
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror gives a static string or a buffer of this thread; it is copied at
        // once.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        write!(f, "{} (errno {})", text.to_string_lossy(), self.0)
    }
}

/// How much EAL and the drivers say on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Errors and warnings.
    #[default]
    Warning,
    /// What a person wants who looks for a fault.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What EAL is started with.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Memory for pools, tables and rings, bytes; rounded up to MiB.
    pub memory_bytes: u64,
    /// Whether hugepages are used.
    pub hugepages: Hugepages,
    /// CPU of the calling thread during start and of EAL's own threads; `None` = the first one that
    /// the caller may use.
    pub control_cpu: Option<usize>,
    /// Tells apart the processes of one user: letters, digits, `-`, `_`, `.`.
    pub file_prefix: String,
    /// `log_level`.
    pub log_level: LogLevel,
    /// Whether a PCI device will be added. Without one the PCI bus is not even read.
    pub pci: bool,
    /// Whether DPDK opens its telemetry socket, which answers who may open it.
    pub telemetry: bool,
}

/// What DPDK's memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Hugepages that no other process can map (`--in-memory`).
    Hugepages,
    /// Ordinary 4 KiB pages (`--no-huge`): more TLB misses, no physical NIC can use it without an
    /// IOMMU.
    Ordinary,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hugepages => "hugepages",
            Self::Ordinary => "ordinary pages",
        })
    }
}

/// Why EAL did not start.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// DPDK can be started once in a process.
    #[error("DPDK was started before in this process; it can be started once")]
    Again,
    /// `hugepages = "require"` and there are not enough.
    #[error(
        "hugepages = \"require\" and {free} bytes of hugepages are free, {wanted} are needed: \
         `sysctl vm.nr_hugepages={pages}` (2 MiB pages), or hugepages = \"auto\""
    )]
    NoHugepages {
        /// Free bytes in hugepages of all sizes.
        free: u64,
        /// Bytes asked for.
        wanted: u64,
        /// Pages of 2 MiB that would do.
        pages: u64,
    },
    /// An option holds what cannot be passed on.
    #[error("{name} = {value:?}: {allowed}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The CPU mask could not be read or restored.
    #[error("the CPU mask of the calling thread could not be {what}: {source}")]
    Affinity {
        /// `read` or `restored`.
        what: &'static str,
        /// The cause.
        source: rustix::io::Errno,
    },
    /// The control CPU does not exist, or this process may not use it.
    #[error("control_cpu = {cpu}: this process cannot run there ({source})")]
    ControlCpu {
        /// The CPU.
        cpu: usize,
        /// The cause.
        source: rustix::io::Errno,
    },
    /// `rte_eal_init` refused.
    #[error("rte_eal_init({arguments}) failed: {source}")]
    Init {
        /// Arguments that were passed.
        arguments: String,
        /// What DPDK said.
        source: Errno,
    },
    /// No room for the dynamic mbuf fields.
    #[error("the mbuf fields of wirepace could not be registered: {0}")]
    DynamicFields(Errno),
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// The running environment. One in a process; `rte_eal_cleanup` when the last holder goes.
#[derive(Debug)]
pub struct Eal {
    memory: Memory,
    control_cpu: usize,
}

impl Eal {
    /// Starts DPDK without devices. The CPU mask of the calling thread is the same before and
    /// after.
    ///
    /// # Errors
    /// See [`EalError`]. After [`EalError::Init`] the process cannot try again: that is DPDK's rule.
    pub fn init(options: &EalOptions) -> Result<Arc<Self>, EalError> {
        let memory = choose_memory(options)?;
        let mask = rustix::thread::sched_getaffinity(None)
            .map_err(|source| EalError::Affinity { what: "read", source })?;
        let control_cpu = match options.control_cpu {
            Some(cpu) if cpu < rustix::thread::CpuSet::MAX_CPU => cpu,
            Some(cpu) => {
                let source = rustix::io::Errno::INVAL;
                return Err(EalError::ControlCpu { cpu, source });
            }
            None => (0..rustix::thread::CpuSet::MAX_CPU).find(|&c| mask.is_set(c)).unwrap_or(0),
        };
        let arguments = arguments(options, memory, control_cpu)?;
        // EAL's helper threads get the CPUs of the caller without the lcore's, or the lcore's when
        // none is left: that is how they end on the control CPU and not on a data core.
        let mut only_control = rustix::thread::CpuSet::new();
        only_control.set(control_cpu);
        rustix::thread::sched_setaffinity(None, &only_control)
            .map_err(|source| EalError::ControlCpu { cpu: control_cpu, source })?;
        let started = if STARTED.swap(true, Ordering::SeqCst) {
            Err(EalError::Again)
        } else {
            start(&arguments)
                .map_err(|source| EalError::Init { arguments: arguments.join(" "), source })
        };
        let restored = rustix::thread::sched_setaffinity(None, &mask)
            .map_err(|source| EalError::Affinity { what: "restored", source });
        started?;
        let eal = Arc::new(Self { memory, control_cpu });
        restored?;
        mbuf::register().map_err(|e| EalError::DynamicFields(Errno(e)))?;
        Ok(eal)
    }

    /// What its memory is made of.
    pub const fn memory(&self) -> Memory {
        self.memory
    }

    /// CPU of EAL's own threads.
    pub const fn control_cpu(&self) -> usize {
        self.control_cpu
    }

    /// The version of the DPDK that was loaded, such as `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: rte_version gives a static string.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }.to_string_lossy().into_owned()
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        // SAFETY: EAL is up, and whoever holds a port, pool or table of it holds this value too, so
        // none is left.
        unsafe { dpdk_sys::rte_eal_cleanup() };
    }
}

/// DPDK makes a directory for the prefix and never removes it, so each process with a prefix of its own would
/// leave one behind, also where `rte_eal_init` failed. It goes when the process exits: handlers run in
/// the reverse order, so this one after that by which DPDK removes its telemetry socket.
extern "C" fn remove_runtime_dir() {
    // SAFETY: gives a static buffer, which only `rte_eal_init` writes.
    let directory = unsafe { CStr::from_ptr(dpdk_sys::rte_eal_get_runtime_dir()) };
    let directory = Path::new(OsStr::from_bytes(directory.to_bytes()));
    if directory.is_absolute() {
        // Somebody else's, or not there: it is only a directory that nobody needs.
        let _ = fs::remove_dir(directory);
    }
}

/// Calls `rte_eal_init`. It permutes and overwrites argv and may keep pointers into it: the strings
/// live as long as the process.
fn start(arguments: &[String]) -> Result<(), Errno> {
    let mut argv: Vec<*mut c_char> = arguments
        .iter()
        // `arguments` refuses NUL bytes before.
        .map(|a| CString::new(a.as_str()).unwrap_or_default().into_raw())
        .collect();
    let argc = i32::try_from(argv.len()).unwrap_or(i32::MAX);
    argv.push(ptr::null_mut());
    // SAFETY: argv has argc strings and a terminating null; called once in the process (`STARTED`).
    // The handler touches nothing that goes before the process does; without it a directory stays.
    unsafe {
        libc::atexit(remove_runtime_dir);
        dpdk_sys::wp_log_to_stderr();
        if dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) < 0 {
            return Err(Errno::of_thread());
        }
    }
    Ok(())
}

fn arguments(o: &EalOptions, memory: Memory, cpu: usize) -> Result<Vec<String>, EalError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if o.file_prefix.is_empty() || !o.file_prefix.chars().all(plain) {
        return Err(EalError::Option {
            name: "file prefix",
            value: o.file_prefix.clone(),
            allowed: "letters, digits, '-', '_' and '.' are allowed",
        });
    }
    let mebibytes = o.memory_bytes.div_ceil(1 << 20);
    if mebibytes == 0 || mebibytes > 512 * 1024 {
        return Err(EalError::Option {
            name: "memory",
            value: o.memory_bytes.to_string(),
            allowed: "1 byte to 512 GiB are allowed",
        });
    }
    let mut arguments: Vec<String> =
        ["wirepace", "--iova-mode=va", "--no-shconf"].map(str::to_owned).to_vec();
    if !o.telemetry {
        arguments.push("--no-telemetry".to_owned());
    }
    arguments.push(format!("--file-prefix={}", o.file_prefix));
    arguments.push(format!("--log-level=*:{}", o.log_level.name()));
    // One lcore, the control CPU: EAL makes no worker threads, and its helpers stay there.
    arguments.extend(["--lcores".to_owned(), format!("0@{cpu}")]);
    arguments.extend(["-m".to_owned(), mebibytes.to_string()]);
    // --in-memory and --no-huge exclude each other in 22.11.
    arguments.push(
        match memory {
            Memory::Hugepages => "--in-memory",
            Memory::Ordinary => "--no-huge",
        }
        .to_owned(),
    );
    if o.pci {
        // An allow-list with an address that no device has: the bus is there for the port thread to
        // add devices to, and nothing is probed here, where the capabilities are gone.
        arguments.extend(["-a".to_owned(), "ffff:ff:1f.7".to_owned()]);
    } else {
        arguments.push("--no-pci".to_owned());
    }
    Ok(arguments)
}

/// `auto` uses hugepages only when enough are free: `rte_eal_init` cannot be tried twice.
fn choose_memory(o: &EalOptions) -> Result<Memory, EalError> {
    if o.hugepages == Hugepages::Never {
        return Ok(Memory::Ordinary);
    }
    let free = free_hugepage_bytes(Path::new("/sys/kernel/mm/hugepages"));
    if free >= o.memory_bytes {
        return Ok(Memory::Hugepages);
    }
    if o.hugepages == Hugepages::Require {
        let (wanted, pages) = (o.memory_bytes, o.memory_bytes.div_ceil(2 << 20));
        return Err(EalError::NoHugepages { free, wanted, pages });
    }
    Ok(Memory::Ordinary)
}

/// Bytes in hugepages that are free and not promised to another process, in all sizes. What cannot
/// be read counts as none.
fn free_hugepage_bytes(dir: &Path) -> u64 {
    let Ok(sizes) = fs::read_dir(dir) else { return 0 };
    sizes
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let kib = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            let read = |file: &str| -> Option<u64> {
                fs::read_to_string(entry.path().join(file)).ok()?.trim().parse().ok()
            };
            let pages = read("free_hugepages")?.saturating_sub(read("resv_hugepages")?);
            Some(pages * kib.parse::<u64>().ok()? * 1024)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> EalOptions {
        EalOptions {
            memory_bytes: 100 << 20,
            hugepages: Hugepages::Auto,
            control_cpu: None,
            file_prefix: "wirepace-test".to_owned(),
            log_level: LogLevel::Warning,
            pci: false,
            telemetry: false,
        }
    }

    #[test]
    fn free_hugepages_are_counted_over_all_sizes_without_promised_ones() {
        let dir = tempfile::tempdir().unwrap();
        for (size, free, promised) in [("2048kB", "70\n", "6\n"), ("1048576kB", "1\n", "0\n")] {
            let size = dir.path().join(format!("hugepages-{size}"));
            fs::create_dir(&size).unwrap();
            fs::write(size.join("free_hugepages"), free).unwrap();
            fs::write(size.join("resv_hugepages"), promised).unwrap();
        }
        assert_eq!(free_hugepage_bytes(dir.path()), (64 << 21) + (1 << 30));
        assert_eq!(free_hugepage_bytes(&dir.path().join("absent")), 0);
    }

    #[test]
    fn no_huge_and_in_memory_never_meet() {
        let huge = arguments(&options(), Memory::Hugepages, 3).unwrap();
        assert!(huge.contains(&"--in-memory".to_owned()), "{huge:?}");
        assert!(!huge.contains(&"--no-huge".to_owned()), "{huge:?}");
        let ordinary = arguments(&options(), Memory::Ordinary, 3).unwrap();
        assert!(ordinary.contains(&"--no-huge".to_owned()), "{ordinary:?}");
        assert!(!ordinary.contains(&"--in-memory".to_owned()), "{ordinary:?}");
        assert!(ordinary.windows(2).any(|w| w == ["-m", "100"]), "{ordinary:?}");
        assert!(ordinary.windows(2).any(|w| w == ["--lcores", "0@3"]), "{ordinary:?}");
    }

    #[test]
    fn devices_are_never_probed_at_start() {
        let with_pci = arguments(&EalOptions { pci: true, ..options() }, Memory::Ordinary, 0);
        assert!(with_pci.unwrap().windows(2).any(|w| w == ["-a", "ffff:ff:1f.7"]));
        let without = arguments(&options(), Memory::Ordinary, 0).unwrap();
        assert!(without.contains(&"--no-pci".to_owned()));
    }

    #[test]
    fn a_prefix_or_size_that_cannot_be_passed_on_is_refused() {
        for prefix in ["", "a b", "../x", "a\0b"] {
            let options = EalOptions { file_prefix: prefix.to_owned(), ..options() };
            let refused = arguments(&options, Memory::Ordinary, 0).unwrap_err().to_string();
            assert!(refused.contains("letters, digits"), "{refused}");
        }
        let options = EalOptions { memory_bytes: 0, ..options() };
        assert!(arguments(&options, Memory::Ordinary, 0).is_err());
    }
}
