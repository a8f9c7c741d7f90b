//! What shapes a class beside its caps, in the report.

use serde::Serialize;

use crate::config::units::format_bit_rate;
use crate::profile::{Bucket, Lateness, Shaping};
use crate::time::Nanos;

/// What shapes a class in a profile; `None` = not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShapingReport {
    /// Reserved share: bits per second and effective burst in wire bytes.
    pub reserved: Option<Bucket>,
    /// Turns among classes of equal priority, in proportion.
    pub weight: u8,
    /// Bits per second of each ready flow ahead of strict priority; 0 = none.
    pub flow_floor_bits_per_s: u64,
    /// What a late departure means for those after it.
    pub lateness: Lateness,
    /// From so long beyond its deadline on a packet is late, ns.
    pub late_after_ns: Option<Nanos>,
    /// Longest jitter, ns.
    pub jitter_max_ns: Option<Nanos>,
    /// Packets that open a release window.
    pub hold_frames: Option<u16>,
    /// Longest wait for a release window, ns.
    pub hold_time_ns: Option<Nanos>,
    /// Most packets in one flush.
    pub fan_out: Option<u16>,
    /// Horizon, ns.
    pub horizon_ns: Option<Nanos>,
    /// `cap` or `drop`.
    pub on_horizon: &'static str,
    /// Wait from which on a packet is marked, ns.
    pub ecn_threshold_ns: Option<Nanos>,
}

impl From<&Shaping> for ShapingReport {
    fn from(shaping: &Shaping) -> Self {
        let limited = |span: Nanos| (span != Nanos::MAX).then_some(span);
        let some = |span: Nanos| (span != Nanos::ZERO).then_some(span);
        Self {
            reserved: shaping.reserved,
            weight: shaping.weight,
            flow_floor_bits_per_s: shaping.flow_floor_bits_per_s,
            lateness: shaping.lateness,
            late_after_ns: limited(shaping.late_after),
            jitter_max_ns: some(shaping.jitter_max),
            hold_frames: (shaping.hold_frames > 1).then_some(shaping.hold_frames),
            hold_time_ns: some(shaping.hold_time),
            fan_out: (shaping.fan_out != u16::MAX).then_some(shaping.fan_out),
            horizon_ns: limited(shaping.horizon),
            on_horizon: if shaping.horizon_drops { "drop" } else { "cap" },
            ecn_threshold_ns: limited(shaping.ecn_threshold),
        }
    }
}

impl ShapingReport {
    /// In words, what does not go without saying.
    pub(super) fn in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.reserved.map(|bucket| {
            let rate = format_bit_rate(bucket.rate_per_s);
            format!("reserved {rate}, burst {} wire bytes", bucket.burst)
        }));
        if self.weight != 1 {
            words.push(format!("weight {}", self.weight));
        }
        if self.flow_floor_bits_per_s > 0 {
            words.push(format!(
                "floor of each flow {}",
                format_bit_rate(self.flow_floor_bits_per_s)
            ));
        }
        if let Some(after) = self.late_after_ns {
            words.push(format!("late after {after}: {}", self.lateness.name()));
        }
        words.extend(self.jitter_max_ns.map(|jitter| format!("jitter up to {jitter}")));
        if let (Some(frames), Some(time)) = (self.hold_frames, self.hold_time_ns) {
            words.push(format!("windows of {frames} packets or {time}"));
        }
        words.extend(self.fan_out.map(|count| format!("{count} packets in a flush")));
        words.extend(
            self.horizon_ns.map(|span| format!("horizon {span}, then {}", self.on_horizon)),
        );
        words.extend(self.ecn_threshold_ns.map(|span| format!("ECN mark after {span}")));
        words
    }
}
