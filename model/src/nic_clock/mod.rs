//! A device's clock against the TSC, learnt from paired readings.
//!
//! A NIC stamps packets with a counter of its own: unit, epoch and width are the device's business.
//! [`NicClock`] is fed with [`Reading`]s (the counter, read between two reads of the TSC) every
//! 100 ms or so and makes a [`NicModel`] of them: a line from ticks to cycles, with a stated error.
//! The model is a value. It goes to the data cores, which turn the stamp of a packet into cycles
//! with [`NicModel::cycles_at`] and the cycles into gateway time with the TSC model they have
//! anyway, so steering of gateway time does not disturb the device's line.
//!
//! What can go wrong, and what happens:
//! - **noise**: a reading is known to half of its bracket, which is a proof and not a guess; of the
//!   latest readings the tightest make the line, and a bracket wider than 100 us is refused;
//! - **drift**: the line follows; its error grows with the time since the last reading;
//! - **step** (somebody set the device's clock, or it was reset): a reading outside its own bound
//!   cannot be noise. The model is withdrawn at once, the line is learnt again, the step is counted;
//! - **wrap** of a counter of 32 to 63 bits: unwrapped, and the width is learnt at the first wrap
//!   where nobody knows it;
//! - **silence**: a model is good for 2 s after its last reading ([`NicModel::is_good_at`]).
//!
//! Without a good model stamps are not used: the arrival is the TSC's.

mod line;
mod tracker;

#[cfg(test)]
mod tests;

pub use line::NicModel;
pub use tracker::{NicClock, Outcome, Quality};

use crate::time::Cycles;

/// One reading of both clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The device's counter.
    pub raw: u64,
    /// The TSC in the middle of the bracket.
    pub tsc: Cycles,
    /// Half of the bracket: the counter was read within so many cycles of `tsc`.
    pub error: Cycles,
}
