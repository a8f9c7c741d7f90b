//! The gateway's end.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{COUNT_MASK, READ_AT, RECORD_WORDS, WORD_BYTES, initialise, sequence, slot};
use crate::error::DecodeError;
use crate::flow::{FLOW_RECORD_BYTES, FlowRecord};

/// Records that a writer has lost by its own fault, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Overwritten before they were read: the writer did not look at how far the reader is.
    pub overrun: u64,
    /// Read, and no record.
    pub malformed: u64,
}

/// Reads records out of a ring. It holds no reference to the words: they may be any process's.
#[derive(Debug)]
pub struct Reader {
    capacity: usize,
    generation: u64,
    /// Records read or given up.
    read: u64,
    lost: Lost,
}

impl Reader {
    /// Makes a ring of `capacity` slots out of `words` and reads it from its start. `None` when
    /// there may be no such ring ([`super::CAPACITY_RANGE`], a power of two) or too few words.
    pub fn initialise(words: &[AtomicU64], capacity: usize) -> Option<Self> {
        let generation = initialise(words, capacity)?;
        Some(Self { capacity, generation, read: 0, lost: Lost::default() })
    }

    /// The next record. With nothing there it is one load and a compare; bounded by one record.
    ///
    /// # Errors
    /// What is there is no record; it is skipped.
    #[inline]
    pub fn poll(&mut self, words: &[AtomicU64]) -> Option<Result<FlowRecord, DecodeError>> {
        let expected = self.read.wrapping_add(1);
        let slot = slot(words, self.capacity, expected)?;
        let found = slot[0].load(Ordering::Acquire);
        if found != sequence(self.generation, expected) {
            if found == 0 || !self.skip_overrun(found, expected) {
                return None;
            }
        } else {
            self.read = expected;
        }
        Some(self.take(words, slot))
    }

    /// Records that were lost.
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    #[inline]
    fn take(
        &mut self,
        words: &[AtomicU64],
        slot: &[AtomicU64; 1 + RECORD_WORDS],
    ) -> Result<FlowRecord, DecodeError> {
        // Copied first: what is judged is what is used, whatever the writer does meanwhile.
        let mut bytes = [0; FLOW_RECORD_BYTES];
        for (chunk, word) in bytes.as_chunks_mut::<WORD_BYTES>().0.iter_mut().zip(&slot[1..]) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        words[READ_AT].store(self.read, Ordering::Release);
        let record = FlowRecord::decode(&bytes);
        self.lost.malformed += u64::from(record.is_err());
        record
    }

    /// A writer that went round the ring without waiting has left the record of a later round here.
    /// Reading goes on with that one. Returns whether it was so.
    #[cold]
    fn skip_overrun(&mut self, found: u64, expected: u64) -> bool {
        let ahead = (found & COUNT_MASK).wrapping_sub(expected) & COUNT_MASK;
        let is_ahead = found & !COUNT_MASK == sequence(self.generation, 0)
            && ahead != 0
            && ahead <= COUNT_MASK / 2
            && ahead.is_multiple_of(self.capacity as u64);
        if is_ahead {
            self.lost.overrun += ahead;
            self.read = expected.wrapping_add(ahead);
        }
        is_ahead
    }
}
