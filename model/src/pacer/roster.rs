//! Who is who: the ordering group behind each flow, for one who chooses among groups.
//!
//! The data core writes a seat when a flow is given out or given back, nobody else does; control reads
//! all of them now and then. A seat that changes while it is read is left out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// An ordering group, by what its first packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// What tells it from others, the same after a restart; never 0.
    pub id: u64,
    /// Index of its class.
    pub class: u8,
    /// Index of its venue, or [`super::NO_VENUE`].
    pub venue: u8,
    /// Index of its label.
    pub label: u16,
}

/// Id of a flow that is no group of its own, or of none.
const VACANT: u64 = 0;

/// A seat for each flow of a pacer.
#[derive(Debug, Default)]
pub struct Roster {
    ids: Box<[AtomicU64]>,
    /// Class, venue and label, from the highest byte down.
    facts: Box<[AtomicU32]>,
}

impl Roster {
    /// Empty, for so many flows.
    pub(super) fn new(flows: u32) -> Self {
        Self {
            ids: (0..flows).map(|_| AtomicU64::new(VACANT)).collect(),
            facts: (0..flows).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// `flow` is the one of `seat` from now on.
    pub(super) fn take(&self, flow: u32, seat: Seat) {
        let (Some(id), Some(facts)) = (self.ids.get(flow as usize), self.facts.get(flow as usize))
        else {
            return;
        };
        let packed =
            u32::from(seat.class) << 24 | u32::from(seat.venue) << 16 | u32::from(seat.label);
        id.store(VACANT, Ordering::Release);
        facts.store(packed, Ordering::Release);
        id.store(seat.id, Ordering::Release);
    }

    /// Nobody has `flow` any more.
    pub(super) fn leave(&self, flow: u32) {
        if let Some(id) = self.ids.get(flow as usize) {
            id.store(VACANT, Ordering::Release);
        }
    }

    /// The id behind `flow`; `None` = it is no group of its own.
    pub fn id(&self, flow: u32) -> Option<u64> {
        let id = self.ids.get(flow as usize)?.load(Ordering::Acquire);
        (id != VACANT).then_some(id)
    }

    /// Everybody.
    pub fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        self.ids.iter().zip(&self.facts).filter_map(|(id, facts)| {
            let before = id.load(Ordering::Acquire);
            let packed = facts.load(Ordering::Acquire);
            let is_whole = before != VACANT && id.load(Ordering::Acquire) == before;
            is_whole.then_some(Seat {
                id: before,
                class: (packed >> 24) as u8,
                venue: (packed >> 16) as u8,
                label: packed as u16,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_read_as_it_was_written_until_it_is_left() {
        let roster = Roster::new(3);
        let seat = Seat { id: u64::MAX, class: 95, venue: 255, label: 65_535 };
        roster.take(1, seat);
        roster.take(2, Seat { id: 7, class: 0, venue: 3, label: 1 });
        assert_eq!(roster.seats().collect::<Vec<_>>()[0], seat);
        assert_eq!((roster.id(0), roster.id(1), roster.id(9)), (None, Some(u64::MAX), None));
        roster.leave(1);
        assert_eq!(roster.seats().map(|seat| seat.id).collect::<Vec<_>>(), [7]);
    }
}
