//! The modelled serializer: when does a packet stand on the wire?

use crate::rate::Rate;
use crate::time::Nanos;

/// A link of fixed rate that sends one packet after the other.
///
/// `t_wire(k) = max(t_tx(k), t_wire(k-1) + wire_len(k-1) x 8 / rate)`, exact: what the division
/// leaves is carried to the next packet of the same busy period, and a time that is not a whole
/// nanosecond is shown rounded up. Between two departures i < j the packets i to j-1 therefore take
/// less than `rate x (t_wire(j) - t_wire(i) + 1 ns)` bits, however long the busy period.
#[derive(Clone, Copy, Debug)]
pub struct Serializer {
    rate: Rate,
    /// The link is free from `free` and `carry` parts of a ns on.
    free: Nanos,
    carry: u64,
}

/// A packet's time on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireTime {
    /// Its first bit departs: the `t_wire` of the KPIs.
    pub start: Nanos,
    /// Its last bit, with the gap behind it, has left.
    pub end: Nanos,
}

impl Serializer {
    /// An idle link. `rate_bps`: 1 to 400e9; 0 counts as 1.
    pub const fn new(rate_bps: u64) -> Self {
        Self { rate: Rate::bits(rate_bps), free: Nanos::ZERO, carry: 0 }
    }

    /// Puts a packet of `wire_len` bytes that the port took at `now` behind those before it.
    ///
    /// Exact for every length up to 1 GiB.
    #[inline]
    pub fn send(&mut self, now: Nanos, wire_len: u32) -> WireTime {
        let start = self.begin_busy(now);
        WireTime { start, end: self.send_next(wire_len) }
    }

    /// The link has something to send from `now` on. Returns from when on it can.
    #[inline]
    pub fn begin_busy(&mut self, now: Nanos) -> Nanos {
        if now >= self.busy_until() {
            (self.free, self.carry) = (now, 0);
        }
        self.busy_until()
    }

    /// Puts a packet of `wire_len` bytes behind those before it, in the busy period that is going on.
    /// Returns when it has left: the next one starts then.
    #[inline]
    pub fn send_next(&mut self, wire_len: u32) -> Nanos {
        let (ns, carry) = self.rate.whole_ns(self.rate.cost(wire_len).saturating_add(self.carry));
        (self.free, self.carry) = (self.free.saturating_add(Nanos(ns)), carry);
        self.busy_until()
    }

    /// From when on the link is idle, rounded up to a nanosecond; in the past when it is idle.
    #[inline]
    pub const fn busy_until(&self) -> Nanos {
        if self.carry == 0 { self.free } else { self.free.saturating_add(Nanos(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_gigabit_takes_67_2_ns_for_a_smallest_frame() {
        let mut link = Serializer::new(10_000_000_000);
        let starts: Vec<u64> = (0..6).map(|_| link.send(Nanos(1_000), 84).start.0).collect();
        // Multiples of 67.2 rounded up: the fifth stands exactly 336 ns after the first.
        assert_eq!(starts, [1_000, 1_068, 1_135, 1_202, 1_269, 1_336]);
    }

    #[test]
    fn an_idle_link_sends_at_once_and_forgets_the_remainder() {
        let mut link = Serializer::new(10_000_000_000);
        assert_eq!(link.send(Nanos(0), 84), WireTime { start: Nanos(0), end: Nanos(68) });
        assert_eq!(link.send(Nanos(68), 84).start, Nanos(68));
        assert_eq!(link.busy_until(), Nanos(136));
        // One nanosecond earlier the link still sends: the packet waits for the exact end.
        assert_eq!(link.send(Nanos(135), 84).start, Nanos(136));
    }

    #[test]
    fn slow_links_do_not_overflow() {
        let mut link = Serializer::new(1);
        let t = link.send(Nanos(7), 65_559);
        assert_eq!(t.end, Nanos(7 + 65_559 * 8 * 1_000_000_000));
        assert_eq!(link.send(Nanos(7), 65_559).start, t.end);
    }
}
