//! What control is given: KPIs, the facts of a core, gateway time.

use dataplane::clock::{PortClocks, TscModel};
use model::kpi::AckShares;
use model::profile::Profile;
use model::sample::Sample;
use model::time::Nanos;
use model::timeline::RegimeLogRow;
use serde_json::Value;

use crate::registry::Registry;
use crate::windows::Windows;

/// What control makes of blocks and samples.
pub trait Kpis: Send {
    /// What a core fills.
    type Block: Send;

    /// Adds a full block of `core` and leaves it empty.
    fn merge(&mut self, core: usize, block: &mut Self::Block);

    /// Adds a sample of `core`.
    fn sample(&mut self, core: usize, row: &Sample);

    /// 10 ms have passed since `core` switched its profile: the longest that a due packet waited in that
    /// time, and packets that ended for want of room or time.
    fn switch_settled(&mut self, _core: usize, _longest_wait: Nanos, _lost: u64) {}

    /// How much of the acknowledgements of each class was compressed so far, where that is known.
    fn ack_shares(&self) -> AckShares {
        AckShares::new()
    }

    /// From here on `ack_compression_ratio` is measured in these.
    fn set_ack_baselines(&mut self, _usual: &AckShares) {}

    /// The composed table that `core` was sent: its caps, once it is in force.
    fn set_composed(&mut self, _core: usize, _table: Option<&Profile>) {}

    /// From here on caps are those of these profiles.
    fn set_profiles(&mut self, _profiles: &[Profile]) {}

    /// A regime machine has decided something.
    fn decision(&mut self, _row: RegimeLogRow) {}

    /// A tick is over: whatever belongs to it has been added. `cores` has one row for each core.
    fn roll(&mut self, now: Nanos, cores: &[CoreFacts]);

    /// KPIs over each of `windows_s`, which rise, in seconds up to now; what it has none for is empty.
    fn windows(&mut self, _windows_s: &[u8]) -> Windows {
        Windows::default()
    }

    /// Puts its numbers on the list.
    fn publish(&self, registry: &mut Registry);

    /// The `kpis` object of `status`.
    fn to_json(&self) -> Value;
}

/// What [`Kpis::roll`] has to know of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreFacts {
    /// Index of the profile in force.
    pub profile: u16,
    /// Samples that found the ring full, since start.
    pub samples_lost: u64,
}

/// Gateway time as control needs it.
pub trait Clock: Send {
    /// Now.
    fn now(&mut self) -> Nanos;

    /// A model for the cores, when there is a better one than they have. Called once per tick.
    fn refresh(&mut self) -> Option<TscModel>;

    /// What has changed of the clocks behind the ports of the config, for the cores. Called once per
    /// tick.
    fn port_clocks(&mut self) -> Vec<(u8, PortClocks)> {
        Vec::new()
    }

    /// The `clock` object of `status`.
    fn describe(&self) -> Value;

    /// `now` in UTC; the same where nobody knows how far gateway time is ahead.
    fn utc(&self, now: Nanos) -> Nanos {
        now
    }
}
