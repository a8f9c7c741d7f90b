//! `[timeline]` as it is written.

use crate::config::error::At;
use crate::config::network::absolute_path;
use crate::config::reader::{Field, Reader};
use crate::config::values::{duration, integer, size};
use crate::time::Nanos;

use super::{HOUR, SECOND};

/// `[timeline]`.
pub(in crate::config) struct RawTimeline {
    pub at: At,
    pub directory: Field<String>,
    pub rotate_size: Field<u64>,
    pub rotate_time: Field<Nanos>,
    pub keep: Field<u32>,
    pub rows_per_s: Field<u32>,
    pub control_stall: Field<Nanos>,
    pub queue_rows: Field<u32>,
}

impl RawTimeline {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            directory: t.optional("directory", absolute_path),
            rotate_size: t.optional("rotate_size", size(1 << 20..=16 << 30)),
            rotate_time: t.optional("rotate_time", duration(SECOND..=Nanos(24 * HOUR.0))),
            keep: t.optional("keep", integer(1..=10_000)),
            rows_per_s: t.optional("rows_per_s", integer(0..=10_000_000)),
            control_stall: t
                .optional("control_stall", duration(Nanos::from_millis(10)..=Nanos::from_secs(10))),
            queue_rows: t.optional("queue_rows", integer(1_024..=16_777_216)),
        };
        t.finish();
        raw
    }
}
