//! What the service manager is told (`sd_notify(3)`): that the gateway forwards, that it reloads, that it
//! ends, and that it lives.
//!
//! The socket is connected once, at start: the control thread, which pings, may not make any later. Without
//! a manager every call does nothing.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Pings in one interval of the watchdog: one that comes late, or is not taken, costs nothing.
const PINGS: u32 = 4;

/// See the module.
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the gateway lives; `None` = never.
    ping_every: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    ///
    /// # Errors
    /// It names one that is not there.
    pub fn of_environment() -> io::Result<Self> {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let socket = path.map(|path| connect(path.as_bytes())).transpose()?;
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        // It may be meant for the process that started this one.
        let is_meant =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|&us| us > 0 && is_meant);
        let ping_every = interval.map(|us| Duration::from_micros(us) / PINGS);
        Ok(Self { socket, ping_every })
    }

    /// The gateway forwards, in `state`; after a reload too.
    pub fn ready(&self, state: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(state)));
    }

    /// A reload begins; [`Manager::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// The gateway drains and ends.
    pub fn stopping(&self, why: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", one_line(why)));
    }

    /// What feeds the watchdog, to be called whenever everything that has to make progress has made some.
    pub fn watchdog(&self) -> io::Result<impl FnMut() + Send + 'static> {
        let socket = self.socket.as_ref().map(UnixDatagram::try_clone).transpose()?;
        let (ping_every, mut pinged) = (self.ping_every, None::<Instant>);
        Ok(move || {
            let (Some(socket), Some(ping_every)) = (&socket, ping_every) else { return };
            if pinged.is_none_or(|at| at.elapsed() >= ping_every) {
                // A manager that takes nothing now gets the next one.
                pinged = socket.send(b"WATCHDOG=1").ok().map(|_| Instant::now());
            }
        })
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, state, "the service manager was not told");
        }
    }
}

/// Connects to the socket at `path`, where a leading `@` stands for the abstract namespace.
fn connect(path: &[u8]) -> io::Result<UnixDatagram> {
    let address = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // Nobody here waits for it.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A message is lines.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 1_024];
        let length = by.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn a_manager_hears_every_state_in_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let socket = Some(connect(path.as_os_str().as_bytes()).unwrap());
        let told = Manager { socket, ping_every: Some(Duration::from_secs(3600)) };
        told.ready("forwards;\nstate running");
        assert_eq!(heard(&manager).unwrap(), "READY=1\nSTATUS=forwards; state running");
        told.reloading();
        let reloading = heard(&manager).unwrap();
        let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(at.parse::<u64>().unwrap() > 0);
        told.stopping("SIGTERM");
        assert_eq!(heard(&manager).unwrap(), "STOPPING=1\nSTATUS=SIGTERM");
        let mut ping = told.watchdog().unwrap();
        ping();
        ping();
        assert_eq!(heard(&manager).unwrap(), "WATCHDOG=1");
        assert_eq!(heard(&manager), None, "not twice in an hour");
        // One that is gone is no obstacle.
        drop(manager);
        told.stopping("SIGTERM");
    }

    #[test]
    fn an_at_sign_stands_for_the_abstract_namespace() {
        let name = format!("wirepace-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        connect(format!("@{name}").as_bytes()).unwrap().send(b"x").unwrap();
        assert_eq!(heard(&manager).unwrap(), "x");
        assert!(connect(b"/nowhere/notify").is_err());
    }
}
