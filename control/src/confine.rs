//! What the threads that answer strangers may ask of the kernel (seccomp).
//!
//! Control and exporter parse what others send. Should one of them ever be made to run somebody else's code,
//! that code finds no way to a program, to another socket, to another process or to more rights: what is not
//! on the list below is refused with `EPERM`. They start no thread either: whoever works for them is there before
//! them, such as the one that writes bundles.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Why a thread is not confined.
#[derive(Debug, thiserror::Error)]
#[error("the system does not confine a thread (seccomp): {0}")]
struct ConfineError(String);

impl ConfineError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What they need whatever its arguments are.
const ALLOWED: &[libc::c_long] = &[
    // Memory. `mmap` and `mprotect` stand below.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Time, and waiting for it or for each other.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // The runtime, which is made anew after a panic.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_getrandom,
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Sockets that are there, and those that they accept. None is made and none is connected.
    libc::SYS_accept4,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Files: revisions of the config, bundles, baselines, the page of advice, the log.
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_statx,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // The thread itself, its signals, its end and that of the process.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// Starts the thread `name`, which is confined before it does `work`. Joined it gives what `work` gave.
///
/// # Errors
/// The system gives no thread, or does not confine it: it has ended then.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<Option<T>>> {
    let (tell, told) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let confined = this_thread();
        let goes_on = confined.is_ok();
        // The receiver waits for exactly this.
        let _ = tell.send(confined);
        goes_on.then(work)
    })?;
    told.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
    Ok(thread)
}

/// Confines the calling thread for good.
///
/// # Errors
/// The kernel was built without seccomp, or something before this one forbids it.
fn this_thread() -> Result<(), ConfineError> {
    let (refuse, allow) = (SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow);
    let arch = std::env::consts::ARCH.try_into().map_err(ConfineError::of)?;
    let filter = SeccompFilter::new(allowed()?, refuse, allow, arch).map_err(ConfineError::of)?;
    let program: BpfProgram = filter.try_into().map_err(ConfineError::of)?;
    // Sets `no_new_privs` too, without which only root may filter.
    apply_filter(&program).map_err(ConfineError::of)
}

fn allowed() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, ConfineError> {
    let mut rules: BTreeMap<_, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
    let mut only = |call, alternatives: Vec<SeccompRule>| rules.insert(call, alternatives);
    // Memory that is not code.
    only(libc::SYS_mmap, vec![masked(2, exec, 0)?]);
    only(libc::SYS_mprotect, vec![masked(2, exec, 0)?]);
    // Whether something is a terminal, and whether it waits; nothing typed into a terminal.
    only(libc::SYS_ioctl, vec![equal(1, libc::TCGETS)?, equal(1, libc::FIONBIO)?]);
    // A signal to this process, which is how it aborts.
    only(libc::SYS_tgkill, vec![equal(0, u64::from(std::process::id()))?]);
    Ok(rules)
}

/// Where the argument `index` is `value`.
fn equal(index: u8, value: u64) -> Result<SeccompRule, ConfineError> {
    rule(index, SeccompCmpOp::Eq, value)
}

/// Where of the argument `index` the bits of `mask` are `value`.
fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompRule, ConfineError> {
    rule(index, SeccompCmpOp::MaskedEq(mask), value)
}

fn rule(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, ConfineError> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value)
        .map_err(ConfineError::of)?;
    SeccompRule::new(vec![condition]).map_err(ConfineError::of)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// What `work` gives on a confined thread of its own.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            this_thread().unwrap();
            work()
        });
        thread.join().unwrap()
    }

    fn is_refused<T>(outcome: io::Result<T>) -> bool {
        outcome.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn no_program_no_new_socket_no_thread_and_no_other_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let other = rustix::process::getppid().unwrap();
        let refused = confined(move || {
            [
                ("program", is_refused(Command::new("/bin/true").status())),
                ("thread", is_refused(std::thread::Builder::new().spawn(|| ()))),
                ("TCP", is_refused(TcpStream::connect(address))),
                ("Unix socket", is_refused(UnixStream::pair())),
                ("signal", rustix::process::test_kill_process(other).is_err()),
                ("mode", is_refused(std::os::unix::fs::chown("/", Some(1), None))),
            ]
        });
        for (what, refused) in refused {
            assert!(refused, "{what}");
        }
    }

    #[test]
    fn files_and_clients_are_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/file");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"x").unwrap();
        confined(move || {
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            std::fs::write(&path, b"whole").unwrap();
            std::fs::rename(&path, path.with_extension("old")).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.write_all(b"y").unwrap();
        });
    }
}
