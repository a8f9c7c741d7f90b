//! Advice to strategies in shared memory: one writer, any number of readers, no lock, no call into the
//! kernel.
//!
//! The gateway makes the file and writes; a strategy maps it **for reading**, hands its words to
//! [`Page::attach`], looks its scope up once by [`Page::find`], and calls [`Page::read`] as often as it
//! likes. It gets what was last written and is not older than the record says, else neutral advice,
//! which asks for nothing: at the start, when the gateway is gone, and when the slot changes while it
//! is looked at. Numbers are in the byte order of the host.
//!
//! ```text
//! byte    field
//!     0   u64 magic "wpadvice"
//!     8   u64 version of this layout, 1
//!    16   u64 slots, 1 to 1024
//!    64   slots of 192 bytes
//!         u64 seqlock: odd while the slot is written, one more before and after
//!         64 bytes scope, such as "class:orders", filled with zeros
//!         u64 sequence: one more with every change of what is said
//!         u64 time, CLOCK_TAI ns
//!         u64 so long after it the record means nothing, ns
//!         32 bytes regime: name of the most severe state, filled with zeros; none = clean
//!         u64 flags, bit 0 up: completion_priority, queue_preserving, write_batching, slippage_budget,
//!             backpressure, completion_critical
//!         7 f64: aggression, signal_weight, replace_churn, tactic_switch_cap, urgency,
//!             child_granularity, route_penalty
//! ```
//!
//! A reader copies the words of a slot between two looks at the seqlock and tries again when they
//! differ: it never sees half of one record and half of another. A slot belongs to one scope as long as
//! the gateway runs; [`Page::read`] checks the name with every read, as the next run may order them
//! otherwise.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// First eight bytes of the file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"wpadvice");
/// Version of the layout.
pub const LAYOUT_VERSION: u64 = 1;
/// Most slots.
pub const SLOTS_MAX: usize = 1_024;
/// Longest scope, bytes.
pub const SCOPE_BYTES_MAX: usize = 64;
/// Longest name of a regime state, bytes.
pub const REGIME_BYTES_MAX: usize = 32;
/// No advice is valid for longer, whatever its record says, ns.
pub const VALIDITY_MAX_NS: u64 = 1_000_000_000;
/// How far the time of a record may lie ahead of the reader's clock, ns: two clocks of one host are
/// nearer.
const AHEAD_MAX_NS: u64 = VALIDITY_MAX_NS;

const WORD_BYTES: usize = size_of::<u64>();
const VERSION_AT: usize = 1;
const SLOTS_AT: usize = 2;
const HEADER_WORDS: usize = 64 / WORD_BYTES;
const SCOPE_WORDS: usize = SCOPE_BYTES_MAX / WORD_BYTES;
const REGIME_WORDS: usize = REGIME_BYTES_MAX / WORD_BYTES;
const FACTORS: usize = 7;
/// Words of a record, without the seqlock.
const RECORD_WORDS: usize = SCOPE_WORDS + 3 + REGIME_WORDS + 1 + FACTORS;
const SLOT_WORDS: usize = 192 / WORD_BYTES;
/// A writer is done with a slot in less than a microsecond, unless it has died in the middle of it.
const TRIES_MAX: u32 = 1_000;

const _: () = assert!(1 + RECORD_WORDS == SLOT_WORDS);

/// Length of a page of `slots` slots, words.
pub const fn page_words(slots: usize) -> usize {
    HEADER_WORDS + slots * SLOT_WORDS
}

/// Length of a page of `slots` slots, bytes.
pub const fn page_bytes(slots: usize) -> usize {
    page_words(slots) * WORD_BYTES
}

/// What a scope is advised to do. A factor of 1, a flag that is off and no penalty are neutral.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Advice {
    /// One more with every change of what is said.
    pub sequence: u64,
    /// When it was written, CLOCK_TAI ns.
    pub at_ns: u64,
    /// So long after that it means nothing, ns; at most [`VALIDITY_MAX_NS`].
    pub valid_for_ns: u64,
    /// Name of the most severe state it comes from, filled with zeros: [`Advice::regime`].
    pub regime: [u8; REGIME_BYTES_MAX],
    /// On the band of acceptable aggression: above 1 wider, below 1 narrower.
    pub aggression: f64,
    /// On the weight of fragile signals.
    pub signal_weight: f64,
    /// On the allowed rate of replaces.
    pub replace_churn: f64,
    /// Completion before spread capture.
    pub completion_priority: bool,
    /// Prefer actions that keep a place in the queue.
    pub queue_preserving: bool,
    /// On the allowed rate of tactic switches.
    pub tactic_switch_cap: f64,
    /// Write in batches.
    pub write_batching: bool,
    /// On urgency.
    pub urgency: f64,
    /// Keep to the slippage budget strictly.
    pub slippage_budget: bool,
    /// On the size of children.
    pub child_granularity: f64,
    /// Send less: a queue is past its budget.
    pub backpressure: bool,
    /// Of this route: 0 = none, 1 = avoid.
    pub route_penalty: f64,
    /// Only tactics that complete.
    pub completion_critical: bool,
}

impl Default for Advice {
    fn default() -> Self {
        Self {
            sequence: 0,
            at_ns: 0,
            valid_for_ns: VALIDITY_MAX_NS,
            regime: [0; REGIME_BYTES_MAX],
            aggression: 1.0,
            signal_weight: 1.0,
            replace_churn: 1.0,
            completion_priority: false,
            queue_preserving: false,
            tactic_switch_cap: 1.0,
            write_batching: false,
            urgency: 1.0,
            slippage_budget: false,
            child_granularity: 1.0,
            backpressure: false,
            route_penalty: 0.0,
            completion_critical: false,
        }
    }
}

impl Advice {
    /// Name of the most severe state it comes from; empty = clean.
    pub fn regime(&self) -> &str {
        let end = self.regime.iter().position(|&byte| byte == 0).unwrap_or(REGIME_BYTES_MAX);
        std::str::from_utf8(&self.regime[..end]).unwrap_or("")
    }

    /// Sets [`Advice::regime`]; a longer name is cut.
    pub fn set_regime(&mut self, name: &str) {
        self.regime = [0; REGIME_BYTES_MAX];
        let end = name.floor_char_boundary(REGIME_BYTES_MAX);
        self.regime[..end].copy_from_slice(&name.as_bytes()[..end]);
    }

    /// What it says at `now_ns`: itself, or neutral where it is too old, from a clock that is ahead,
    /// or not made of numbers.
    #[must_use]
    pub fn read_at(&self, now_ns: u64) -> Self {
        let age = now_ns.saturating_sub(self.at_ns);
        let is_fresh = age <= self.valid_for_ns.min(VALIDITY_MAX_NS)
            && self.at_ns.saturating_sub(now_ns) <= AHEAD_MAX_NS;
        let is_sound = self.factors().iter().all(|factor| factor.is_finite() && *factor >= 0.0);
        if is_fresh && is_sound {
            return *self;
        }
        Self { sequence: self.sequence, at_ns: self.at_ns, ..Self::default() }
    }

    const fn factors(&self) -> [f64; FACTORS] {
        [
            self.aggression,
            self.signal_weight,
            self.replace_churn,
            self.tactic_switch_cap,
            self.urgency,
            self.child_granularity,
            self.route_penalty,
        ]
    }

    const fn flags(&self) -> [bool; 6] {
        [
            self.completion_priority,
            self.queue_preserving,
            self.write_batching,
            self.slippage_budget,
            self.backpressure,
            self.completion_critical,
        ]
    }

    fn to_words(self, scope: &Scope) -> [u64; RECORD_WORDS] {
        let mut words = [0; RECORD_WORDS];
        let (name, rest) = words.split_at_mut(SCOPE_WORDS);
        name.copy_from_slice(&scope.0);
        rest[..3].copy_from_slice(&[self.sequence, self.at_ns, self.valid_for_ns]);
        rest[3..3 + REGIME_WORDS].copy_from_slice(&to_words::<REGIME_WORDS>(&self.regime));
        let flags = self.flags().into_iter().enumerate();
        rest[3 + REGIME_WORDS] = flags.fold(0, |bits, (bit, on)| bits | u64::from(on) << bit);
        for (word, factor) in rest[4 + REGIME_WORDS..].iter_mut().zip(self.factors()) {
            *word = factor.to_bits();
        }
        words
    }

    fn of_words(words: &[u64; RECORD_WORDS]) -> (Scope, Self) {
        let mut scope = [0; SCOPE_WORDS];
        let (name, rest) = words.split_at(SCOPE_WORDS);
        scope.copy_from_slice(name);
        let mut regime = [0; REGIME_BYTES_MAX];
        for (bytes, word) in regime.chunks_exact_mut(WORD_BYTES).zip(&rest[3..]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let is_on = |bit: u32| rest[3 + REGIME_WORDS] >> bit & 1 != 0;
        let factor = |n: usize| f64::from_bits(rest[4 + REGIME_WORDS + n]);
        let advice = Self {
            sequence: rest[0],
            at_ns: rest[1],
            valid_for_ns: rest[2],
            regime,
            aggression: factor(0),
            signal_weight: factor(1),
            replace_churn: factor(2),
            tactic_switch_cap: factor(3),
            urgency: factor(4),
            child_granularity: factor(5),
            route_penalty: factor(6),
            completion_priority: is_on(0),
            queue_preserving: is_on(1),
            write_batching: is_on(2),
            slippage_budget: is_on(3),
            backpressure: is_on(4),
            completion_critical: is_on(5),
        };
        (Scope(scope), advice)
    }
}

/// Bytes as words, filled with zeros; what is too long is cut.
fn to_words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(WORD_BYTES)) {
        let mut bytes = [0; WORD_BYTES];
        bytes[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(bytes);
    }
    words
}

/// A name as it stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scope([u64; SCOPE_WORDS]);

impl Scope {
    fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= SCOPE_BYTES_MAX;
        fits.then(|| Self(to_words(name.as_bytes())))
    }
}

/// Why words are no page of advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The file does not begin as a page does: the gateway has not made it yet.
    Magic(u64),
    /// A layout that this program does not know.
    Version(u64),
    /// A number of slots that is not allowed, or more than the file has.
    Slots(u64),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "no page of advice (it begins with {found:#x})"),
            Self::Version(found) => write!(f, "layout version {found}, and this program knows 1"),
            Self::Slots(found) => write!(f, "a page of {found} slots does not fit this file"),
        }
    }
}

impl std::error::Error for AttachError {}

/// Where the advice of a scope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    slot: usize,
    scope: Scope,
}

/// A page as a reader has it.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    words: &'a [AtomicU64],
    slots: usize,
}

impl<'a> Page<'a> {
    /// The page in a mapped file.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(words: &'a [AtomicU64]) -> Result<Self, AttachError> {
        let word = |at: usize| words.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        if word(0) != MAGIC {
            return Err(AttachError::Magic(word(0)));
        }
        if word(VERSION_AT) != LAYOUT_VERSION {
            return Err(AttachError::Version(word(VERSION_AT)));
        }
        let slots = usize::try_from(word(SLOTS_AT)).ok();
        let slots = slots
            .filter(|&n| (1..=SLOTS_MAX).contains(&n) && page_words(n) <= words.len())
            .ok_or(AttachError::Slots(word(SLOTS_AT)))?;
        Ok(Self { words, slots })
    }

    /// Where the advice of `scope`, such as `class:orders`, stands; `None`: nobody has written any yet.
    pub fn find(&self, scope: &str) -> Option<Place> {
        let scope = Scope::new(scope)?;
        let stands_in = |slot: &usize| self.copy(*slot).is_some_and(|(found, _)| found == scope);
        (0..self.slots).find(stands_in).map(|slot| Place { slot, scope })
    }

    /// What the scope at `place` is advised at `now_ns` of CLOCK_TAI. Some 50 loads; neutral where
    /// nothing valid can be read.
    pub fn read(&self, place: Place, now_ns: u64) -> Advice {
        match self.copy(place.slot) {
            Some((scope, advice)) if scope == place.scope => advice.read_at(now_ns),
            _ => Advice::default(),
        }
    }

    /// One whole record; `None`: the writer never seems to be done with it.
    fn copy(&self, slot: usize) -> Option<(Scope, Advice)> {
        let [lock, record @ ..] = slot_of(self.words, slot)?;
        for _ in 0..TRIES_MAX {
            let before = lock.load(Ordering::Acquire);
            if before % 2 == 0 {
                let words: [u64; RECORD_WORDS] =
                    std::array::from_fn(|k| record[k].load(Ordering::Relaxed));
                // The loads above come before the second look.
                fence(Ordering::Acquire);
                if lock.load(Ordering::Relaxed) == before {
                    return Some(Advice::of_words(&words));
                }
            }
            std::hint::spin_loop();
        }
        None
    }
}

fn slot_of(words: &[AtomicU64], slot: usize) -> Option<&[AtomicU64; SLOT_WORDS]> {
    words.get(page_words(slot)..)?.first_chunk()
}

/// The gateway's end.
#[derive(Debug)]
pub struct Writer {
    slots: usize,
}

impl Writer {
    /// Makes a page of `slots` slots out of `words`, whatever stood there: nobody is advised anything.
    /// `None`: not 1 to [`SLOTS_MAX`] slots, or too few words.
    pub fn initialise(words: &[AtomicU64], slots: usize) -> Option<Self> {
        if !(1..=SLOTS_MAX).contains(&slots) || words.len() < page_words(slots) {
            return None;
        }
        words[0].store(0, Ordering::SeqCst);
        let writer = Self { slots };
        for slot in 0..slots {
            // Through the lock: readers of the run before still look.
            writer.write_words(words, slot, &[0; RECORD_WORDS]);
        }
        words[VERSION_AT].store(LAYOUT_VERSION, Ordering::Relaxed);
        words[SLOTS_AT].store(slots as u64, Ordering::Relaxed);
        words[0].store(MAGIC, Ordering::Release);
        Some(writer)
    }

    /// Writes what `scope` is advised into its slot, the same as before. `false`: there is no such slot,
    /// or the name is empty or longer than [`SCOPE_BYTES_MAX`].
    pub fn write(&self, words: &[AtomicU64], slot: usize, scope: &str, advice: &Advice) -> bool {
        let Some(scope) = Scope::new(scope) else { return false };
        self.write_words(words, slot, &advice.to_words(&scope))
    }

    fn write_words(&self, words: &[AtomicU64], slot: usize, record: &[u64; RECORD_WORDS]) -> bool {
        let Some([lock, cells @ ..]) = slot_of(words, slot).filter(|_| slot < self.slots) else {
            return false;
        };
        // A writer that died in the middle left it odd: it stays odd, and is even after this.
        let writing = lock.load(Ordering::Relaxed) | 1;
        lock.store(writing, Ordering::Relaxed);
        // Whoever sees one of the stores below sees the odd lock too.
        fence(Ordering::Release);
        for (cell, word) in cells.iter().zip(record) {
            cell.store(*word, Ordering::Relaxed);
        }
        lock.store(writing.wrapping_add(1), Ordering::Release);
        true
    }
}
