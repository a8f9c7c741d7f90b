//! Where out-of-band records come in on a data core. The worker calls [`Inlet::poll`] once for each
//! poll; with nothing there it is one load and a compare for each source.

use ::intent::{DecodeError, FlowRecord};
use model::time::Nanos;

use super::shm::ShmRing;
use super::side_table::SideTable;
use super::udp::{UdpCounters, UdpQueue};

/// Records taken from each source in one poll at most.
const RECORDS_MAX: usize = 32;

/// The sources of one data core.
#[derive(Default)]
pub struct Inlet {
    ring: Option<ShmRing>,
    queue: Option<UdpQueue>,
}

impl Inlet {
    /// The sources of a core: its ring in shared memory, its end of the UDP side channel.
    pub const fn new(ring: Option<ShmRing>, queue: Option<UdpQueue>) -> Self {
        Self { ring, queue }
    }

    /// Moves what has come into the table and lets what is old expire. Bounded by 32 records of each
    /// source and 32 that expire.
    #[inline]
    pub fn poll(&mut self, now: Nanos, table: &mut SideTable) {
        if let Some(ring) = &mut self.ring {
            drain(now, table, || ring.poll());
        }
        if let Some(queue) = &mut self.queue {
            drain(now, table, || queue.poll());
        }
        table.expire(now);
    }

    /// The ring in shared memory, to read its counters.
    pub const fn ring(&self) -> Option<&ShmRing> {
        self.ring.as_ref()
    }

    /// What came over the UDP side channel, where this core is the one that tells it.
    pub fn udp_counters(&self) -> Option<UdpCounters> {
        self.queue.as_ref().and_then(UdpQueue::channel_counters)
    }
}

/// What cannot be read is counted where it comes from.
#[inline]
fn drain(
    now: Nanos,
    table: &mut SideTable,
    mut poll: impl FnMut() -> Option<Result<FlowRecord, DecodeError>>,
) {
    for _ in 0..RECORDS_MAX {
        match poll() {
            Some(Ok(record)) => table.insert(now, &record),
            Some(Err(_)) => {}
            None => return,
        }
    }
}
