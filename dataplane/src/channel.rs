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

mod control_link;
mod event;
mod worker_link;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;

pub use self::control_link::{ControlLink, Refused, Stopper};
pub use self::event::{Action, Event, Phase};
pub use self::worker_link::WorkerLink;
use crate::clock::{PortClocks, TscModel};
use crate::survey::Survey;
use crate::tap::Tap;
use crate::turns::Stall;

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
/// Stalls that may wait for control: some seconds of the most that a core keeps.
const STALLS: usize = 32;
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
    /// This is the confirmed profile from now on.
    Confirm(Box<Profile>),
    /// Take this clock from the next poll on.
    Clock(TscModel),
    /// The clocks of the device behind a port of the config.
    PortClocks(u8, PortClocks),
    /// Turns longer than this are stalls.
    StallThreshold(Nanos),
    /// Fill this with the flows and send it home.
    Survey(Box<Survey>),
    /// Copy packets into this until it is called home.
    Tap(Box<Tap>),
    /// Send the tap home.
    EndTap,
}

/// Control -> worker. Written by control alone, emptied by the worker alone.
pub(crate) struct Inbox<T> {
    queue: ArrayQueue<T>,
    /// Complete pushes. The worker pops only as many, so it never meets a half-written slot.
    published: AtomicU64,
}

impl<T> Inbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity), published: AtomicU64::new(0) }
    }

    pub(crate) fn push(&self, value: T) -> Result<u64, T> {
        self.queue.push(value)?;
        let number = self.published.load(Ordering::Relaxed) + 1;
        self.published.store(number, Ordering::Release);
        Ok(number)
    }

    /// The next one, given how many were taken before.
    pub(crate) fn pop(&self, taken: &mut u64) -> Option<T> {
        if self.published.load(Ordering::Acquire) == *taken {
            return None;
        }
        let value = self.queue.pop()?;
        *taken += 1;
        Some(value)
    }
}

/// Worker -> control. Filled by the worker alone, emptied by control alone.
pub(crate) struct Outbox<T> {
    /// One slot longer than what may be in it: control may still be emptying the slot behind the
    /// head, and the worker would have to wait for it.
    queue: ArrayQueue<T>,
}

impl<T> Outbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity + 1) }
    }

    /// Into room that the worker knows of.
    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        self.queue.push(value)
    }

    /// The next one, for control.
    pub(crate) fn pop(&self) -> Option<T> {
        self.queue.pop()
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
    /// Turns that were stalls.
    stalls: AtomicU64,
    /// Of them those of which nothing else is known.
    stalls_not_kept: AtomicU64,
    /// The longest, ns.
    stall_longest: AtomicU64,
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
    surveys_home: Outbox<Box<Survey>>,
    taps_home: Outbox<Box<Tap>>,
    samples: Outbox<Sample>,
    events: Outbox<Event>,
    stalls: Outbox<Stall>,
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
            stalls: AtomicU64::new(0),
            stalls_not_kept: AtomicU64::new(0),
            stall_longest: AtomicU64::new(0),
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
        surveys_home: Outbox::new(1),
        taps_home: Outbox::new(1),
        samples: Outbox::new(samples.max(1)),
        events: Outbox::new(alarms + EVENTS_RESERVED),
        stalls: Outbox::new(STALLS),
    });
    let mut control = ControlLink {
        shared: Arc::clone(&shared),
        profiles_out: 1,
        survey_out: false,
        tap_out: false,
    };
    control.give_block(spare);
    let worker = WorkerLink {
        shared,
        confirmed,
        pinned: None,
        survey: None,
        tap: None,
        epoch_seen: 0,
        stopping: false,
        commands_taken: 0,
        empties_taken: 0,
        sample_room: 0,
        settling: None,
    };
    (worker, control)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::drop_reason::DropReason;
    use model::profile::EgressParams;

    use super::*;

    fn profile(index: u16) -> Box<Profile> {
        let name = if index == 0 { "normal".into() } else { format!("p{index}") };
        Box::new(Profile {
            name,
            index,
            classes: vec![],
            egress: vec![EgressParams::default()],
            canary: None,
            venue_limits: vec![],
        })
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
    fn a_new_confirmed_profile_is_told_with_its_fingerprint_and_the_old_one_comes_home() {
        let (mut worker, mut control) = link(4, 4, profile(0), spare());
        let confirmed = |rate: u64| {
            let mut profile = profile(0);
            profile.egress[0].inflight_limit_bytes = Some(rate);
            profile
        };
        let command = control.set_confirmed(confirmed(7)).unwrap();
        assert_eq!(worker.turn(Nanos(10)), Some(Action::ProfileChanged));
        assert_eq!(worker.profile(), &*confirmed(7));
        let fingerprint = confirmed(7).fingerprint();
        assert_ne!(fingerprint, profile(0).fingerprint());
        assert_eq!(
            control.take_event(),
            Some(Event::Confirmed { command, fingerprint, at: Nanos(10) })
        );
        assert_eq!(control.take_profile(), Some(profile(0)));

        control.set_profile(profile(1), Nanos(100)).unwrap();
        worker.turn(Nanos(20));
        control.set_confirmed(confirmed(9)).unwrap();
        assert_eq!(worker.turn(Nanos(30)), Some(Action::ConfirmedChanged));
        assert_eq!(worker.profile().index, 1, "what is pinned stays in force");
        assert_eq!(worker.confirmed(), &*confirmed(9));
        assert_eq!(control.profile_in_force(), 1);
        worker.turn(Nanos(100));
        assert_eq!(worker.profile(), &*confirmed(9), "and its lease ends in the new one");
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
