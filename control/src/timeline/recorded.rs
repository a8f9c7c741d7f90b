//! KPIs that are recorded as they come.

use model::kpi::{AckShares, Block, Report};
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use serde_json::Value;

use super::Recorder;
use crate::controller::{CoreFacts, Kpis};
use crate::kpis::PacketKpis;
use crate::registry::Registry;
use crate::windows::Windows;

/// The KPIs of a run, with the timeline that they are recorded in, where there is one.
pub struct Recorded {
    kpis: PacketKpis,
    timeline: Option<Recorder>,
    /// Figures that depend on the machine are recorded too.
    with_host: bool,
    intervals_seen: u64,
}

impl Recorded {
    /// Of a live run: figures that depend on the machine are part of what is recorded.
    pub const fn live(kpis: PacketKpis, timeline: Option<Recorder>) -> Self {
        Self { kpis, timeline, with_host: true, intervals_seen: 0 }
    }

    /// In virtual time: what depends on the machine is left out.
    pub const fn replayed(kpis: PacketKpis, timeline: Option<Recorder>) -> Self {
        Self { kpis, timeline, with_host: false, intervals_seen: 0 }
    }

    /// The KPIs.
    pub const fn kpis(&self) -> &PacketKpis {
        &self.kpis
    }

    /// Ends the interval under way, records it, and reports on everything since start.
    pub fn run_report(&mut self, now: Nanos) -> Report {
        let report = self.kpis.run_report(now);
        self.record(now);
        report
    }

    /// Ends the interval if it is over, between two ticks, and records it.
    pub fn roll_interval(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.kpis.roll_interval(now, cores);
        self.record(now);
    }

    /// Records the last complete interval if it is new, and tells the time.
    fn record(&mut self, now: Nanos) {
        let Some(timeline) = &mut self.timeline else { return };
        if let Some((number, from, to)) = self.kpis.last_interval()
            && number != self.intervals_seen
            && from < to
        {
            self.intervals_seen = number;
            let entries = self.kpis.report().entries.iter();
            let kept = entries.filter(|entry| self.with_host || !entry.host).cloned().collect();
            timeline.features(from, to, kept);
        }
        timeline.turn(now);
    }
}

impl Kpis for Recorded {
    type Block = Block;

    fn merge(&mut self, core: usize, block: &mut Block) {
        self.kpis.merge(core, block);
    }

    fn sample(&mut self, core: usize, row: &Sample) {
        self.kpis.sample(core, row);
        if let Some(timeline) = &mut self.timeline {
            timeline.packet(core, row);
        }
    }

    fn switch_settled(&mut self, core: usize, longest_wait: Nanos, lost: u64) {
        self.kpis.switch_settled(core, longest_wait, lost);
    }

    fn set_composed(&mut self, core: usize, table: Option<&Profile>) {
        self.kpis.set_composed(core, table);
    }

    fn set_profiles(&mut self, profiles: &[Profile]) {
        self.kpis.set_profiles(profiles);
    }

    fn ack_shares(&self) -> AckShares {
        self.kpis.ack_shares()
    }

    fn set_ack_baselines(&mut self, usual: &AckShares) {
        self.kpis.set_ack_baselines(usual);
    }

    fn windows(&mut self, windows_s: &[u8]) -> Windows {
        self.kpis.windows(windows_s)
    }

    fn decision(&mut self, row: RegimeLogRow) {
        if let Some(timeline) = &mut self.timeline {
            timeline.decision(row);
        }
    }

    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]) {
        self.kpis.roll(now, cores);
        self.record(now);
    }

    fn publish(&self, registry: &mut Registry) {
        self.kpis.publish(registry);
        if let Some(timeline) = &self.timeline {
            timeline.publish(registry);
        }
    }

    fn to_json(&self) -> Value {
        self.kpis.to_json()
    }
}
