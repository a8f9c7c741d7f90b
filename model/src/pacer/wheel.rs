//! A timing wheel over node indices: when does which node's time come?
//!
//! Deadlines are rounded **up** to a slot; nodes of one slot fire in the order in which they were
//! inserted. Three levels: *near*, a slot each for the block of 4,096 slots that holds the cursor and
//! for the one after it; *middle*, a list for each block of the same 4,096 blocks; *far*, a list for
//! each 4,096 blocks. A node that is further away than *far* reaches fires at the end of *far* and is
//! looked at again by its owner (Carousel bunches such packets at the horizon and so releases them
//! early).
//!
//! What waits in the list of the next block moves to its slots while the cursor passes through the
//! block before, a few nodes for each slot, so that no single [`Wheel::advance`] pays for a block.
//!
//! Intrusive, 16 bytes for each node and 130 KiB for the slots; no allocation after construction.
//! Every call is O(1) but [`Wheel::advance`]. Use: [`Wheel::insert`], then for each turn
//! [`Wheel::advance`] and [`Wheel::pop_due`] until it says there is none.

use crate::time::Nanos;

const SLOTS_LOG2: u32 = 12;
const SLOTS: usize = 1 << SLOTS_LOG2;
/// Where the lists of a level begin. Near is two blocks, the even and the odd one.
const MIDDLE: usize = 2 * SLOTS;
const FAR: usize = 3 * SLOTS;
const LISTS: usize = 4 * SLOTS;
/// Slots from one level to the next.
const BLOCK: u64 = 1 << SLOTS_LOG2;
const SPAN: u64 = 1 << (2 * SLOTS_LOG2);
const REACH: u64 = 1 << (3 * SLOTS_LOG2);
/// One node of the next block moves ahead for so many ns of a slot: more nodes than that in each slot
/// could not be sent in their time anyway, fewer would leave work for the start of the block.
const NS_PER_MOVE: u64 = 64;
const NONE: u32 = u32::MAX;
/// The slot of a node that is not on the wheel.
const OFF: u64 = u64::MAX;

/// Four to a cache line. The list it is in follows from its slot and the cursor.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Absolute slot of its deadline, `OFF` = not on the wheel.
    slot: u64,
    /// `NONE` at the tail.
    next: u32,
    /// Means nothing at the head.
    prev: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    /// `NONE` = empty.
    head: u32,
    /// Means nothing while the list is empty.
    tail: u32,
}

impl List {
    const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// Adds a node at the tail.
    #[inline]
    fn push(&mut self, nodes: &mut [Node], node: u32, slot: u64) {
        let tail = std::mem::replace(&mut self.tail, node);
        nodes[node as usize] = Node { slot, next: NONE, prev: tail };
        if self.head == NONE {
            self.head = node;
        } else {
            nodes[tail as usize].next = node;
        }
    }

    /// Adds a whole list at the tail.
    #[inline]
    fn append(&mut self, nodes: &mut [Node], other: Self) {
        if self.head == NONE {
            self.head = other.head;
        } else {
            nodes[self.tail as usize].next = other.head;
            nodes[other.head as usize].prev = self.tail;
        }
        self.tail = other.tail;
    }

    /// Takes out a member.
    #[inline]
    fn unlink(&mut self, nodes: &mut [Node], node: u32) {
        let Node { next, prev, .. } = nodes[node as usize];
        if self.head == node {
            self.head = next;
        } else {
            nodes[prev as usize].next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            nodes[next as usize].prev = prev;
        }
    }
}

/// Which lists hold something: a bit for each, and a bit for each word of them.
#[derive(Clone, Debug)]
struct Bitmap {
    words: [u64; LISTS / 64],
    summaries: [u64; LISTS / SLOTS],
}

impl Bitmap {
    const EMPTY: Self = Self { words: [0; LISTS / 64], summaries: [0; LISTS / SLOTS] };

    #[inline]
    fn set(&mut self, list: usize) {
        self.words[list % LISTS / 64] |= 1 << (list % 64);
        self.summaries[list % LISTS / SLOTS] |= 1 << (list / 64 % 64);
    }

    #[inline]
    fn clear(&mut self, list: usize) {
        let word = &mut self.words[list % LISTS / 64];
        *word &= !(1 << (list % 64));
        if *word == 0 {
            self.summaries[list % LISTS / SLOTS] &= !(1 << (list / 64 % 64));
        }
    }

    /// The first list that holds something, at or after `from` and in the same 4,096.
    #[inline]
    fn next(&self, from: usize) -> Option<usize> {
        let word = self.words[from % LISTS / 64] & (!0 << (from % 64));
        if word != 0 {
            return Some(from / 64 * 64 + word.trailing_zeros() as usize);
        }
        // Twice: a shift by 64 is none.
        let rest = self.summaries[from % LISTS / SLOTS] & (!0 << (from / 64 % 64) << 1);
        if rest == 0 {
            return None;
        }
        let word = from / SLOTS * (SLOTS / 64) + rest.trailing_zeros() as usize;
        Some(word * 64 + self.words[word % (LISTS / 64)].trailing_zeros() as usize)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Wheel {
    slot_log2: u32,
    moves_per_slot: u64,
    /// Every slot before it has fired.
    cursor: u64,
    /// How many blocks after the cursor's may be inserted to directly: one while the list of the
    /// next block is empty, else none, or what moves ahead from it would come behind.
    open: u64,
    len: usize,
    /// What has fired and was not popped yet.
    due: List,
    lists: Box<[List; LISTS]>,
    bitmap: Box<Bitmap>,
    nodes: Box<[Node]>,
}

impl Wheel {
    /// A wheel for nodes `0..nodes` whose time starts at `start`. `slot` is a power of two in ns.
    pub fn new(nodes: usize, slot: Nanos, start: Nanos) -> Self {
        debug_assert!(slot.0.is_power_of_two());
        let slot_log2 = slot.0.trailing_zeros();
        let mut wheel = Self {
            slot_log2,
            moves_per_slot: (slot.0 / NS_PER_MOVE).max(1),
            cursor: start.0 >> slot_log2,
            open: 0,
            len: 0,
            due: List::EMPTY,
            lists: Box::new([List::EMPTY; LISTS]),
            bitmap: Box::new(Bitmap::EMPTY),
            nodes: vec![Node { slot: OFF, next: NONE, prev: NONE }; nodes].into_boxed_slice(),
        };
        wheel.look_ahead();
        wheel
    }

    /// Whether `node` waits for its time (or its time has come and it was not popped yet).
    #[inline]
    pub fn contains(&self, node: u32) -> bool {
        self.nodes[node as usize].slot != OFF
    }

    /// Puts `node` on the wheel: it fires at the first slot boundary at or after `at`. A node that
    /// is on the wheel is moved.
    #[inline]
    pub fn insert(&mut self, node: u32, at: Nanos) {
        if self.contains(node) {
            self.remove(node);
        }
        let mask = (1u64 << self.slot_log2) - 1;
        let slot = (at.0 >> self.slot_log2) + u64::from(at.0 & mask != 0);
        self.len += 1;
        // Beyond far: the last slot that far reaches; the owner looks again there.
        self.place(node, slot.clamp(self.cursor, self.cursor | (REACH - 1)));
    }

    /// Takes `node` off the wheel, if it is on it.
    pub fn remove(&mut self, node: u32) {
        let slot = self.nodes[node as usize].slot;
        if slot == OFF {
            return;
        }
        if slot < self.cursor {
            self.due.unlink(&mut self.nodes, node);
        } else {
            let mut list = self.list_of(slot, 1);
            if list < MIDDLE {
                // It may still be in the list of the next block. Which of the two it is in matters
                // at the ends of a list only.
                let unmoved = MIDDLE + (slot >> SLOTS_LOG2) as usize % SLOTS;
                let List { head, tail } = self.lists[unmoved % LISTS];
                if head != NONE && (head == node || tail == node) {
                    list = unmoved;
                }
            }
            let l = &mut self.lists[list % LISTS];
            l.unlink(&mut self.nodes, node);
            if l.head == NONE {
                self.bitmap.clear(list);
            }
        }
        self.nodes[node as usize].slot = OFF;
        self.len -= 1;
    }

    /// Makes every node due whose time is at or before `now`; then take them with
    /// [`Wheel::pop_due`]. All advance before any fires. Bounded by the slots that fire, and by the
    /// nodes that change level: a few for each slot passed, but for those of a block that is denser
    /// than that, and once in 2^24 slots.
    #[inline]
    pub fn advance(&mut self, now: Nanos) {
        let target = now.0 >> self.slot_log2;
        if target >= self.cursor {
            self.advance_to(target);
        }
    }

    fn advance_to(&mut self, target: u64) {
        if self.len == 0 {
            self.cursor = target + 1;
            self.look_ahead();
            return;
        }
        loop {
            let from = self.cursor;
            let end = from | (BLOCK - 1);
            self.fire(from, target.min(end));
            if target < end {
                self.cursor = target + 1;
                if self.open == 0 {
                    self.move_ahead((target + 1 - from).saturating_mul(self.moves_per_slot));
                }
                return;
            }
            // To the next block that holds something: a capture may leap over years.
            self.cursor = self.next_slot().map_or(target + 1, |slot| slot.min(target + 1));
            self.enter();
            if self.cursor > target {
                return;
            }
        }
    }

    /// Takes the next node whose time has come, in the order of slots, then of insertion.
    #[inline]
    pub fn pop_due(&mut self) -> Option<u32> {
        let node = self.due.head;
        if node == NONE {
            return None;
        }
        let n = &mut self.nodes[node as usize];
        n.slot = OFF;
        self.due.head = n.next;
        self.len -= 1;
        Some(node)
    }

    /// No node fires before this; exact while the next node is in the cursor's block of 4,096 slots,
    /// else it may be the start of a block. `None` = empty.
    #[inline]
    pub fn next_event(&self) -> Option<Nanos> {
        if self.len == 0 {
            return None;
        }
        if self.due.head != NONE {
            return Some(Nanos::ZERO);
        }
        self.next_slot().map(|slot| Nanos(slot << self.slot_log2))
    }

    /// The next slot that holds something, or the start of the next block that does.
    fn next_slot(&self) -> Option<u64> {
        let (block, near) = (self.cursor >> SLOTS_LOG2, self.cursor as usize % MIDDLE);
        if let Some(i) = self.bitmap.next(near) {
            return Some(block << SLOTS_LOG2 | (i % SLOTS) as u64);
        }
        let middle = self.bitmap.next(MIDDLE + block as usize % SLOTS);
        let middle = middle.map(|i| block & !(BLOCK - 1) | (i % SLOTS) as u64);
        let ahead = self.bitmap.next((near / SLOTS ^ 1) * SLOTS);
        match (middle, ahead) {
            // What of the next block has not moved yet may be before what has.
            (Some(next), Some(i)) if next != block + 1 => {
                Some((block + 1) << SLOTS_LOG2 | (i % SLOTS) as u64)
            }
            (Some(next), _) => Some(next << SLOTS_LOG2),
            (None, Some(i)) => Some((block + 1) << SLOTS_LOG2 | (i % SLOTS) as u64),
            (None, None) => {
                let far = block >> SLOTS_LOG2;
                let i = self.bitmap.next(FAR + far as usize % SLOTS)?;
                Some((far & !(BLOCK - 1) | (i % SLOTS) as u64) << (2 * SLOTS_LOG2))
            }
        }
    }

    /// Nodes on the wheel.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no node waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The list of a slot that has not fired, where `open` blocks after the cursor's count as near.
    #[inline]
    fn list_of(&self, slot: u64, open: u64) -> usize {
        let blocks = (slot >> SLOTS_LOG2) - (self.cursor >> SLOTS_LOG2);
        let same_span = (slot ^ self.cursor) < SPAN;
        let near = slot as usize % MIDDLE;
        let middle = MIDDLE + (slot >> SLOTS_LOG2) as usize % SLOTS;
        let far = FAR + (slot >> (2 * SLOTS_LOG2)) as usize % SLOTS;
        // Chosen, not branched to: deadlines are not predictable.
        let beyond = if same_span { middle } else { far };
        if (blocks <= open) & same_span { near } else { beyond }
    }

    #[inline]
    fn place(&mut self, node: u32, slot: u64) {
        let list = self.list_of(slot, self.open);
        self.lists[list % LISTS].push(&mut self.nodes, node, slot);
        self.bitmap.set(list);
    }

    /// Makes the slots `from..=last` of the cursor's block due.
    #[inline]
    fn fire(&mut self, from: u64, last: u64) {
        let (mut near, last) = (from as usize % MIDDLE, last as usize % MIDDLE);
        while let Some(list) = self.bitmap.next(near).filter(|&list| list <= last) {
            self.bitmap.clear(list);
            let fired = std::mem::replace(&mut self.lists[list % LISTS], List::EMPTY);
            self.due.append(&mut self.nodes, fired);
            if list == last {
                return;
            }
            near = list + 1;
        }
    }

    /// The cursor is in another block. Where it is not at its start nothing of it waits elsewhere.
    fn enter(&mut self) {
        self.open = 0;
        if self.cursor.is_multiple_of(BLOCK) {
            if self.cursor.is_multiple_of(SPAN) {
                self.spread(FAR + (self.cursor >> (2 * SLOTS_LOG2)) as usize % SLOTS, u64::MAX);
            }
            self.spread(MIDDLE + (self.cursor >> SLOTS_LOG2) as usize % SLOTS, u64::MAX);
        }
        self.look_ahead();
    }

    /// Whether the next block may be inserted to directly.
    #[inline]
    fn look_ahead(&mut self) {
        let next = (self.cursor >> SLOTS_LOG2) as usize % SLOTS + 1;
        // The first block of a span is in far until the cursor comes to it.
        self.open = u64::from(next < SLOTS && self.lists[(MIDDLE + next) % LISTS].head == NONE);
    }

    /// Moves up to `moves` nodes of the next block to their slots.
    #[inline(never)]
    fn move_ahead(&mut self, moves: u64) {
        let next = (self.cursor >> SLOTS_LOG2) as usize % SLOTS + 1;
        if next < SLOTS {
            // As near while they move.
            self.open = 1;
            self.spread(MIDDLE + next, moves);
            self.look_ahead();
        }
    }

    /// Moves up to `moves` nodes of a list, first ones first, to where they belong now.
    fn spread(&mut self, list: usize, moves: u64) {
        let mut node = self.lists[list % LISTS].head;
        for _ in 0..moves {
            if node == NONE {
                break;
            }
            let Node { slot, next, .. } = self.nodes[node as usize];
            self.place(node, slot);
            node = next;
        }
        self.lists[list % LISTS].head = node;
        if node == NONE {
            self.bitmap.clear(list);
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
