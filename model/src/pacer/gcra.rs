//! The generic cell rate algorithm in exact integers (ITU-T I.371), kept as a leaky bucket that is
//! looked at when it is used: the continuous-state form, which decides as virtual scheduling does.
//!
//! A bucket of rate `R` and burst `B` holds what it has let out and what has not drained yet. A packet
//! of length `L` conforms while that and `L` are at most `B`. With `TAT` for the time at which it will
//! be empty: a packet conforms at `TAT + L/R - B/R`, and once it has left at `now`,
//! `TAT = max(TAT, now) + L/R`.
//!
//! What it holds is counted in parts of a nanosecond ([`Rate`]): a unit costs a whole number of them
//! and a nanosecond drains a whole number of them, so no rate drifts. To ask and to charge takes two
//! multiplications, and nothing divides or remembers a length; only when somebody wants to know *when*
//! a packet conforms is there a third.
//!
//! Parameters and state are apart: all flows of a class share one [`GcraParams`].

use crate::profile::{Bucket, Caps};
use crate::rate::Rate;
use crate::time::Nanos;

/// Rate and burst of one bucket.
#[derive(Clone, Copy, Debug)]
pub struct GcraParams {
    rate: Rate,
    /// `B`, in parts.
    burst: u64,
}

impl GcraParams {
    /// No limit. What a bucket held before the limit was taken off drains by the nanosecond, so that a
    /// debt does not go away by taking the limit off for a moment.
    const UNLIMITED: Self = Self { rate: Rate::FREE, burst: u64::MAX };

    const fn new(rate: Rate, bucket: &Bucket) -> Self {
        // Bursts are at most 2^30 units (checked by the config) of at most 2^33 parts.
        let burst = bucket.burst.saturating_mul(rate.unit_parts());
        let slack = bucket.slack.0.saturating_mul(rate.parts_per_ns());
        Self { rate, burst: burst.saturating_add(slack) }
    }

    /// A bucket over wire bytes with a rate in bits per second.
    pub const fn bits(bucket: Bucket) -> Self {
        Self::new(Rate::bits(bucket.rate_per_s), &bucket)
    }

    /// A bucket over messages.
    pub const fn messages(bucket: Bucket) -> Self {
        Self::new(Rate::messages(bucket.rate_per_s), &bucket)
    }

    /// What is left of `held` after `idle_ns`, less than 2^63 as all spans of gateway time.
    #[inline(always)]
    const fn drained(&self, held: u64, idle_ns: u64) -> u64 {
        let parts = self.rate.parts_per_ns();
        // Signed: of the two multiplications that tell of an overflow, the one that has one result.
        let drained = match idle_ns.cast_signed().checked_mul(parts.cast_signed()) {
            Some(drained) => drained.cast_unsigned(),
            None => {
                std::hint::cold_path();
                idle_ns.saturating_mul(parts)
            }
        };
        held.saturating_sub(drained)
    }
}

/// State of one bucket. A debt (what was charged beyond the burst) is remembered up to 2^64 parts:
/// 2 GiB at the oddest of rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gcra {
    /// What it held at `at`, in parts.
    held: u64,
    /// When it was charged last.
    at: Nanos,
}

impl Gcra {
    /// A bucket that has nothing saved at `at`.
    pub const fn spent(params: &GcraParams, at: Nanos) -> Self {
        Self { held: params.burst, at }
    }

    /// What it still holds at `now`, or at `self.at` where that is later.
    #[inline]
    const fn drained(self, params: &GcraParams, now: Nanos) -> u64 {
        params.drained(self.held, now.0.saturating_sub(self.at.0))
    }

    /// The first whole nanosecond at which `units` conform. Never before the exact time.
    pub const fn conforms_at(self, params: &GcraParams, units: u32) -> Nanos {
        self.conforming(params, params.rate.cost(units))
    }

    #[inline]
    const fn conforming(self, params: &GcraParams, cost: u64) -> Nanos {
        let held = self.held.saturating_add(cost);
        if held <= params.burst {
            return Nanos(self.at.0.saturating_sub(params.rate.whole_ns(params.burst - held).0));
        }
        let (ns, rest) = params.rate.whole_ns(held - params.burst);
        Nanos(self.at.0.saturating_add(ns + (rest > 0) as u64))
    }

    /// Takes `units` at `now`, whether they conform or not: the bucket may go negative.
    pub const fn charge(&mut self, params: &GcraParams, now: Nanos, units: u32) {
        self.take(params, now, params.rate.cost(units));
    }

    #[inline]
    const fn take(&mut self, params: &GcraParams, now: Nanos, cost: u64) {
        // What costs nothing leaves no trace: TAT does not move.
        if cost > 0 {
            self.held = self.drained(params, now).saturating_add(cost);
            self.at = if self.at.0 < now.0 { now } else { self.at };
        }
    }

    /// See [`Level::charge_if`].
    #[inline(always)]
    const fn charge_if(
        &mut self,
        params: &GcraParams,
        now: Nanos,
        units: u32,
        again: bool,
    ) -> bool {
        if !(again && self.at.0 == now.0) {
            if self.at.0 > now.0 {
                return false;
            }
            self.held = params.drained(self.held, now.0 - self.at.0);
            self.at = now;
        }
        match self.held.checked_add(params.rate.cost(units)) {
            Some(held) => {
                self.held = held;
                held <= params.burst
            }
            None => {
                std::hint::cold_path();
                false
            }
        }
    }

    /// Carries the state to new parameters: TAT is kept, clamped to `now + B/R` of the new bucket,
    /// and rounded up where the new rate cannot express the old remainder.
    #[must_use]
    pub fn rescaled(self, old: &GcraParams, new: &GcraParams, now: Nanos) -> Self {
        let (ns, rest) = old.rate.whole_ns(self.held);
        let tat = self.at.saturating_add(Nanos(ns));
        let wide = u128::from(rest) * u128::from(new.rate.parts_per_ns());
        let rest = wide.div_ceil(u128::from(old.rate.parts_per_ns())) as u64;
        if tat < now {
            return Self { held: rest, at: tat };
        }
        let held = (tat - now).0.saturating_mul(new.rate.parts_per_ns()).saturating_add(rest);
        Self { held: held.min(new.burst), at: now }
    }
}

/// Parameters of the two buckets of one level: one cache line. By default nothing is limited.
#[derive(Clone, Copy, Debug)]
pub struct LevelParams {
    bits: GcraParams,
    messages: GcraParams,
}

impl Default for LevelParams {
    fn default() -> Self {
        Self { bits: GcraParams::UNLIMITED, messages: GcraParams::UNLIMITED }
    }
}

impl From<Caps> for LevelParams {
    fn from(caps: Caps) -> Self {
        Self {
            bits: caps.bits.map_or(GcraParams::UNLIMITED, GcraParams::bits),
            messages: caps.messages.map_or(GcraParams::UNLIMITED, GcraParams::messages),
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
    /// In parts.
    bits: u64,
    /// In parts.
    messages: u64,
}

impl Level {
    /// Asks for a packet.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn ask(&self, params: &LevelParams, wire_len: u32, messages: u32) -> Answer {
        let bits = params.bits.rate.cost(wire_len);
        let mut answer = Answer { at: self.bits.conforming(&params.bits, bits), bits, messages: 0 };
        if messages > 0 {
            answer.messages = params.messages.rate.cost(messages);
            let at = self.messages.conforming(&params.messages, answer.messages);
            answer.at = answer.at.max(at);
        }
        answer
    }

    /// Takes the packet that `answer` was given for, at `now`, whether it conforms or not. The level
    /// may have changed since; the parameters have not.
    // Always: out of line the levels go through memory and back for each packet.
    #[inline(always)]
    pub fn take(&mut self, params: &LevelParams, answer: &Answer, now: Nanos) {
        self.bits.take(&params.bits, now, answer.bits);
        self.messages.take(&params.messages, now, answer.messages);
    }

    /// Takes a packet of so many wire bytes and messages at `now` if it conforms; `false` where it does
    /// not, or where something was charged later than `now`: then the level may have changed, and the
    /// caller puts back what it was. Cheaper than to ask when it would. `again`: most likely something
    /// was charged at `now` already.
    #[inline(always)]
    pub const fn charge_if(
        &mut self,
        params: &LevelParams,
        now: Nanos,
        (wire_len, messages): (u32, u32),
        again: bool,
    ) -> bool {
        if !params.bits.rate.is_free() && !self.bits.charge_if(&params.bits, now, wire_len, again) {
            return false;
        }
        messages == 0
            || params.messages.rate.is_free()
            || self.messages.charge_if(&params.messages, now, messages, again)
    }

    /// Takes a packet at `now`.
    #[inline]
    pub fn charge(&mut self, params: &LevelParams, now: Nanos, wire_len: u32, messages: u32) {
        self.bits.charge(&params.bits, now, wire_len);
        self.messages.charge(&params.messages, now, messages);
    }

    /// Carries the state from `old` to `new` parameters at `now`. A bucket that appears is full,
    /// unless it had been there before and is still in debt.
    pub fn rescale(&mut self, old: &LevelParams, new: &LevelParams, now: Nanos) {
        self.bits = self.bits.rescaled(&old.bits, &new.bits, now);
        self.messages = self.messages.rescaled(&old.messages, &new.messages, now);
    }

    /// Forgets what the limited buckets have saved up to `now`: a packet of `L` then conforms at
    /// `now + L/R`, or later where it would have been later.
    pub fn re_anchor(&mut self, params: &LevelParams, now: Nanos) {
        let spend = |state: &mut Gcra, params: &GcraParams| {
            if !params.rate.is_free() {
                let at = state.at.max(now);
                let ahead = (at - now).0.saturating_mul(params.rate.parts_per_ns());
                let held = params.burst.saturating_sub(ahead).max(state.drained(params, now));
                *state = Gcra { held, at };
            }
        };
        spend(&mut self.bits, &params.bits);
        spend(&mut self.messages, &params.messages);
    }

    /// In each bucket what holds longer of this level and `other`, under the same parameters: whoever
    /// goes by it keeps what both have promised.
    pub fn join(&mut self, params: &LevelParams, other: &Self) {
        let later = |a: &mut Gcra, b: Gcra, params: &GcraParams| {
            let tat = |state: Gcra| {
                u128::from(state.at.0) * u128::from(params.rate.parts_per_ns())
                    + u128::from(state.held)
            };
            if tat(b) > tat(*a) {
                *a = b;
            }
        };
        later(&mut self.bits, other.bits, &params.bits);
        later(&mut self.messages, other.messages, &params.messages);
    }

    /// Nothing conforms to the limited buckets before `until`.
    pub const fn shut(&mut self, params: &LevelParams, until: Nanos) {
        if !params.bits.rate.is_free() {
            self.bits = Gcra::spent(&params.bits, until);
        }
        if !params.messages.rate.is_free() {
            self.messages = Gcra::spent(&params.messages, until);
        }
    }

    /// Whether no bucket owes or lacks anything at `now`: the level is as good as a new one.
    pub const fn is_full(&self, params: &LevelParams, now: Nanos) -> bool {
        self.bits.at.0 <= now.0
            && self.messages.at.0 <= now.0
            && self.bits.drained(&params.bits, now) == 0
            && self.messages.drained(&params.messages, now) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 1 Mbit/s, 125 bytes of burst: one 125-byte packet costs exactly 1 ms.
    fn params() -> GcraParams {
        GcraParams::bits(Bucket::new(1_000_000, 125))
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
    fn a_burst_of_one_message_and_a_slot_never_lets_two_go_together() {
        // 10,000/s: a message each 100 us, and a slot of 1,024 ns may be made up.
        let p = GcraParams::messages(Bucket { rate_per_s: 10_000, burst: 1, slack: Nanos(1_024) });
        let mut g = Gcra::default();
        assert_eq!(g.conforms_at(&p, 1), Nanos::ZERO);
        g.charge(&p, Nanos(1_000_000), 1);
        assert_eq!(g.conforms_at(&p, 1), Nanos(1_100_000 - 1_024));
        // Late by less than the slot: the rate is kept.
        g.charge(&p, Nanos(1_100_500), 1);
        assert_eq!(g.conforms_at(&p, 1), Nanos(1_200_500 - 1_024));
        g.charge(&p, Nanos(1_200_000), 1);
        assert_eq!(g.conforms_at(&p, 1), Nanos(1_300_500 - 1_024));
    }

    #[test]
    fn a_remainder_is_rounded_up_when_read_and_carried_when_charged() {
        // 3 bits/s, 1 byte: 8/3 s = 2_666_666_666.67 ns.
        let p = GcraParams::bits(Bucket::new(3, 1));
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
        let new = GcraParams::bits(Bucket::new(2_000_000, 250));
        let mut kept = g.rescaled(&old, &new, Nanos(9_500_000));
        // TAT 10 ms - B/R 1 ms + L/R 0.5 ms
        assert_eq!(kept.conforms_at(&new, 125), Nanos(9_500_000));
        // At t = 0 the debt would be 10 ms; it is clamped to now + B/R = 1 ms.
        kept = g.rescaled(&old, &new, Nanos(0));
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
            let p = GcraParams::bits(Bucket::new(rate, burst));
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
            let p = GcraParams::bits(Bucket::new(rate, u64::from(len)));
            let mut g = Gcra::default();
            for _ in 0..n {
                g.charge(&p, Nanos(0), len);
            }
            let exact = u128::from(n) * u128::from(len) * 8_000_000_000;
            prop_assert_eq!(u128::from(g.conforms_at(&p, len).0), exact.div_ceil(u128::from(rate)));
        }
    }
}
