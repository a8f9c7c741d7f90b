//! Buckets in exact rationals, written from the definition: `TAT` is a fraction over the rate, a
//! packet of `L` conforms at `TAT + L/R - B/R`, and leaves `TAT = max(TAT, t) + L/R` behind.
//! And the envelope by brute force: every pair of departures bounds a window.

use model::meta::PacketMeta;
use model::profile::{Bucket, Caps};

#[derive(Clone, Debug)]
struct ExactBucket {
    bucket: Option<Bucket>,
    /// `1/R` ns for one unit.
    unit_cost: i128,
    /// Numerator over the rate (over 1 while unlimited); `None` = nothing was ever charged.
    tat: Option<i128>,
}

/// In `1/R` ns.
fn burst(bucket: Bucket, unit_cost: i128) -> i128 {
    let given = i128::from(bucket.rate_per_s) * i128::from(bucket.slack.0);
    i128::from(bucket.burst) * unit_cost + given
}

impl ExactBucket {
    fn new(bucket: Option<Bucket>, unit_cost: i128) -> Self {
        Self { bucket, unit_cost, tat: None }
    }

    fn conforms_at(&self, units: u32) -> i128 {
        let (Some(bucket), Some(tat)) = (self.bucket, self.tat) else { return 0 };
        let rate = i128::from(bucket.rate_per_s);
        let exact = tat + i128::from(units) * self.unit_cost - burst(bucket, self.unit_cost);
        exact.div_euclid(rate) + i128::from(exact.rem_euclid(rate) != 0)
    }

    fn charge(&mut self, t: u64, units: u32) {
        let Some(bucket) = self.bucket else { return };
        let now = i128::from(t) * i128::from(bucket.rate_per_s);
        self.tat =
            Some(self.tat.map_or(now, |tat| tat.max(now)) + i128::from(units) * self.unit_cost);
    }

    fn rescale(&mut self, new: Option<Bucket>, t: u64) {
        let denominator = |b: Option<Bucket>| b.map_or(1, |b| i128::from(b.rate_per_s));
        let (old_rate, rate) = (denominator(self.bucket), denominator(new));
        self.tat = self.tat.map(|tat| {
            let scaled = tat * rate;
            let kept = scaled.div_euclid(old_rate) + i128::from(scaled.rem_euclid(old_rate) != 0);
            match new {
                Some(b) => kept.min(i128::from(t) * rate + burst(b, self.unit_cost)),
                None => kept,
            }
        });
        self.bucket = new;
    }
}

/// The two buckets of a node and, since its caps last changed, its governed departures.
#[derive(Clone, Debug)]
pub struct ExactLevel {
    caps: Caps,
    bits: ExactBucket,
    messages: ExactBucket,
    governed: Vec<(u64, u32, u32)>,
}

impl ExactLevel {
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            bits: ExactBucket::new(caps.bits, 8_000_000_000),
            messages: ExactBucket::new(caps.messages, 1_000_000_000),
            governed: Vec::new(),
        }
    }

    /// The first whole ns at which `packet` conforms.
    pub fn conforms_at(&self, packet: &PacketMeta) -> u64 {
        let bits = self.bits.conforms_at(packet.wire_len());
        let messages = match packet.messages {
            0 => 0,
            n => self.messages.conforms_at(u32::from(n)),
        };
        u64::try_from(bits.max(messages).max(0)).expect("beyond 64 bits of ns")
    }

    pub fn charge(&mut self, t: u64, packet: &PacketMeta) {
        self.bits.charge(t, packet.wire_len());
        if packet.messages > 0 {
            self.messages.charge(t, u32::from(packet.messages));
        }
    }

    /// Notes a departure that the envelope binds.
    pub fn note_governed(&mut self, t: u64, packet: &PacketMeta) {
        self.governed.push((t, packet.wire_len(), u32::from(packet.messages)));
    }

    /// The caps change; nothing happens when they are the same.
    pub fn rescale(&mut self, caps: Caps, t: u64) {
        if caps != self.caps {
            self.check_windows();
            self.governed.clear();
            self.bits.rescale(caps.bits, t);
            self.messages.rescale(caps.messages, t);
            self.caps = caps;
        }
    }

    /// At most `burst + rate x span` in every window that begins and ends with a departure.
    pub fn check_windows(&self) {
        for (i, first) in self.governed.iter().enumerate() {
            let (mut bytes, mut messages) = (0i128, 0i128);
            for last in &self.governed[i..] {
                bytes += i128::from(last.1);
                messages += i128::from(last.2);
                let span = i128::from(last.0 - first.0);
                let within = |sum: i128, cap: Option<Bucket>, unit_cost: i128| {
                    cap.is_none_or(|b| {
                        sum * unit_cost <= burst(b, unit_cost) + i128::from(b.rate_per_s) * span
                    })
                };
                assert!(
                    within(bytes, self.caps.bits, 8_000_000_000)
                        && within(messages, self.caps.messages, 1_000_000_000),
                    "{bytes} bytes and {messages} messages from {} to {} break {:?}",
                    first.0,
                    last.0,
                    self.caps,
                );
            }
        }
    }
}
