//! The one clock of a comparison: the wall clock, by which the kernel stamps frames too. And the CPU that a
//! thread runs on while it looks at it.

use std::io;

use model::time::Nanos;
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Senders and data cores go before everything else that is no kernel thread.
pub const PRIORITY: i32 = -20;

/// Now, ns since 1970.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Puts this thread on `cpu`, in front of everything else there.
///
/// # Errors
/// No such CPU, or no permission.
pub fn take_cpu(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)?;
    setpriority_process(Some(gettid()), PRIORITY)?;
    Ok(())
}
