//! What a lane makes of the clocks of its ports' devices: arrivals, launch times, departures.
//!
//! Without a device clock nothing of this is on, and a packet pays one branch for it.

use model::config::Port;
use model::meta::StampSource;
use model::sample::{Release, Sample};
use model::time::Nanos;

use crate::clock::{PortClocks, StampClock, TscModel};
use crate::port::Tx;
use crate::port::departures::DepartureStamps;

/// The clocks of both ports of a lane, and what is under way with them.
#[derive(Default)]
pub(super) struct Stamps {
    rx: Option<StampClock>,
    tx: Option<StampClock>,
    /// How long ahead of its time a packet is handed over, where the port sends at given times.
    lead: Option<Nanos>,
    /// The port says when a marked packet has left.
    departures: bool,
    waiting: DepartureStamps,
    /// Place in the burst of the packet that is marked for it.
    marked: Option<usize>,
}

impl Stamps {
    /// Of a lane that sends on `tx`, the port `egress` of the config.
    pub fn new<T: Tx>(egress: &Port, tx: &T) -> Self {
        Self {
            lead: tx.sends_at_time().then_some(egress.launch_lead),
            departures: tx.stamps_departures(),
            ..Self::default()
        }
    }

    /// The clocks of the port that packets come from.
    pub fn set_rx(&mut self, clocks: PortClocks, tsc: TscModel) {
        self.rx.get_or_insert_with(|| StampClock::new(tsc)).set_clocks(clocks);
    }

    /// The clocks of the port that packets go to.
    pub fn set_tx(&mut self, clocks: PortClocks, tsc: TscModel) {
        self.tx.get_or_insert_with(|| StampClock::new(tsc)).set_clocks(clocks);
    }

    /// The core's model of gateway time.
    pub fn set_tsc(&mut self, tsc: TscModel) {
        self.rx.iter_mut().chain(&mut self.tx).for_each(|clock| clock.set_tsc(tsc));
    }

    /// When a packet with the stamp `raw` arrived, where the stamp can be used.
    #[inline]
    pub fn arrival(&mut self, raw: u64, now: Nanos) -> Option<(Nanos, StampSource)> {
        self.rx.as_mut()?.arrival(raw, now)
    }

    /// How far ahead of `now` the pacer is asked: 0 without launch times, and while the device's
    /// clock is not known.
    #[inline]
    pub fn lead(&self, now: Nanos) -> Nanos {
        let lead = self.lead.filter(|_| self.tx.as_ref().is_some_and(|tx| tx.can_launch(now)));
        lead.unwrap_or(Nanos::ZERO)
    }

    /// When a packet is to leave that the pacer let go for `eligible`, and the same in the device's
    /// clock. `None` = at once: it is due, or it never waits for a time.
    #[inline]
    pub fn launch(&self, release: Release, eligible: Nanos, now: Nanos) -> Option<(Nanos, u64)> {
        if release != Release::Governed || eligible <= now {
            return None;
        }
        self.tx.as_ref()?.launch(eligible, now).map(|raw| (eligible, raw))
    }

    /// Whether packets may have a launch time.
    #[inline]
    pub const fn launches(&self) -> bool {
        self.lead.is_some()
    }

    /// Whether packets may bear marks for the device.
    #[inline]
    pub const fn marks(&self) -> bool {
        self.lead.is_some() || self.departures
    }

    /// Whether a sampled packet may be marked.
    #[inline]
    pub const fn may_mark(&self) -> bool {
        self.departures && self.waiting.is_free()
    }

    /// The packet at `place` of the burst is marked.
    pub const fn set_marked(&mut self, place: Option<usize>) {
        self.marked = place;
    }

    /// Keeps `row` back if it is of the marked packet.
    pub fn keeps(&mut self, place: usize, row: &Sample, t_tx: Nanos) -> bool {
        let keeps = self.marked == Some(place);
        if keeps {
            self.marked = None;
            self.waiting.wait_for(*row, t_tx);
        }
        keeps
    }

    /// The row that was kept back, when its stamp has come or will not.
    #[inline]
    pub fn take<T: Tx>(&mut self, now: Nanos, tx: &mut T) -> Option<Sample> {
        if self.waiting.is_free() {
            return None;
        }
        match &mut self.tx {
            Some(clock) => self.waiting.take(now, tx, clock),
            None => self.waiting.give_up(),
        }
    }

    /// The row that is still kept back at the end.
    pub fn give_up(&mut self) -> Option<Sample> {
        self.waiting.give_up()
    }
}
