//! The product's.

use model::pacer::wheel;
use model::time::Nanos;

use super::{DeadlineQueue, SLOT_NS};

/// See [`model::pacer::wheel`].
pub struct Wheel(wheel::Wheel);

impl DeadlineQueue for Wheel {
    fn new(nodes: u32) -> Self {
        Self(wheel::Wheel::new(nodes as usize, Nanos(SLOT_NS), Nanos::ZERO))
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        self.0.insert(node, Nanos(at));
    }

    #[inline]
    fn reschedule(&mut self, node: u32, at: u64) {
        self.0.insert(node, Nanos(at));
    }

    #[inline]
    fn poll(&mut self, now: u64) {
        self.0.advance(Nanos(now));
    }

    #[inline]
    fn pop(&mut self, _now: u64) -> Option<u32> {
        self.0.pop_due()
    }
}
