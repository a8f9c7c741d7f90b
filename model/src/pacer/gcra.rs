//! The generic cell rate algorithm in exact integers (ITU-T I.371, virtual scheduling form).
//!
//! A bucket of rate `R` and burst `B` conforms at `TAT + L/R - B/R` and, once `L` has left at
//! `now`, moves to `TAT = max(TAT, now) + L/R`. Kept as `base = TAT - B/R`, so that the conforming
//! time is one addition: `base + L/R`. Times are whole nanoseconds plus a fraction of `1/R`
//! nanoseconds; the remainder of every division is carried, so no rate drifts.
//!
//! Parameters and state are apart: all flows of a class share one [`GcraParams`].

use crate::profile::{Bucket, Caps};
use crate::time::Nanos;

/// `1/R` nanoseconds that one wire byte costs: 8 bits, 1e9 ns per second.
const BYTE_COST: u64 = 8_000_000_000;
/// The same for one message.
const MESSAGE_COST: u64 = 1_000_000_000;

/// A span as whole nanoseconds and a remainder in `1/R` nanoseconds, `0 <= rem < R`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    ns: i64,
    rem: u64,
}

/// Rate and burst of one level, and the cost of the last length (most frames of a class are alike,
/// so most divisions are saved).
#[derive(Clone, Copy, Debug)]
pub struct GcraParams {
    rate_per_s: u64,
    unit_cost: u64,
    burst: Span,
    memo_units: u32,
    memo_cost: Span,
    /// What one packet of `memo_units` makes of a full bucket: `L/R - B/R`, relative to its time.
    memo_first: Span,
}

impl GcraParams {
    fn new(bucket: Bucket, unit_cost: u64) -> Self {
        let rate_per_s = bucket.rate_per_s.max(1);
        let mut params = Self {
            rate_per_s,
            unit_cost,
            burst: Span { ns: 0, rem: 0 },
            memo_units: 0,
            memo_cost: Span { ns: 0, rem: 0 },
            memo_first: Span { ns: 0, rem: 0 },
        };
        params.burst = params.span(bucket.burst);
        params.remember(0);
        params
    }

    /// A bucket over wire bytes with a rate in bits per second.
    pub fn bits(bucket: Bucket) -> Self {
        Self::new(bucket, BYTE_COST)
    }

    /// A bucket over messages.
    pub fn messages(bucket: Bucket) -> Self {
        Self::new(bucket, MESSAGE_COST)
    }

    fn span(&self, units: u64) -> Span {
        let total = u128::from(units) * u128::from(self.unit_cost);
        let rate = u128::from(self.rate_per_s);
        // Bursts are at most 2^30 units (checked by the config), so the quotient fits.
        Span { ns: (total / rate) as i64, rem: (total % rate) as u64 }
    }

    /// The state of a bucket that was at `from` and took `units` while it was not full.
    #[inline]
    fn after(&mut self, from: Gcra, units: u32) -> Gcra {
        if units != self.memo_units {
            self.remember(units);
        }
        self.add(from, self.memo_cost)
    }

    /// The state of a bucket that was full at `now` and took `units`.
    #[inline]
    fn after_full(&mut self, now: Nanos, units: u32) -> Gcra {
        if units != self.memo_units {
            self.remember(units);
        }
        Gcra { base_ns: now.0 as i64 + self.memo_first.ns, rem: self.memo_first.rem }
    }

    fn remember(&mut self, units: u32) {
        // A frame is below 2^16 bytes: the product stays below 2^49 * 8e9 < 2^64.
        let total = u64::from(units) * self.unit_cost;
        let cost = Gcra { base_ns: (total / self.rate_per_s) as i64, rem: total % self.rate_per_s };
        let first = self.sub(cost, self.burst);
        self.memo_units = units;
        self.memo_cost = Span { ns: cost.base_ns, rem: cost.rem };
        self.memo_first = Span { ns: first.base_ns, rem: first.rem };
    }

    #[inline]
    fn add(&self, at: Gcra, span: Span) -> Gcra {
        let rem = at.rem + span.rem;
        let carry = rem >= self.rate_per_s;
        Gcra {
            base_ns: at.base_ns + span.ns + i64::from(carry),
            rem: if carry { rem - self.rate_per_s } else { rem },
        }
    }

    fn sub(&self, at: Gcra, span: Span) -> Gcra {
        let borrow = at.rem < span.rem;
        Gcra {
            base_ns: at.base_ns - span.ns - i64::from(borrow),
            rem: if borrow { at.rem + self.rate_per_s - span.rem } else { at.rem - span.rem },
        }
    }
}

/// State of one bucket: `TAT - B/R`. A later state is a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gcra {
    base_ns: i64,
    rem: u64,
}

impl Default for Gcra {
    /// A full bucket. Far in the past, yet far from overflow.
    fn default() -> Self {
        Self { base_ns: i64::MIN / 4, rem: 0 }
    }
}

impl Gcra {
    /// The first whole nanosecond at which `units` conform. Never before the exact time.
    pub fn conforms_at(self, params: &mut GcraParams, units: u32) -> Nanos {
        params.after(self, units).rounded_up()
    }

    /// Takes `units` at `now`, whether they conform or not: the bucket may go negative.
    pub fn charge(&mut self, params: &mut GcraParams, now: Nanos, units: u32) {
        // max(TAT, now) + L/R = max(TAT + L/R, now + L/R), each less B/R.
        *self = params.after(*self, units).max(params.after_full(now, units));
    }

    #[inline]
    fn rounded_up(self) -> Nanos {
        Nanos(u64::try_from(self.base_ns + i64::from(self.rem != 0)).unwrap_or(0))
    }

    /// Carries the state to new parameters: TAT is kept, clamped to `now + B/R` of the new bucket,
    /// and rounded up where the new rate cannot express the old remainder. Without a limit nothing
    /// is charged and the state is TAT itself in whole ns, so that a debt does not go away by taking
    /// the limit off for a moment.
    #[must_use]
    pub fn rescaled(self, old: Option<&GcraParams>, new: Option<&GcraParams>, now: Nanos) -> Self {
        let (tat, old_rate) = match old {
            Some(old) => (old.add(self, old.burst), old.rate_per_s),
            None => (self, 1),
        };
        let rate = new.map_or(1, |new| new.rate_per_s);
        let rem = (u128::from(tat.rem) * u128::from(rate)).div_ceil(u128::from(old_rate)) as u64;
        let carry = rem >= rate;
        let tat = Gcra {
            base_ns: tat.base_ns + i64::from(carry),
            rem: if carry { rem - rate } else { rem },
        };
        let Some(new) = new else { return tat };
        let kept = new.sub(tat, new.burst);
        if kept.base_ns >= now.0 as i64 { Gcra { base_ns: now.0 as i64, rem: 0 } } else { kept }
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

/// A level's answer to a packet: when it conforms, and what the level is once it has left.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The first whole nanosecond at which the packet conforms; zero where nothing is limited.
    pub at: Nanos,
    /// The level without what it regains by being full for a while.
    after: Level,
}

impl Level {
    /// Asks for a packet.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn ask(&self, params: &mut LevelParams, wire_len: u32, messages: u32) -> Answer {
        let mut answer = Answer { at: Nanos::ZERO, after: *self };
        if let Some(p) = &mut params.bits {
            answer.after.bits = p.after(self.bits, wire_len);
            answer.at = answer.after.bits.rounded_up();
        }
        if let Some(p) = &mut params.messages
            && messages > 0
        {
            answer.after.messages = p.after(self.messages, messages);
            answer.at = answer.at.max(answer.after.messages.rounded_up());
        }
        answer
    }

    /// Takes the packet that `answer` was given for, at `now`, whether it conforms or not. The level
    /// has not changed since.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn take(
        &mut self,
        params: &mut LevelParams,
        answer: &Answer,
        now: Nanos,
        wire_len: u32,
        messages: u32,
    ) {
        if let Some(p) = &mut params.bits {
            self.bits = answer.after.bits.max(p.after_full(now, wire_len));
        }
        if let Some(p) = &mut params.messages
            && messages > 0
        {
            self.messages = answer.after.messages.max(p.after_full(now, messages));
        }
    }

    /// Takes a packet at `now`.
    #[inline]
    pub fn charge(&mut self, params: &mut LevelParams, now: Nanos, wire_len: u32, messages: u32) {
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
            let tat = params.map_or(state, |p| p.add(state, p.burst));
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
        let (mut p, mut g) = (params(), Gcra::default());
        assert_eq!(g.conforms_at(&mut p, 125), Nanos::ZERO);
        g.charge(&mut p, Nanos(5_000), 125);
        // TAT = 5us + 1ms; conforming = TAT + 1ms - 1ms.
        assert_eq!(g.conforms_at(&mut p, 125), Nanos(1_005_000));
    }

    #[test]
    fn a_remainder_is_rounded_up_when_read_and_carried_when_charged() {
        // 3 bits/s, 1 byte: 8/3 s = 2_666_666_666.67 ns.
        let mut p = GcraParams::bits(Bucket { rate_per_s: 3, burst: 1 });
        let mut g = Gcra::default();
        g.charge(&mut p, Nanos(0), 1);
        assert_eq!(g.conforms_at(&mut p, 1), Nanos(2_666_666_667));
        g.charge(&mut p, Nanos(2_666_666_667), 1);
        // now > TAT by a third of a ns: the bucket re-anchors to now, so 1/3 ns is lost.
        assert_eq!(g.conforms_at(&mut p, 1), Nanos(5_333_333_334));
        // Released early on purpose (exempt): nothing is lost, three packets take 8 s exactly.
        let mut g = Gcra::default();
        for _ in 0..3 {
            g.charge(&mut p, Nanos(0), 1);
        }
        assert_eq!(g.conforms_at(&mut p, 1), Nanos(8_000_000_000));
    }

    #[test]
    fn a_new_rate_keeps_tat_but_never_beyond_its_own_burst() {
        let (mut old, mut g) = (params(), Gcra::default());
        g.charge(&mut old, Nanos(0), 1_250); // TAT = 10 ms
        let mut new = GcraParams::bits(Bucket { rate_per_s: 2_000_000, burst: 250 });
        let mut kept = g.rescaled(Some(&old), Some(&new), Nanos(9_500_000));
        // TAT 10 ms - B/R 1 ms + L/R 0.5 ms
        assert_eq!(kept.conforms_at(&mut new, 125), Nanos(9_500_000));
        // At t = 0 the debt would be 10 ms; it is clamped to now + B/R = 1 ms.
        kept = g.rescaled(Some(&old), Some(&new), Nanos(0));
        assert_eq!(kept.conforms_at(&mut new, 250), Nanos(1_000_000));
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
            let mut p = GcraParams::bits(Bucket { rate_per_s: rate, burst });
            let mut g = Gcra::default();
            let mut now = 1_000_000_000u64;
            let mut left: Vec<(u64, u64)> = Vec::new();
            for (len, late) in steps {
                now = now.max(g.conforms_at(&mut p, len).0) + late;
                g.charge(&mut p, Nanos(now), len);
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
            let mut p = GcraParams::bits(Bucket { rate_per_s: rate, burst: u64::from(len) });
            let mut g = Gcra::default();
            for _ in 0..n {
                g.charge(&mut p, Nanos(0), len);
            }
            let exact = u128::from(n) * u128::from(len) * 8_000_000_000;
            prop_assert_eq!(u128::from(g.conforms_at(&mut p, len).0), exact.div_ceil(u128::from(rate)));
        }
    }
}
