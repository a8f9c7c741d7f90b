//! The modelled link: wire time and batched completions. The only source of completions in
//! virtual time.

use super::serializer::{Serializer, WireTime};
use crate::config;
use crate::time::Nanos;

/// A serializer, and a device that tells of what has left in batches.
///
/// A completion comes at the earlier of two times: when `completion_batch` packets that it did not
/// tell of yet have left the wire, or `completion_delay` after the first of them left. It covers
/// those that have left by then, and the next batch begins behind it. Both times are known once
/// the packets are accepted, because the wire is first in, first out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    wire: Serializer,
    batch: u32,
    delay: Nanos,
}

impl Link {
    pub(super) fn new(model: config::LinkModel) -> Self {
        Self {
            wire: Serializer::new(model.rate_bps),
            batch: model.completion_batch.max(1),
            delay: model.completion_delay,
        }
    }

    pub(super) fn send(&mut self, now: Nanos, wire_len: u32) -> WireTime {
        self.wire.send(now, wire_len)
    }

    #[inline]
    pub(super) fn begin_busy(&mut self, now: Nanos) -> Nanos {
        self.wire.begin_busy(now)
    }

    #[inline]
    pub(super) fn send_next(&mut self, wire_len: u32) -> Nanos {
        self.wire.send_next(wire_len)
    }

    pub(super) const fn busy_until(&self) -> Nanos {
        self.wire.busy_until()
    }

    /// When the next completion comes, with `packets` in flight whose ends on the wire are
    /// `end(0)`, `end(1)`, ... in order.
    pub(super) fn next_completion(
        &self,
        packets: u32,
        end: impl Fn(u32) -> Nanos,
    ) -> Option<Nanos> {
        if packets == 0 {
            return None;
        }
        let partial = end(0).saturating_add(self.delay);
        Some(if packets >= self.batch { partial.min(end(self.batch - 1)) } else { partial })
    }

    /// How many packets the completion at `at` covers: 1 to `completion_batch`.
    pub(super) fn covered(&self, at: Nanos, packets: u32, end: impl Fn(u32) -> Nanos) -> u32 {
        let most = packets.min(self.batch);
        (1..most).find(|&k| end(k) > at).unwrap_or(most)
    }
}
