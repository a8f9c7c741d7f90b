//! A timing wheel over node indices: when does which node's time come?
//!
//! Deadlines are rounded **up** to a slot; nodes of one slot fire in the order in which they were
//! inserted. Three levels: *near*, a list for each of the next 65,536 slots or so; *middle*, a list
//! for each block of 64 slots, of this span of 4,096 blocks and of the next one; *far*, a list for
//! each of 255 spans. A node that is further away fires at the end of the last span and is looked at
//! again by its owner (Carousel bunches such packets at the horizon and so releases them early).
//!
//! What waits in *middle* and *far* moves nearer long before its time, a few nodes for each slot that
//! passes, so that no single [`Wheel::advance`] pays for a block. Until all of a list has moved, what
//! is inserted goes to its tail: so order is kept.
//!
//! Intrusive, 12 bytes for each node and 0.6 MB for the lists; no allocation after construction.
//! Every call is O(1) but [`Wheel::advance`]. Use: [`Wheel::insert`], then for each turn
//! [`Wheel::advance`] and [`Wheel::pop_due`] until it says there is none.

use crate::time::Nanos;

/// Lists of a group: one word of the bitmap's summary covers 64 x 64.
const GROUP: usize = 4096;
/// Slots that are near: 67 ms with slots of 1 us, longer than most gaps of a paced flow. The lowest
/// 16 bits of a slot are its list.
const NEAR: usize = 16 * GROUP;
const BLOCK_LOG2: u32 = 6;
/// Blocks that move nearer together, side by side: to follow one list only is to wait for one cache
/// miss after the other.
const BLOCKS: u64 = 16;
/// Slots of so many blocks.
const STEP: u64 = BLOCKS << BLOCK_LOG2;
const SPAN_LOG2: u32 = BLOCK_LOG2 + 12;
/// Lists of far.
const SPANS: u64 = 256;
/// Where the lists of a level begin.
const MIDDLE: usize = NEAR;
const FAR: usize = MIDDLE + 2 * GROUP;
const LISTS: usize = FAR + SPANS as usize;
/// One node moves nearer for so many ns of a slot: more nodes in each slot could not be sent in their
/// time anyway, fewer would leave work for the start of a block.
const NS_PER_MOVE: u64 = 64;
/// Nodes move nearer once in so many slots.
const MOVE_EVERY: u64 = 4;
/// With more nodes than that they are 1.5 MiB, more than the L2 cache of a core.
const CACHED_NODES: usize = 1 << 17;
/// So many slots are then read ahead at a time, side by side as well.
const AHEAD: u64 = 16;
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
    reads_ahead: bool,
    /// Every slot before it has fired.
    cursor: u64,
    /// Slots before it may be inserted to directly; a multiple of `STEP`, after the cursor. Of what
    /// is behind it something may still wait in middle or far, and would come behind.
    near_end: u64,
    /// The same for blocks: the start of the next span or of the one after it.
    middle_end: u64,
    /// What has fired and was not popped yet.
    due: List,
    lists: Box<[List; LISTS]>,
    bitmap: Bitmap,
    nodes: Nodes,
}

const fn span_of(slot: u64) -> u64 {
    slot >> SPAN_LOG2
}

const fn near_list(slot: u64) -> usize {
    slot as usize % NEAR
}

const fn middle_list(slot: u64) -> usize {
    MIDDLE + (slot >> BLOCK_LOG2) as usize % (2 * GROUP)
}

const fn far_list(slot: u64) -> usize {
    FAR + (span_of(slot) % SPANS) as usize
}

/// The furthest that direct insertion may reach: the lists of near are then all in use.
const fn near_end_max(cursor: u64) -> u64 {
    (cursor & !(STEP - 1)) + NEAR as u64
}

impl Wheel {
    /// A wheel for nodes `0..nodes` whose time starts at `start`. `slot` is a power of two in ns.
    pub fn new(nodes: usize, slot: Nanos, start: Nanos) -> Self {
        debug_assert!(slot.0.is_power_of_two());
        let slot_log2 = slot.0.trailing_zeros();
        let mut wheel = Self {
            slot_log2,
            moves_per_slot: (slot.0 / NS_PER_MOVE).max(1),
            reads_ahead: nodes > CACHED_NODES,
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

    /// When `node` fires; `None` = it does not wait. Put back there, it fires at the same time.
    pub fn fires_at(&self, node: u32) -> Option<Nanos> {
        let slot = self.nodes.cold[node as usize].slot;
        // No slot of the wheel is further than 2^27 from the cursor.
        let ahead = slot.wrapping_sub(self.cursor as u32).cast_signed();
        let slot = self.cursor.saturating_add_signed(i64::from(ahead));
        self.contains(node).then_some(Nanos(slot << self.slot_log2))
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
        let slot = slot.min(((span_of(self.cursor) + SPANS) << SPAN_LOG2) - 1);
        let is_middle = slot < self.middle_end;
        self.push(if is_middle { middle_list(slot) } else { far_list(slot) }, node, slot);
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
        [near_list(slot), middle_list(slot), far_list(slot)]
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
            let end = (self.cursor | (GROUP as u64 - 1)).min(self.near_end - 1);
            self.fire(self.cursor, target.min(end));
            if target < end {
                self.cursor = target + 1;
                break;
            }
            // To the next slot or block that holds something: a capture may leap over years.
            self.enter(self.next_slot().map_or(target + 1, |slot| slot.min(target + 1)));
            if self.cursor > target {
                break;
            }
        }
        if self.near_end < near_end_max(self.cursor)
            && self.cursor / MOVE_EVERY != from / MOVE_EVERY
        {
            let passed = (self.cursor - from).max(MOVE_EVERY);
            self.move_nearer(passed.saturating_mul(self.moves_per_slot));
        }
        if self.reads_ahead && self.cursor / AHEAD != from / AHEAD {
            self.read_ahead();
        }
    }

    /// Nothing waits, so nothing is in the way.
    fn open_all(&mut self) {
        self.near_end = near_end_max(self.cursor);
        self.middle_end = (span_of(self.cursor) + 2) << SPAN_LOG2;
    }

    /// Brings the nodes of some slots to come into the cache.
    #[inline(never)]
    fn read_ahead(&self) {
        let first = (self.cursor / AHEAD + 1) * AHEAD;
        let mut heads: [u32; AHEAD as usize] =
            std::array::from_fn(|i| self.lists[near_list(first + i as u64)].head);
        let mut slots = 0;
        loop {
            let mut ended = true;
            for head in &mut heads {
                if let (Some(&next), Some(cold)) =
                    (self.nodes.next.get(*head as usize), self.nodes.cold.get(*head as usize))
                {
                    slots ^= cold.slot;
                    *head = next;
                    ended = false;
                }
            }
            if ended {
                break;
            }
        }
        std::hint::black_box(slots);
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
        let near = self.next_near();
        if near.is_some_and(|slot| slot < self.near_end) {
            return near;
        }
        let span = span_of(self.cursor);
        let in_span = |span: u64, list: usize| {
            span << SPAN_LOG2 | ((list - MIDDLE) as u64 % GROUP as u64) << BLOCK_LOG2
        };
        let of_this = self.bitmap.next(middle_list(self.cursor)).map(|list| in_span(span, list));
        let of_next = || {
            let list = self.bitmap.next(middle_list((span + 1) << SPAN_LOG2))?;
            Some(in_span(span + 1, list))
        };
        let far = self.bitmap.next(far_list(self.cursor)).or_else(|| self.bitmap.next(FAR));
        let far =
            far.map(|list| (span + ((list - FAR) as u64).wrapping_sub(span) % SPANS) << SPAN_LOG2);
        [near, of_this.or_else(of_next), far].into_iter().flatten().min()
    }

    /// The next slot that has a list in near.
    fn next_near(&self) -> Option<u64> {
        let list = self.bitmap.next(near_list(self.cursor)).or_else(|| {
            // The other groups of near, turned so that the next one is the lowest bit.
            let group = near_list(self.cursor) / GROUP;
            let groups = (self.bitmap.groups as u16).rotate_right(group as u32) >> 1;
            let ahead = 1 + groups.trailing_zeros() as usize;
            let group = (groups != 0).then(|| (group + ahead) * GROUP % NEAR)?;
            self.bitmap.next(group)
        });
        // The cursor's own group may have wrapped round: what is before the cursor in it.
        let list = list.or_else(|| self.bitmap.next(near_list(self.cursor) / GROUP * GROUP))?;
        Some(self.cursor + (list as u64).wrapping_sub(self.cursor) % NEAR as u64)
    }

    /// Makes the slots `from..=last` of one group due.
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

    /// The cursor goes to a slot further on. What begins there and has not moved nearer does so now;
    /// a slot in the middle of a block or span that holds something is not gone to.
    fn enter(&mut self, slot: u64) {
        let is_new_span = span_of(slot) != span_of(self.cursor);
        self.cursor = slot;
        if is_new_span {
            self.spread_far(slot, u64::MAX);
            self.middle_end = self.middle_end.max((span_of(slot) + 1) << SPAN_LOG2);
        }
        if slot >= self.near_end {
            self.near_end = slot & !(STEP - 1);
            self.spread_step(u64::MAX);
        }
    }

    /// Moves up to `moves` nodes nearer, the next ones first, and opens what is complete.
    #[inline(never)]
    fn move_nearer(&mut self, mut moves: u64) {
        if span_of(self.middle_end) == span_of(self.cursor) + 1 {
            moves -= self.spread_far(self.middle_end, moves);
            if self.lists[far_list(self.middle_end)].head == NONE {
                self.middle_end += 1 << SPAN_LOG2;
            }
        }
        let end = near_end_max(self.cursor).min(self.middle_end);
        while self.near_end < end && moves > 0 {
            moves = moves.saturating_sub(self.spread_step(moves).max(1));
        }
    }

    /// Moves about `moves` nodes of the blocks after `near_end` to their slots, and opens these
    /// blocks once nothing is left. Returns how many.
    fn spread_step(&mut self, moves: u64) -> u64 {
        let first = middle_list(self.near_end);
        let mut heads: [u32; BLOCKS as usize] = std::array::from_fn(|i| self.lists[first + i].head);
        let mut moved = 0;
        let mut left = heads.iter().any(|&head| head != NONE);
        while left && moved < moves {
            left = false;
            for head in &mut heads {
                if *head != NONE {
                    *head = self.move_to(near_list, *head);
                    moved += 1;
                    left |= *head != NONE;
                }
            }
        }
        for (i, head) in heads.into_iter().enumerate() {
            self.behead(first + i, head);
        }
        if !left {
            self.near_end += STEP;
        }
        moved
    }

    /// Moves up to `moves` nodes of the span of `slot` to their blocks. Returns how many.
    fn spread_far(&mut self, slot: u64, moves: u64) -> u64 {
        let mut head = self.lists[far_list(slot)].head;
        let mut moved = 0;
        while head != NONE && moved < moves {
            head = self.move_to(middle_list, head);
            moved += 1;
        }
        self.behead(far_list(slot), head);
        moved
    }

    /// Puts a node at the tail of the list that `list_of` says; returns the one behind it.
    #[inline]
    fn move_to(&mut self, list_of: impl Fn(u64) -> usize, node: u32) -> u32 {
        let slot = u64::from(self.nodes.cold[node as usize].slot);
        let next = self.nodes.next[node as usize];
        self.push(list_of(slot), node, slot);
        next
    }

    /// All before `head` has left a list.
    #[inline]
    fn behead(&mut self, list: usize, head: u32) {
        let l = &mut self.lists[list];
        if l.head != head {
            l.head = head;
            if head == NONE {
                self.bitmap.clear(list);
            }
        }
    }
}

#[cfg(test)]
mod tests;
