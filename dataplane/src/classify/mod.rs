//! Which flow, class and label does a packet belong to?
//!
//! Exact match first, a burst at a time and in stages, so that what one stage will read is fetched
//! while the one before still works: headers, then the line of the flow cache, then (for what the
//! cache does not know) the flow table, and what the pacer and the KPIs know of the flow. Only the
//! first packet of a flow meets the rules; its verdict is remembered. Everything here is allocated
//! at construction.

mod classified;
mod classifier;
mod seen;

use std::ops::Add;

use model::drop_reason::DropReason;
use model::frame::{FlowKey, Parsed};
use model::meta::StampSource;
use model::pacer::Seat;
use model::time::Nanos;

use crate::batch::Batch;
use crate::flow_table::Entry;
use crate::mbuf::Mbuf;
pub use classified::Classified;
pub use classifier::{Classifier, Counters};

/// Where flows come from, and who else will look at them.
pub trait Flows {
    /// A new flow for the group of `seat`, or `None` when all are taken.
    fn new_flow(&mut self, seat: Seat) -> Option<u32>;
    /// A packet of `flow` is about to be handled: its records may be fetched.
    fn soon(&self, flow: u32);
}

/// How a lane learns where what it has received belongs.
pub trait Classify {
    /// Looks at the burst.
    fn classify(&mut self, burst: &Batch, flows: &mut impl Flows);
    /// Where `packet`, the one at `i` in the burst, belongs, or the name of its end.
    fn verdict(&self, i: usize, packet: &Mbuf) -> Result<Entry, DropReason>;
    /// The class of the packet at `i` in the burst, where it is easily told: a hint of what will be
    /// needed.
    fn class_soon(&self, _: usize) -> Option<u8> {
        None
    }
    /// Writes the metadata of `packet`, the one at `i` in the burst, which belongs to `entry` and
    /// arrived at `arrival`. Returns the arrival that stands there.
    fn describe(
        &self,
        i: usize,
        entry: &Entry,
        arrival: (Nanos, StampSource),
        packet: &mut Mbuf,
    ) -> Nanos;
    /// What the headers of the packet at `i` in the burst say, where they were read here and it is IP.
    fn parsed(&self, i: usize) -> Option<Parsed>;
    /// Looks at the next `flows` flows and forgets those that `give_back` gives back; nothing where
    /// flows are numbered elsewhere.
    fn age(&mut self, flows: u32, give_back: impl FnMut(u32) -> bool);
    /// One of the 5-tuples of a flow, where it is known here.
    fn key_of(&self, _flow: u32) -> Option<FlowKey> {
        None
    }
    /// What it counts of flows.
    fn figures(&self) -> FlowFigures;
}

/// What a classifier counts of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFigures {
    /// Keys of flows in the table now.
    pub flows: u64,
    /// Flows that found the table full, since the start.
    pub table_full: u64,
    /// Flows forgotten because they were idle, since the start.
    pub aged: u64,
}

impl Add for FlowFigures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flows: self.flows + other.flows,
            table_full: self.table_full + other.table_full,
            aged: self.aged + other.aged,
        }
    }
}
