//! Everything that crosses between control and one worker.
//!
//! [`link`] makes the two halves. The worker keeps its [`WorkerLink`] and calls, in this order, once
//! per poll: [`WorkerLink::turn`] (what control wants, and the lease), [`WorkerLink::profile`] (what
//! is in force), [`WorkerLink::sample`] and [`WorkerLink::released`] per packet that earned one,
//! [`WorkerLink::empty_block`] every so many polls, [`WorkerLink::progress`], and
//! [`WorkerLink::finish`] once, when it ends. Control keeps the [`ControlLink`].
//!
//! Rules of the worker's half, each held by construction:
//! - **It never frees or allocates.** Whatever is boxed comes from control and goes home to
//!   control. The rings home are as long as the number of boxes that exist, so they always have room.
//! - **It never waits.** An `ArrayQueue` makes its caller spin, and then yield, on a slot that the
//!   other side is still copying. [`Inbox`] pops only what was completely pushed, and [`Outbox`]
//!   leaves the one slot alone that the reader may be emptying: neither can meet such a slot.
//! - **An idle check is one relaxed load** of a counter on a cache line that only control writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use model::drop_reason::DropReason;
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;

use crate::clock::{PortClocks, TscModel};

/// Commands that may wait for a worker. More than a person or a regime engine sends in a second.
const COMMANDS: usize = 16;
/// Profiles that one worker may hold or have on its way in either direction.
const PROFILES: usize = COMMANDS + 2;
/// Aggregate blocks of one link: the worker's own, the spare one, and the one that a worker may need
/// to put in the place of its last.
const BLOCKS: usize = 3;
/// Slots of the event ring that only switches and leases may use: an alarm storm cannot hide the
/// answer to a command.
const EVENTS_RESERVED: usize = 2 * COMMANDS;
/// A switch is settled so long after it took effect; `switch_delay_us` is the longest wait until
/// then.
pub const SETTLE: Nanos = Nanos::from_millis(10);

/// What control tells a worker. Commands are numbered from 1 in the order in which they are sent.
#[derive(Debug)]
enum Command {
    /// Put this profile in force under a lease.
    Pin(Box<Profile>),
    /// Go back to the confirmed profile.
    Return,
    /// Take this clock from the next poll on.
    Clock(TscModel),
    /// The clocks of the device behind a port of the config.
    PortClocks(u8, PortClocks),
}

/// What a worker has to act on; see [`WorkerLink::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// [`WorkerLink::profile`] is another one now.
    ProfileChanged,
    /// Use this clock.
    Clock(TscModel),
    /// Use these clocks of the device behind a port of the config.
    PortClocks(u8, PortClocks),
    /// Drain and end.
    Stop,
}

/// What a worker tells control. Times are gateway time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The profile of command `command` is in force.
    ProfileSwitched {
        /// Number of the command.
        command: u64,
        /// Index of the profile now in force.
        index: u16,
        /// Index of the profile that was in force before.
        previous: u16,
        /// Since when.
        at: Nanos,
    },
    /// [`SETTLE`] has passed since the switch of `command`.
    SwitchSettled {
        /// Number of the command.
        command: u64,
        /// The longest that a due packet waited in that time.
        longest_wait: Nanos,
        /// Packets that ended in that time for want of room or time.
        lost: u32,
    },
    /// No one renewed the lease: the worker is back in its confirmed profile.
    LeaseExpired {
        /// Index of the profile that ended.
        profile: u16,
        /// When.
        at: Nanos,
    },
    /// The core did not poll for a while, and does again.
    Stall {
        /// When it polled again.
        at: Nanos,
        /// For how long it did not.
        length: Nanos,
    },
    /// No completion of a TX queue for `stall_time` with bytes in flight.
    TxStall {
        /// Index of the port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// In-flight limit reached, device empty, due packets waiting: the limit is too low.
    Starvation {
        /// Index of the port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// Packets ended for want of buffers.
    PoolAlarm {
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// Packets ended because the ring to the pacing core was full.
    RingFull {
        /// Index of the egress port in the config.
        port: u8,
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// Packets of classes with `allow_drop` ended because the pool is down to its reserve.
    PoolLow {
        /// When it was noticed.
        at: Nanos,
        /// How many since the last such event.
        packets: u32,
    },
    /// A class that may not drop is past its queue budget.
    Backpressure {
        /// Index of the class in the config.
        class: u8,
        /// When it was noticed.
        at: Nanos,
    },
    /// Packets ended because they have more messages than a venue limit ever lets go.
    OverVenueLimit {
        /// Index of the egress port in the config.
        port: u8,
        /// How many since the last such event.
        packets: u32,
        /// When it was told.
        at: Nanos,
    },
    /// Exempt packets waited because a venue limit held packets ahead of them in their group.
    ExemptBehindLimit {
        /// Index of the egress port in the config.
        port: u8,
        /// How many since the last such event.
        packets: u32,
        /// When it was told.
        at: Nanos,
    },
    /// A port's link changed.
    Link {
        /// Index of the port in the config.
        port: u8,
        /// Whether it is up now.
        up: bool,
        /// When it was noticed.
        at: Nanos,
    },
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Not polling yet.
    Starting = 0,
    /// Polling.
    Running = 1,
    /// Told to stop, drains.
    Draining = 2,
    /// Polls no more and never will.
    Ended = 3,
}

impl Phase {
    /// The name in JSON and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }

    const fn from_u64(n: u64) -> Self {
        match n {
            0 => Self::Starting,
            1 => Self::Running,
            2 => Self::Draining,
            _ => Self::Ended,
        }
    }
}

/// Control -> worker. Written by control alone, emptied by the worker alone.
struct Inbox<T> {
    queue: ArrayQueue<T>,
    /// Complete pushes. The worker pops only as many, so it never meets a half-written slot.
    published: AtomicU64,
}

impl<T> Inbox<T> {
    fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity), published: AtomicU64::new(0) }
    }

    fn push(&self, value: T) -> Result<u64, T> {
        self.queue.push(value)?;
        let number = self.published.load(Ordering::Relaxed) + 1;
        self.published.store(number, Ordering::Release);
        Ok(number)
    }

    /// The next one, given how many were taken before.
    fn pop(&self, taken: &mut u64) -> Option<T> {
        if self.published.load(Ordering::Acquire) == *taken {
            return None;
        }
        let value = self.queue.pop()?;
        *taken += 1;
        Some(value)
    }
}

/// Worker -> control. Filled by the worker alone, emptied by control alone.
struct Outbox<T> {
    /// One slot longer than what may be in it: control may still be emptying the slot behind the
    /// head, and the worker would have to wait for it.
    queue: ArrayQueue<T>,
}

impl<T> Outbox<T> {
    fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity + 1) }
    }

    /// How many pushes will succeed whatever control does. Exact or too small, never too large,
    /// for the worker.
    fn room(&self) -> usize {
        (self.queue.capacity() - 1).saturating_sub(self.queue.len())
    }
}

/// Cells that the worker writes and others read. Two cache lines, so that the prefetcher of the
/// neighbour line does not pull it away from the core that writes it on every poll.
#[repr(align(128))]
struct WorkerCells {
    /// Changes with every poll.
    progress: AtomicU64,
    /// [`Phase`].
    phase: AtomicU64,
    /// Index of the profile in force.
    profile: AtomicU64,
    /// Samples that found the ring full.
    samples_lost: AtomicU64,
    /// Events that found the ring full.
    events_lost: AtomicU64,
}

/// Cells that control writes and the worker reads.
#[repr(align(128))]
struct ControlCells {
    /// Changes after everything that [`WorkerLink::turn`] has to look at.
    epoch: AtomicU64,
    /// 1 = drain and end. Not a command: it works with the control thread dead.
    stop: AtomicU64,
    /// Gateway time at which the profile in force ends, unless it is `normal`.
    lease_until: AtomicU64,
}

struct Shared<B> {
    worker: WorkerCells,
    control: ControlCells,
    commands: Inbox<Command>,
    empty: Inbox<Box<B>>,
    filled: Outbox<Box<B>>,
    profiles_home: Outbox<Box<Profile>>,
    samples: Outbox<Sample>,
    events: Outbox<Event>,
}

/// Makes the two halves for one worker that starts in `confirmed` (profile `normal`).
///
/// `samples` rows (at least 1) fit into the sample ring, `alarms` into the event ring beside the
/// answers to commands. The worker has an aggregate block of its own; `spare` is the one that control
/// gives it in exchange.
pub fn link<B>(
    samples: usize,
    alarms: usize,
    confirmed: Box<Profile>,
    spare: Box<B>,
) -> (WorkerLink<B>, ControlLink<B>) {
    let shared = Arc::new(Shared {
        worker: WorkerCells {
            progress: AtomicU64::new(0),
            phase: AtomicU64::new(Phase::Starting as u64),
            profile: AtomicU64::new(u64::from(confirmed.index)),
            samples_lost: AtomicU64::new(0),
            events_lost: AtomicU64::new(0),
        },
        control: ControlCells {
            epoch: AtomicU64::new(0),
            stop: AtomicU64::new(0),
            lease_until: AtomicU64::new(0),
        },
        commands: Inbox::new(COMMANDS),
        empty: Inbox::new(BLOCKS),
        filled: Outbox::new(BLOCKS),
        profiles_home: Outbox::new(PROFILES),
        samples: Outbox::new(samples.max(1)),
        events: Outbox::new(alarms + EVENTS_RESERVED),
    });
    let mut control = ControlLink { shared: Arc::clone(&shared), profiles_out: 1 };
    control.give_block(spare);
    let worker = WorkerLink {
        shared,
        confirmed,
        pinned: None,
        epoch_seen: 0,
        stopping: false,
        commands_taken: 0,
        empties_taken: 0,
        sample_room: 0,
        settling: None,
    };
    (worker, control)
}

/// A switch whose longest wait is being watched.
struct Settling {
    command: u64,
    until: Nanos,
    longest_wait: Nanos,
    lost: u32,
}

/// The worker's half. Nothing in it allocates, frees, locks, waits or makes a syscall, except
/// dropping it, which happens after the last poll.
pub struct WorkerLink<B> {
    shared: Arc<Shared<B>>,
    confirmed: Box<Profile>,
    pinned: Option<Box<Profile>>,
    epoch_seen: u64,
    stopping: bool,
    commands_taken: u64,
    empties_taken: u64,
    sample_room: usize,
    settling: Option<Settling>,
}

impl<B> WorkerLink<B> {
    /// The worker polls from now on: control starts to watch it.
    pub fn start(&self) {
        self.set_phase(Phase::Running);
    }

    /// What control wants, and the lease. At most one action per call, so a poll's share of it is
    /// bounded; call it once per poll. Idle: one relaxed load (two while a lease runs).
    #[inline]
    pub fn turn(&mut self, now: Nanos) -> Option<Action> {
        if self.pinned.is_some() && now.0 >= self.shared.control.lease_until.load(Ordering::Relaxed)
        {
            return self.expire(now);
        }
        if let Some(settling) = &self.settling
            && now >= settling.until
        {
            self.settled();
        }
        if self.shared.control.epoch.load(Ordering::Relaxed) == self.epoch_seen {
            return None;
        }
        self.obey(now)
    }

    /// The profile in force.
    #[inline]
    pub fn profile(&self) -> &Profile {
        self.pinned.as_deref().unwrap_or(&self.confirmed)
    }

    /// A due packet left after `wait` (acceptance less eligibility). Feeds `switch_delay_us`;
    /// without a fresh switch it is one branch.
    #[inline]
    pub fn released(&mut self, wait: Nanos) {
        if let Some(settling) = &mut self.settling {
            settling.longest_wait = settling.longest_wait.max(wait);
        }
    }

    /// A packet ended under `reason`. Feeds `effective_blocked_time_us`: after a switch, what ends for
    /// want of room or time is laid to it; what a stop word or the packet itself ended is not.
    pub fn ended(&mut self, reason: DropReason) {
        use DropReason::{
            Horizon, Late, PoolEmpty, PoolLow, ProfileClosed, QueueFull, RingFull, Stale,
        };
        let by_switch =
            [Horizon, Late, PoolEmpty, PoolLow, ProfileClosed, QueueFull, RingFull, Stale];
        if let Some(settling) = &mut self.settling
            && by_switch.contains(&reason)
        {
            settling.lost = settling.lost.saturating_add(1);
        }
    }

    /// Hands a sample over, or counts it as lost.
    #[inline]
    pub fn sample(&mut self, sample: &Sample) {
        if self.sample_room == 0 {
            self.sample_room = self.shared.samples.room();
        }
        if self.sample_room > 0 && self.shared.samples.queue.push(*sample).is_ok() {
            self.sample_room -= 1;
        } else {
            bump(&self.shared.worker.samples_lost);
        }
    }

    /// Hands an alarm over, or counts it as lost.
    pub fn alarm(&mut self, event: Event) {
        self.event(event, EVENTS_RESERVED);
    }

    /// The empty block that control gives once per tick, if it is there: swap it for the full one and
    /// [send](Self::send_block) that. Idle: one relaxed load; no timer is needed on the core.
    #[inline]
    pub fn empty_block(&mut self) -> Option<Box<B>> {
        if self.shared.empty.published.load(Ordering::Relaxed) == self.empties_taken {
            return None;
        }
        self.shared.empty.pop(&mut self.empties_taken)
    }

    /// Hands a full block to control. The ring home has a slot for every block that exists.
    pub fn send_block(&mut self, full: Box<B>) {
        let home = self.shared.filled.queue.push(full);
        debug_assert!(home.is_ok(), "more blocks came to life than a link has");
    }

    /// The worker is alive. `mark` has to differ from poll to poll: the TSC, or a count of polls.
    #[inline]
    pub fn progress(&self, mark: u64) {
        self.shared.worker.progress.store(mark, Ordering::Relaxed);
    }

    /// The last call: hands over the last block and everything that control lent.
    pub fn finish(mut self, last: Box<B>) {
        self.send_block(last);
        if let Some(pinned) = self.pinned.take() {
            self.retire(pinned);
        }
        self.set_phase(Phase::Ended);
    }

    #[cold]
    fn obey(&mut self, now: Nanos) -> Option<Action> {
        // Read before what it announces: whatever comes later moves the epoch again.
        let epoch = self.shared.control.epoch.load(Ordering::Acquire);
        if !self.stopping && self.shared.control.stop.load(Ordering::Relaxed) != 0 {
            self.stopping = true;
            self.set_phase(Phase::Draining);
            return Some(Action::Stop);
        }
        let Some(command) = self.shared.commands.pop(&mut self.commands_taken) else {
            self.epoch_seen = epoch;
            return None;
        };
        match command {
            Command::Pin(profile) => {
                let old = self.pinned.replace(profile);
                Some(self.switched(old, now))
            }
            Command::Return => {
                let old = self.pinned.take();
                Some(self.switched(old, now))
            }
            Command::Clock(clock) => Some(Action::Clock(clock)),
            Command::PortClocks(port, clocks) => Some(Action::PortClocks(port, clocks)),
        }
    }

    fn switched(&mut self, old: Option<Box<Profile>>, now: Nanos) -> Action {
        let previous = old.as_ref().map_or(self.confirmed.index, |p| p.index);
        if let Some(old) = old {
            self.retire(old);
        }
        let index = self.profile().index;
        self.shared.worker.profile.store(u64::from(index), Ordering::Release);
        // A switch on top of one that has not settled ends the watch of the first.
        if self.settling.is_some() {
            self.settled();
        }
        let command = self.commands_taken;
        self.event(Event::ProfileSwitched { command, index, previous, at: now }, 0);
        self.settling = Some(Settling {
            command,
            until: now.saturating_add(SETTLE),
            longest_wait: Nanos::ZERO,
            lost: 0,
        });
        Action::ProfileChanged
    }

    #[cold]
    fn expire(&mut self, now: Nanos) -> Option<Action> {
        let old = self.pinned.take()?;
        let profile = old.index;
        self.retire(old);
        let normal = u64::from(self.confirmed.index);
        self.shared.worker.profile.store(normal, Ordering::Release);
        self.event(Event::LeaseExpired { profile, at: now }, 0);
        Some(Action::ProfileChanged)
    }

    #[cold]
    fn settled(&mut self) {
        if let Some(Settling { command, longest_wait, lost, .. }) = self.settling.take() {
            self.event(Event::SwitchSettled { command, longest_wait, lost }, 0);
        }
    }

    fn event(&mut self, event: Event, reserved: usize) {
        let room = self.shared.events.room();
        if room <= reserved || self.shared.events.queue.push(event).is_err() {
            bump(&self.shared.worker.events_lost);
        }
    }

    /// Control lends at most as many profiles as the ring home has slots, so the push holds.
    fn retire(&mut self, profile: Box<Profile>) {
        let home = self.shared.profiles_home.queue.push(profile);
        debug_assert!(home.is_ok(), "control lent more profiles than fit into the ring home");
    }

    fn set_phase(&self, phase: Phase) {
        self.shared.worker.phase.store(phase as u64, Ordering::Release);
    }
}

/// Adds one to a cell with a single writer: no bus lock.
#[inline]
fn bump(cell: &AtomicU64) {
    cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// A command that could not be sent: the worker has not taken the earlier ones.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core has not taken the earlier commands")]
pub struct Refused;

/// Control's half.
pub struct ControlLink<B> {
    shared: Arc<Shared<B>>,
    /// Profiles lent to the worker, the confirmed one included, less those that came home.
    profiles_out: usize,
}

impl<B> ControlLink<B> {
    /// Puts a profile in force until `lease_until`. Gives the number of the command.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands or profiles as may wait for it.
    pub fn set_profile(
        &mut self,
        profile: Box<Profile>,
        lease_until: Nanos,
    ) -> Result<u64, Refused> {
        if self.profiles_out >= PROFILES {
            return Err(Refused);
        }
        // Before the command: who sees the command sees the lease.
        self.renew_lease(lease_until);
        let number = self.send(Command::Pin(profile))?;
        self.profiles_out += 1;
        Ok(number)
    }

    /// Back to the confirmed profile. Gives the number of the command.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands as may wait for it.
    pub fn set_normal(&mut self) -> Result<u64, Refused> {
        self.send(Command::Return)
    }

    /// Gives the worker a clock. Gives the number of the command.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands as may wait for it.
    pub fn set_clock(&mut self, clock: TscModel) -> Result<u64, Refused> {
        self.send(Command::Clock(clock))
    }

    /// Tells the worker of the clocks of the device behind port `port` of the config. Gives the
    /// number of the command.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands as may wait for it.
    pub fn set_port_clocks(&mut self, port: u8, clocks: PortClocks) -> Result<u64, Refused> {
        self.send(Command::PortClocks(port, clocks))
    }

    /// What ends the worker; it may go to any thread.
    pub fn stopper(&self) -> Stopper<B> {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// The profile in force ends at `until` unless this is called again.
    pub fn renew_lease(&self, until: Nanos) {
        self.shared.control.lease_until.store(until.0, Ordering::Relaxed);
    }

    /// When the lease ends; meaningless under `normal`.
    pub fn lease_until(&self) -> Nanos {
        Nanos(self.shared.control.lease_until.load(Ordering::Relaxed))
    }

    /// The next filled block.
    pub fn take_block(&mut self) -> Option<Box<B>> {
        self.shared.filled.queue.pop()
    }

    /// Gives a block back, emptied. A block of another link would find no slot and is freed.
    pub fn give_block(&mut self, empty: Box<B>) {
        let given = self.shared.empty.push(empty);
        debug_assert!(given.is_ok(), "a block that does not belong to this link");
    }

    /// The next sample.
    pub fn take_sample(&mut self) -> Option<Sample> {
        self.shared.samples.queue.pop()
    }

    /// The next event.
    pub fn take_event(&mut self) -> Option<Event> {
        self.shared.events.queue.pop()
    }

    /// The next profile that the worker does not use any more; control frees it.
    pub fn take_profile(&mut self) -> Option<Box<Profile>> {
        let profile = self.shared.profiles_home.queue.pop()?;
        self.profiles_out -= 1;
        Some(profile)
    }

    /// The mark of the worker's last poll.
    pub fn progress(&self) -> u64 {
        self.shared.worker.progress.load(Ordering::Relaxed)
    }

    /// Where the worker is in its life.
    pub fn phase(&self) -> Phase {
        Phase::from_u64(self.shared.worker.phase.load(Ordering::Acquire))
    }

    /// Index of the profile in force.
    pub fn profile_in_force(&self) -> u16 {
        let index = self.shared.worker.profile.load(Ordering::Acquire);
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Samples that found the ring full, since start.
    pub fn samples_lost(&self) -> u64 {
        self.shared.worker.samples_lost.load(Ordering::Relaxed)
    }

    /// Events that found the ring full, since start.
    pub fn events_lost(&self) -> u64 {
        self.shared.worker.events_lost.load(Ordering::Relaxed)
    }

    fn send(&mut self, command: Command) -> Result<u64, Refused> {
        let number = self.shared.commands.push(command).map_err(|_| Refused)?;
        self.shared.control.epoch.fetch_add(1, Ordering::Release);
        Ok(number)
    }
}

/// Ends one worker, with the control thread alive or not.
pub struct Stopper<B> {
    shared: Arc<Shared<B>>,
}

impl<B> Stopper<B> {
    /// Tells the worker to drain and end. It answers within one poll, with [`Action::Stop`].
    pub fn stop(&self) {
        self.shared.control.stop.store(1, Ordering::Relaxed);
        self.shared.control.epoch.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::profile::EgressParams;

    use super::*;

    fn profile(index: u16) -> Box<Profile> {
        let name = if index == 0 { "normal".into() } else { format!("p{index}") };
        Box::new(Profile { name, index, classes: vec![], egress: vec![EgressParams::default()] })
    }

    fn spare() -> Box<u64> {
        Box::new(0)
    }

    fn sample(id: u64) -> Sample {
        use model::kind::{Kind, Side};
        use model::sample::{End, Release};
        Sample {
            packet_id: id,
            correlation_id: None,
            flow: 0,
            tcp_end_seq: None,
            tcp: None,
            class: 0,
            label: 0,
            kind: Kind::Order,
            urgency: 0,
            len: 60,
            messages: 1,
            t_decision: None,
            t_dispatch: Nanos(id),
            t_due: Nanos(id),
            t_sched: None,
            t_normal: None,
            t_eligible: None,
            t_tx: Some(Nanos(id)),
            t_wire: None,
            t_ingress: Nanos(id),
            t_carried: None,
            t_delivery: None,
            clock_error_ns: None,
            intent: Default::default(),
            ingress_source: Default::default(),
            departure_source: Default::default(),
            simulated_link: false,
            from: Side::Inside,
            port: 0,
            queue: 0,
            backlog_bytes: 0,
            end: End::Sent(Release::Governed),
            regime: None,
            profile: 0,
            mode: Default::default(),
            canary: None,
            weight: 1,
        }
    }

    #[test]
    fn switch_is_acknowledged_with_its_command_and_the_old_profile_comes_home() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        assert_eq!(worker.turn(Nanos(1)), None);
        let first = control.set_profile(profile(1), Nanos(100)).unwrap();
        let second = control.set_profile(profile(2), Nanos(100)).unwrap();
        assert_eq!((first, second), (1, 2));

        assert_eq!(worker.turn(Nanos(10)), Some(Action::ProfileChanged));
        assert_eq!(worker.profile().index, 1);
        assert!(control.take_profile().is_none(), "the confirmed one stays with the worker");
        assert_eq!(worker.turn(Nanos(20)), Some(Action::ProfileChanged));
        assert_eq!(worker.profile().index, 2);
        assert_eq!(control.take_profile().unwrap().index, 1);
        assert_eq!(control.profile_in_force(), 2);

        control.set_normal().unwrap();
        assert_eq!(worker.turn(Nanos(30)), Some(Action::ProfileChanged));
        assert_eq!(worker.profile().index, 0);
        assert_eq!(control.take_profile().unwrap().index, 2);

        let switches: Vec<_> = std::iter::from_fn(|| control.take_event())
            .filter(|e| matches!(e, Event::ProfileSwitched { .. }))
            .collect();
        assert_eq!(
            switches,
            [
                Event::ProfileSwitched { command: 1, index: 1, previous: 0, at: Nanos(10) },
                Event::ProfileSwitched { command: 2, index: 2, previous: 1, at: Nanos(20) },
                Event::ProfileSwitched { command: 3, index: 0, previous: 2, at: Nanos(30) },
            ]
        );
    }

    #[test]
    fn lease_ends_a_profile_at_its_deadline_unless_renewed() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        control.set_profile(profile(3), Nanos(1_000)).unwrap();
        assert_eq!(worker.turn(Nanos(1)), Some(Action::ProfileChanged));
        assert_eq!(worker.turn(Nanos(999)), None);
        control.renew_lease(Nanos(2_000));
        assert_eq!(worker.turn(Nanos(1_500)), None);
        assert_eq!(worker.turn(Nanos(2_000)), Some(Action::ProfileChanged));
        assert_eq!(worker.profile().index, 0);
        assert_eq!(control.profile_in_force(), 0);
        let events: Vec<_> = std::iter::from_fn(|| control.take_event()).collect();
        assert!(events.contains(&Event::LeaseExpired { profile: 3, at: Nanos(2_000) }));
        assert_eq!(control.take_profile().unwrap().index, 3);
        assert_eq!(worker.turn(Nanos(9_000)), None, "normal needs no lease");
    }

    #[test]
    fn longest_wait_is_reported_when_the_switch_has_settled() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        worker.released(Nanos(77_000)); // before the switch: not its fault
        control.set_profile(profile(1), Nanos::MAX).unwrap();
        worker.turn(Nanos(5));
        worker.released(Nanos(300));
        worker.released(Nanos(900));
        worker.released(Nanos(100));
        // By a stop word: not its fault.
        for reason in [DropReason::QueueFull, DropReason::Halted, DropReason::Stale] {
            worker.ended(reason);
        }
        worker.turn(Nanos(5 + SETTLE.0 - 1));
        assert!(matches!(control.take_event(), Some(Event::ProfileSwitched { .. })));
        assert_eq!(control.take_event(), None);
        worker.turn(Nanos(5 + SETTLE.0));
        assert_eq!(
            control.take_event(),
            Some(Event::SwitchSettled { command: 1, longest_wait: Nanos(900), lost: 2 })
        );
    }

    #[test]
    fn control_is_refused_before_the_ring_home_could_overflow() {
        let (mut worker, mut control) = link(4, 64, profile(0), spare());
        let mut sent = 0;
        for _ in 0..10 {
            while control.set_profile(profile(1), Nanos::MAX).is_ok() {
                sent += 1;
            }
            while worker.turn(Nanos(1)).is_some() {}
        }
        assert_eq!(sent, PROFILES - 1, "the confirmed one counts too");
        while control.take_profile().is_some() {}
        assert!(control.set_profile(profile(1), Nanos::MAX).is_ok());
    }

    #[test]
    fn full_rings_count_what_they_lose_and_keep_room_for_answers() {
        let (mut worker, mut control) = link(3, 2, profile(0), spare());
        (0..5).for_each(|id| worker.sample(&sample(id)));
        assert_eq!(control.samples_lost(), 2);
        let ids: Vec<_> =
            std::iter::from_fn(|| control.take_sample()).map(|s| s.packet_id).collect();
        assert_eq!(ids, [0, 1, 2]);
        worker.sample(&sample(9));
        assert_eq!(control.take_sample().unwrap().packet_id, 9);

        let alarm = Event::PoolAlarm { at: Nanos(1), packets: 1 };
        (0..5).for_each(|_| worker.alarm(alarm));
        assert_eq!(control.events_lost(), 3);
        control.set_normal().unwrap();
        worker.turn(Nanos(2));
        let events: Vec<_> = std::iter::from_fn(|| control.take_event()).collect();
        assert!(matches!(events[..], [_, _, Event::ProfileSwitched { .. }]));
    }

    #[test]
    fn block_goes_round_once_per_gift() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        let mut own = Box::new(5);
        let swap = |worker: &mut WorkerLink<u64>, own: &mut Box<u64>| {
            let empty = worker.empty_block()?;
            worker.send_block(std::mem::replace(own, empty));
            Some(())
        };
        assert!(swap(&mut worker, &mut own).is_some());
        *own += 7;
        assert!(swap(&mut worker, &mut own).is_none(), "control has not given the next one");
        *own += 8;
        let mut full = control.take_block().unwrap();
        assert_eq!(*full, 5);
        *full = 0;
        control.give_block(full);
        assert!(swap(&mut worker, &mut own).is_some());
        assert_eq!(*own, 0);
        worker.send_block(own);
        worker.finish(Box::new(2));
        let home: Vec<_> = std::iter::from_fn(|| control.take_block()).map(|b| *b).collect();
        assert_eq!(home, [15, 0, 2]);
        assert_eq!(control.phase(), Phase::Ended);
    }

    #[test]
    fn stop_works_once_and_past_waiting_commands() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        let stopper = control.stopper();
        control.set_profile(profile(1), Nanos::MAX).unwrap();
        stopper.stop();
        stopper.stop();
        assert_eq!(worker.turn(Nanos(1)), Some(Action::Stop));
        assert_eq!(control.phase(), Phase::Draining);
        assert_eq!(worker.turn(Nanos(1)), Some(Action::ProfileChanged));
        assert_eq!(worker.turn(Nanos(1)), None);
        control.set_normal().unwrap();
        assert_eq!(worker.turn(Nanos(1)), Some(Action::ProfileChanged), "still obeys");
    }

    /// Both halves at full speed on two threads: nothing is lost without being counted, nothing
    /// arrives twice or out of order, every box comes home.
    #[test]
    fn two_threads_lose_nothing_uncounted() {
        const SAMPLES: u64 = 200_000;
        let (mut worker, mut control) = link(64, 16, profile(0), spare());
        let mut own = spare();
        let data = std::thread::spawn(move || {
            worker.start();
            let mut now = 0;
            let mut stopped = false;
            let mut sent = 0;
            let mut idle = false;
            // Commands that came before the stop are answered too.
            while !(stopped && idle && sent == SAMPLES) {
                now += 1;
                let action = worker.turn(Nanos(now));
                stopped |= action == Some(Action::Stop);
                idle = action.is_none();
                if sent < SAMPLES {
                    worker.sample(&sample(sent));
                    *own += 1;
                    sent += 1;
                }
                if let Some(empty) = worker.empty_block() {
                    worker.send_block(std::mem::replace(&mut own, empty));
                }
                worker.progress(now);
            }
            worker.finish(own);
        });

        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut seen, mut next, mut counted, mut switches) = (0, 0, 0, 0);
        let mut asked = 0;
        let mut stop_sent = false;
        loop {
            let ended = control.phase() == Phase::Ended;
            while let Some(s) = control.take_sample() {
                assert!(s.packet_id >= next, "order");
                assert_eq!(s.t_dispatch, Nanos(s.packet_id), "a torn row");
                next = s.packet_id + 1;
                seen += 1;
            }
            while let Some(mut block) = control.take_block() {
                counted += *block;
                *block = 0;
                control.give_block(block);
            }
            while let Some(event) = control.take_event() {
                switches += u32::from(matches!(event, Event::ProfileSwitched { .. }));
            }
            while control.take_profile().is_some() {}
            if ended {
                break;
            }
            if !stop_sent && asked < 1_000 && control.set_profile(profile(1), Nanos::MAX).is_ok() {
                asked += 1;
            }
            if !stop_sent && control.progress() >= SAMPLES {
                control.stopper().stop();
                stop_sent = true;
            }
            assert!(Instant::now() < deadline, "the worker does not come to its end");
            std::thread::yield_now();
        }
        data.join().unwrap();
        assert_eq!(seen + control.samples_lost(), SAMPLES);
        assert_eq!(counted, SAMPLES);
        assert!(switches > 0 && u64::from(switches) + control.events_lost() >= asked);
        assert_eq!(control.profiles_out, 1, "all but the confirmed one came home");
    }
}
