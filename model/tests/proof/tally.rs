//! What a run has shown: counts, and the worst of everything that was held against a bound.

use model::drop_reason::DropReason;
use model::sample::Release;

/// Why a governed packet waited beyond its eligible time, where it did for a slot or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It did not: nothing else is excused.
    None,
    /// For an elder of its own group.
    Order,
    /// For packets that were served first.
    Turn,
    /// For the port: link, in-flight limit, refusal.
    Port,
    /// For a profile or a stop word that came later.
    Change,
    /// At a venue limit, or for a packet that the port was kept for and that a limit or a floor then
    /// took the turn from.
    Kept,
}

pub const WAITS: [Wait; 6] =
    [Wait::None, Wait::Order, Wait::Turn, Wait::Port, Wait::Change, Wait::Kept];

#[derive(Clone, Debug)]
pub struct Tally {
    pub arrived: u64,
    pub releases: [u64; Release::ALL.len()],
    pub ends: [u64; DropReason::COUNT],
    /// Governed departures by [`Wait`], and how late beyond eligible time and what they waited for.
    pub waits: [u64; WAITS.len()],
    pub lateness_max: [u64; WAITS.len()],
    /// The same as parts of a slot, in millionths: slots differ.
    pub slot_share_max: u64,
    /// Least room left after a governed departure, wire bytes and messages: flow, class, port.
    pub slack: [[Option<i128>; 2]; 3],
    /// Fullest window of any limit, and of how many messages.
    pub fullest: (u64, u64),
    /// Longest that an exempt packet waited that could go (beyond wish, elders and port).
    pub exempt_hold_max: u64,
    /// Exempt packets that a venue limit held.
    pub exempt_limited: u64,
    /// Fullest in flight: bytes, of which limit.
    pub inflight: (u64, u64),
    pub jittered: u64,
    pub lifted: u64,
    pub retransmitted: u64,
    pub switches: u64,
    pub blocked_turns: u64,
    /// Packets of a flow that departed while its class was another than theirs.
    pub across_classes: u64,
    /// Departures whose stated eligible time is that of a later release window of their group.
    pub coarse: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            arrived: 0,
            releases: [0; Release::ALL.len()],
            ends: [0; DropReason::COUNT],
            waits: [0; WAITS.len()],
            lateness_max: [0; WAITS.len()],
            slot_share_max: 0,
            slack: [[None; 2]; 3],
            fullest: (0, 1),
            exempt_hold_max: 0,
            exempt_limited: 0,
            inflight: (0, 1),
            jittered: 0,
            lifted: 0,
            retransmitted: 0,
            switches: 0,
            blocked_turns: 0,
            across_classes: 0,
            coarse: 0,
        }
    }
}

fn fuller(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    if u128::from(a.0) * u128::from(b.1) >= u128::from(b.0) * u128::from(a.1) { a } else { b }
}

pub fn least(a: Option<i128>, b: Option<i128>) -> Option<i128> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Tally {
    pub fn departed(&self) -> u64 {
        self.releases.iter().sum()
    }

    pub fn note_window(&mut self, used: u64, of: u64) {
        self.fullest = fuller(self.fullest, (used, of));
    }

    pub fn note_inflight(&mut self, used: u64, of: u64) {
        self.inflight = fuller(self.inflight, (used, of));
    }

    pub fn add(&mut self, o: &Self) {
        for (mine, other) in [
            (&mut self.releases[..], &o.releases[..]),
            (&mut self.ends[..], &o.ends[..]),
            (&mut self.waits[..], &o.waits[..]),
        ] {
            mine.iter_mut().zip(other).for_each(|(m, o)| *m += o);
        }
        for (mine, other) in self.lateness_max.iter_mut().zip(o.lateness_max) {
            *mine = (*mine).max(other);
        }
        for (mine, other) in self.slack.iter_mut().flatten().zip(o.slack.iter().flatten()) {
            *mine = least(*mine, *other);
        }
        self.slot_share_max = self.slot_share_max.max(o.slot_share_max);
        self.fullest = fuller(self.fullest, o.fullest);
        self.inflight = fuller(self.inflight, o.inflight);
        self.exempt_hold_max = self.exempt_hold_max.max(o.exempt_hold_max);
        self.arrived += o.arrived;
        self.exempt_limited += o.exempt_limited;
        self.jittered += o.jittered;
        self.lifted += o.lifted;
        self.retransmitted += o.retransmitted;
        self.switches += o.switches;
        self.blocked_turns += o.blocked_turns;
        self.across_classes += o.across_classes;
        self.coarse += o.coarse;
    }
}
