//! What a caller may fetch before it asks, and whether a flow is empty.

use super::Pacer;
use crate::pacer::fifo::Fifo;

/// Cache lines of [`Pacer::class_record`] that every packet reads.
pub const CLASS_LINES: usize = 3;

impl<Q: Fifo> Pacer<Q> {
    /// The record of a flow, which every call about the flow reads first: a caller that knows early
    /// which flows come next can have it in the cache by then.
    #[inline]
    pub fn flow_record(&self, flow: u32) -> &impl Sized {
        &self.flows[flow as usize]
    }

    /// The record of a class; what every packet reads of it are the first [`CLASS_LINES`] cache lines.
    #[inline]
    pub fn class_record(&self, class: u8) -> Option<&impl Sized> {
        self.classes.get(usize::from(class))
    }

    /// Whether `flow` holds no packet.
    #[inline]
    pub fn is_flow_empty(&self, flow: u32) -> bool {
        self.flows[flow as usize].fifo.is_empty()
    }
}
