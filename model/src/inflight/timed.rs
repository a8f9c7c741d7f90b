//! What stands below the queue only because its time has not come.

use crate::time::Nanos;

/// Packets that the NIC holds until their launch time, apart from those that it may send: the two
/// resources of a queue with launch times (Carousel). A queue is first in, first out, so a packet
/// waits for the launch times ahead of it as well; those that may go are a prefix of what is in
/// flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// Length of that prefix.
    pub ripe: u32,
    /// Wire bytes behind it.
    pub bytes: u64,
    /// Of these, the ones that have no launch time and only stand behind others that have.
    pub behind: u64,
    pub limit_bytes: u64,
    pub peak_bytes: u64,
    /// Most wire bytes in front of it.
    pub peak_eligible: u64,
    /// When the last of them may go.
    pub last: Nanos,
    /// Packets whose time came while the in-flight limit was reached.
    pub over_limit: u64,
}

impl Timed {
    pub const fn new() -> Self {
        Self {
            ripe: 0,
            bytes: 0,
            behind: 0,
            limit_bytes: u64::MAX,
            peak_bytes: 0,
            peak_eligible: 0,
            last: Nanos::ZERO,
            over_limit: 0,
        }
    }

    /// A packet of `bytes` comes in at `now`, behind `packets` others, to leave at `launch` at the
    /// earliest. Returns when it may go.
    pub fn accept(&mut self, now: Nanos, packets: u32, bytes: u64, launch: Option<Nanos>) -> Nanos {
        let waits = self.ripe < packets;
        let from = launch.unwrap_or(now).max(now);
        let from = if waits { from.max(self.last) } else { from };
        if from > now || waits {
            self.bytes += bytes;
            self.behind += if launch.is_none() { bytes } else { 0 };
            self.peak_bytes = self.peak_bytes.max(self.bytes);
            self.last = from;
        } else {
            self.ripe += 1;
        }
        from
    }
}
