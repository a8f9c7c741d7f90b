//! Brings frames of overlapping events into the order of the wire.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::meta::wire_len;
use model::time::Nanos;

/// Something that puts frames on the wire, event by event.
pub(super) trait Traffic {
    /// When its next event begins, `None` when it is over. Never earlier than the one before.
    fn next_event(&self) -> Option<Nanos>;

    /// Makes the frames of that event; none begins before it.
    fn emit(&mut self, timeline: &mut Timeline);
}

/// Frames that wait for their turn.
#[derive(Default)]
pub(super) struct Timeline {
    /// By time, then in the order in which they were pushed.
    waiting: BinaryHeap<Reverse<(Nanos, u64, Vec<u8>)>>,
    pushed: u64,
    link_free: Nanos,
}

impl Timeline {
    /// A frame that begins at `t`, or as soon after as the wire is free.
    pub(super) fn push(&mut self, t: Nanos, frame: Vec<u8>) {
        self.waiting.push(Reverse((t, self.pushed, frame)));
        self.pushed += 1;
    }

    /// Hands out every frame before `until`, on a link of 10 Gbit/s.
    pub(super) fn release<E>(
        &mut self,
        until: Nanos,
        write: &mut impl FnMut(Nanos, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(next) = self.waiting.peek_mut() {
            if next.0.0 >= until {
                break;
            }
            let Reverse((t, _, frame)) = std::collections::binary_heap::PeekMut::pop(next);
            let t = t.max(self.link_free);
            // 8 bits at 10 per ns: 4 ns for 5 bytes.
            let wire_ns = (u64::from(wire_len(frame.len() as u32)) * 4).div_ceil(5);
            self.link_free = t.saturating_add(Nanos(wire_ns));
            write(t, &frame)?;
        }
        Ok(())
    }
}
