//! A place for a comparison that vanishes with it, however it ends.
//!
//! [`run`] starts this program once more as the first process of a process namespace, with a network and a
//! mount namespace of its own, and waits. Everything that a comparison makes (hosts, interfaces, queueing
//! disciplines, gateways) lives in there. The kernel ends every process of such a namespace with the first
//! one, and a network namespace with its last process, so there is nothing to remove: not after a signal,
//! not after a crash of an arm, and not when this process is killed, for that kills the one inside.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, setsid};
use rustix::thread::UnshareFlags;

use super::cpu::NICENESS;
use super::outside::{self, Outside};
use crate::kernel::sys;

/// After a signal the process inside has so long to write down what it has.
const END_WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Priority of all of a session against other sessions. Without it that of a thread only counts among those
/// of its own session.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// Namespaces that a comparison needs.
const NAMESPACES: UnshareFlags =
    UnshareFlags::NEWPID.union(UnshareFlags::NEWNET).union(UnshareFlags::NEWNS);

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host gives no namespaces: nothing can be compared.
    #[error("namespaces cannot be made here (it needs root): {0}")]
    NoNamespaces(io::Error),
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs `inside` in a place of its own until it ends. When `stop` is set it is asked to end, and after a
/// while killed. Gives its exit code.
///
/// # Errors
/// No namespaces, or it cannot be started or was killed.
pub fn run(inside: Command, stop: &AtomicBool) -> Result<u8, SandboxError> {
    // Only this thread moves, and only its children are in the new process namespace. It lives as long as
    // the child: the child is killed when the thread that started it ends.
    let run = thread::scope(|scope| scope.spawn(|| start_and_wait(inside, stop)).join());
    let status = run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    match (status.code().map(u8::try_from), status.signal()) {
        (Some(Ok(code)), _) => Ok(code),
        (_, signal) => {
            let how = format!("the comparison was ended by signal {}", signal.unwrap_or_default());
            Err(io::Error::other(how).into())
        }
    }
}

fn start_and_wait(mut inside: Command, stop: &AtomicBool) -> Result<ExitStatus, SandboxError> {
    sys::unshare(NAMESPACES).map_err(SandboxError::NoNamespaces)?;
    let (mut outside, theirs) = Outside::new()?;
    let mut child = inside.stdin(theirs).spawn()?;
    // What the command still holds of their end would keep it open.
    drop(inside);
    // It waits for this, and sees the end of the socket where this process is gone already.
    if let Err(error) = outside.go() {
        tracing::debug!(%error, "the process inside has ended");
    }
    Ok(wait(&mut child, &mut outside, stop)?)
}

fn wait(child: &mut Child, outside: &mut Outside, stop: &AtomicBool) -> io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if stop.load(Ordering::Relaxed) => {
                asked = Some(Instant::now());
                kill_process(Pid::from_child(child), Signal::TERM)?;
            }
            Some(since) if since.elapsed() > END_WAIT => {
                child.kill()?;
                return child.wait();
            }
            _ => thread::sleep(LOOK_EVERY),
        }
        if let Err(error) = outside.answer() {
            tracing::debug!(%error, "the process inside did not get its answer");
        }
    }
}

/// Makes the place ready, from inside: call it first. What is mounted here nobody else sees. What runs in it
/// goes before all other sessions, where the kernel shares CPUs out by session.
///
/// # Errors
/// It was not started by [`run`], or the kernel refuses.
pub fn enter() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Whoever died before that line has not said this.
    outside::wait_for_go()?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private)?;
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")] {
        mount(kind, target, kind, MountFlags::empty(), None)?;
    }
    // A session of its own: signals of the terminal come by way of the process that waits.
    setsid()?;
    if fs::exists(AUTOGROUP)? {
        fs::write(AUTOGROUP, NICENESS.to_string())?;
    }
    Ok(())
}

/// Whether `path` would be hidden by what [`enter`] mounts.
pub fn hides(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or(absolute);
    ["/run", "/proc", "/sys"].iter().any(|hidden| real.starts_with(hidden))
}

/// Opens `path` for a program to write to.
///
/// # Errors
/// It cannot be made.
pub fn output(path: &Path) -> io::Result<Stdio> {
    File::create(path).map(Stdio::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_vanish_is_known() {
        assert!(hides(Path::new("/run/x/not-there")));
        assert!(hides(Path::new("/sys/../proc/self")));
        assert!(!hides(Path::new("/tmp/not-there/x")));
    }
}
