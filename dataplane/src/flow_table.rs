//! What is known of every flow: a bounded table that forgets flows which have been idle.
//!
//! [`FlowCache`] answers for the flows that were seen last, [`FlowHash`] for all. A flow has a key,
//! or, where rules read the DSCP, one for each of its DSCPs and one for them all; every key has a
//! slot here, and the slots of a flow are linked, so that they are forgotten together. Everything is
//! allocated at construction.

use model::frame::FlowKey;
use model::meta::FlowMeta;

use crate::flow_cache::{FlowCache, ShortKey};
use crate::flow_hash::{FlowHash, FlowHashKey, Full};

const NONE: u32 = u32::MAX;

/// What is remembered of a flow: what the rules said, and what its class says of its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// Its flow in the pacer.
    pub flow: u32,
    /// Index of its label.
    pub label: u16,
    /// Its flow holds packets of this 5-tuple only.
    pub is_alone: bool,
    /// What its packets have in common; the venue may be [`model::pacer::NO_VENUE`].
    pub meta: FlowMeta,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// The place of one key.
#[derive(Clone, Copy)]
struct Slot {
    key: FlowHashKey,
    entry: Entry,
    /// The next slot of the same flow; of a free slot, the next free one.
    next: u32,
}

/// See the module.
pub struct FlowTable {
    cache: FlowCache<Entry>,
    hash: FlowHash,
    slots: Vec<Slot>,
    free: u32,
    /// The first slot of each flow.
    first: Box<[u32]>,
    /// The flow that the next sweep looks at.
    sweep: u32,
    aged: u64,
}

impl FlowTable {
    /// A table over `hash`, which is empty, for a pacer of `flows` flows.
    pub fn new(hash: FlowHash, flows: u32) -> Self {
        Self {
            cache: FlowCache::new(hash.flows_max()),
            slots: Vec::with_capacity(hash.flows_max() as usize),
            free: NONE,
            first: vec![NONE; flows as usize].into(),
            sweep: 0,
            aged: 0,
            hash,
        }
    }

    /// Keys in it.
    pub const fn len(&self) -> usize {
        self.hash.len() as usize
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.hash.is_empty()
    }

    /// Whether `keys` more have room.
    pub fn has_room(&self, keys: u32) -> bool {
        self.hash.flows_max() - self.hash.len() >= keys
    }

    /// Flows that were forgotten because they were idle, since construction.
    pub const fn aged(&self) -> u64 {
        self.aged
    }

    /// Where the cache would have `key`.
    #[inline(always)]
    pub fn locate(&self, key: ShortKey) -> u32 {
        self.cache.locate(key)
    }

    /// The line behind [`FlowTable::locate`], to fetch it early.
    #[inline(always)]
    pub fn line(&self, at: u32) -> &impl Sized {
        self.cache.line(at)
    }

    /// What the cache says of `key`; it may have forgotten.
    #[inline(always)]
    pub fn cached(&self, at: u32, key: ShortKey) -> Option<Entry> {
        self.cache.get(at, key)
    }

    /// What is known of each of `keys`, in order; the cache learns it.
    pub fn find_bulk(
        &mut self,
        keys: &[FlowHashKey],
        found: &mut [Option<u32>],
        mut on: impl FnMut(usize, Option<Entry>),
    ) {
        self.hash.lookup_bulk(keys, found);
        for (k, (key, slot)) in keys.iter().zip(found).enumerate() {
            let entry = slot.map(|slot| self.slots[slot as usize].entry);
            if let (Some(entry), Some(short)) = (entry, ShortKey::of(key.flow(), key.dscp())) {
                self.remember(short, entry);
            }
            on(k, entry);
        }
    }

    /// What is known of `key`.
    pub fn find(&self, key: &FlowHashKey) -> Option<Entry> {
        let mut found = [None];
        self.hash.lookup_bulk(std::slice::from_ref(key), &mut found);
        found[0].map(|slot| self.slots[slot as usize].entry)
    }

    /// Remembers `entry` of `key`, which is not known.
    ///
    /// # Errors
    /// [`Full`]: see [`FlowHash::insert`].
    pub fn insert(&mut self, key: &FlowHashKey, entry: Entry) -> Result<(), Full> {
        let slot = if self.free == NONE { self.slots.len() as u32 } else { self.free };
        let is_new = slot as usize == self.slots.len();
        if is_new && self.slots.len() == self.slots.capacity() {
            return Err(Full);
        }
        self.hash.insert(key, slot)?;
        let first = &mut self.first[entry.flow as usize];
        let filled = Slot { key: *key, entry, next: *first };
        *first = slot;
        if is_new {
            self.slots.push(filled);
        } else {
            self.free = std::mem::replace(&mut self.slots[slot as usize], filled).next;
        }
        if let Some(short) = ShortKey::of(key.flow(), key.dscp()) {
            self.remember(short, entry);
        }
        Ok(())
    }

    /// The newest key of a flow.
    pub fn key_of(&self, flow: u32) -> Option<&FlowKey> {
        let slot = *self.first.get(flow as usize)?;
        self.slots.get(slot as usize).map(|slot| slot.key.flow())
    }

    /// Looks at the next `flows` flows and forgets those that `give_back` gives back. It is asked
    /// only for flows that have a key. Bounded by `flows` and the keys of what is forgotten.
    pub fn sweep(&mut self, flows: u32, mut give_back: impl FnMut(u32) -> bool) {
        for _ in 0..flows.min(self.first.len() as u32) {
            let flow = self.sweep;
            self.sweep = if flow as usize + 1 == self.first.len() { 0 } else { flow + 1 };
            if self.first[flow as usize] != NONE && give_back(flow) {
                self.forget(flow);
                self.aged += 1;
            }
        }
    }

    fn forget(&mut self, flow: u32) {
        let mut at = std::mem::replace(&mut self.first[flow as usize], NONE);
        while at != NONE {
            let slot = &mut self.slots[at as usize];
            let next = std::mem::replace(&mut slot.next, self.free);
            self.free = at;
            let key = slot.key;
            let was_there = self.hash.remove(&key);
            debug_assert!(was_there, "a slot without a key in the table");
            if let Some(short) = ShortKey::of(key.flow(), key.dscp()) {
                self.cache.forget(short);
            }
            at = next;
        }
    }

    fn remember(&mut self, key: ShortKey, entry: Entry) {
        if self.cache.get(self.cache.locate(key), key).is_none() {
            self.cache.put(key, entry);
        }
    }
}
