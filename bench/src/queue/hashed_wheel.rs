//! The crate `hierarchical_hash_wheel_timer`: four wheels of 256 slots, a `Vec` for each slot that
//! holds something. One of its ticks is one slot here, rounded up as in the product.

use std::rc::Rc;
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::{
    CancellableTimerEntry, QuadWheelWithOverflow as CancellableWheel,
};
use hierarchical_hash_wheel_timer::wheels::quad_wheel::{QuadWheelWithOverflow, no_prune};

use super::{DeadlineQueue, SLOT_NS};

/// What has ticked and was not popped yet, and the clock.
struct Due<E> {
    /// The last tick.
    tick: u64,
    nodes: std::vec::IntoIter<E>,
    later: Vec<E>,
}

impl<E> Due<E> {
    fn new() -> Self {
        Self { tick: 0, nodes: Vec::new().into_iter(), later: Vec::new() }
    }

    fn take(&mut self, fired: Vec<E>) {
        if self.nodes.len() == 0 {
            self.nodes = fired.into_iter();
        } else {
            self.later.extend(fired);
        }
    }

    #[inline]
    fn next(&mut self) -> Option<E> {
        if let Some(node) = self.nodes.next() {
            return Some(node);
        }
        if self.later.is_empty() {
            return None;
        }
        self.nodes = std::mem::take(&mut self.later).into_iter();
        self.nodes.next()
    }

    fn delay(&self, at: u64) -> Duration {
        // A delay of nothing is refused by the wheel.
        Duration::from_millis(at.div_ceil(SLOT_NS).saturating_sub(self.tick).max(1))
    }
}

/// The wheel that cannot cancel.
pub struct HashedWheel {
    wheel: QuadWheelWithOverflow<u32>,
    due: Due<u32>,
}

impl DeadlineQueue for HashedWheel {
    fn new(_nodes: u32) -> Self {
        Self { wheel: QuadWheelWithOverflow::new(no_prune::<u32>), due: Due::new() }
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        let inserted = self.wheel.insert_with_delay(node, self.due.delay(at));
        debug_assert!(inserted.is_ok());
    }

    fn reschedule(&mut self, _node: u32, _at: u64) {
        unreachable!("see CancellableHashedWheel");
    }

    #[inline]
    fn poll(&mut self, now: u64) {
        let target = now / SLOT_NS;
        while self.due.tick < target {
            // To ask is dearer than to tick once or twice.
            let left = target - self.due.tick;
            let skip = if left > 2 { self.wheel.can_skip() } else { Skip::None };
            let skipped = match skip {
                Skip::Empty => left,
                Skip::Millis(n) => left.min(u64::from(n)),
                Skip::None => {
                    let fired = self.wheel.tick();
                    if !fired.is_empty() {
                        self.due.take(fired);
                    }
                    self.due.tick += 1;
                    continue;
                }
            };
            self.wheel.skip(skipped as u32);
            self.due.tick += skipped;
        }
    }

    #[inline]
    fn pop(&mut self, _now: u64) -> Option<u32> {
        self.due.next()
    }
}

/// An entry that can be found by its node.
#[derive(Debug)]
struct Entry(u32);

impl CancellableTimerEntry for Entry {
    type Id = u32;

    fn id(&self) -> &u32 {
        &self.0
    }
}

/// The wheel that can cancel: a hash table of weak references beside it.
pub struct CancellableHashedWheel {
    wheel: CancellableWheel<Entry>,
    due: Due<Rc<Entry>>,
}

impl DeadlineQueue for CancellableHashedWheel {
    fn new(_nodes: u32) -> Self {
        Self { wheel: CancellableWheel::new(), due: Due::new() }
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        let inserted = self.wheel.insert_ref_with_delay(Rc::new(Entry(node)), self.due.delay(at));
        debug_assert!(inserted.is_ok());
    }

    #[inline]
    fn reschedule(&mut self, node: u32, at: u64) {
        // One that has ticked in the meantime is not found; it is scheduled twice then.
        let _ = self.wheel.cancel(&node);
        self.schedule(node, at);
    }

    #[inline]
    fn poll(&mut self, now: u64) {
        let target = now / SLOT_NS;
        while self.due.tick < target {
            let fired = self.wheel.tick();
            if !fired.is_empty() {
                self.due.take(fired);
            }
            self.due.tick += 1;
        }
    }

    #[inline]
    fn pop(&mut self, _now: u64) -> Option<u32> {
        self.due.next().map(|entry| entry.0)
    }
}
