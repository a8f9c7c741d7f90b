//! The worker's half of a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::drop_reason::DropReason;
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;

use super::{Action, Command, EVENTS_RESERVED, Event, Phase, SETTLE, Shared};
use crate::survey::Survey;
use crate::tap::Tap;
use crate::turns::Stall;

/// A switch whose longest wait is being watched.
pub(super) struct Settling {
    command: u64,
    until: Nanos,
    longest_wait: Nanos,
    lost: u32,
}

/// The worker's half. Nothing in it allocates, frees, locks, waits or makes a syscall, except
/// dropping it, which happens after the last poll.
pub struct WorkerLink<B> {
    pub(super) shared: Arc<Shared<B>>,
    pub(super) confirmed: Box<Profile>,
    pub(super) pinned: Option<Box<Profile>>,
    pub(super) survey: Option<Box<Survey>>,
    pub(super) tap: Option<Box<Tap>>,
    pub(super) epoch_seen: u64,
    pub(super) stopping: bool,
    pub(super) commands_taken: u64,
    pub(super) empties_taken: u64,
    pub(super) sample_room: usize,
    pub(super) settling: Option<Settling>,
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

    /// The operator-confirmed profile.
    pub fn confirmed(&self) -> &Profile {
        &self.confirmed
    }

    /// The survey that control has lent.
    #[inline]
    pub fn survey_mut(&mut self) -> Option<&mut Survey> {
        self.survey.as_deref_mut()
    }

    /// The survey is filled.
    pub fn end_survey(&mut self) {
        if let Some(survey) = self.survey.take() {
            // The one that there may be.
            let home = self.shared.surveys_home.push(survey);
            debug_assert!(home.is_ok(), "control lent more than one survey");
        }
    }

    /// The tap that control has lent.
    #[inline]
    pub fn tap_mut(&mut self) -> Option<&mut Tap> {
        self.tap.as_deref_mut()
    }

    fn end_tap(&mut self) {
        if let Some(tap) = self.tap.take() {
            // As with the survey.
            let home = self.shared.taps_home.push(tap);
            debug_assert!(home.is_ok(), "control lent more than one tap");
        }
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
        // What was done before it is done: memory may be taken away then.
        self.shared.worker.progress.store(mark, Ordering::Release);
    }

    /// A turn took so long that it is a stall.
    pub fn stalled(&mut self, length: Nanos) {
        let cells = &self.shared.worker;
        bump(&cells.stalls);
        if length.0 > cells.stall_longest.load(Ordering::Relaxed) {
            cells.stall_longest.store(length.0, Ordering::Relaxed);
        }
    }

    /// A stall is only counted: another was kept just before.
    pub fn not_kept(&mut self) {
        bump(&self.shared.worker.stalls_not_kept);
    }

    /// Hands a stall over with its neighbours, or counts it as not kept.
    pub fn keep(&mut self, stall: &Stall) {
        if self.shared.stalls.room() == 0 || self.shared.stalls.queue.push(*stall).is_err() {
            self.not_kept();
        }
    }

    /// The last call: hands over the last block and everything that control lent.
    pub fn finish(mut self, last: Box<B>) {
        self.send_block(last);
        if let Some(pinned) = self.pinned.take() {
            self.retire(pinned);
        }
        self.end_survey();
        self.end_tap();
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
            Command::Confirm(profile) => Some(self.confirm(profile, now)),
            Command::Survey(survey) => {
                self.survey = Some(survey);
                None
            }
            Command::Tap(tap) => {
                self.tap = Some(tap);
                None
            }
            Command::EndTap => {
                self.end_tap();
                None
            }
            Command::StallThreshold(threshold) => Some(Action::StallThreshold(threshold)),
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
        let command = self.commands_taken;
        self.event(Event::ProfileSwitched { command, index, previous, at: now }, 0);
        self.settle(command, now);
        Action::ProfileChanged
    }

    fn confirm(&mut self, profile: Box<Profile>, now: Nanos) -> Action {
        let old = std::mem::replace(&mut self.confirmed, profile);
        self.retire(old);
        let (command, fingerprint) = (self.commands_taken, self.confirmed.fingerprint());
        self.event(Event::Confirmed { command, fingerprint, at: now }, 0);
        if self.pinned.is_some() {
            return Action::ConfirmedChanged;
        }
        self.settle(command, now);
        Action::ProfileChanged
    }

    /// The waits from here on are laid to `command`.
    fn settle(&mut self, command: u64, now: Nanos) {
        // A switch on top of one that has not settled ends the watch of the first.
        if self.settling.is_some() {
            self.settled();
        }
        self.settling = Some(Settling {
            command,
            until: now.saturating_add(SETTLE),
            longest_wait: Nanos::ZERO,
            lost: 0,
        });
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
