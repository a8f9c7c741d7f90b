//! The ring in shared memory: one writer, one reader, no lock, no call into the kernel.
//!
//! The gateway makes the file and reads; a sender maps it, hands its words to [`Writer::attach`] and
//! calls [`Writer::push`] for each record, **before** it sends the bytes that the record is about.
//! One process at a time may write: take an exclusive lock on the file first (`flock`). Numbers are
//! in the byte order of the host; a record's own bytes stand as [`FlowRecord`](crate::FlowRecord)
//! lays them out.
//!
//! ```text
//! byte    field                                                         written by
//!     0   u64 magic "wpintent"                                          gateway
//!     8   u64 version of this layout, 1                                 gateway
//!    16   u64 capacity: slots, a power of two, 16 to 65536              gateway
//!    24   u64 generation: one more at each start of the gateway         gateway
//!    64   u64 records read so far                                       gateway
//!   128   u64 records written so far                                    sender
//!   256   slots of 128 bytes
//!         u64 sequence: generation << 48 | number of the record from 1  sender, last
//!         112 bytes of the record, then 8 unused bytes                  sender
//! ```
//!
//! Record `n` (from 1) stands in slot `(n - 1) mod capacity`. A slot is ready when its sequence is
//! the one that the reader waits for; the reader looks at nothing else. It keeps its own position
//! and the capacity in private memory and copies a record before it reads it, so a writer that does
//! not keep to this can lose its own records and nothing more.

mod reader;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};

pub use reader::{Lost, Reader};
pub use writer::{AttachError, Full, Writer};

use crate::flow::FLOW_RECORD_BYTES;

/// First eight bytes of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"wpintent");
/// Version of the layout.
pub const LAYOUT_VERSION: u64 = 1;
/// Fewest and most slots.
pub const CAPACITY_RANGE: std::ops::RangeInclusive<usize> = 16..=65_536;
/// Bytes in front of the slots.
pub const HEADER_BYTES: usize = 256;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 128;

const WORD_BYTES: usize = size_of::<u64>();
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = 1;
const CAPACITY_AT: usize = 2;
const GENERATION_AT: usize = 3;
const READ_AT: usize = 64 / WORD_BYTES;
const WRITTEN_AT: usize = 128 / WORD_BYTES;
const RECORD_WORDS: usize = FLOW_RECORD_BYTES / WORD_BYTES;
/// Bits of a sequence that count records.
const COUNT_MASK: u64 = (1 << 48) - 1;

const _: () = assert!(RECORD_WORDS * WORD_BYTES == FLOW_RECORD_BYTES);
const _: () = assert!((1 + RECORD_WORDS) * WORD_BYTES <= SLOT_BYTES);

/// Length of a ring of `capacity` slots, bytes.
pub const fn ring_bytes(capacity: usize) -> usize {
    HEADER_BYTES + capacity * SLOT_BYTES
}

/// Length of a ring of `capacity` slots, words.
pub const fn ring_words(capacity: usize) -> usize {
    ring_bytes(capacity) / WORD_BYTES
}

/// Whether a ring may have so many slots.
pub const fn is_capacity(capacity: usize) -> bool {
    capacity.is_power_of_two()
        && *CAPACITY_RANGE.start() <= capacity
        && capacity <= *CAPACITY_RANGE.end()
}

/// The words of the slot of record `count` (from 1).
#[inline]
fn slot(
    words: &[AtomicU64],
    capacity: usize,
    count: u64,
) -> Option<&[AtomicU64; 1 + RECORD_WORDS]> {
    let index = (count.wrapping_sub(1) as usize) & (capacity - 1);
    words.get((HEADER_BYTES + index * SLOT_BYTES) / WORD_BYTES..)?.first_chunk()
}

/// The sequence of record `count` under `generation`.
#[inline]
const fn sequence(generation: u64, count: u64) -> u64 {
    generation << 48 | (count & COUNT_MASK)
}

/// Makes a ring of `capacity` slots out of `words`, whatever stood there, and gives its generation.
fn initialise(words: &[AtomicU64], capacity: usize) -> Option<u64> {
    if !is_capacity(capacity) || words.len() < ring_words(capacity) {
        return None;
    }
    // A sender of the run before sees that its ring is gone before it sees anything of the new one.
    let generation = words[GENERATION_AT].load(Ordering::Relaxed).wrapping_add(1);
    words[MAGIC_AT].store(0, Ordering::SeqCst);
    words[GENERATION_AT].store(generation, Ordering::SeqCst);
    for word in &words[READ_AT..ring_words(capacity)] {
        word.store(0, Ordering::Relaxed);
    }
    words[VERSION_AT].store(LAYOUT_VERSION, Ordering::Relaxed);
    words[CAPACITY_AT].store(capacity as u64, Ordering::Relaxed);
    words[MAGIC_AT].store(MAGIC, Ordering::Release);
    Some(generation)
}
