//! Finds a flow by its key: open addressing, linear probing, at most half full.
//!
//! Senders choose the keys, so the hash is keyed (SipHash with keys of this process): nobody outside
//! can make all keys meet in one place. Which place a key has changes no answer, so runs in virtual
//! time stay the same.

use std::hash::{BuildHasher, RandomState};

use super::{Flow, Key, NONE};

/// Places of flows, by the hash of their keys.
pub(super) struct Index {
    places: Box<[u32]>,
    hasher: RandomState,
}

impl Index {
    pub(super) fn new(flows_max: u32) -> Self {
        let places = (flows_max as usize * 2).next_power_of_two();
        Self { places: vec![NONE; places].into_boxed_slice(), hasher: RandomState::new() }
    }

    #[inline]
    pub(super) fn get(&self, key: &Key, flows: &[Flow]) -> Option<u32> {
        let flow = self.places[self.find(key, flows)];
        (flow != NONE).then_some(flow)
    }

    /// Stores `flow`, whose key is not in it.
    pub(super) fn insert(&mut self, flow: u32, flows: &[Flow]) {
        let at = self.find(&flows[flow as usize].key, flows);
        self.places[at] = flow;
    }

    /// Removes `flow`, whose key is still the one it was stored under.
    pub(super) fn remove(&mut self, flow: u32, flows: &[Flow]) {
        let mask = self.mask();
        let mut hole = self.find(&flows[flow as usize].key, flows);
        if self.places[hole] != flow {
            return;
        }
        // Whatever would no longer be found across the hole moves into it.
        let mut at = hole;
        loop {
            self.places[hole] = NONE;
            loop {
                at = (at + 1) & mask;
                let moved = self.places[at];
                if moved == NONE {
                    return;
                }
                let home = self.home(&flows[moved as usize].key);
                let from_home = at.wrapping_sub(home) & mask;
                let from_hole = at.wrapping_sub(hole) & mask;
                if from_home >= from_hole {
                    self.places[hole] = moved;
                    hole = at;
                    break;
                }
            }
        }
    }

    fn mask(&self) -> usize {
        self.places.len() - 1
    }

    fn home(&self, key: &Key) -> usize {
        self.hasher.hash_one(key) as usize & self.mask()
    }

    /// The place of a key, or the free one where it belongs. Ends: half of the places are free.
    #[inline]
    fn find(&self, key: &Key, flows: &[Flow]) -> usize {
        let mut at = self.home(key);
        while self.places[at] != NONE && flows[self.places[at] as usize].key != *key {
            at = (at + 1) & self.mask();
        }
        at
    }
}
