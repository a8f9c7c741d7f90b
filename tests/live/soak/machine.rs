//! What the machine did to a soak: whether somebody who did not answer could have.
//!
//! A thread that the kernel lets wait for its CPU, a CPU that the hypervisor gives to somebody else and a process
//! that is stopped from outside are no defects of a gateway. [`Machine::since`] says how much of a span they took.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the machine's own clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A look that comes so much late is a machine that stood still for us.
const GAP: Duration = Duration::from_millis(200);
/// A tick of `/proc/stat`.
const TICK: Duration = Duration::from_millis(10);

/// A watch over the machine, and the control thread and the data core of one gateway.
pub struct Machine {
    control: PathBuf,
    data: PathBuf,
    /// Time that this process did not have, ns.
    gaps_ns: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// A moment, with what has been counted up to it.
#[derive(Clone, Copy)]
pub struct Moment {
    at: Instant,
    control: Scheduled,
    data: Scheduled,
    steal: Duration,
    gaps: Duration,
}

/// How long a thread ran, and how long it was ready and did not.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    ran: Duration,
    waited: Duration,
}

/// What a span of time was made of.
pub struct Span {
    length: Duration,
    control: Scheduled,
    data: Scheduled,
    /// Of all CPUs together.
    steal: Duration,
    gaps: Duration,
    is_stopped: bool,
    /// Where it sleeps, as the kernel says.
    sleeps_in: String,
}

impl Machine {
    /// Of the gateway `pid`, which runs.
    pub fn watch(pid: u32) -> Self {
        let task = |name: &str| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
            let mut tasks = tasks.map(|task| task.expect("a task").path());
            let found = tasks.find(|task| {
                fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name))
            });
            found.unwrap_or_else(|| panic!("no thread {name}"))
        };
        let (control, data) = (task("wp-control"), task("wp-data"));
        let (gaps_ns, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&gaps_ns), Arc::clone(&stop));
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let at = Instant::now();
                thread::sleep(LOOK_EVERY);
                let late = at.elapsed().saturating_sub(LOOK_EVERY);
                if late > GAP {
                    counted.fetch_add(late.as_nanos() as u64, Ordering::Relaxed);
                }
            }
        });
        Self { control, data, gaps_ns, stop }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment {
            at: Instant::now(),
            control: Scheduled::of(&self.control),
            data: Scheduled::of(&self.data),
            steal: steal(),
            gaps: Duration::from_nanos(self.gaps_ns.load(Ordering::Relaxed)),
        }
    }

    /// What has happened since.
    pub fn since(&self, then: Moment) -> Span {
        let now = self.now();
        let stat = fs::read_to_string(self.control.join("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        let sleeps_in = fs::read_to_string(self.control.join("wchan")).unwrap_or_default();
        Span {
            length: now.at - then.at,
            control: now.control.since(then.control),
            data: now.data.since(then.data),
            steal: now.steal.saturating_sub(then.steal),
            gaps: now.gaps.saturating_sub(then.gaps),
            is_stopped: state.is_some_and(|state| "Tt".contains(state)),
            sleeps_in,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Scheduled {
    fn of(task: &Path) -> Self {
        let schedstat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let mut ns = schedstat.split_whitespace().map(|ns| ns.parse().unwrap_or(0));
        let mut next = || Duration::from_nanos(ns.next().unwrap_or(0));
        Self { ran: next(), waited: next() }
    }

    fn since(self, then: Self) -> Self {
        let ran = self.ran.saturating_sub(then.ran);
        Self { ran, waited: self.waited.saturating_sub(then.waited) }
    }
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ran {:.1?} and waited {:.1?} for its CPU", self.ran, self.waited)
    }
}

impl Span {
    /// Whether the machine took at least half of it, or holds the gateway still.
    pub fn is_disturbed(&self) -> bool {
        let waited = self.control.waited.max(self.data.waited);
        self.is_stopped || 2 * (waited + self.steal + self.gaps) >= self.length
    }

    /// How much of it this process had.
    pub fn calm(&self) -> Duration {
        self.length.saturating_sub(self.gaps)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {:.1?} control {}; the data core {}; steal {:.1?}; the soak itself stood still for {:.1?}",
            self.length, self.control, self.data, self.steal, self.gaps
        )?;
        if self.is_stopped {
            write!(f, "; the gateway is stopped from outside")?;
        }
        match self.sleeps_in.as_str() {
            // It does not sleep, or the kernel does not say.
            "" | "0" => Ok(()),
            place => write!(f, "; control sleeps in {place}"),
        }
    }
}

/// What the hypervisor took of all CPUs; nothing where the kernel does not tell.
fn steal() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|all| all.split_whitespace().nth(8)?.parse().ok());
    TICK * ticks.unwrap_or(0)
}
