//! What the machine did to the data cores while they were not running.
//!
//! The kernel counts for each CPU the time that the hypervisor took (`/proc/stat`, in ticks of 10 ms), and for
//! each thread how long it was ready and did not run, and how often it was put aside for another
//! (`/proc/self/task`). [`CpuTimes::look`] keeps the last few readings, so that [`CpuTimes::since`] can say what
//! was added since a moment that lies a little back.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use model::time::Nanos;

/// A reading in so long.
const LOOK_EVERY: Nanos = Nanos::from_millis(100);
/// Readings that are kept: a stall that ends the process is not longer.
const LOOKS: usize = 16;
/// A tick of `/proc/stat`: USER_HZ is 100 on every platform that DPDK runs on.
const TICK: Nanos = Nanos::from_millis(10);

/// What was counted; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    steal_ns: Option<u64>,
    waited_ns: Option<u64>,
    switches: Option<u64>,
}

/// What was added in a span of time; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meanwhile {
    /// The span: it begins before the moment that was asked for.
    pub over: Nanos,
    /// The hypervisor ran something else on the CPU, in steps of 10 ms.
    pub steal_ns: Option<u64>,
    /// The thread was ready and did not run.
    pub waited_ns: Option<u64>,
    /// The kernel put the thread aside for another one.
    pub switches: Option<u64>,
}

/// See the module.
pub struct CpuTimes {
    proc: PathBuf,
    /// CPU of each data core, and its thread once it is found.
    cores: Vec<(usize, Option<PathBuf>)>,
    looks: VecDeque<(Nanos, Vec<Counted>)>,
}

impl CpuTimes {
    /// Of the data cores on `cpus`, by the files below `proc` (`/proc`).
    pub fn new(proc: &Path, cpus: impl IntoIterator<Item = usize>) -> Self {
        let cores = cpus.into_iter().map(|cpu| (cpu, None)).collect();
        Self { proc: proc.to_owned(), cores, looks: VecDeque::with_capacity(LOOKS) }
    }

    /// Reads again when it is time. Bounded by the number of cores.
    pub fn look(&mut self, now: Nanos) {
        let due = self.looks.back().is_none_or(|(at, _)| now >= at.saturating_add(LOOK_EVERY));
        if due {
            let read = self.read();
            if self.looks.len() == LOOKS {
                self.looks.pop_front();
            }
            self.looks.push_back((now, read));
        }
    }

    /// What was added for core number `core` since `began`, or a little more.
    pub fn since(&mut self, core: usize, began: Nanos, now: Nanos) -> Meanwhile {
        let read = self.read().get(core).copied().unwrap_or_default();
        let before = self.looks.iter().rev().find(|(at, _)| *at <= began);
        let Some((at, counted)) = before.or_else(|| self.looks.front()) else {
            return Meanwhile::default();
        };
        let counted = counted.get(core).copied().unwrap_or_default();
        let added = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Meanwhile {
            over: now.saturating_sub(*at),
            steal_ns: added(read.steal_ns, counted.steal_ns),
            waited_ns: added(read.waited_ns, counted.waited_ns),
            switches: added(read.switches, counted.switches),
        }
    }

    fn read(&mut self) -> Vec<Counted> {
        let stat = fs::read_to_string(self.proc.join("stat")).unwrap_or_default();
        let tasks = self.proc.join("self/task");
        let read = |(cpu, task): &mut (usize, Option<PathBuf>)| {
            if task.is_none() {
                *task = thread_of(&tasks, *cpu);
            }
            let file = |name: &str| fs::read_to_string(task.as_ref()?.join(name)).ok();
            let waited = file("schedstat");
            let status = file("status");
            Counted {
                steal_ns: steal(&stat, *cpu),
                waited_ns: waited.and_then(|text| text.split_whitespace().nth(1)?.parse().ok()),
                switches: status.and_then(|text| {
                    let line =
                        text.lines().find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"));
                    line?.trim().parse().ok()
                }),
            }
        };
        self.cores.iter_mut().map(read).collect()
    }
}

/// The thread that polls on a CPU, by the name that it was given.
fn thread_of(tasks: &Path, cpu: usize) -> Option<PathBuf> {
    let wanted = dataplane::placement::thread_name(cpu);
    let of_name = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == wanted)
    };
    fs::read_dir(tasks).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(of_name)
}

/// Time that the hypervisor took from a CPU: the eighth figure of its line.
fn steal(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let mut line = stat
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name.as_str())).then_some(words))?;
    let ticks: u64 = line.nth(7)?.parse().ok()?;
    Some(ticks * TICK.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(proc: &Path, steal: u64, waited: u64, switches: u64) {
        let task = proc.join("self/task/77");
        fs::create_dir_all(&task).unwrap();
        let stat =
            format!("cpu 1 2 3\ncpu1 9 9 9 9 9 9 9 {steal} 0 0\ncpu11 0 0 0 0 0 0 0 999 0 0\n");
        fs::write(proc.join("stat"), stat).unwrap();
        fs::write(task.join("comm"), "wp-data-1\n").unwrap();
        fs::write(task.join("schedstat"), format!("5 {waited} 7\n")).unwrap();
        let status = format!("Name:\tx\nnonvoluntary_ctxt_switches:\t{switches}\n");
        fs::write(task.join("status"), status).unwrap();
    }

    #[test]
    fn what_was_added_is_counted_from_before_the_moment() {
        let proc = tempfile::tempdir().unwrap();
        let mut times = CpuTimes::new(proc.path(), [1, 5]);
        let ms = Nanos::from_millis;
        write(proc.path(), 100, 1_000, 3);
        times.look(ms(1_000));
        write(proc.path(), 101, 2_000, 4);
        times.look(ms(1_099));
        times.look(ms(1_100));
        write(proc.path(), 104, 9_000, 6);
        let added = |over, steal_ms, waited_ns, switches| Meanwhile {
            over: ms(over),
            steal_ns: Some(ms(steal_ms).0),
            waited_ns: Some(waited_ns),
            switches: Some(switches),
        };
        assert_eq!(times.since(0, ms(1_150), ms(1_160)), added(60, 30, 7_000, 2));
        assert_eq!(times.since(0, ms(1_050), ms(1_160)), added(160, 40, 8_000, 3));
        assert_eq!(times.since(0, ms(10), ms(1_160)), added(160, 40, 8_000, 3));
        let unknown = Meanwhile { over: ms(60), ..Meanwhile::default() };
        assert_eq!(times.since(1, ms(1_150), ms(1_160)), unknown, "no such CPU, no such thread");
    }
}
