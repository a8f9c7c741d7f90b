//! A timing wheel over node indices: when does which node's time come?
//!
//! Three levels of 4,096 slots; level 0 is the block of slots that holds the cursor, level 1 the
//! following blocks, level 2 the overflow. A node that is further away than level 2 reaches fires at
//! the end of level 2 and is looked at again by its owner (Carousel bunches such packets at the
//! horizon and so releases them early). Deadlines are rounded **up** to a slot. Nodes of one slot
//! fire in the order in which they were inserted. Intrusive: no allocation after construction.

use crate::time::Nanos;

const SLOTS_LOG2: u32 = 12;
const SLOTS: usize = 1 << SLOTS_LOG2;
const LEVELS: usize = 3;
const DUE: usize = LEVELS * SLOTS;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    prev: u32,
    /// Index of the list it is in, `NONE` = in none.
    list: u32,
    /// Absolute slot of its deadline.
    slot: u64,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// Which slots of a level hold something: 64 words and one word over the words.
#[derive(Clone, Debug)]
struct Bitmap {
    words: [u64; SLOTS / 64],
    summary: u64,
}

impl Bitmap {
    const EMPTY: Self = Self { words: [0; SLOTS / 64], summary: 0 };

    fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
        self.summary |= 1 << (i / 64);
    }

    fn clear(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
        if self.words[i / 64] == 0 {
            self.summary &= !(1 << (i / 64));
        }
    }

    /// The first set bit at or after `from`.
    fn next(&self, from: usize) -> Option<usize> {
        if from >= SLOTS {
            return None;
        }
        let word = self.words[from / 64] & (!0 << (from % 64));
        if word != 0 {
            return Some(from / 64 * 64 + word.trailing_zeros() as usize);
        }
        let rest = self.summary & (!0u64).checked_shl(from as u32 / 64 + 1).unwrap_or(0);
        if rest == 0 {
            return None;
        }
        let w = rest.trailing_zeros() as usize;
        Some(w * 64 + self.words[w].trailing_zeros() as usize)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Wheel {
    slot_log2: u32,
    /// Every slot before it has fired.
    cursor: u64,
    len: usize,
    lists: Box<[List]>,
    bitmaps: Box<[Bitmap; LEVELS]>,
    nodes: Box<[Node]>,
}

impl Wheel {
    /// A wheel for nodes `0..nodes` whose time starts at `start`. `slot` is a power of two in ns.
    pub fn new(nodes: usize, slot: Nanos, start: Nanos) -> Self {
        debug_assert!(slot.0.is_power_of_two());
        let slot_log2 = slot.0.trailing_zeros();
        Self {
            slot_log2,
            cursor: start.0 >> slot_log2,
            len: 0,
            lists: vec![List { head: NONE, tail: NONE }; DUE + 1].into_boxed_slice(),
            bitmaps: Box::new([Bitmap::EMPTY; LEVELS]),
            nodes: vec![Node { next: NONE, prev: NONE, list: NONE, slot: 0 }; nodes]
                .into_boxed_slice(),
        }
    }

    /// Whether `node` waits for its time (or its time has come and it was not popped yet).
    pub fn contains(&self, node: u32) -> bool {
        self.nodes[node as usize].list != NONE
    }

    /// Puts `node` on the wheel: it fires at the first slot boundary at or after `at`. A node that
    /// is on the wheel is moved.
    pub fn insert(&mut self, node: u32, at: Nanos) {
        if self.contains(node) {
            self.remove(node);
        }
        let mask = (1u64 << self.slot_log2) - 1;
        let slot = (at.0 >> self.slot_log2) + u64::from(at.0 & mask != 0);
        self.nodes[node as usize].slot = slot.max(self.cursor);
        self.len += 1;
        self.place(node);
    }

    /// Takes `node` off the wheel, if it is on it.
    pub fn remove(&mut self, node: u32) {
        let Node { next, prev, list, .. } = self.nodes[node as usize];
        if list == NONE {
            return;
        }
        let l = &mut self.lists[list as usize];
        if prev == NONE {
            l.head = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NONE {
            l.tail = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
        if self.lists[list as usize].head == NONE && (list as usize) < DUE {
            self.bitmaps[list as usize / SLOTS].clear(list as usize % SLOTS);
        }
        self.nodes[node as usize].list = NONE;
        self.len -= 1;
    }

    /// Makes every node due whose time is at or before `now`; then take them with
    /// [`Wheel::pop_due`]. All advance before any fires. Bounded by the nodes that fire or change
    /// level.
    #[inline]
    pub fn advance(&mut self, now: Nanos) {
        let target = now.0 >> self.slot_log2;
        if target < self.cursor {
            return;
        }
        if self.len == 0 {
            self.cursor = target + 1;
            return;
        }
        self.advance_to(target);
    }

    fn advance_to(&mut self, target: u64) {
        while self.cursor <= target {
            let last = target.min(self.cursor | (SLOTS as u64 - 1));
            let mut from = self.cursor as usize % SLOTS;
            while let Some(i) = self.bitmaps[0].next(from).filter(|&i| i <= last as usize % SLOTS) {
                self.splice_due(i);
                from = i + 1;
            }
            // To the next block that holds something: a capture may leap over years.
            self.cursor = self.next_slot().map_or(target + 1, |slot| slot.min(target + 1));
            if self.cursor.is_multiple_of(SLOTS as u64) {
                let block = self.cursor >> SLOTS_LOG2;
                if block.is_multiple_of(SLOTS as u64) {
                    self.cascade(2, (block >> SLOTS_LOG2) as usize % SLOTS);
                }
                self.cascade(1, block as usize % SLOTS);
            }
        }
    }

    /// Takes the next node whose time has come, in the order of slots, then of insertion.
    #[inline]
    pub fn pop_due(&mut self) -> Option<u32> {
        let head = self.lists[DUE].head;
        if head == NONE {
            return None;
        }
        self.remove(head);
        Some(head)
    }

    /// No node fires before this; exact while the next node is within the cursor's block of 4,096
    /// slots, else the start of its block. `None` = empty.
    pub fn next_event(&self) -> Option<Nanos> {
        if self.len == 0 {
            return None;
        }
        if self.lists[DUE].head != NONE {
            return Some(Nanos::ZERO);
        }
        self.next_slot().map(|slot| Nanos(slot << self.slot_log2))
    }

    /// The next slot that holds something, or the start of the next block that does.
    fn next_slot(&self) -> Option<u64> {
        let block = self.cursor >> SLOTS_LOG2;
        let slot = if let Some(i) = self.bitmaps[0].next(self.cursor as usize % SLOTS) {
            block << SLOTS_LOG2 | i as u64
        } else if let Some(i) = self.bitmaps[1].next(block as usize % SLOTS) {
            (block >> SLOTS_LOG2 << SLOTS_LOG2 | i as u64) << SLOTS_LOG2
        } else {
            let far = block >> SLOTS_LOG2;
            let i = self.bitmaps[2].next(far as usize % SLOTS)?;
            (far >> SLOTS_LOG2 << SLOTS_LOG2 | i as u64) << (2 * SLOTS_LOG2)
        };
        Some(slot)
    }

    /// Nodes on the wheel.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no node waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&mut self, node: u32) {
        let slot = self.nodes[node as usize].slot;
        let apart = slot ^ self.cursor;
        let list = if apart >> SLOTS_LOG2 == 0 {
            slot as usize % SLOTS
        } else if apart >> (2 * SLOTS_LOG2) == 0 {
            SLOTS + (slot >> SLOTS_LOG2) as usize % SLOTS
        } else if apart >> (3 * SLOTS_LOG2) == 0 {
            2 * SLOTS + (slot >> (2 * SLOTS_LOG2)) as usize % SLOTS
        } else {
            // Beyond level 2: the last slot that level 2 reaches; the owner looks again there.
            self.nodes[node as usize].slot = self.cursor | ((1 << (3 * SLOTS_LOG2)) - 1);
            return self.place(node);
        };
        self.push(list, node);
        self.bitmaps[list / SLOTS].set(list % SLOTS);
    }

    fn push(&mut self, list: usize, node: u32) {
        let tail = self.lists[list].tail;
        let n = &mut self.nodes[node as usize];
        n.list = list as u32;
        n.next = NONE;
        n.prev = tail;
        if tail == NONE {
            self.lists[list].head = node;
        } else {
            self.nodes[tail as usize].next = node;
        }
        self.lists[list].tail = node;
    }

    fn splice_due(&mut self, slot_index: usize) {
        self.bitmaps[0].clear(slot_index);
        let mut node = std::mem::replace(&mut self.lists[slot_index].head, NONE);
        self.lists[slot_index].tail = NONE;
        while node != NONE {
            let next = self.nodes[node as usize].next;
            self.push(DUE, node);
            node = next;
        }
    }

    fn cascade(&mut self, level: usize, slot_index: usize) {
        let list = level * SLOTS + slot_index;
        self.bitmaps[level].clear(slot_index);
        let mut node = std::mem::replace(&mut self.lists[list].head, NONE);
        self.lists[list].tail = NONE;
        while node != NONE {
            let next = self.nodes[node as usize].next;
            self.place(node);
            node = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        wheel.advance(Nanos(now));
        std::iter::from_fn(|| wheel.pop_due()).collect()
    }

    #[test]
    fn rounds_up_and_never_fires_early() {
        let mut w = Wheel::new(4, Nanos(1024), Nanos(0));
        w.insert(0, Nanos(1));
        w.insert(1, Nanos(1024));
        w.insert(2, Nanos(1025));
        assert!(fired(&mut w, 1023).is_empty());
        assert_eq!(w.next_event(), Some(Nanos(1024)));
        assert_eq!(fired(&mut w, 1024), [0, 1]);
        assert!(fired(&mut w, 2047).is_empty());
        assert_eq!(fired(&mut w, 2048), [2]);
        assert_eq!(w.next_event(), None);
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_insertion_across_levels() {
        let mut w = Wheel::new(4, Nanos(64), Nanos(0));
        let far = 64 * 5_000;
        w.insert(3, Nanos(far)); // level 1 now
        assert!(fired(&mut w, 64 * 4_500).is_empty()); // cascaded to level 0
        w.insert(1, Nanos(far)); // level 0 at once
        assert_eq!(fired(&mut w, far), [3, 1]);
    }

    #[test]
    fn beyond_the_last_level_it_fires_at_its_end_and_not_before() {
        let mut w = Wheel::new(1, Nanos(64), Nanos(0));
        w.insert(0, Nanos(u64::MAX / 2));
        let end = ((1u64 << 36) - 1) * 64;
        let mut now = 0;
        while let Some(t) = w.next_event() {
            assert!(t.0 >= now);
            now = t.0;
            if !fired(&mut w, now).is_empty() {
                break;
            }
        }
        assert_eq!(now, end);
    }

    #[test]
    fn a_leap_over_a_century_takes_no_longer_than_one_over_a_slot() {
        let mut w = Wheel::new(2, Nanos(64), Nanos(0));
        w.insert(0, Nanos(1 << 40));
        w.insert(1, Nanos(1 << 40 | 64));
        // Slot by slot, or block by block, this would not end.
        assert_eq!(fired(&mut w, 1 << 62), [0, 1]);
        w.insert(0, Nanos(0));
        assert_eq!(fired(&mut w, (1 << 62) + 64), [0]);
    }

    proptest! {
        /// Against a sorted map of (slot, insertion number): same nodes, same order, same times.
        #[test]
        fn agrees_with_a_sorted_map(
            slot_log2 in 6u32..14,
            steps in prop::collection::vec(
                (0u32..32, 0u64..1u64 << 32, prop_oneof![0u64..1 << 28, 0u64..1 << 33], any::<bool>()),
                1..300,
            ),
        ) {
            let slot = 1u64 << slot_log2;
            let mut w = Wheel::new(32, Nanos(slot), Nanos(0));
            let mut model: BTreeMap<(u64, usize), u32> = BTreeMap::new();
            let mut now = 0u64;
            for (n, (node, ahead, step, remove)) in steps.into_iter().enumerate() {
                model.retain(|_, v| *v != node);
                if remove {
                    w.remove(node);
                } else {
                    w.insert(node, Nanos(now + ahead));
                    let at = (now + ahead).div_ceil(slot).max(w.cursor);
                    model.insert((at, n), node);
                }
                prop_assert_eq!(w.len(), model.len());
                if let Some(t) = w.next_event() {
                    let first = model.keys().next().unwrap().0 * slot;
                    prop_assert!(t.0 <= first);
                }
                now += step;
                let due: Vec<u32> = {
                    let keys: Vec<_> = model.range(..=(now / slot, usize::MAX)).map(|(k, _)| *k).collect();
                    keys.iter().map(|k| model.remove(k).unwrap()).collect()
                };
                prop_assert_eq!(fired(&mut w, now), due);
            }
        }
    }
}
