//! Packets that another core has classified.

use model::drop_reason::DropReason;
use model::frame::Parsed;
use model::meta::{FlowMeta, StampSource};
use model::time::Nanos;

use super::{Classify, FlowFigures, Flows};
use crate::batch::Batch;
use crate::flow_table::Entry;
use crate::mbuf::{Mbuf, prefetch};

/// Packets that another core has classified: their metadata is written, their flow is their note.
pub struct Classified;

impl Classify for Classified {
    #[inline(always)]
    fn classify(&mut self, burst: &Batch, flows: &mut impl Flows) {
        for packet in burst {
            prefetch(packet.meta());
            flows.soon(packet.note());
        }
    }

    #[inline(always)]
    fn verdict(&self, _: usize, packet: &Mbuf) -> Result<Entry, DropReason> {
        let meta = packet.meta();
        let meta = FlowMeta { class: meta.class, venue: meta.venue, ..FlowMeta::default() };
        Ok(Entry { flow: packet.note(), meta, ..Entry::default() })
    }

    #[inline(always)]
    fn describe(&self, _: usize, _: &Entry, _: (Nanos, StampSource), packet: &mut Mbuf) -> Nanos {
        packet.meta().arrival
    }

    fn parsed(&self, _: usize) -> Option<Parsed> {
        None
    }

    // The core that receives numbers the flows and keeps them: one that were given back here would
    // be handed out again while that core still uses it.
    fn age(&mut self, _: u32, _: impl FnMut(u32) -> bool) {}

    // Counted where packets are classified, and told through the ring.
    fn figures(&self) -> FlowFigures {
        FlowFigures::default()
    }
}
