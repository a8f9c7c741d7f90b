//! The bytes of the page, as atomics that every process maps.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use model::profile::{CLASSES_MAX, VENUES_MAX};
use model::stop::{StopWord, WORDS};

/// Length of the file.
pub(super) const PAGE_BYTES: usize = 8192;
/// First eight bytes of the file.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"wpstop\r\n");
/// Version of the layout: raised whenever an older program would read a page wrongly.
/// 1 had room for 40 classes in 4,096 bytes.
pub(super) const VERSION: u64 = 2;
/// Longest name in a cell, bytes.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// A snapshot of the words as they lie in the page: byte 0 is scope `all`.
pub type RawWords = [u64; RAW_WORDS];

const RAW_WORDS: usize = 16;

const _: () = assert!(WORDS <= size_of::<RawWords>());

/// A name of at most 63 bytes: byte 0 is its length (0 = no name), the rest its UTF-8.
#[repr(C)]
pub(super) struct NameCell([AtomicU64; 8]);

/// The layout of the file. Offsets: 0 header, 64 instance, 128 words, 256 venues, 1280 classes.
///
/// The words have two cache lines of their own: a data core reads them on every poll, and nothing
/// else ever writes to them.
#[repr(C)]
pub(super) struct Page {
    magic: AtomicU64,
    version: AtomicU64,
    reserved: [AtomicU64; 6],
    pub(super) instance: NameCell,
    words: [AtomicU64; RAW_WORDS],
    pub(super) venues: [NameCell; VENUES_MAX],
    pub(super) classes: [NameCell; CLASSES_MAX],
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);
const _: () = assert!(std::mem::offset_of!(Page, words) == 128);
const _: () = assert!(std::mem::offset_of!(Page, venues) == 256);
const _: () = assert!(std::mem::offset_of!(Page, classes) == 1280);

/// A page in memory. It stays mapped for as long as this value lives, whatever becomes of the
/// file's name.
pub(super) struct Mapped(MmapRaw);

impl Mapped {
    /// Maps `file`, shared, for reading and writing. It must be [`PAGE_BYTES`] long already.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        MmapOptions::new().len(PAGE_BYTES).map_raw(file).map(Self)
    }

    pub(super) fn page(&self) -> &Page {
        // SAFETY: the mapping is PAGE_BYTES long (asserted to hold a Page), readable and writable,
        // aligned to a memory page, and lives as long as `self`. A Page is nothing but AtomicU64s,
        // for which every bit pattern is valid and which other threads and processes may change at
        // any time; no other reference to these bytes is ever made. The file is not cut short by
        // any wirepace program, and its directory and mode let no other user do so.
        unsafe { &*self.0.as_ptr().cast::<Page>() }
    }
}

impl Page {
    /// Makes an all-zero page one of ours.
    pub(super) fn initialise(&self, instance: &str) {
        self.instance.write(instance);
        self.version.store(VERSION, Ordering::SeqCst);
        self.magic.store(MAGIC, Ordering::SeqCst);
    }

    /// Magic and version.
    pub(super) fn header(&self) -> (u64, u64) {
        (self.magic.load(Ordering::SeqCst), self.version.load(Ordering::SeqCst))
    }

    /// Sixteen loads.
    #[inline]
    pub(super) fn words(&self) -> RawWords {
        // Relaxed: a word orders nothing but itself. On x86-64 the store is visible to the next
        // poll of every core as soon as its cache line arrives.
        std::array::from_fn(|k| self.words[k].load(Ordering::Relaxed))
    }

    /// The word at byte `index`.
    pub(super) fn word(&self, index: usize) -> StopWord {
        byte_of(self.words[index / 8].load(Ordering::SeqCst), index)
    }

    /// Replaces the word at byte `index` by what `next` makes of it, and returns both. No other
    /// byte changes, whoever else writes at the same time. Async-signal-safe when `next` is.
    pub(super) fn update(
        &self,
        index: usize,
        next: impl Fn(StopWord) -> StopWord,
    ) -> (StopWord, StopWord) {
        let cell = &self.words[index / 8];
        let shift = 8 * (index % 8);
        let mut old = cell.load(Ordering::SeqCst);
        loop {
            let before = byte_of(old, index);
            let after = next(before);
            let new = old & !(0xff << shift) | (after as u64) << shift;
            match cell.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return (before, after),
                Err(seen) => old = seen,
            }
        }
    }
}

/// The word at byte `index` of a snapshot.
#[inline]
pub(super) fn word_in(raw: &RawWords, index: usize) -> StopWord {
    byte_of(raw[index / 8], index)
}

#[inline]
fn byte_of(word: u64, index: usize) -> StopWord {
    StopWord::from_u8(word.to_le_bytes()[index % 8])
}

impl NameCell {
    /// The name, `Ok(None)` when there is none.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub(super) fn read(&self) -> Result<Option<String>, String> {
        let mut bytes = [0; 8 * 8];
        // The first eight bytes hold the length and are written last.
        let first = self.0[0].load(Ordering::Acquire);
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        for (k, cell) in self.0.iter().enumerate().skip(1) {
            bytes[8 * k..8 * k + 8].copy_from_slice(&cell.load(Ordering::Relaxed).to_le_bytes());
        }
        let len = usize::from(bytes[0]);
        if len == 0 {
            return Ok(None);
        }
        let name = bytes.get(1..=len).ok_or_else(|| format!("a name of {len} bytes"))?;
        match std::str::from_utf8(name) {
            Ok(name) if !name.contains(char::is_control) => Ok(Some(name.to_owned())),
            _ => Err("a name that is not text".to_owned()),
        }
    }

    /// Writes `name`, at most [`NAME_BYTES_MAX`] bytes. A process killed in between leaves the cell
    /// empty.
    pub(super) fn write(&self, name: &str) {
        debug_assert!((1..=NAME_BYTES_MAX).contains(&name.len()));
        self.clear();
        let mut bytes = [0; 8 * 8];
        let len = name.len().min(NAME_BYTES_MAX);
        bytes[0] = len as u8;
        bytes[1..=len].copy_from_slice(&name.as_bytes()[..len]);
        for (cell, chunk) in self.0.iter().zip(bytes.as_chunks().0).rev() {
            cell.store(u64::from_le_bytes(*chunk), Ordering::Release);
        }
    }

    /// Removes the name.
    pub(super) fn clear(&self) {
        self.0[0].store(0, Ordering::Release);
    }
}
