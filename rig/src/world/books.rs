//! Control's side of a world: the same KPIs and regime engine as live, taken in at fixed turns.

use std::collections::BTreeMap;

use control::controller::{CoreFacts, Kpis};
use control::kpis::INTERVAL;
use control::regimes::Regimes;
use control::timeline::Recorded;
use control::windows::Windows;
use dataplane::channel::{ControlLink, Event};
use model::kpi::Block;
use model::profile::Profile;
use model::regime::{COMPOSED_INDEX, COMPOSED_NAME};
use model::time::Nanos;

use super::Surroundings;

/// After so much silence ticks of machines that decide are left out: the longest window, the time until
/// a state without traffic comes down, and a few dwells fit into it.
const REST_DECIDING: Nanos = Nanos::from_secs(600);
/// The same where machines only learn what traffic looks like.
const REST_OBSERVING: Nanos = Nanos::from_secs(2);

/// See the module's text.
pub(super) struct Books<'a> {
    pub control: ControlLink<Block>,
    pub kpis: Recorded,
    /// When the window that a timeline records ends.
    pub window: Option<Nanos>,
    pub regimes: Regimes,
    /// When the regime engine is due, and how often.
    pub tick_at: Nanos,
    pub tick: Nanos,
    /// Indices of the ports that the core sends to.
    pub egress: Vec<usize>,
    /// The world runs under a profile that was asked for: nothing goes before it.
    pub is_pinned: bool,
    /// The profile that the world started with.
    pub confirmed: &'a Profile,
    /// The table that states ask for.
    pub composed: Option<Profile>,
    /// In-flight limit of the first egress port in place of the table's, where something outside
    /// moves it.
    pub limit_bytes: Option<u64>,
    /// The table that the core was last sent; `None` = the confirmed one.
    pub sent: Option<Profile>,
    /// The core had not taken the tables before: it is sent the one that is to hold once more.
    pub is_late: bool,
    pub alarms: BTreeMap<&'static str, u64>,
}

impl Books<'_> {
    pub fn roll(&mut self, now: Nanos) {
        self.kpis.roll(now, &[self.facts()]);
    }

    fn facts(&self) -> CoreFacts {
        CoreFacts {
            profile: self.control.profile_in_force(),
            samples_lost: self.control.samples_lost(),
        }
    }

    /// Whether the window under way ends with the turn at `now`. The core is given an empty block
    /// then, so that what it hands over after the turn is everything up to here.
    pub fn begin_turn(&mut self, now: Nanos) -> bool {
        let ends = self.window.is_some_and(|end| now >= end);
        if ends {
            self.drain();
        }
        ends
    }

    pub fn end_window(&mut self, now: Nanos) {
        self.drain();
        self.kpis.roll_interval(now, &[self.facts()]);
        self.window = Some(now.saturating_add(INTERVAL));
    }

    /// With nothing on its way for so long, further ticks change nothing: windows are empty, and what
    /// comes down without traffic has come down. A capture may be silent for years.
    pub fn rest(&self) -> Nanos {
        if self.regimes.decides() { REST_DECIDING } else { REST_OBSERVING }
    }

    /// Leaves out ticks up to the last one that is not after `until`.
    pub fn skip_ticks(&mut self, until: Nanos) {
        let ticks = until.saturating_sub(self.tick_at).0 / self.tick.0.max(1);
        self.tick_at = self.tick_at.saturating_add(Nanos(ticks.saturating_mul(self.tick.0)));
    }

    /// The tick of the regime engine, and the table that comes of it.
    pub fn tick(&mut self, now: Nanos, around: &mut impl Surroundings) {
        self.drain();
        self.roll(now);
        self.skip_ticks(now);
        self.tick_at = self.tick_at.saturating_add(self.tick);
        if around.freezes_acks(now) {
            let usual = self.kpis.ack_shares();
            self.kpis.set_ack_baselines(&usual);
        }
        let Some(windows_s) = self.regimes.due(now) else { return };
        let windows =
            if windows_s.is_empty() { Windows::default() } else { self.kpis.windows(&windows_s) };
        self.regimes.tick(now, &windows, self.is_pinned);
        around.on_tick(now, &windows, &mut self.regimes);
        self.regimes.take_log().into_iter().for_each(|row| self.kpis.decision(row));
        self.composed = self.regimes.table_for(&self.egress).map(|composed| composed.profile);
        self.send();
    }

    /// Control does not run: the tick is left out.
    pub fn miss_tick(&mut self, now: Nanos) {
        self.skip_ticks(now);
        self.tick_at = self.tick_at.saturating_add(self.tick);
    }

    /// Takes the in-flight limit that something outside has set.
    pub fn take_limit(&mut self, limit_bytes: Option<u64>) {
        if limit_bytes != self.limit_bytes || self.is_late {
            self.limit_bytes = limit_bytes;
            self.send();
        }
    }

    /// Sends the core the table that is to hold, unless it has it.
    fn send(&mut self) {
        let wanted = self.wanted();
        while self.control.take_profile().is_some() {}
        // Virtual time has no control thread that could die: a lease need not end.
        let sent = match &wanted {
            _ if wanted == self.sent => return,
            Some(profile) => self.control.set_profile(Box::new(profile.clone()), Nanos::MAX),
            None => self.control.set_normal(),
        };
        self.is_late = sent.is_err();
        if !self.is_late {
            self.kpis.set_composed(0, wanted.as_ref());
            self.sent = wanted;
        }
    }

    /// What states ask for, with the limit from outside where that is stricter than theirs.
    fn wanted(&self) -> Option<Profile> {
        let Some(limit) = self.limit_bytes else { return self.composed.clone() };
        let mut profile = self.composed.as_ref().unwrap_or(self.confirmed).clone();
        if let Some(egress) = self.egress.first().and_then(|port| profile.egress.get_mut(*port)) {
            let composed = self.composed.is_some().then_some(egress.inflight_limit_bytes).flatten();
            egress.inflight_limit_bytes = Some(composed.map_or(limit, |bytes| bytes.min(limit)));
        }
        COMPOSED_NAME.clone_into(&mut profile.name);
        profile.index = COMPOSED_INDEX;
        Some(profile)
    }

    pub fn drain(&mut self) {
        while let Some(mut block) = self.control.take_block() {
            self.kpis.merge(0, &mut block);
            self.control.give_block(block);
        }
        while let Some(mut row) = self.control.take_sample() {
            self.regimes.note_in(&mut row);
            self.kpis.sample(0, &row);
            self.regimes.sample(&row);
        }
        self.take_alarms();
    }

    pub fn take_alarms(&mut self) {
        while let Some(event) = self.control.take_event() {
            let (name, by) = match event {
                Event::PoolAlarm { packets, .. } => ("pool_empty_packets", u64::from(packets)),
                Event::PoolLow { packets, .. } => ("pool_low_packets", u64::from(packets)),
                Event::PoolReserve { .. } => ("pool_reserve", 1),
                Event::Backpressure { .. } => ("backpressure", 1),
                Event::Starvation { .. } => ("starvations", 1),
                Event::TxStall { .. } => ("tx_stalls", 1),
                Event::OverVenueLimit { packets, .. } => ("over_venue_limit", u64::from(packets)),
                Event::ExemptBehindLimit { packets, .. } => {
                    ("exempt_behind_venue_limit", u64::from(packets))
                }
                _ => continue,
            };
            *self.alarms.entry(name).or_default() += by;
        }
    }
}
