//! What a caller may fetch before it asks, and whether a flow is empty.

use super::Pacer;
use crate::pacer::fifo::Fifo;

impl<Q: Fifo> Pacer<Q> {
    /// The record of a flow, which every call about the flow reads first: a caller that knows early
    /// which flows come next can have it in the cache by then.
    #[inline]
    pub fn flow_record(&self, flow: u32) -> &impl Sized {
        &self.flows[flow as usize]
    }

    /// Whether `flow` holds no packet.
    #[inline]
    pub fn is_flow_empty(&self, flow: u32) -> bool {
        self.flows[flow as usize].fifo.is_empty()
    }
}
