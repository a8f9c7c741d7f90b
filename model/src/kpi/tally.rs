//! What parts of a lane count by themselves: pacer, venue limits, flow table, intent.
//!
//! Each part counts from its start. When a block is handed over, the worker reads them all into
//! [`Tallies`] and gives them to [`super::CoreAggregates::tell`], which puts what was added since the
//! last time into the block. So they add up like all else in it, and no packet pays for it.

use std::ops::{Index, IndexMut};

macro_rules! tallies {
    ($($variant:ident = $name:literal, $help:literal;)+) => {
        /// A counter of a lane. The help says what it counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Tally {
            $(#[doc = $help] $variant,)+
        }

        impl Tally {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in JSON and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it counts.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),+ }
            }
        }
    };
}

tallies! {
    FlowLifted = "flow_lifted", "Queued flows that changed to a class that is served earlier.";
    HorizonCapped = "horizon_capped", "Packets due beyond the horizon that were moved to it.";
    OverBudget = "over_budget", "Packets kept although the queue budget of their class was spent.";
    ExemptBehindVenueLimit = "exempt_behind_venue_limit", "Exempt packets that waited because a venue limit held packets ahead of them in their group.";
    OverVenueLimit = "over_venue_limit", "Packets that ended as stale because they have more messages than a venue limit ever lets go.";
    TcpSegments = "tcp_segments", "TCP segments with payload that arrived for a venue, on flows that are one connection each.";
    TcpRetransmissions = "tcp_retransmissions", "Of those, retransmissions of bytes that had left.";
    RetransmitsWhileHeld = "retransmits_while_held", "Of those, retransmissions of bytes that are still held; they end as duplicate_held.";
    EcnMarked = "ecn_marked", "Packets that were marked by ECN.";
    StampsBackwards = "timestamps_backwards", "Capture stamps that went backwards and were moved up.";
    FlowTableFull = "flow_table_full", "Flows that found the table full and share one with others of their class.";
    FlowsAged = "flows_aged", "Flows that were given back because they were idle.";
    RipenedOverLimit = "ripened_over_limit", "Packets whose launch time came while what the NIC could send had reached the in-flight limit.";
    PathMoved = "path_moved", "Flows that moved to the second path of their pair.";
    PathReturned = "path_returned", "Flows that moved back to the first.";
    PathHoldsGivenUp = "path_holds_given_up", "Flows that were held for a move and stayed.";
    PathProbesSent = "path_probes_sent", "Requests that were sent by the path.";
    PathProbesAnswered = "path_probes_answered", "Answers that came back by it.";
    IntentStripped = "intent_stripped", "Intent shims that were taken out.";
    IntentRecords = "intent_records", "Intent records that were found for a packet.";
    IntentClassRefused = "intent_class_refused", "Records that name a class which is not the sender's to name.";
    IntentKindRefused = "intent_kind_refused", "Records that name a kind which is not the sender's to name.";
    IntentLabelUnknown = "intent_label_unknown", "Records with a label that is not in the table.";
    IntentVenueRefused = "intent_venue_refused", "Records whose label has another venue than the rules say.";
    IntentMessagesBounded = "intent_messages_bounded", "Records with more or fewer messages than the packet can hold.";
    IntentMessagesClamped = "intent_messages_clamped", "Records with more messages than a bucket of the class lets go at once.";
    IntentClockAhead = "intent_clock_ahead", "Records with a dispatch time later than the arrival, within the clock error.";
    IntentClockOff = "intent_clock_off", "Records none of whose times was used: the clock of the sender is off.";
    IntentTimeRefused = "intent_time_refused", "Decision or due times that were not used.";
    IntentDueCapped = "intent_due_capped", "Due times that were moved to the bound.";
    IntentDeadlinePassed = "intent_deadline_passed", "Records whose deadline had passed when the packet came; it goes on all the same.";
    IntentGroupChangesWaiting = "intent_group_changes_waiting", "Changes of group that waited because the old flow still held packets.";
    IntentGroupsFull = "intent_groups_full", "Groups that found no room: their packets keep the flow of their 5-tuple.";
    IntentSideInserted = "intent_side_inserted", "Records out of band that were taken in.";
    IntentSideMatched = "intent_side_matched", "Records out of band that were given to a packet.";
    IntentSideTooLate = "intent_side_too_late", "Records out of band whose bytes had passed.";
    IntentSideExpired = "intent_side_expired", "Records out of band whose bytes did not come in time.";
    IntentSideDropped = "intent_side_dropped", "Records out of band that made room for others, or went with their flow.";
    IntentSideRefused = "intent_side_refused", "Records out of band that were out of order, or that count from a SYN that was not seen.";
    IntentSideLengthDiffers = "intent_side_length_differs", "Datagrams of another length than their record says.";
    IntentRingLost = "intent_ring_lost", "Records that a sender lost in the ring of shared memory by its own fault.";
    IntentRingCut = "intent_ring_cut", "Rings of shared memory whose file was cut short: no record comes any more.";
    IntentUdpReceived = "intent_udp_received", "Datagrams of the UDP side channel, told with the first core.";
    IntentUdpMalformed = "intent_udp_malformed", "Of those, no record.";
    IntentUdpDropped = "intent_udp_dropped", "Records of the UDP side channel that a core had no room for.";
}

/// How many there are.
const COUNT: usize = Tally::ALL.len();

/// One value of each [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallies([u64; COUNT]);

impl Default for Tallies {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Index<Tally> for Tallies {
    type Output = u64;

    fn index(&self, tally: Tally) -> &u64 {
        &self.0[tally as usize]
    }
}

impl IndexMut<Tally> for Tallies {
    fn index_mut(&mut self, tally: Tally) -> &mut u64 {
        &mut self.0[tally as usize]
    }
}

impl Tallies {
    /// Adds `other` to it.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// What was added since it stood at `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut added = *self;
        for (now, before) in added.0.iter_mut().zip(before.0) {
            *now = now.saturating_sub(before);
        }
        added
    }

    /// Each with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Tally, u64)> + '_ {
        Tally::ALL.iter().copied().zip(self.0)
    }
}

/// What stands in a lane when a block is handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Keys of flows in the table of the lane that sends to the port.
    pub flows: u64,
    /// Whether the port is a path of its pair that has answered a probe lately; `None` = it is the only
    /// one.
    pub path_alive: Option<bool>,
    /// Below the TX queue; `None` where completion is synchronous.
    pub below: Option<BelowQueue>,
}

/// Wire bytes below a TX queue, by what keeps them there. The peaks are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BelowQueue {
    /// Their launch time has not come.
    pub queued_bytes: u64,
    /// Most of them.
    pub queued_bytes_max: u64,
    /// The NIC may send them: what the in-flight limit limits.
    pub eligible_bytes: u64,
    /// Most of them.
    pub eligible_bytes_max: u64,
    /// The in-flight limit in force; `None` = no limit.
    pub limit_bytes: Option<u64>,
}

/// What became of one venue limit on one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitTally {
    /// Least room left in any window since the start, messages; `None` = not told.
    pub least_room: Option<u32>,
    /// Departures that had to wait for it.
    pub waits: u64,
    /// Messages counted.
    pub messages: u64,
    /// Sessions that found no window of their own and share one.
    pub sessions_shared: u64,
}

impl LimitTally {
    /// Adds `later`.
    pub(super) fn merge(&mut self, later: &Self) {
        self.least_room = [self.least_room, later.least_room].into_iter().flatten().min();
        self.waits += later.waits;
        self.messages += later.messages;
        self.sessions_shared += later.sessions_shared;
    }
}
