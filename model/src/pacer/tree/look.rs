//! What is told of a flow to somebody who looks.

use super::Pacer;
use crate::pacer::fifo::Fifo;
use crate::pacer::flow::Place;

/// A flow as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLook {
    /// Its class, or the twin of one.
    pub class: u8,
    /// Packets that it holds.
    pub packets: u32,
    /// What its head waits for.
    pub waits_for: &'static str,
}

impl<Q: Fifo> Pacer<Q> {
    /// Classes and their twins.
    pub const fn nodes_of_classes(&self) -> usize {
        self.classes.len()
    }

    /// A flow as it stands; `None` = nobody has it.
    pub fn look_at(&self, flow: u32) -> Option<FlowLook> {
        let f = self.flows.get(flow as usize).filter(|_| flow < self.flows_made)?;
        let waits_for = match f.state.place() {
            Place::Free => return None,
            Place::Idle => "nothing",
            Place::Waiting => "rate or due time",
            Place::Ready => "its class",
            Place::Express | Place::Lifted => "the port",
            Place::Gated => "release window",
            Place::Limited => "venue limit",
            Place::Parked => "its path",
        };
        Some(FlowLook { class: f.class, packets: f.queued, waits_for })
    }
}
