//! What a caller may fetch before it asks.

use super::Pacer;
use crate::pacer::fifo::Fifo;

impl<Q: Fifo> Pacer<Q> {
    /// The record of a flow, which every call about the flow reads first: a caller that knows early
    /// which flows come next can have it in the cache by then.
    #[inline]
    pub fn flow_record(&self, flow: u32) -> &impl Sized {
        &self.flows[flow as usize]
    }
}
