//! A timing wheel over node indices: when does which node's time come?
//!
//! Deadlines are rounded **up** to a slot; nodes of one slot fire in the order in which they were
//! inserted. Three levels: *near*, a list for each slot of the block of 4,096 that holds the cursor
//! and of the 15 blocks after it; *middle*, a list for each block of this span of 4,096 blocks and of
//! the next one; *far*, a list for each of 255 spans. A node that is further away fires at the end
//! of the last span and is looked at again by its owner (Carousel bunches such packets at the
//! horizon and so releases them early).
//!
//! What waits in *middle* and *far* moves nearer long before its block begins, a few nodes for each
//! slot that passes, so that no single [`Wheel::advance`] pays for a block. Until all of a list has
//! moved, what is inserted goes to its tail: so order is kept.
//!
//! Intrusive, 12 bytes for each node and 0.6 MB for the lists; no allocation after construction.
//! Every call is O(1) but [`Wheel::advance`]. Use: [`Wheel::insert`], then for each turn
//! [`Wheel::advance`] and [`Wheel::pop_due`] until it says there is none.

use crate::time::Nanos;

/// Slots of a block, blocks of a span: one word of the bitmap's summary covers 64 x 64.
const GROUP_LOG2: u32 = 12;
const GROUP: usize = 1 << GROUP_LOG2;
/// Blocks that are near: 67 ms with slots of 1 us, longer than most gaps of a paced flow.
const NEAR_BLOCKS: u64 = 16;
/// Where the lists of a level begin.
const MIDDLE: usize = NEAR_BLOCKS as usize * GROUP;
const FAR: usize = MIDDLE + 2 * GROUP;
/// Lists of far: what 32 bits of a slot leave to it.
const SPANS: u64 = 256;
const LISTS: usize = FAR + SPANS as usize;
/// One node moves nearer for so many ns of a slot: more nodes in each slot could not be sent in their
/// time anyway, fewer would leave work for the start of a block.
const NS_PER_MOVE: u64 = 64;
const NONE: u32 = u32::MAX;
/// Stands for the next node of one that is not on the wheel.
const OFF: u32 = u32::MAX - 1;

/// What of a node is read only when it is taken out or moves nearer.
#[derive(Clone, Copy, Debug)]
struct Cold {
    /// Means nothing at the head.
    prev: u32,
    /// The lower half of the slot of its deadline: all that its lists depend on.
    slot: u32,
}

/// The nodes. What every release reads is apart, 16 to a cache line.
#[derive(Debug)]
struct Nodes {
    /// `NONE` at the tail, `OFF` = not on the wheel.
    next: Box<[u32]>,
    cold: Box<[Cold]>,
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

    /// Adds a node at the tail. Whether the list was empty.
    #[inline]
    fn push(&mut self, nodes: &mut Nodes, node: u32, slot: u32) -> bool {
        let tail = std::mem::replace(&mut self.tail, node);
        nodes.next[node as usize] = NONE;
        nodes.cold[node as usize] = Cold { prev: tail, slot };
        if self.head == NONE {
            self.head = node;
            return true;
        }
        nodes.next[tail as usize] = node;
        false
    }

    /// Adds a whole list at the tail.
    #[inline]
    fn append(&mut self, nodes: &mut Nodes, other: Self) {
        if self.head == NONE {
            self.head = other.head;
        } else {
            nodes.next[self.tail as usize] = other.head;
            nodes.cold[other.head as usize].prev = self.tail;
        }
        self.tail = other.tail;
    }

    /// Takes out the member at one of its ends.
    fn unlink_end(&mut self, nodes: &mut Nodes, node: u32) {
        let next = nodes.next[node as usize];
        if self.head == node {
            self.head = next;
        } else {
            self.tail = nodes.cold[node as usize].prev;
            nodes.next[self.tail as usize] = NONE;
        }
    }

    /// Whether `node` is at one of its ends.
    const fn ends_with(self, node: u32) -> bool {
        self.head != NONE && (self.head == node || self.tail == node)
    }
}

/// Which lists hold something: a bit for each, a bit for each word of 64, a bit for each 4,096.
#[derive(Clone, Debug)]
struct Bitmap {
    words: Box<[u64; LISTS / 64]>,
    summaries: [u64; LISTS.div_ceil(GROUP)],
    groups: u64,
}

impl Bitmap {
    fn new() -> Self {
        Self { words: Box::new([0; LISTS / 64]), summaries: [0; LISTS.div_ceil(GROUP)], groups: 0 }
    }

    #[inline]
    fn set(&mut self, list: usize) {
        self.words[list / 64] |= 1 << (list % 64);
        self.summaries[list / GROUP] |= 1 << (list / 64 % 64);
        self.groups |= 1 << (list / GROUP);
    }

    #[inline]
    fn clear(&mut self, list: usize) {
        let word = &mut self.words[list / 64];
        *word &= !(1 << (list % 64));
        if *word == 0 {
            let summary = &mut self.summaries[list / GROUP];
            *summary &= !(1 << (list / 64 % 64));
            if *summary == 0 {
                self.groups &= !(1 << (list / GROUP));
            }
        }
    }

    /// The first list of a group that holds something, at or after `from`.
    #[inline]
    fn next(&self, from: usize) -> Option<usize> {
        let word = self.words[from / 64] & (!0 << (from % 64));
        if word != 0 {
            return Some(from / 64 * 64 + word.trailing_zeros() as usize);
        }
        // Twice: a shift by 64 is none.
        let rest = self.summaries[from / GROUP] & (!0 << (from / 64 % 64) << 1);
        if rest == 0 {
            return None;
        }
        let word = from / GROUP * (GROUP / 64) + rest.trailing_zeros() as usize;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Wheel {
    slot_log2: u32,
    moves_per_slot: u64,
    /// Every slot before it has fired.
    cursor: u64,
    /// Slots before it may be inserted to directly: the start of a block, at most 16 blocks from the
    /// cursor's. Of that block something may still wait in a list of a higher level, and would come
    /// behind.
    near_end: u64,
    /// The same for blocks: the start of a span, at most 2 spans from the cursor's.
    middle_end: u64,
    /// What has fired and was not popped yet.
    due: List,
    lists: Box<[List; LISTS]>,
    bitmap: Bitmap,
    nodes: Nodes,
}

const fn block_of(slot: u64) -> u64 {
    slot >> GROUP_LOG2
}

const fn span_of(slot: u64) -> u64 {
    slot >> (2 * GROUP_LOG2)
}

const fn near_list(slot: u64) -> usize {
    slot as usize % MIDDLE
}

/// The furthest that direct insertion may reach: the lists of near are then all in use.
const fn near_end_max(cursor: u64) -> u64 {
    (block_of(cursor) + NEAR_BLOCKS) << GROUP_LOG2
}

const fn middle_list(block: u64) -> usize {
    MIDDLE + block as usize % (2 * GROUP)
}

const fn far_list(span: u64) -> usize {
    FAR + (span % SPANS) as usize
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
            near_end: 0,
            middle_end: 0,
            due: List::EMPTY,
            lists: Box::new([List::EMPTY; LISTS]),
            bitmap: Bitmap::new(),
            nodes: Nodes {
                next: vec![OFF; nodes].into_boxed_slice(),
                cold: vec![Cold { prev: NONE, slot: 0 }; nodes].into_boxed_slice(),
            },
        };
        wheel.open_all();
        wheel
    }

    /// Whether `node` waits for its time (or its time has come and it was not popped yet).
    #[inline]
    pub fn contains(&self, node: u32) -> bool {
        self.nodes.next[node as usize] != OFF
    }

    /// Whether no node waits.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.bitmap.groups == 0 && self.due.head == NONE
    }

    /// Puts `node` on the wheel: it fires at the first slot boundary at or after `at`. A node that
    /// is on the wheel is moved.
    #[inline]
    pub fn insert(&mut self, node: u32, at: Nanos) {
        if self.contains(node) {
            self.remove(node);
        }
        let mask = (1u64 << self.slot_log2) - 1;
        let slot = (at.0.saturating_add(mask) >> self.slot_log2).max(self.cursor);
        if slot < self.near_end {
            self.push(near_list(slot), node, slot);
        } else {
            self.insert_beyond(node, slot);
        }
    }

    #[inline(never)]
    fn insert_beyond(&mut self, node: u32, slot: u64) {
        // Beyond far: the last slot that far reaches; the owner looks again there.
        let last = ((span_of(self.cursor) + SPANS) << (2 * GROUP_LOG2)) - 1;
        let slot = slot.min(last);
        let is_middle = slot < self.middle_end;
        let list = if is_middle { middle_list(block_of(slot)) } else { far_list(span_of(slot)) };
        self.push(list, node, slot);
    }

    #[inline]
    fn push(&mut self, list: usize, node: u32, slot: u64) {
        if self.lists[list].push(&mut self.nodes, node, slot as u32) {
            self.bitmap.set(list);
        }
    }

    /// Takes `node` off the wheel, if it is on it.
    pub fn remove(&mut self, node: u32) {
        let next = self.nodes.next[node as usize];
        if next == OFF {
            return;
        }
        let Cold { prev, slot } = self.nodes.cold[node as usize];
        if self.due.ends_with(node) {
            self.due.unlink_end(&mut self.nodes, node);
        } else if let Some(list) = self.end_of(node, u64::from(slot)) {
            self.lists[list].unlink_end(&mut self.nodes, node);
            if self.lists[list].head == NONE {
                self.bitmap.clear(list);
            }
        } else {
            self.nodes.next[prev as usize] = next;
            self.nodes.cold[next as usize].prev = prev;
        }
        self.nodes.next[node as usize] = OFF;
    }

    /// The list that `node` is at an end of. It may have moved nearer or not, so all are asked that
    /// its slot has; in the middle of a list it does not matter which one it is.
    fn end_of(&self, node: u32, slot: u64) -> Option<usize> {
        [near_list(slot), middle_list(block_of(slot)), far_list(span_of(slot))]
            .into_iter()
            .find(|&list| self.lists[list].ends_with(node))
    }

    /// Makes every node due whose time is at or before `now`; then take them with
    /// [`Wheel::pop_due`]. All advance before any fires. Bounded by the slots that fire and by a few
    /// nodes that move nearer for each slot passed; more only where so many wait for one block that
    /// they could not be sent in its time.
    #[inline]
    pub fn advance(&mut self, now: Nanos) {
        let target = now.0 >> self.slot_log2;
        if target >= self.cursor {
            self.advance_to(target);
        }
    }

    fn advance_to(&mut self, target: u64) {
        if self.bitmap.groups == 0 {
            self.cursor = target + 1;
            self.open_all();
            return;
        }
        let from = self.cursor;
        loop {
            let end = self.cursor | (GROUP as u64 - 1);
            self.fire(self.cursor, target.min(end));
            if target < end {
                self.cursor = target + 1;
                break;
            }
            // To the next block that holds something: a capture may leap over years.
            let next = self.next_slot().map_or(target + 1, |slot| slot.min(target + 1));
            self.enter(next);
            if self.cursor > target {
                break;
            }
        }
        if self.near_end < near_end_max(self.cursor) {
            self.move_nearer((self.cursor - from).saturating_mul(self.moves_per_slot));
        }
    }

    /// Nothing waits, so nothing is in the way.
    fn open_all(&mut self) {
        self.near_end = near_end_max(self.cursor);
        self.middle_end = (span_of(self.cursor) + 2) << (2 * GROUP_LOG2);
    }

    /// Takes the next node whose time has come, in the order of slots, then of insertion.
    #[inline]
    pub fn pop_due(&mut self) -> Option<u32> {
        let node = self.due.head;
        if node == NONE {
            return None;
        }
        self.due.head = std::mem::replace(&mut self.nodes.next[node as usize], OFF);
        Some(node)
    }

    /// No node fires before this; exact where the next node is near, else it may be the start of its
    /// block or span. `None` = empty.
    #[inline]
    pub fn next_event(&self) -> Option<Nanos> {
        if self.due.head != NONE {
            return Some(Nanos::ZERO);
        }
        self.next_slot().map(|slot| Nanos(slot << self.slot_log2))
    }

    /// The next slot that holds something, or the start of the next block or span that does.
    fn next_slot(&self) -> Option<u64> {
        if self.bitmap.groups == 0 {
            return None;
        }
        let (block, span) = (block_of(self.cursor), span_of(self.cursor));
        let in_group = |i: usize| i as u64 % GROUP as u64;
        if let Some(i) = self.bitmap.next(near_list(self.cursor)) {
            return Some(block << GROUP_LOG2 | in_group(i));
        }
        // Near blocks after this one, turned so that the next one is the lowest bit.
        let blocks = (self.bitmap.groups as u16).rotate_right((block % NEAR_BLOCKS) as u32) >> 1;
        let near = (blocks != 0).then(|| {
            let next = block + 1 + u64::from(blocks.trailing_zeros());
            let i = self.bitmap.next(near_list(next << GROUP_LOG2)).unwrap_or(0);
            next << GROUP_LOG2 | in_group(i)
        });
        let middle = self.bitmap.next(middle_list(block)).map(|i| span << GROUP_LOG2 | in_group(i));
        let middle = middle.or_else(|| {
            let next = (span + 1) << GROUP_LOG2;
            self.bitmap.next(middle_list(next)).map(|i| next | in_group(i))
        });
        let far = self.bitmap.next(far_list(span)).or_else(|| self.bitmap.next(FAR));
        let far = far.map(|i| span + ((i - FAR) as u64).wrapping_sub(span) % SPANS);
        [near, middle.map(|b| b << GROUP_LOG2), far.map(|s| s << (2 * GROUP_LOG2))]
            .into_iter()
            .flatten()
            .min()
    }

    /// Makes the slots `from..=last` of one block due.
    #[inline]
    fn fire(&mut self, from: u64, last: u64) {
        let (mut from, last) = (near_list(from), near_list(last));
        if from == last {
            // The usual case: polled in each slot.
            if self.lists[from].head != NONE {
                self.fire_list(from);
            }
            return;
        }
        while let Some(list) = self.bitmap.next(from).filter(|&list| list <= last) {
            self.fire_list(list);
            if list == last {
                return;
            }
            from = list + 1;
        }
    }

    #[inline]
    fn fire_list(&mut self, list: usize) {
        self.bitmap.clear(list);
        let fired = std::mem::replace(&mut self.lists[list], List::EMPTY);
        self.due.append(&mut self.nodes, fired);
    }

    /// The cursor goes to a slot of another block. What of its block and span has not moved nearer
    /// yet does so now; where the slot is not at the start of its block there is nothing such.
    fn enter(&mut self, slot: u64) {
        let is_new_span = span_of(slot) != span_of(self.cursor);
        self.cursor = slot;
        if is_new_span {
            self.spread(far_list(span_of(slot)), u64::MAX);
            self.middle_end = self.middle_end.max((span_of(slot) + 1) << (2 * GROUP_LOG2));
        }
        self.spread(middle_list(block_of(slot)), u64::MAX);
        self.near_end = self.near_end.max((block_of(slot) + 1) << GROUP_LOG2);
    }

    /// Moves up to `moves` nodes nearer, the next ones first, and opens what is complete.
    #[inline(never)]
    fn move_nearer(&mut self, mut moves: u64) {
        let next = span_of(self.cursor) + 1;
        if span_of(self.middle_end) == next {
            moves -= self.spread(far_list(next), moves);
            if self.lists[far_list(next)].head == NONE {
                self.middle_end = (next + 1) << (2 * GROUP_LOG2);
            }
        }
        let end = near_end_max(self.cursor).min(self.middle_end);
        while self.near_end < end {
            let list = middle_list(block_of(self.near_end));
            moves -= self.spread(list, moves);
            if self.lists[list].head != NONE {
                return;
            }
            self.near_end += GROUP as u64;
        }
    }

    /// Moves up to `moves` nodes of a list, first ones first, one level nearer. Returns how many.
    fn spread(&mut self, list: usize, moves: u64) -> u64 {
        let mut node = self.lists[list].head;
        if node == NONE {
            return 0;
        }
        let mut moved = 0;
        while node != NONE && moved < moves {
            let slot = u64::from(self.nodes.cold[node as usize].slot);
            let next = self.nodes.next[node as usize];
            let to = if list < FAR { near_list(slot) } else { middle_list(block_of(slot)) };
            self.push(to, node, slot);
            node = next;
            moved += 1;
        }
        self.lists[list].head = node;
        if node == NONE {
            self.bitmap.clear(list);
        }
        moved
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
        let end = ((1u64 << 32) - 1) * 64;
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
                prop_assert_eq!((0..32).filter(|&n| w.contains(n)).count(), model.len());
                prop_assert_eq!(w.is_empty(), model.is_empty());
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
