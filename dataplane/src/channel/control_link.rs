//! Control's half of a channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;

use super::{Command, Event, PROFILES, Phase, Shared};
use crate::clock::{PortClocks, TscModel};
use crate::survey::Survey;
use crate::tap::Tap;
use crate::turns::Stall;

/// A command that could not be sent: the worker has not taken the earlier ones.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the core has not taken the earlier commands")]
pub struct Refused;

/// Control's half.
pub struct ControlLink<B> {
    pub(super) shared: Arc<Shared<B>>,
    /// Profiles lent to the worker, the confirmed one included, less those that came home.
    pub(super) profiles_out: usize,
    /// The worker has the one survey, or the one tap, that it may have.
    pub(super) survey_out: bool,
    pub(super) tap_out: bool,
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

    /// Makes a profile the confirmed one, in force at once where none is pinned. [`Event::Confirmed`]
    /// says what the worker has. Gives the number of the command.
    ///
    /// # Errors
    /// As [`ControlLink::set_profile`].
    pub fn set_confirmed(&mut self, profile: Box<Profile>) -> Result<u64, Refused> {
        if self.profiles_out >= PROFILES {
            return Err(Refused);
        }
        let number = self.send(Command::Confirm(profile))?;
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

    /// Lends the worker a survey to fill; one at a time.
    ///
    /// # Errors
    /// [`Refused`]: it has one, or as many commands as may wait for it.
    pub fn lend_survey(&mut self, survey: Box<Survey>) -> Result<(), Refused> {
        if self.survey_out {
            return Err(Refused);
        }
        self.send(Command::Survey(survey))?;
        self.survey_out = true;
        Ok(())
    }

    /// A survey that the worker has filled.
    pub fn take_survey(&mut self) -> Option<Box<Survey>> {
        let survey = self.shared.surveys_home.pop()?;
        self.survey_out = false;
        Some(survey)
    }

    /// Lends the worker a tap; one at a time.
    ///
    /// # Errors
    /// As [`ControlLink::lend_survey`].
    pub fn lend_tap(&mut self, tap: Box<Tap>) -> Result<(), Refused> {
        if self.tap_out {
            return Err(Refused);
        }
        self.send(Command::Tap(tap))?;
        self.tap_out = true;
        Ok(())
    }

    /// Calls the tap home: [`ControlLink::take_tap`] gives it.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands as may wait for it.
    pub fn end_tap(&mut self) -> Result<(), Refused> {
        self.send(Command::EndTap).map(|_| ())
    }

    /// The tap, when it has come home.
    pub fn take_tap(&mut self) -> Option<Box<Tap>> {
        let tap = self.shared.taps_home.pop()?;
        self.tap_out = false;
        Some(tap)
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

    /// Turns longer than `threshold` are stalls. Gives the number of the command.
    ///
    /// # Errors
    /// [`Refused`]: the worker has as many commands as may wait for it.
    pub fn set_stall_threshold(&mut self, threshold: Nanos) -> Result<u64, Refused> {
        self.send(Command::StallThreshold(threshold))
    }

    /// What ends the worker; it may go to any thread.
    pub fn stopper(&self) -> Stopper<B> {
        Stopper { shared: Arc::clone(&self.shared) }
    }

    /// The mark of its last poll while it polls, for whom it is waited for; it may go to any thread.
    pub fn pulse(&self) -> impl Fn() -> Option<u64> + Send + 'static
    where
        B: Send + 'static,
    {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let worker = &shared.upgrade()?.worker;
            let phase = Phase::from_u64(worker.phase.load(Ordering::Acquire));
            let polls = !matches!(phase, Phase::Starting | Phase::Ended);
            polls.then(|| worker.progress.load(Ordering::Acquire))
        }
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

    /// The next stall.
    pub fn take_stall(&mut self) -> Option<Stall> {
        self.shared.stalls.queue.pop()
    }

    /// Turns that were stalls, since start.
    pub fn stalls(&self) -> u64 {
        self.shared.worker.stalls.load(Ordering::Relaxed)
    }

    /// Of them those that are neither kept nor the neighbour of one that is.
    pub fn stalls_not_kept(&self) -> u64 {
        self.shared.worker.stalls_not_kept.load(Ordering::Relaxed)
    }

    /// The longest stall since start.
    pub fn stall_longest(&self) -> Nanos {
        Nanos(self.shared.worker.stall_longest.load(Ordering::Relaxed))
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

    /// Samples in the ring now; at most as many as fit.
    pub fn samples_waiting(&self) -> usize {
        self.shared.samples.queue.len()
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
