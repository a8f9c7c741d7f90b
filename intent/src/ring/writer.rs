//! The sender's end.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    CAPACITY_AT, GENERATION_AT, LAYOUT_VERSION, MAGIC, MAGIC_AT, READ_AT, VERSION_AT, WORD_BYTES,
    WRITTEN_AT, is_capacity, ring_words, sequence, slot,
};
use crate::flow::FlowRecord;

/// Why words are no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The file does not begin as a ring does: the gateway has not made it yet.
    Magic(u64),
    /// A layout that this program does not know.
    Version(u64),
    /// A number of slots that is not allowed, or more than the file has.
    Capacity(u64),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "no intent ring (it begins with {found:#x})"),
            Self::Version(found) => write!(f, "layout version {found}, and this program knows 1"),
            Self::Capacity(found) => write!(f, "a ring of {found} slots does not fit this file"),
        }
    }
}

impl std::error::Error for AttachError {}

/// The gateway has not read what is in the ring: the record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full: the gateway does not read")
    }
}

impl std::error::Error for Full {}

/// Writes records into a ring.
#[derive(Debug)]
pub struct Writer<'a> {
    words: &'a [AtomicU64],
    capacity: usize,
    generation: u64,
    /// Records written.
    written: u64,
}

impl<'a> Writer<'a> {
    /// The writer of a mapped ring file. Goes on where the last writer stopped.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(words: &'a [AtomicU64]) -> Result<Self, AttachError> {
        let word = |at: usize| words.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        if word(MAGIC_AT) != MAGIC {
            return Err(AttachError::Magic(word(MAGIC_AT)));
        }
        if word(VERSION_AT) != LAYOUT_VERSION {
            return Err(AttachError::Version(word(VERSION_AT)));
        }
        let slots = word(CAPACITY_AT);
        let capacity = usize::try_from(slots)
            .ok()
            .filter(|&n| is_capacity(n) && ring_words(n) <= words.len())
            .ok_or(AttachError::Capacity(slots))?;
        let mut writer = Self { words, capacity, generation: 0, written: 0 };
        writer.resume();
        Ok(writer)
    }

    /// Writes one record: some 17 stores.
    ///
    /// # Errors
    /// [`Full`]: the gateway has not read the oldest record yet. Send without it.
    pub fn push(&mut self, record: &FlowRecord) -> Result<(), Full> {
        if self.words[GENERATION_AT].load(Ordering::Acquire) != self.generation {
            // The gateway was started again.
            self.resume();
        }
        let read = self.words[READ_AT].load(Ordering::Acquire);
        if self.written.wrapping_sub(read) >= self.capacity as u64 {
            return Err(Full);
        }
        let next = self.written.wrapping_add(1);
        let slot = slot(self.words, self.capacity, next).ok_or(Full)?;
        let bytes = record.to_bytes();
        for (word, chunk) in slot[1..].iter().zip(bytes.as_chunks::<WORD_BYTES>().0) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        slot[0].store(sequence(self.generation, next), Ordering::Release);
        self.written = next;
        self.words[WRITTEN_AT].store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the position from the ring: behind what was written, even if the last writer ended
    /// between a record and its count.
    fn resume(&mut self) {
        let word = |at: usize| self.words[at].load(Ordering::Acquire);
        self.generation = word(GENERATION_AT);
        let (read, mut written) = (word(READ_AT), word(WRITTEN_AT));
        if written.wrapping_sub(read) > self.capacity as u64 {
            written = read;
        }
        for _ in 0..self.capacity {
            let next = written.wrapping_add(1);
            let is_there = slot(self.words, self.capacity, next).is_some_and(|slot| {
                slot[0].load(Ordering::Acquire) == sequence(self.generation, next)
            });
            if !is_there {
                break;
            }
            written = next;
        }
        self.written = written;
    }
}
