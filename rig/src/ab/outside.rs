//! What a comparison asks of the host outside of its process namespace.
//!
//! The kernel's threads that poll an interface (threaded NAPI) belong to the host: from inside they can be
//! neither seen nor pinned. The process that waits outside does it, asked through the socket that is the
//! standard input of the process inside. Each request is a byte and a CPU, each answer a count.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::{self, Dir, Mode, OFlags};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cpu;
use super::net::{GATEWAY_INSIDE, GATEWAY_VENUE};

/// Said to the process inside once it may begin.
const GO: u8 = b'!';
/// Pin the threads, then count those that are.
const PIN: u8 = b'p';
/// Count those that are pinned.
const COUNT: u8 = b'c';
/// What outside takes to answer is a look at all processes.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The end of the process that waits.
#[derive(Debug)]
pub(super) struct Outside {
    socket: UnixStream,
    /// /proc of the host. The thread that waits is in the mount namespace of the process inside, which puts
    /// its own over it.
    processes: OwnedFd,
}

impl Outside {
    /// It, and the standard input of the process inside. To be called before that one begins.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let processes = fs::open("/proc", flags, Mode::empty())?;
        Ok((Self { socket, processes }, theirs.into()))
    }

    /// Lets the process inside begin.
    pub fn go(&mut self) -> io::Result<()> {
        self.socket.write_all(&[GO])
    }

    /// Answers what has been asked, if anything has.
    pub fn answer(&mut self) -> io::Result<()> {
        let mut request = [0; 5];
        match self.socket.read(&mut request) {
            Ok(0) => return Ok(()),
            Ok(length) if length == request.len() => {}
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let [what, cpu @ ..] = request;
        let threads = self.polling_threads_on(u32::from_ne_bytes(cpu) as usize, what == PIN)?;
        self.socket.write_all(&threads.to_ne_bytes())
    }

    /// Threads that poll the gateway's interfaces and are pinned to `cpu`.
    fn polling_threads_on(&self, cpu: usize, pins: bool) -> io::Result<u32> {
        if cpu >= CpuSet::MAX_CPU {
            return Ok(0);
        }
        let mut only = CpuSet::new();
        only.set(cpu);
        let mut pinned = 0;
        for entry in Dir::read_from(&self.processes)? {
            let entry = entry?;
            let pid = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            let Some(thread) = pid.and_then(Pid::from_raw) else { continue };
            if !polls_the_gateway(&self.name(thread)) {
                continue;
            }
            // One that ends meanwhile does not count.
            let set = !pins || Self::pin(thread, &only).is_ok();
            let is = sched_getaffinity(Some(thread)).is_ok_and(|allowed| allowed == only);
            pinned += u32::from(set && is);
        }
        Ok(pinned)
    }

    /// It goes first on its CPUs too, as a data core does.
    fn pin(thread: Pid, only: &CpuSet) -> io::Result<()> {
        sched_setaffinity(Some(thread), only)?;
        cpu::go_first(thread).map(drop)
    }

    /// Empty: it has ended.
    fn name(&self, process: Pid) -> String {
        let path = format!("{}/comm", process.as_raw_pid());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = fs::openat(&self.processes, path, flags, Mode::empty());
        file.map_err(io::Error::from)
            .and_then(|file| io::read_to_string(File::from(file)))
            .unwrap_or_default()
    }
}

/// Inside: waits until it may begin. An error: whoever started it has died.
pub(super) fn wait_for_go() -> io::Result<()> {
    io::stdin().read_exact(&mut [0])
}

/// Inside: pins the threads that poll the gateway's interfaces to `cpu`. Gives how many are pinned then.
pub(super) fn pin_polling_threads(cpu: usize) -> io::Result<u32> {
    ask(PIN, cpu)
}

/// Inside: how many threads that poll the gateway's interfaces are pinned to `cpu`.
pub(super) fn pinned_polling_threads(cpu: usize) -> io::Result<u32> {
    ask(COUNT, cpu)
}

fn ask(what: u8, cpu: usize) -> io::Result<u32> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    let mut request = [what; 5];
    request[1..].copy_from_slice(&(cpu as u32).to_ne_bytes());
    socket.write_all(&request)?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer)?;
    Ok(u32::from_ne_bytes(answer))
}

/// `napi/INTERFACE-ID`.
fn polls_the_gateway(thread: &str) -> bool {
    let of = thread.strip_prefix("napi/").and_then(|rest| rest.rsplit_once('-'));
    of.is_some_and(|(interface, _)| [GATEWAY_INSIDE, GATEWAY_VENUE].contains(&interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_of_the_gateway_are_meant() {
        assert!(polls_the_gateway("napi/gw-in-8195\n") && polls_the_gateway("napi/gw-out-819"));
        assert!(!polls_the_gateway("napi/eth0-8193") && !polls_the_gateway("gw-in-1"));
        assert!(!polls_the_gateway("napi/gw-in"));
    }

    #[test]
    fn outside_answers_what_is_asked_and_waits_for_nothing() {
        let (mut outside, inside) = Outside::new().expect("a pair of sockets");
        let mut inside = UnixStream::from(inside);
        outside.answer().expect("nothing was asked");
        outside.go().expect("it is there");
        let mut said = [0];
        inside.read_exact(&mut said).expect("it may begin");
        assert_eq!(said, [GO]);
        // No thread polls a gateway that is not there, on no CPU.
        inside.write_all(&[PIN, 0xff, 0xff, 0xff, 0xff]).expect("it is there");
        outside.answer().expect("it was asked");
        let mut answer = [1; 4];
        inside.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [0; 4]);
        inside.write_all(&[PIN, 0]).expect("it is there");
        assert!(outside.answer().is_err(), "half a request");
        drop(inside);
        outside.answer().expect("it has ended");
    }
}
