//! What `burst-injection` and `bound-sensitivity` have in common: a device that tells of completions in
//! batches, small orders all the time, and bursts of large frames.

use model::time::Nanos;

use crate::drill::START;
use crate::drill::outlet::{Completions, OutletSpec};
use crate::drill::traffic::Plan;

/// Wire bytes of a large frame.
pub const FRAME: u64 = 1_538;
/// Frames that the device tells of at once: below so many in flight it waits.
pub const BATCH: u32 = 8;
/// How long it waits for more.
const WAITS: Nanos = Nanos::from_millis(4);
/// A burst comes so often.
pub const BURST_EVERY: Nanos = Nanos::from_millis(200);

/// 1 Gbit/s, completions in batches.
pub fn device() -> OutletSpec {
    OutletSpec {
        link_bits_per_s: Some(1_000_000_000),
        completions: Some(Completions { batch: BATCH, after: WAITS }),
        ..OutletSpec::default()
    }
}

/// A small order every 200 us, so that a batch of them is told of in time; from `bursts_from` on 64 large
/// frames at once.
pub fn traffic(bursts_from: Nanos, until: Nanos) -> Plan {
    Plan::new(0).steady((START, until), Nanos::from_micros(200), 0, 60).bursts(
        (bursts_from, until),
        BURST_EVERY,
        64,
        1,
        1_514,
    )
}
