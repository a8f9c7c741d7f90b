//! Takes the shim out of a frame. One [`Stripper`] for each port that receives; it is called for
//! each packet before the frame is parsed.

use intent::Record;
use intent::shim::{self, PREFIX_BYTES_MAX, SHIM_BYTES};
use model::drop_reason::DropReason;

use crate::mbuf::Mbuf;

/// Bytes of an EtherType: what has to follow a shim.
const ETHER_TYPE_BYTES: usize = 2;

/// What a port does with a shim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShimPolicy {
    /// A frame that has one ends as `intent_refused`: ports to the venue, and ports without intent.
    #[default]
    Refuse,
    /// It is taken out and read.
    Strip,
}

/// What was done, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StripCounters {
    /// Shims taken out.
    pub stripped: u64,
    /// Frames that ended as `intent_malformed`.
    pub malformed: u64,
    /// Frames that ended as `intent_refused`.
    pub refused: u64,
}

impl StripCounters {
    /// Bytes taken out: `bytes_in = bytes_out + bytes_stripped + ...`.
    pub const fn bytes_stripped(&self) -> u64 {
        self.stripped * SHIM_BYTES as u64
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stripper {
    policy: ShimPolicy,
    counters: StripCounters,
}

impl Stripper {
    /// A stripper that has seen nothing.
    pub const fn new(policy: ShimPolicy) -> Self {
        let counters = StripCounters { stripped: 0, malformed: 0, refused: 0 };
        Self { policy, counters }
    }

    /// Takes the shim out of the packet and gives what it says; `Ok(None)` when there is none. The
    /// frame is then, byte for byte, what it would have been without. For a frame without a shim this
    /// is two compares.
    ///
    /// # Errors
    /// [`DropReason::IntentRefused`]: a shim where none is taken, or a second one behind the first.
    /// [`DropReason::IntentMalformed`]: a shim that is cut off or cannot be read. The frame is as it
    /// was, and must end: nobody behind the gateway knows the shim.
    #[inline]
    pub fn strip(&mut self, packet: &mut Mbuf) -> Result<Option<Record>, DropReason> {
        match shim::find(packet.data()) {
            None => Ok(None),
            Some(at) => self.take_out(packet, at),
        }
    }

    /// See [`StripCounters`].
    pub const fn counters(&self) -> StripCounters {
        self.counters
    }

    fn take_out(&mut self, packet: &mut Mbuf, at: usize) -> Result<Option<Record>, DropReason> {
        if self.policy == ShimPolicy::Refuse {
            self.counters.refused += 1;
            return Err(DropReason::IntentRefused);
        }
        let data = packet.data_mut();
        let behind = at + SHIM_BYTES;
        let next = data.get(behind..behind + ETHER_TYPE_BYTES);
        let (Ok(record), Some(next)) = (shim::decode(&data[at..]), next) else {
            self.counters.malformed += 1;
            return Err(DropReason::IntentMalformed);
        };
        if next == shim::ETHER_TYPE.to_be_bytes() {
            self.counters.refused += 1;
            return Err(DropReason::IntentRefused);
        }
        // Addresses and tags move up to the EtherType; what is behind it stays where it is.
        debug_assert!(at <= PREFIX_BYTES_MAX);
        data.copy_within(..at, SHIM_BYTES);
        let trimmed = packet.trim_front(SHIM_BYTES as u16);
        debug_assert!(trimmed.is_ok(), "the segment was seen to be longer");
        self.counters.stripped += 1;
        Ok(Some(record))
    }
}
