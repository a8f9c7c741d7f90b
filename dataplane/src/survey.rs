//! A look at every flow of a core, for an operator.
//!
//! Control makes a [`Survey`], with room for all rows that it may get, and lends it to a core
//! ([`crate::channel::ControlLink::lend_survey`]). The core fills it, a few flows in each turn, and sends it
//! home. A core that was lent none tests one flag in each turn.

use std::ops::Range;

use model::frame::FlowKey;
use model::time::Nanos;

/// Flows looked at in one turn.
pub(crate) const FLOWS_PER_TURN: u32 = 64;

/// A flow as its core knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRow {
    /// Index of the egress port.
    pub port: u8,
    /// Its number.
    pub flow: u32,
    /// Index of its class.
    pub class: u8,
    /// Packets that it holds.
    pub packets: u32,
    /// What its head waits for.
    pub waits_for: &'static str,
    /// When its last packet left.
    pub last_departure: Option<Nanos>,
    /// One of its 5-tuples; `None` where another core receives, and of flows that whole classes share.
    pub key: Option<FlowKey>,
}

/// Which flows are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this class only.
    pub class: Option<u8>,
    /// Those that hold packets only.
    pub holding: bool,
}

impl Wanted {
    fn takes(&self, row: &FlowRow) -> bool {
        self.class.is_none_or(|class| row.class == class) && (!self.holding || row.packets > 0)
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Survey {
    wanted: Wanted,
    rows: Vec<FlowRow>,
    left_off: u64,
    /// Where the look goes on: lane and flow.
    lane: usize,
    flow: u32,
}

impl Survey {
    /// With room for so many rows of those that are wanted. All memory is taken here.
    pub fn new(rows_max: usize, wanted: Wanted) -> Self {
        Self { wanted, rows: Vec::with_capacity(rows_max), left_off: 0, lane: 0, flow: 0 }
    }

    /// What was found.
    pub fn rows(&self) -> &[FlowRow] {
        &self.rows
    }

    /// Flows that were wanted and found no room.
    pub const fn left_off(&self) -> u64 {
        self.left_off
    }

    /// The lane that the look is at.
    pub(crate) const fn lane(&self) -> usize {
        self.lane
    }

    /// The next flows of the lane, of which there are `flows`; goes on with the next lane after the last.
    pub(crate) fn next_flows(&mut self, flows: u32) -> Range<u32> {
        let from = self.flow.min(flows);
        let to = flows.min(from.saturating_add(FLOWS_PER_TURN));
        if to == flows {
            (self.lane, self.flow) = (self.lane + 1, 0);
        } else {
            self.flow = to;
        }
        from..to
    }

    /// Takes a row where it is wanted and has room.
    pub(crate) fn take(&mut self, row: FlowRow) {
        if !self.wanted.takes(&row) {
            return;
        }
        if self.rows.len() < self.rows.capacity() {
            self.rows.push(row);
        } else {
            self.left_off += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: u8, packets: u32) -> FlowRow {
        let (port, flow) = (0, 0);
        FlowRow { port, flow, class, packets, waits_for: "", last_departure: None, key: None }
    }

    #[test]
    fn a_lane_is_walked_to_its_end_a_few_flows_at_a_time() {
        let mut survey = Survey::new(1, Wanted::default());
        assert_eq!(survey.next_flows(100), 0..64);
        assert_eq!(survey.next_flows(100), 64..100);
        assert_eq!(survey.lane(), 1);
        assert_eq!(survey.next_flows(0), 0..0);
        assert_eq!(survey.lane(), 2);
    }

    #[test]
    fn what_is_not_wanted_takes_no_room_and_what_finds_none_is_counted() {
        let mut survey = Survey::new(1, Wanted { class: Some(3), holding: true });
        for row in [row(2, 5), row(3, 0), row(3, 1), row(3, 2)] {
            survey.take(row);
        }
        assert_eq!((survey.rows(), survey.left_off()), (&[row(3, 1)][..], 1));
    }
}
