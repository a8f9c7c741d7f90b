//! Carousel's timing wheel, written from the description of Algorithm 1 in the paper (SIGCOMM 2017):
//! one level, a list for each slot, deadlines rounded down, what is in the past goes to the front
//! slot, what is beyond the horizon to the last one; nodes from one global pool. It has no way to
//! take something out again.

use super::{DeadlineQueue, SLOT_NS};

/// 2^21 slots: the 2 s of the paper's evaluation.
const SLOTS: usize = 1 << 21;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    item: u32,
}

/// See the module.
pub struct Carousel {
    slots: Box<[Slot]>,
    pool: Box<[Entry]>,
    free: u32,
    /// The slot at the front, absolute.
    front: u64,
}

impl DeadlineQueue for Carousel {
    fn new(nodes: u32) -> Self {
        let pool = (0..nodes).map(|i| Entry { next: i + 1, item: NONE });
        Self {
            slots: vec![Slot { head: NONE, tail: NONE }; SLOTS].into_boxed_slice(),
            pool: pool.collect(),
            free: 0,
            front: 0,
        }
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        let slot = (at / SLOT_NS).clamp(self.front, self.front + SLOTS as u64 - 1);
        let entry = self.free;
        self.free = self.pool[entry as usize].next;
        self.pool[entry as usize] = Entry { next: NONE, item: node };
        let slot = &mut self.slots[slot as usize % SLOTS];
        if slot.head == NONE {
            slot.head = entry;
        } else {
            self.pool[slot.tail as usize].next = entry;
        }
        slot.tail = entry;
    }

    fn reschedule(&mut self, _node: u32, _at: u64) {
        unreachable!("Carousel cannot take a packet out");
    }

    #[inline]
    fn poll(&mut self, _now: u64) {}

    #[inline]
    fn pop(&mut self, now: u64) -> Option<u32> {
        let now = now / SLOT_NS;
        while self.front <= now {
            let slot = &mut self.slots[self.front as usize % SLOTS];
            let entry = slot.head;
            if entry == NONE {
                self.front += 1;
                continue;
            }
            let Entry { next, item } = self.pool[entry as usize];
            slot.head = next;
            self.pool[entry as usize].next = self.free;
            self.free = entry;
            return Some(item);
        }
        None
    }
}
