//! Who comes first on the CPUs of a comparison.
//!
//! In a block its sender and wirepace's data core go before everything else on their CPUs, as the kernel's
//! forwarding does: no thread holds up a soft interrupt. Niceness cannot give that. It shares a CPU out, and
//! a thread of the kernel that is owed a thousandth has it in one piece, up to the next tick: 4 ms at 250 Hz.
//! So they are real-time threads while a block runs, and only then: the kernel leaves those at most 950 ms of
//! each second, by sched_rt_runtime_us and, from 6.12 on, by its server for all others.

use std::io;

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use super::result::Fact;
use crate::kernel::sys::{Policy, set_policy};

/// Niceness where the host gives no real-time priority, and that of the comparison among other sessions.
pub const NICENESS: i32 = -20;

/// Puts this thread on `cpu`, in front of everything else there.
///
/// # Errors
/// No such CPU, or no permission.
pub fn take(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)?;
    go_first(gettid()).map(drop)
}

/// Lets `thread` go before everything else on its CPU. Gives whether that holds for what the kernel does too;
/// where the host gives no real-time priority it does not.
///
/// # Errors
/// There is no such thread, or no permission for either.
pub fn go_first(thread: Pid) -> io::Result<bool> {
    match set_policy(thread.as_raw_pid(), Policy::RealTime) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            setpriority_process(Some(thread), NICENESS)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Lets `thread` share its CPU again.
///
/// # Errors
/// There is no such thread.
pub fn give_way(thread: Pid) -> io::Result<()> {
    set_policy(thread.as_raw_pid(), Policy::Shared)
}

/// Whether this host lets threads of a comparison go first, for its environment.
pub fn precedence() -> Fact {
    let tried = std::thread::scope(|scope| scope.spawn(|| go_first(gettid())).join());
    let value = match tried {
        Ok(Ok(true)) => "real-time priority while a block runs",
        _ => {
            "niceness -20: the host gives no real-time priority, threads of the kernel take their share"
        }
    };
    Fact { name: "sender and data core".to_owned(), value: value.to_owned() }
}
