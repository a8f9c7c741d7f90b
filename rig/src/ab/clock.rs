//! The one clock of a comparison: the wall clock, by which the kernel stamps frames too.

use model::time::Nanos;
use rustix::time::{ClockId, clock_gettime};

/// Now, ns since 1970.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default())
}
