//! From a stated rate and burst to the bucket that the pacer runs.
//!
//! The pacer rounds a departure up to a slot, never down, so a packet may be late by one slot. A
//! bucket that holds what its rate gives in a slot, on top of one largest frame, loses no rate to
//! that. Jitter delays a packet in the same way, by up to its bound. So
//! `B = max(stated, largest frame + R x max(slot, jitter bound))`. The bound is the longest that any
//! profile gives the class: a switch of profiles leaves the buckets as they are.
//!
//! Bytes are rounded up: one among 1,500 is nothing. Messages are not: `1 + R x slot` is 1.01, and a
//! bucket of 2 would let two orders leave together after each idle moment. Their bucket has a slack.

use super::Derived;
use super::units::{Burst, MessageBurst};
use super::values::BURST_MAX;
use crate::meta::wire_len;
use crate::profile::Bucket;
use crate::time::Nanos;

/// What a burst is measured in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Largest frame of the egress port in wire bytes.
    pub frame_wire_bytes: u64,
    /// Messages in the fullest packet.
    pub packet_messages: u64,
    /// Wheel slot.
    pub slot: Nanos,
    /// The slot or the longest jitter of any profile, whichever is longer.
    pub span: Nanos,
}

impl Scale {
    pub fn new(frame_bytes_max: u16, packet_messages: u64, slot: Nanos, jitter: Nanos) -> Self {
        let frame_wire_bytes = u64::from(wire_len(u32::from(frame_bytes_max)));
        let span = slot.max(jitter);
        Self { frame_wire_bytes, packet_messages: packet_messages.max(1), slot, span }
    }
}

/// Units that a rate gives in `span`, rounded up. `per_unit` is 8 for bits that make a byte.
pub(super) fn given(rate_per_s: u64, span: Nanos, per_unit: u64) -> u64 {
    let exact = u128::from(rate_per_s) * u128::from(span.0);
    let units = exact.div_ceil(u128::from(per_unit) * 1_000_000_000);
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// As [`given`], rounded down.
pub(super) fn within(rate_per_s: u64, span: Nanos, per_unit: u64) -> u64 {
    let exact = u128::from(rate_per_s) * u128::from(span.0);
    u64::try_from(exact / (u128::from(per_unit) * 1_000_000_000)).unwrap_or(u64::MAX)
}

/// The bucket of a bit rate.
///
/// # Errors
/// The effective burst is above 1 GiB.
pub(super) fn bits(rate_per_s: u64, stated: Option<Burst>, scale: Scale) -> Result<Derived, u64> {
    let stated_bytes = stated.map(|burst| match burst {
        Burst::Bytes(bytes) => bytes,
        Burst::Packets(count) => count.saturating_mul(scale.frame_wire_bytes),
        Burst::Time(span) => given(rate_per_s, span, 8),
    });
    let (largest, per_span) = (scale.frame_wire_bytes, given(rate_per_s, scale.span, 8));
    let least = Bucket::new(rate_per_s, largest.saturating_add(per_span));
    let text = stated.map(|burst| burst.to_string());
    let burst = stated_bytes.unwrap_or(0).max(least.burst);
    let bucket = Bucket::new(rate_per_s, burst);
    within_limit(Derived {
        stated: stated_bytes.map(|bytes| bytes.to_string()),
        stated_text: text,
        largest,
        per_span,
        bucket,
        least,
    })
}

/// The bucket of a message rate.
///
/// # Errors
/// The effective burst is above 2^30 messages.
pub(super) fn messages(
    rate_per_s: u64,
    stated: Option<MessageBurst>,
    scale: Scale,
) -> Result<Derived, u64> {
    let (largest, per_span) = (scale.packet_messages, given(rate_per_s, scale.span, 1));
    let least = Bucket { rate_per_s, burst: largest, slack: scale.span };
    let stated_bucket = stated.map(|burst| Bucket {
        rate_per_s,
        burst: burst.messages(),
        slack: burst.rest(rate_per_s),
    });
    let bucket = stated_bucket.filter(|stated| stated.depth() > least.depth()).unwrap_or(least);
    let stated = stated.map(|burst| burst.to_string());
    let text = stated.clone();
    within_limit(Derived { stated, stated_text: text, largest, per_span, bucket, least })
}

fn within_limit(derived: Derived) -> Result<Derived, u64> {
    let burst = derived.bucket.burst_rounded_up();
    if burst > BURST_MAX { Err(burst) } else { Ok(derived) }
}

#[cfg(test)]
mod tests {
    use super::super::units::parse_message_burst;
    use super::*;

    const SCALE: Scale =
        Scale { frame_wire_bytes: 1538, packet_messages: 1, slot: Nanos(1024), span: Nanos(1024) };

    #[test]
    fn a_rate_alone_gets_one_largest_frame_and_a_slot_of_rate() {
        // 50e6 b/s x 1024 ns = 6.4 bytes, rounded up.
        let bucket = bits(50_000_000, None, SCALE).unwrap().bucket;
        assert_eq!(bucket, Bucket::new(50_000_000, 1538 + 7));
        // 1e6/s x 1024 ns = 1.024 messages, not rounded.
        let Derived { bucket, per_span, .. } = messages(1_000_000, None, SCALE).unwrap();
        assert_eq!(bucket, Bucket { rate_per_s: 1_000_000, burst: 1, slack: Nanos(1024) });
        assert_eq!((bucket.burst_rounded_up(), per_span), (1 + 2, 2));
    }

    #[test]
    fn jitter_beyond_the_slot_stands_in_its_place() {
        let scale = Scale::new(1514, 1, Nanos(1024), Nanos::from_micros(20));
        // 50e6 b/s x 20 us = 125 bytes.
        assert_eq!(bits(50_000_000, None, scale).unwrap().bucket.burst, 1538 + 125);
        // 100e3/s x 20 us = 2 messages.
        let bucket = messages(100_000, None, scale).unwrap().bucket;
        assert_eq!((bucket.burst_rounded_up(), bucket.slack), (1 + 2, Nanos::from_micros(20)));
        let scale = Scale::new(1514, 1, Nanos(1024), Nanos(500));
        assert_eq!(bits(50_000_000, None, scale).unwrap().bucket.burst, 1538 + 7);
    }

    #[test]
    fn packets_count_largest_frames_and_time_counts_rate() {
        assert_eq!(bits(1_000_000, Some(Burst::Packets(4)), SCALE).unwrap().bucket.burst, 4 * 1538);
        let time = Burst::Time(Nanos::from_millis(1));
        assert_eq!(bits(100_000_001, Some(time), SCALE).unwrap().bucket.burst, 12_501);
    }

    #[test]
    fn a_burst_below_the_floor_is_raised_to_it() {
        let Derived { bucket, stated, .. } =
            bits(8_000_000, Some(Burst::Bytes(100)), SCALE).unwrap();
        assert_eq!((bucket.burst, stated.as_deref()), (1538 + 2, Some("100")));
    }

    #[test]
    fn one_message_stated_is_one_and_what_a_slot_gives() {
        // 10,100/s x 1,024 ns = 0.0103 messages: never two at once.
        let Derived { bucket, stated, .. } =
            messages(10_100, Some(MessageBurst::whole(1)), SCALE).unwrap();
        assert_eq!(bucket, Bucket { rate_per_s: 10_100, burst: 1, slack: Nanos(1024) });
        assert_eq!((bucket.burst_rounded_up(), stated.as_deref()), (2, Some("1")));
        let of = |stated| messages(10_100, stated, SCALE).unwrap().bucket;
        assert_eq!(of(Some(MessageBurst::whole(2))), Bucket::new(10_100, 2));
        // A tenth of a message takes 9,900.99 ns, rounded down.
        let tenth = Bucket { rate_per_s: 10_100, burst: 1, slack: Nanos(9_900) };
        assert_eq!(of(parse_message_burst("1.1")), tenth);
    }

    #[test]
    fn a_burst_beyond_the_limit_is_refused_even_where_it_would_overflow() {
        assert_eq!(bits(1, Some(Burst::Bytes(BURST_MAX + 1)), SCALE), Err(BURST_MAX + 1));
        assert_eq!(bits(1, Some(Burst::Packets(u64::MAX)), SCALE), Err(u64::MAX));
        let forever = Burst::Time(Nanos(u64::MAX - 1));
        assert_eq!(bits(400_000_000_000, Some(forever), SCALE), Err(u64::MAX));
    }
}
