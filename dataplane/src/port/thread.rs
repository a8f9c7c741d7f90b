//! The port thread: the one thread that holds capabilities, and the one that adds, watches, stops
//! and closes devices.
//!
//! ```text
//! let needed = Privileges::for_devices(&devices);
//! let ports = PortThread::spawn(locks, "gw1", needed)?;   // before anything else
//! drop_capabilities()?;                            // the main thread
//! let eal = Eal::init(&options)?;                  // EAL's threads are born without them
//! let pool = Pool::create(&eal, ...)?;
//! let (handle, rx, tx) = ports.open(spec, &pool)?; // queues go to the data core
//! ...                                              // data core drops rx and tx
//! ports.shutdown(Duration::from_secs(2))?;         // stopped, closed and removed here
//! ```
//! It parses nothing that comes from outside: specs are checked values. Queues tell it when the last
//! of them is gone; then, and not before, it stops the device.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::board::Board;
use super::clocks::{ClockReport, Watch};
use super::dpdk::{
    DeviceStats, Link, PortBuilder, PortError, PortFacts, PortSpec, QueueSpec, RxQueue, Started,
    TxQueue,
};
use super::privileges::{Privileges, keep_capabilities};
use crate::locks::LockDir;
use crate::patience::Patience;
use crate::pool::Pool;

/// How often links are looked at. What a driver of the kernel takes while a link is down leaves, however
/// old, when it is up again, so a link that is lost is noticed soon.
const LINK_PERIOD: Duration = Duration::from_millis(10);
/// Clocks and counters are looked at once in so many looks at links.
const LOOKS_PER_READING: u32 = 10;
/// How long a link takes at most to come up after we let it.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// How long dropping a [`PortThread`] waits for queues that are still out.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// Ports are still open because somebody holds their queues.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queues of a port were not given back in time; its device stays open")]
pub struct StillOpen;

/// Names a port to the port thread. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token(u64);

enum Command {
    Open(Box<(PortSpec, QueueSpec, Pool)>, Sender<Result<Opened, PortError>>),
    Released(Token),
    Stats(Token, Sender<Result<DeviceStats, PortError>>),
    SetLink(Token, bool, Sender<Result<(), PortError>>),
    Follow(Token, Token),
    Shutdown,
}

struct Opened {
    token: Token,
    facts: PortFacts,
    link: Arc<Link>,
    clocks: Arc<Board<ClockReport>>,
    stats: Arc<Board<DeviceStats>>,
    rx: Vec<RxQueue>,
    tx: TxQueue,
}

/// The handle of the port thread. Dropping it waits a little for the queues and closes the ports.
#[derive(Debug)]
pub struct PortThread {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// What control may ask of an open port. Does not keep it open: the queues do.
#[derive(Clone, Debug)]
pub struct PortHandle {
    token: Token,
    facts: Arc<PortFacts>,
    link: Arc<Link>,
    clocks: Arc<Board<ClockReport>>,
    stats: Arc<Board<DeviceStats>>,
    commands: Sender<Command>,
}

impl PortThread {
    /// Starts the thread, with those of the caller's capabilities that are `needed` and the CPU mask of the
    /// caller: pin the caller to the control CPU before, or it may run on a data core. `instance` is written
    /// into the device locks.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn spawn(locks: LockDir, instance: &str, needed: Privileges) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let state = State {
            locks,
            instance: instance.to_owned(),
            to_self: commands.clone(),
            ports: Vec::new(),
            next_token: 0,
        };
        let (tell, told) = mpsc::channel();
        let thread = thread::Builder::new().name("wp-ports".to_owned()).spawn(move || {
            let kept = keep_capabilities(&needed);
            let goes_on = kept.is_ok();
            // The receiver waits for exactly this.
            let _ = tell.send(kept);
            if goes_on {
                state.run(&inbox);
            }
        })?;
        told.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Locks, adds, configures and starts a port with one queue of each kind. EAL is up: the pool
    /// holds it.
    ///
    /// # Errors
    /// [`PortError`]; the device is then as it was before.
    pub fn open(
        &self,
        spec: PortSpec,
        pool: &Pool,
    ) -> Result<(PortHandle, RxQueue, TxQueue), PortError> {
        let queues = QueueSpec::one(spec.rx_burst);
        let (handle, mut rx, tx) = self.open_queues(spec, queues, pool)?;
        let rx = rx.pop().ok_or(PortError::Closed)?;
        Ok((handle, rx, tx))
    }

    /// The same with the queues of `queues`; those of RX in the order of their index, of TX the first.
    ///
    /// # Errors
    /// [`PortError`]; the device is then as it was before.
    pub fn open_queues(
        &self,
        spec: PortSpec,
        queues: QueueSpec,
        pool: &Pool,
    ) -> Result<(PortHandle, Vec<RxQueue>, TxQueue), PortError> {
        let (reply, answer) = mpsc::channel();
        let command = Command::Open(Box::new((spec, queues, pool.clone())), reply);
        self.commands.send(command).map_err(|_| PortError::ThreadGone)?;
        let opened = answer.recv().map_err(|_| PortError::ThreadGone)??;
        let handle = PortHandle {
            token: opened.token,
            facts: Arc::new(opened.facts),
            link: opened.link,
            clocks: opened.clocks,
            stats: opened.stats,
            commands: self.commands.clone(),
        };
        Ok((handle, opened.rx, opened.tx))
    }

    /// From now on, while the link of either port is down by itself, the other one's is held down
    /// (`link_follow`). Seen within 10 ms. Drivers that cannot take a link down are left alone; try
    /// with [`PortHandle::link_up`].
    ///
    /// # Errors
    /// [`PortError::ThreadGone`].
    pub fn follow(&self, a: &PortHandle, b: &PortHandle) -> Result<(), PortError> {
        self.commands.send(Command::Follow(a.token, b.token)).map_err(|_| PortError::ThreadGone)
    }

    /// Waits until every queue was dropped and every port is closed and removed, at most `wait`.
    ///
    /// # Errors
    /// [`StillOpen`] when somebody still holds a queue; the thread then goes on and closes the port
    /// when that ends.
    pub fn shutdown(mut self, wait: Duration) -> Result<(), StillOpen> {
        self.end(wait)
    }

    fn end(&mut self, wait: Duration) -> Result<(), StillOpen> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // A thread that is gone cannot take the command and is what we want.
        let _ = self.commands.send(Command::Shutdown);
        let mut patience = Patience::new(wait);
        while !thread.is_finished() {
            if !patience.wait() {
                return Err(StillOpen);
            }
        }
        // A panic there was printed by the panic hook; its ports were closed on the way out.
        let _ = thread.join();
        Ok(())
    }
}

impl Drop for PortThread {
    fn drop(&mut self) {
        // Nobody is there to tell.
        let _ = self.end(DROP_WAIT);
    }
}

impl PortHandle {
    /// What is known of the port.
    pub fn facts(&self) -> &PortFacts {
        &self.facts
    }

    /// Its link, as last seen.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The clocks of its device as they were last read (every 100 ms); for control.
    pub fn clocks(&self) -> ClockReport {
        self.clocks.report()
    }

    /// What the driver counts, as it was last read (every 100 ms); for control.
    pub fn last_stats(&self) -> DeviceStats {
        self.stats.report()
    }

    /// What its driver counts.
    ///
    /// # Errors
    /// [`PortError::Closed`] once the queues are gone, or what DPDK says.
    pub fn device_stats(&self) -> Result<DeviceStats, PortError> {
        self.ask(|reply| Command::Stats(self.token, reply))
    }

    /// Takes the link down so that the host at the other end sees it.
    ///
    /// # Errors
    /// [`PortError::Closed`], or what DPDK or the kernel says (many drivers cannot).
    pub fn link_down(&self) -> Result<(), PortError> {
        self.ask(|reply| Command::SetLink(self.token, false, reply))
    }

    /// Takes the link up again.
    ///
    /// # Errors
    /// As [`PortHandle::link_down`].
    pub fn link_up(&self) -> Result<(), PortError> {
        self.ask(|reply| Command::SetLink(self.token, true, reply))
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(Sender<Result<T, PortError>>) -> Command,
    ) -> Result<T, PortError> {
        let (reply, answer) = mpsc::channel();
        self.commands.send(command(reply)).map_err(|_| PortError::ThreadGone)?;
        answer.recv().map_err(|_| PortError::ThreadGone)?
    }
}

/// One open port.
struct Entry {
    token: Token,
    port: Started,
    follows: Option<Token>,
    /// Taken down because its partner is down: its own state then says nothing.
    held_down: bool,
    /// Until when its state says nothing because it has only just been let up again.
    settles_until: Instant,
    /// Its device's clocks; nothing where there are none.
    clocks: Watch,
    /// What its driver counted up to the last look.
    stats: Arc<Board<DeviceStats>>,
}

impl Entry {
    /// Down by itself, not by us.
    fn is_down(&self, now: Instant) -> bool {
        !self.held_down && now >= self.settles_until && !self.port.link().is_up()
    }
}

struct State {
    locks: LockDir,
    instance: String,
    to_self: Sender<Command>,
    ports: Vec<Entry>,
    next_token: u64,
}

impl State {
    fn run(mut self, inbox: &Receiver<Command>) {
        let mut ending = false;
        let (mut next_look, mut looks) = (Instant::now() + LINK_PERIOD, 0_u32);
        while !ending || !self.ports.is_empty() {
            let wait = next_look.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Command::Shutdown) => ending = true,
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.look_at_links();
                    looks = looks.wrapping_add(1);
                    if looks.is_multiple_of(LOOKS_PER_READING) {
                        self.read_devices();
                    }
                    next_look = Instant::now() + LINK_PERIOD;
                }
                // Not while `to_self` lives.
                Err(RecvTimeoutError::Disconnected) => ending = true,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        // An asker that has gone needs no answer.
        match command {
            Command::Open(what, reply) => {
                let (spec, queues, pool) = *what;
                let _ = reply.send(self.open(spec, queues, &pool));
            }
            Command::Released(token) => {
                self.ports.retain(|e| e.token != token || !e.port.is_released());
            }
            Command::Stats(token, reply) => {
                let stats = self.entry(token).and_then(|e| e.port.stats());
                let _ = reply.send(stats);
            }
            Command::SetLink(token, up, reply) => {
                let done = self.entry(token).and_then(|e| e.port.set_link(up));
                let _ = reply.send(done);
            }
            Command::Follow(a, b) => {
                for (one, other) in [(a, b), (b, a)] {
                    if let Ok(entry) = self.entry(one) {
                        entry.follows = Some(other);
                    }
                }
            }
            Command::Shutdown => {}
        }
    }

    fn open(
        &mut self,
        spec: PortSpec,
        queues: QueueSpec,
        pool: &Pool,
    ) -> Result<Opened, PortError> {
        let locks = spec
            .device
            .claims()
            .iter()
            .map(|claim| self.locks.take(claim, &self.instance))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| PortError::Lock { port: spec.name.clone(), source })?;
        let port = PortBuilder::add(spec, queues, pool, locks)?.configure()?;
        let token = Token(self.next_token);
        self.next_token += 1;
        let to_self = self.to_self.clone();
        let (port, rx, tx) = port.start(move || {
            // Without a port thread there is nobody left to close the port.
            let _ = to_self.send(Command::Released(token));
        })?;
        let clocks = Watch::start(port.facts());
        let stats = Arc::default();
        let opened = Opened {
            token,
            facts: port.facts().clone(),
            link: Arc::clone(port.link()),
            clocks: Arc::clone(clocks.board()),
            stats: Arc::clone(&stats),
            rx,
            tx,
        };
        let settles_until = Instant::now() + SETTLE_TIME;
        let (follows, held_down) = (None, false);
        self.ports.push(Entry { token, port, follows, held_down, settles_until, clocks, stats });
        Ok(opened)
    }

    fn entry(&mut self, token: Token) -> Result<&mut Entry, PortError> {
        self.ports.iter_mut().find(|e| e.token == token).ok_or(PortError::Closed)
    }

    /// Reads every clock and counter.
    fn read_devices(&mut self) {
        for entry in &mut self.ports {
            let port = &entry.port;
            entry.clocks.look(|source| port.read_clock(source));
            // A driver that does not tell now is asked again at the next look.
            if let Ok(stats) = port.stats() {
                entry.stats.put(stats);
            }
        }
    }

    /// Looks at every link, then lets each port that follows another be as that one is.
    fn look_at_links(&mut self) {
        let now = Instant::now();
        self.ports.iter().for_each(|entry| entry.port.look_at_link());
        let down: Vec<_> = self.ports.iter().filter(|e| e.is_down(now)).map(|e| e.token).collect();
        for entry in &mut self.ports {
            let Some(partner) = entry.follows else { continue };
            let hold_down = down.contains(&partner);
            // A driver that cannot do it is left alone; the gateway goes on without.
            if hold_down != entry.held_down && entry.port.set_link(!hold_down).is_ok() {
                entry.held_down = hold_down;
                entry.settles_until = now + SETTLE_TIME;
            }
        }
    }
}
