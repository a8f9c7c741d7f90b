//! `[[class]]` as it is written, and the keys that it shares with `[[profile.class]]`.

use super::{HOUR, SECOND, span_or_unlimited};
use crate::config::HaltMixed;
use crate::config::error::At;
use crate::config::reader::{Field, Reader};
use crate::config::units::{Burst, MessageBurst};
use crate::config::values::{
    bit_rate, boolean, burst, duration, integer, label, limit, message_burst, message_rate, name,
    one_of, size, text, word_or,
};
use crate::kind::{Kind, Side};
use crate::profile::{Lateness, Segment};
use crate::time::Nanos;

const DAY: Nanos = Nanos::from_secs(86_400);

/// The caps of one node, as they are written.
pub(in crate::config) struct RawCaps {
    pub rate: Field<Option<u64>>,
    pub burst: Field<Burst>,
    pub messages: Field<Option<u64>>,
    pub message_burst: Field<MessageBurst>,
    /// The names of the four keys, for errors.
    pub keys: [&'static str; 4],
}

impl RawCaps {
    pub(super) const NODE: [&'static str; 4] = ["rate", "burst", "messages", "message_burst"];
    const FLOW: [&'static str; 4] =
        ["flow_rate", "flow_burst", "flow_messages", "flow_message_burst"];

    pub(super) fn read(t: &mut Reader<'_, '_>, keys: [&'static str; 4]) -> Self {
        Self {
            rate: t.optional(keys[0], limit(bit_rate)),
            burst: t.optional(keys[1], burst),
            messages: t.optional(keys[2], limit(message_rate)),
            message_burst: t.optional(keys[3], message_burst),
            keys,
        }
    }

    /// The keys that are there, with their places.
    pub fn present(&self) -> impl Iterator<Item = (&'static str, At)> {
        let none = At::default();
        let places = [
            self.rate.is_present().then(|| self.rate.at(none)),
            self.burst.is_present().then(|| self.burst.at(none)),
            self.messages.is_present().then(|| self.messages.at(none)),
            self.message_burst.is_present().then(|| self.message_burst.at(none)),
        ];
        self.keys.into_iter().zip(places).filter_map(|(key, at)| Some((key, at?)))
    }
}

/// What a class does with a packet that its budget has no room for.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnOverflow {
    Backpressure,
    Drop,
}

/// The keys of a class that a profile may change.
pub(in crate::config) struct RawShape {
    pub class: RawCaps,
    pub flow: RawCaps,
    pub max_hold: Field<Nanos>,
    pub queue_packets: Field<u32>,
    pub queue_bytes: Field<u64>,
    pub shaping: RawShaping,
}

impl RawShape {
    pub(super) fn read(t: &mut Reader<'_, '_>) -> Self {
        Self {
            class: RawCaps::read(t, RawCaps::NODE),
            flow: RawCaps::read(t, RawCaps::FLOW),
            max_hold: t.optional("max_hold", span_or_unlimited(Nanos(64)..=DAY)),
            queue_packets: t.optional("queue_packets", integer(1..=1_048_576)),
            queue_bytes: t.optional("queue_bytes", size(84..=1 << 32)),
            shaping: RawShaping::read(t),
        }
    }
}

/// What becomes of a packet that is due beyond the horizon.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnHorizon {
    Cap,
    Drop,
}

/// What shapes a class beside its caps, its hold and its queue.
pub(in crate::config) struct RawShaping {
    pub reserved: Field<Option<u64>>,
    pub weight: Field<u8>,
    pub flow_floor: Field<Option<u64>>,
    pub lateness: Field<Lateness>,
    pub late_after: Field<Nanos>,
    pub jitter: Field<Nanos>,
    pub hold_frames: Field<u16>,
    pub hold_time: Field<Nanos>,
    pub fan_out: Field<u16>,
    pub horizon: Field<Nanos>,
    pub on_horizon: Field<OnHorizon>,
    pub ecn_threshold: Field<Nanos>,
    pub segment: Field<Segment>,
}

impl RawShaping {
    pub(super) fn read(t: &mut Reader<'_, '_>) -> Self {
        let never_or = |range| {
            let read = word_or("never", duration(range));
            move |value: &toml::de::DeValue<'_>| Ok(read(value)?.unwrap_or(Nanos::MAX))
        };
        Self {
            reserved: t.optional("reserved", word_or("off", bit_rate)),
            weight: t.optional("weight", integer(1..=255)),
            flow_floor: t.optional("flow_floor", word_or("off", bit_rate)),
            lateness: t.optional("lateness", one_of),
            late_after: t.optional("late_after", duration(Nanos(1)..=SECOND)),
            jitter: t.optional("jitter", duration(Nanos::ZERO..=SECOND)),
            hold_frames: t.optional("hold_frames", integer(1..=u16::MAX)),
            hold_time: t.optional("hold_time", duration(Nanos::ZERO..=SECOND)),
            fan_out: t.optional("fan_out", integer(1..=u16::MAX - 1)),
            horizon: t.optional("horizon", span_or_unlimited(Nanos::from_micros(1)..=DAY)),
            on_horizon: t.optional("on_horizon", one_of),
            ecn_threshold: t.optional("ecn_threshold", never_or(Nanos(1)..=SECOND)),
            segment: t.optional("segment", one_of),
        }
    }

    /// The keys that pace, with their places: all but `segment`, which holds in either direction.
    pub fn present(&self) -> impl Iterator<Item = (&'static str, At)> {
        fn place<T>(key: &'static str, field: &Field<T>) -> Option<(&'static str, At)> {
            field.is_present().then(|| (key, field.at(At::default())))
        }
        [
            place("reserved", &self.reserved),
            place("weight", &self.weight),
            place("flow_floor", &self.flow_floor),
            place("lateness", &self.lateness),
            place("late_after", &self.late_after),
            place("jitter", &self.jitter),
            place("hold_frames", &self.hold_frames),
            place("hold_time", &self.hold_time),
            place("fan_out", &self.fan_out),
            place("horizon", &self.horizon),
            place("on_horizon", &self.on_horizon),
            place("ecn_threshold", &self.ecn_threshold),
        ]
        .into_iter()
        .flatten()
    }
}

/// One `[[class]]`.
pub(in crate::config) struct RawClass {
    pub at: At,
    pub name: Field<String>,
    pub from: Field<Side>,
    pub kind: Field<Kind>,
    pub priority: Field<u8>,
    pub shape: RawShape,
    pub messages_per_segment: Field<u16>,
    pub on_overflow: Field<OnOverflow>,
    pub allow_drop: Field<bool>,
    pub allow_drop_reason: Field<String>,
    pub halt_mixed: Field<HaltMixed>,
    pub cancel_on_disconnect: Field<bool>,
    pub cadence: Field<Nanos>,
    pub latency_budget: Field<Nanos>,
    pub legs: Field<bool>,
    pub intent: Field<bool>,
    pub participant: Field<String>,
}

impl RawClass {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            from: t.optional("from", one_of),
            kind: t.optional("kind", one_of),
            priority: t.optional("priority", integer(0..=255)),
            shape: RawShape::read(&mut t),
            messages_per_segment: t.optional("messages_per_segment", integer(1..=u16::MAX)),
            on_overflow: t.optional("on_overflow", one_of),
            allow_drop: t.optional("allow_drop", boolean),
            allow_drop_reason: t.optional("allow_drop_reason", text),
            halt_mixed: t.optional("halt_mixed", one_of),
            cancel_on_disconnect: t.optional("cancel_on_disconnect", boolean),
            cadence: t.optional("cadence", duration(Nanos(1)..=HOUR)),
            latency_budget: t.optional("latency_budget", duration(Nanos(1)..=SECOND)),
            legs: t.optional("legs", boolean),
            intent: t.optional("intent", boolean),
            participant: t.optional("participant", label),
        };
        t.finish();
        raw
    }
}
