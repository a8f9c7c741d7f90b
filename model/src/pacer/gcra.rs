//! The generic cell rate algorithm in exact integers (ITU-T I.371, virtual scheduling form).
//!
//! A bucket of rate `R` and burst `B` conforms at `TAT + L/R - B/R` and, once `L` has left at
//! `now`, moves to `TAT = max(TAT, now) + L/R`. Kept as `base = TAT - B/R`, so that the conforming
//! time is one addition: `base + L/R`. Times are whole nanoseconds plus a remainder in `1/R'`
//! nanoseconds, where `R'` is `R` without the factors that it shares with 8e9 ns per byte (or 1e9 ns
//! per message): 1 for 50 Mbit/s, 5 for 10 Gbit/s. The remainder of every division is carried, so no
//! rate drifts.
//!
//! Nothing here divides or remembers a length: `L/R` is one multiplication, and the remainder, where
//! there can be one, a few more with a reciprocal that is made once.
//!
//! Parameters and state are apart: all flows of a class share one [`GcraParams`].

use crate::profile::{Bucket, Caps};
use crate::time::Nanos;

/// `1/R` nanoseconds that one wire byte costs: 8 bits, 1e9 ns per second.
const BYTE_COST: u64 = 8_000_000_000;
/// The same for one message.
const MESSAGE_COST: u64 = 1_000_000_000;

/// Rate and burst of one level.
#[derive(Clone, Copy, Debug)]
pub struct GcraParams {
    /// `R'`: so many parts of a nanosecond are one.
    parts: u64,
    /// 2^64 / `parts`, rounded down; for one part 2^64 - 1, which is right for a remainder of 0.
    reciprocal: u64,
    /// Whole ns that one unit costs.
    unit_ns: u64,
    /// What is left over of it, in parts.
    unit_rem: u64,
    /// `B/R`.
    burst: Gcra,
    /// `-B/R`: the state of a bucket that is full at 0.
    full: Gcra,
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl GcraParams {
    fn new(bucket: Bucket, unit_cost: u64) -> Self {
        let rate_per_s = bucket.rate_per_s.max(1);
        let common = gcd(rate_per_s, unit_cost);
        let (parts, unit_cost) = (rate_per_s / common, unit_cost / common);
        let burst = u128::from(bucket.burst) * u128::from(unit_cost);
        // Bursts are at most 2^30 units (checked by the config), so the quotient fits.
        let burst = Gcra {
            base_ns: (burst / u128::from(parts)) as i64,
            rem: (burst % u128::from(parts)) as u64,
        };
        Self {
            parts,
            reciprocal: u64::try_from((1u128 << 64) / u128::from(parts)).unwrap_or(u64::MAX),
            unit_ns: unit_cost / parts,
            unit_rem: unit_cost % parts,
            burst,
            full: Gcra { base_ns: 0, rem: 0 }.less(burst, parts),
        }
    }

    /// A bucket over wire bytes with a rate in bits per second.
    pub fn bits(bucket: Bucket) -> Self {
        Self::new(bucket, BYTE_COST)
    }

    /// A bucket over messages.
    pub fn messages(bucket: Bucket) -> Self {
        Self::new(bucket, MESSAGE_COST)
    }

    /// `L/R` for `units` below 2^24.
    #[inline]
    fn cost(&self, units: u32) -> Gcra {
        if self.parts == 1 {
            return Gcra { base_ns: (u64::from(units) * self.unit_ns) as i64, rem: 0 };
        }
        // `unit_rem` is below 400e9, so the product is below 2^63, and the product with the rounded
        // reciprocal is less than one below the quotient.
        let rem = u64::from(units) * self.unit_rem;
        let ns = ((u128::from(rem) * u128::from(self.reciprocal)) >> 64) as u64;
        let rem = rem - ns * self.parts;
        let short = rem >= self.parts;
        Gcra {
            base_ns: (u64::from(units) * self.unit_ns + ns + u64::from(short)) as i64,
            rem: if short { rem - self.parts } else { rem },
        }
    }

    /// The state of a bucket that is full at `now`.
    #[inline]
    const fn full_at(&self, now: Nanos) -> Gcra {
        Gcra { base_ns: now.0 as i64 + self.full.base_ns, rem: self.full.rem }
    }
}

/// State of one bucket: `TAT - B/R`, and any span of such time. A later state is a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gcra {
    base_ns: i64,
    /// In `1/R'` ns, below one.
    rem: u64,
}

impl Default for Gcra {
    /// A full bucket. Far in the past, yet far from overflow.
    fn default() -> Self {
        Self { base_ns: i64::MIN / 4, rem: 0 }
    }
}

impl Gcra {
    #[inline]
    const fn plus(self, span: Self, parts: u64) -> Self {
        let rem = self.rem + span.rem;
        let carry = rem >= parts;
        Self {
            base_ns: self.base_ns + span.base_ns + carry as i64,
            rem: if carry { rem - parts } else { rem },
        }
    }

    const fn less(self, span: Self, parts: u64) -> Self {
        let borrow = self.rem < span.rem;
        Self {
            base_ns: self.base_ns - span.base_ns - borrow as i64,
            rem: if borrow { self.rem + parts - span.rem } else { self.rem - span.rem },
        }
    }

    /// The later of two, chosen and not branched to.
    #[inline]
    fn later(self, other: Self) -> Self {
        let wide = |g: Self| i128::from(g.base_ns) << 64 | i128::from(g.rem);
        if wide(self) < wide(other) { other } else { self }
    }

    /// The first whole nanosecond at which `units` conform. Never before the exact time.
    pub fn conforms_at(self, params: &GcraParams, units: u32) -> Nanos {
        self.conforming(params, params.cost(units))
    }

    #[inline]
    fn conforming(self, params: &GcraParams, cost: Self) -> Nanos {
        if params.parts == 1 {
            return Nanos((self.base_ns + cost.base_ns).max(0) as u64);
        }
        self.plus(cost, params.parts).rounded_up()
    }

    /// Takes `units` at `now`, whether they conform or not: the bucket may go negative.
    pub fn charge(&mut self, params: &GcraParams, now: Nanos, units: u32) {
        self.take(params, now, params.cost(units));
    }

    #[inline]
    fn take(&mut self, params: &GcraParams, now: Nanos, cost: Self) {
        if params.parts == 1 {
            self.base_ns = self.base_ns.max(params.full_at(now).base_ns) + cost.base_ns;
            return;
        }
        // max(TAT, now) + L/R, less B/R.
        *self = self.later(params.full_at(now)).plus(cost, params.parts);
    }

    #[inline]
    fn rounded_up(self) -> Nanos {
        Nanos((self.base_ns + i64::from(self.rem != 0)).max(0) as u64)
    }

    /// Carries the state to new parameters: TAT is kept, clamped to `now + B/R` of the new bucket,
    /// and rounded up where the new rate cannot express the old remainder. Without a limit nothing
    /// is charged and the state is TAT itself in whole ns, so that a debt does not go away by taking
    /// the limit off for a moment.
    #[must_use]
    pub fn rescaled(self, old: Option<&GcraParams>, new: Option<&GcraParams>, now: Nanos) -> Self {
        let (tat, old_parts) = match old {
            Some(old) => (self.plus(old.burst, old.parts), old.parts),
            None => (self, 1),
        };
        let parts = new.map_or(1, |new| new.parts);
        let rem = (u128::from(tat.rem) * u128::from(parts)).div_ceil(u128::from(old_parts)) as u64;
        let carry = rem >= parts;
        let tat = Self {
            base_ns: tat.base_ns + i64::from(carry),
            rem: if carry { rem - parts } else { rem },
        };
        let Some(new) = new else { return tat };
        let kept = tat.less(new.burst, new.parts);
        if kept.base_ns >= now.0 as i64 { Self { base_ns: now.0 as i64, rem: 0 } } else { kept }
    }
}

/// Parameters of the two buckets of one level; an absent bucket is unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub struct LevelParams {
    bits: Option<GcraParams>,
    messages: Option<GcraParams>,
}

impl From<Caps> for LevelParams {
    fn from(caps: Caps) -> Self {
        Self {
            bits: caps.bits.map(GcraParams::bits),
            messages: caps.messages.map(GcraParams::messages),
        }
    }
}

/// State of the two buckets of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    bits: Gcra,
    messages: Gcra,
}

/// A level's answer to a packet: when it conforms, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The first whole nanosecond at which the packet conforms; zero where nothing is limited.
    pub at: Nanos,
    bits: Gcra,
    messages: Gcra,
}

impl Level {
    /// Asks for a packet.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn ask(&self, params: &LevelParams, wire_len: u32, messages: u32) -> Answer {
        const NOTHING: Gcra = Gcra { base_ns: 0, rem: 0 };
        let mut answer = Answer { at: Nanos::ZERO, bits: NOTHING, messages: NOTHING };
        if let Some(p) = &params.bits {
            answer.bits = p.cost(wire_len);
            answer.at = self.bits.conforming(p, answer.bits);
        }
        if let Some(p) = &params.messages
            && messages > 0
        {
            answer.messages = p.cost(messages);
            answer.at = answer.at.max(self.messages.conforming(p, answer.messages));
        }
        answer
    }

    /// Takes the packet that `answer` was given for, at `now`, whether it conforms or not. The level
    /// may have changed since; the parameters have not.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn take(
        &mut self,
        params: &LevelParams,
        answer: &Answer,
        now: Nanos,
        _wire_len: u32,
        messages: u32,
    ) {
        if let Some(p) = &params.bits {
            self.bits.take(p, now, answer.bits);
        }
        if let Some(p) = &params.messages
            && messages > 0
        {
            self.messages.take(p, now, answer.messages);
        }
    }

    /// Takes a packet at `now`.
    #[inline]
    pub fn charge(&mut self, params: &LevelParams, now: Nanos, wire_len: u32, messages: u32) {
        let answer = self.ask(params, wire_len, messages);
        self.take(params, &answer, now, wire_len, messages);
    }

    /// Carries the state from `old` to `new` parameters at `now`. A bucket that appears is full,
    /// unless it had been there before and is still in debt.
    pub fn rescale(&mut self, old: &LevelParams, new: &LevelParams, now: Nanos) {
        self.bits = self.bits.rescaled(old.bits.as_ref(), new.bits.as_ref(), now);
        self.messages = self.messages.rescaled(old.messages.as_ref(), new.messages.as_ref(), now);
    }

    /// Forgets what the limited buckets have saved up to `now`: a packet of `L` then conforms at
    /// `now + L/R`, or later where it would have been later.
    pub fn re_anchor(&mut self, params: &LevelParams, now: Nanos) {
        let now = Gcra { base_ns: now.0 as i64, rem: 0 };
        if params.bits.is_some() {
            self.bits = self.bits.max(now);
        }
        if params.messages.is_some() {
            self.messages = self.messages.max(now);
        }
    }

    /// Whether no bucket owes or lacks anything at `now`: the level is as good as a new one.
    pub fn is_full(&self, params: &LevelParams, now: Nanos) -> bool {
        let full = |state: Gcra, params: Option<&GcraParams>| {
            let tat = params.map_or(state, |p| state.plus(p.burst, p.parts));
            tat <= Gcra { base_ns: now.0 as i64, rem: 0 }
        };
        full(self.bits, params.bits.as_ref()) && full(self.messages, params.messages.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 1 Mbit/s, 125 bytes of burst: one 125-byte packet costs exactly 1 ms.
    fn params() -> GcraParams {
        GcraParams::bits(Bucket { rate_per_s: 1_000_000, burst: 125 })
    }

    #[test]
    fn a_full_bucket_conforms_at_once_and_then_after_its_cost() {
        let (p, mut g) = (params(), Gcra::default());
        assert_eq!(g.conforms_at(&p, 125), Nanos::ZERO);
        g.charge(&p, Nanos(5_000), 125);
        // TAT = 5us + 1ms; conforming = TAT + 1ms - 1ms.
        assert_eq!(g.conforms_at(&p, 125), Nanos(1_005_000));
    }

    #[test]
    fn a_remainder_is_rounded_up_when_read_and_carried_when_charged() {
        // 3 bits/s, 1 byte: 8/3 s = 2_666_666_666.67 ns.
        let p = GcraParams::bits(Bucket { rate_per_s: 3, burst: 1 });
        let mut g = Gcra::default();
        g.charge(&p, Nanos(0), 1);
        assert_eq!(g.conforms_at(&p, 1), Nanos(2_666_666_667));
        g.charge(&p, Nanos(2_666_666_667), 1);
        // now > TAT by a third of a ns: the bucket re-anchors to now, so 1/3 ns is lost.
        assert_eq!(g.conforms_at(&p, 1), Nanos(5_333_333_334));
        // Released early on purpose (exempt): nothing is lost, three packets take 8 s exactly.
        let mut g = Gcra::default();
        for _ in 0..3 {
            g.charge(&p, Nanos(0), 1);
        }
        assert_eq!(g.conforms_at(&p, 1), Nanos(8_000_000_000));
    }

    #[test]
    fn a_new_rate_keeps_tat_but_never_beyond_its_own_burst() {
        let (old, mut g) = (params(), Gcra::default());
        g.charge(&old, Nanos(0), 1_250); // TAT = 10 ms
        let new = GcraParams::bits(Bucket { rate_per_s: 2_000_000, burst: 250 });
        let mut kept = g.rescaled(Some(&old), Some(&new), Nanos(9_500_000));
        // TAT 10 ms - B/R 1 ms + L/R 0.5 ms
        assert_eq!(kept.conforms_at(&new, 125), Nanos(9_500_000));
        // At t = 0 the debt would be 10 ms; it is clamped to now + B/R = 1 ms.
        kept = g.rescaled(Some(&old), Some(&new), Nanos(0));
        assert_eq!(kept.conforms_at(&new, 250), Nanos(1_000_000));
    }

    proptest! {
        /// However late each departure is, no window holds more than B + R x span, and a departure
        /// one ns before the conforming time would break some window or be inexact by under 1 ns.
        #[test]
        fn every_window_conforms(
            rate in 1u64..10_000_000_000,
            burst in 1_600u64..100_000,
            steps in prop::collection::vec((60u32..1_600, 0u64..50_000), 2..60),
        ) {
            let p = GcraParams::bits(Bucket { rate_per_s: rate, burst });
            let mut g = Gcra::default();
            let mut now = 1_000_000_000u64;
            let mut left: Vec<(u64, u64)> = Vec::new();
            for (len, late) in steps {
                now = now.max(g.conforms_at(&p, len).0) + late;
                g.charge(&p, Nanos(now), len);
                left.push((now, u64::from(len)));
            }
            for s in 0..left.len() {
                let mut bytes = 0u128;
                for &(t, len) in &left[s..] {
                    bytes += u128::from(len);
                    let span = u128::from(t - left[s].0);
                    prop_assert!(bytes * 8_000_000_000 <= u128::from(burst) * 8_000_000_000 + u128::from(rate) * span);
                }
            }
        }

        /// The carried remainder: n packets at the exact pace take n x L/R, rounded once.
        #[test]
        fn no_rate_drifts(rate in 1_000u64..400_000_000_000, len in 60u32..9_000, n in 1u32..500) {
            let p = GcraParams::bits(Bucket { rate_per_s: rate, burst: u64::from(len) });
            let mut g = Gcra::default();
            for _ in 0..n {
                g.charge(&p, Nanos(0), len);
            }
            let exact = u128::from(n) * u128::from(len) * 8_000_000_000;
            prop_assert_eq!(u128::from(g.conforms_at(&p, len).0), exact.div_ceil(u128::from(rate)));
        }
    }
}
