//! Burst windows: how many packets and bytes of a class leave, and were due, in each window of length
//! `w`.
//!
//! Windows tumble at multiples of `w` of gateway time. One ring of open windows serves both sides,
//! so what is folded of departures and of due times covers the same stretch of time. A packet
//! finds its window by one multiplication; nothing ever walks empty windows: a window is folded
//! when its place in the ring is needed again, and [`BurstWindows::fold_before`] skips unused
//! places 64 at a time.

use super::minimum;
use super::shape::Shape;
use crate::time::Nanos;

/// Shortest window, and the window of a class without a cadence that suits.
const WINDOW_MIN_NS: u64 = 250_000;
/// Longest window.
const WINDOW_MAX_NS: u64 = 500_000;
/// A due time this far behind the departure still finds its window open.
const SPAN_MIN_NS: u64 = 1_000_000_000;
/// Before the first departure no time is in the current window: 292 years from the epoch.
const NEVER: Nanos = Nanos(1 << 63);
/// `excess` is absent when more than one due time in so many missed its window.
const LATE_ONE_IN: u64 = 1_000;

/// The window of a class: the smallest multiple of its cadence in 250 to 500 us, else 250 us.
///
/// A window that is no multiple of the cadence would alternate: a 100 us stream puts 2 and 3
/// packets into windows of 250 us and looks bursty without being so.
pub const fn burst_window(cadence: Option<Nanos>) -> Nanos {
    match cadence {
        Some(Nanos(period)) if period > 0 && period <= WINDOW_MAX_NS => {
            let window = WINDOW_MIN_NS.div_ceil(period) * period;
            Nanos(if window <= WINDOW_MAX_NS { window } else { WINDOW_MIN_NS })
        }
        _ => Nanos(WINDOW_MIN_NS),
    }
}

/// Turns a time into the number of its window without a division.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct WindowIndex {
    width: u64,
    /// floor(2^64 / width).
    reciprocal: u64,
}

impl WindowIndex {
    /// `width` at least 2 ns.
    fn new(width: Nanos) -> Self {
        let width = width.0.max(2);
        Self { width, reciprocal: ((1_u128 << 64) / u128::from(width)) as u64 }
    }

    /// `floor(at / width)`.
    #[inline]
    fn of(self, at: Nanos) -> u64 {
        // The estimate is the quotient or one less, because the reciprocal is cut by less than one
        // and `at` is below 2^64.
        let estimate = ((u128::from(at.0) * u128::from(self.reciprocal)) >> 64) as u64;
        estimate + u64::from(at.0 - estimate * self.width >= self.width)
    }
}

/// One open window. Unused while both counts of packets are zero.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    index: u64,
    wire: u32,
    due: u32,
    wire_bytes: u32,
    due_bytes: u32,
}

/// The open windows of one class on one egress port. They stay with the core; what is folded goes
/// to a [`Shape`].
#[derive(Clone, Debug)]
#[repr(C)]
pub struct BurstWindows {
    /// When the window of the latest departure began: most times lie in it.
    current_from: Nanos,
    /// When it ends.
    current_until: Nanos,
    clock: WindowIndex,
    /// Packets that left in the current window and were due in it, not yet in the ring.
    here: u32,
    /// Their wire bytes. No link carries 4 GB in a window; a capture's time may stand still for longer.
    here_bytes: u32,
    ring: Box<[Window]>,
    /// One bit for each place of the ring that holds a window.
    used: Box<[u64]>,
    /// Windows below this number are folded.
    floor: u64,
    /// Window of the latest departure.
    current: u64,
    /// When the busy period that is going on began.
    busy_since: Nanos,
    /// First window that is not yet counted as eligible.
    eligible_from: u64,
}

/// What is folded of the windows of one class on one egress port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurstTotals {
    /// Most packets that left in one window.
    pub wire_max: u64,
    /// Packets that left in the folded windows.
    pub wire_packets: u64,
    /// Windows in which a packet left.
    pub active_windows: u64,
    /// Windows in which a packet was waiting or left.
    pub eligible_windows: u64,
    /// Most packets that were due in one window.
    pub due_max: u64,
    /// Packets that were due in the folded windows.
    pub due_packets: u64,
    /// Packets whose due window was folded already, or lies too far ahead.
    pub late_packets: u64,
}

/// The burstiness index of a class and what belongs beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burstiness {
    /// `max N_w / sum N_w` of departures, 0 to 1.
    pub bi: Option<f64>,
    /// Packets in the folded windows.
    pub n: u64,
    /// Eligible windows.
    pub windows: u64,
    /// `max N_w` over the mean of N_w in eligible windows.
    pub peak_to_mean: Option<f64>,
    /// `BI(departures) / BI(due times)` of the same packets.
    pub excess: Option<f64>,
    /// Why a value is absent.
    pub absent: Option<&'static str>,
}

impl BurstWindows {
    /// What [`BurstWindows::is_current`] looks at stands first.
    pub(super) const HOT_BYTES: usize = 16;

    /// Windows of `width`; a ring that spans at least one second.
    pub fn new(width: Nanos) -> Self {
        let places = SPAN_MIN_NS.div_ceil(width.0.max(WINDOW_MIN_NS)).next_power_of_two().max(64);
        Self {
            clock: WindowIndex::new(width),
            ring: (0..places).map(|_| Window::default()).collect(),
            used: (0..places / 64).map(|_| 0).collect(),
            floor: 0,
            current: 0,
            current_from: NEVER,
            current_until: NEVER,
            here: 0,
            here_bytes: 0,
            busy_since: Nanos::ZERO,
            eligible_from: 0,
        }
    }

    /// Length of a window.
    pub const fn width(&self) -> Nanos {
        Nanos(self.clock.width)
    }

    /// A packet came to wait while none of its class was waiting.
    #[inline]
    pub fn begin_waiting(&mut self, at: Nanos) {
        self.busy_since = at;
    }

    /// A waiting packet ended at `at` without leaving: the windows until then were eligible.
    #[inline]
    pub fn end_waiting(&mut self, at: Nanos, shape: &mut Shape) {
        let window = self.clock.of(at);
        self.count_eligible(window, shape);
    }

    /// A packet of `bytes` on the wire that was due at `due` leaves at `wire`. Departures come in the order
    /// of time.
    #[inline]
    pub fn depart(&mut self, due: Nanos, wire: Nanos, bytes: u32, shape: &mut Shape) {
        if !self.is_current(wire) {
            self.begin_window(wire, shape);
        }
        if self.is_current(due) {
            self.depart_here(1, bytes);
        } else {
            self.depart_late(due, bytes, shape);
        }
    }

    /// Packets of so many bytes left, and were due, in the window that is current.
    pub fn depart_here(&mut self, packets: u32, bytes: u32) {
        self.here += packets;
        self.here_bytes = self.here_bytes.saturating_add(bytes);
    }

    /// The window of `wire` is the current one.
    #[cold]
    pub fn begin_window(&mut self, wire: Nanos, shape: &mut Shape) {
        self.put_here(shape);
        self.current = self.window_of(wire);
        self.current_from = Nanos(self.current * self.clock.width);
        self.current_until = self.current_from.saturating_add(self.width());
        self.count_eligible(self.current, shape);
    }

    /// What was only counted stands in the ring.
    fn put_here(&mut self, shape: &mut Shape) {
        let (n, bytes) = (std::mem::take(&mut self.here), std::mem::take(&mut self.here_bytes));
        if n > 0 {
            match self.open(self.current, shape) {
                Some(window) => {
                    window.wire += n;
                    window.due += n;
                    window.wire_bytes = window.wire_bytes.saturating_add(bytes);
                    window.due_bytes = window.due_bytes.saturating_add(bytes);
                }
                None => shape.bursts.late_packets += u64::from(n),
            }
        }
    }

    /// A packet that was due in another window leaves now.
    #[cold]
    pub fn depart_late(&mut self, due: Nanos, bytes: u32, shape: &mut Shape) {
        match self.open(self.current, shape) {
            Some(window) => {
                window.wire += 1;
                window.wire_bytes = window.wire_bytes.saturating_add(bytes);
            }
            None => shape.bursts.late_packets += 1,
        }
        let window = self.clock.of(due);
        // Judged by the packet's own departure, not by what happens to be folded, so that the
        // result does not depend on when control takes a block. A due time far ahead would keep
        // its place in the ring from others for as long.
        let span = self.ring.len() as u64;
        let in_reach = window.abs_diff(self.current) < span;
        match in_reach.then(|| self.open(window, shape)).flatten() {
            Some(window) => {
                window.due += 1;
                window.due_bytes = window.due_bytes.saturating_add(bytes);
            }
            None => shape.bursts.late_packets += 1,
        }
    }

    /// Whether a time and a later one lie in the window of the latest departure.
    #[inline(always)]
    pub const fn is_current_for(&self, from: Nanos, until: Nanos) -> bool {
        self.current_from.0 <= from.0 && until.0 < self.current_until.0
    }

    /// Whether a time lies in the window of the latest departure.
    #[inline(always)]
    pub const fn is_current(&self, at: Nanos) -> bool {
        self.is_current_for(at, at)
    }

    /// Folds every window that no due time can reach any more once the time is `now`.
    pub fn fold_before(&mut self, now: Nanos, shape: &mut Shape) {
        self.put_here(shape);
        let end = self.clock.of(now).saturating_sub(self.ring.len() as u64 - 1);
        self.fold_below(end, shape);
    }

    /// Folds everything: the end of a run.
    pub fn fold_all(&mut self, shape: &mut Shape) {
        self.put_here(shape);
        self.fold_below(u64::MAX, shape);
    }

    /// Window of a time: mostly the current one, or the next.
    #[inline]
    fn window_of(&self, at: Nanos) -> u64 {
        if self.is_current(at) {
            return self.current;
        }
        let behind = at.0.wrapping_sub(self.current_until.0);
        if behind < self.clock.width { self.current + 1 } else { self.clock.of(at) }
    }

    #[inline]
    fn count_eligible(&mut self, window: u64, shape: &mut Shape) {
        let from = self.window_of(self.busy_since).max(self.eligible_from);
        shape.bursts.eligible_windows += (window + 1).saturating_sub(from);
        self.eligible_from = self.eligible_from.max(window + 1);
    }

    /// The open window with number `index`, or `None` when it is folded already.
    #[inline]
    fn open(&mut self, index: u64, shape: &mut Shape) -> Option<&mut Window> {
        let place = index as usize & (self.ring.len() - 1);
        let window = &mut self.ring[place];
        if window.index != index || (window.wire | window.due) == 0 {
            let taken = (window.wire | window.due) != 0;
            if index < self.floor || taken && window.index > index {
                return None;
            }
            if taken {
                fold(window, shape);
            }
            *window = Window { index, ..Window::default() };
            self.used[place / 64] |= 1 << (place % 64);
        }
        Some(window)
    }

    fn fold_below(&mut self, end: u64, shape: &mut Shape) {
        let places = self.ring.len() as u64;
        let words = self.used.len() as u64;
        // Numbers below `end` that are still open lie in this stretch of the ring.
        let first_word = (self.floor % places) / 64;
        let stretch = end.saturating_sub(self.floor).min(places);
        let word_count = if stretch == 0 { 0 } else { (stretch / 64 + 2).min(words) };
        for word in (first_word..first_word + word_count).map(|w| (w % words) as usize) {
            let mut bits = self.used[word];
            while bits != 0 {
                let place = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let window = &mut self.ring[place];
                if window.index < end {
                    fold(window, shape);
                    *window = Window::default();
                    self.used[word] &= !(1 << (place % 64));
                }
            }
        }
        if end != u64::MAX {
            self.floor = self.floor.max(end);
        }
    }
}

fn fold(window: &Window, shape: &mut Shape) {
    shape.fold(
        (u64::from(window.wire), u64::from(window.wire_bytes)),
        (u64::from(window.due), u64::from(window.due_bytes)),
    );
}

impl BurstTotals {
    /// Adds what `other` holds; its windows are others than these.
    pub fn merge(&mut self, other: &Self) {
        self.wire_max = self.wire_max.max(other.wire_max);
        self.wire_packets += other.wire_packets;
        self.active_windows += other.active_windows;
        self.eligible_windows += other.eligible_windows;
        self.due_max = self.due_max.max(other.due_max);
        self.due_packets += other.due_packets;
        self.late_packets += other.late_packets;
    }

    /// Whether more than 0.1 % of the due times missed their window.
    pub(super) const fn due_is_late(&self) -> bool {
        self.late_packets * LATE_ONE_IN > self.wire_packets
    }

    /// The index and what belongs beside it.
    pub fn burstiness(&self) -> Burstiness {
        let (n, windows) = (self.wire_packets, self.eligible_windows);
        let mut result =
            Burstiness { bi: None, n, windows, peak_to_mean: None, excess: None, absent: None };
        if n < minimum::ROW {
            result.absent = Some(super::absent::N_TOO_SMALL);
            return result;
        }
        let bi = self.wire_max as f64 / n as f64;
        result.bi = Some(bi);
        result.peak_to_mean = Some(bi * windows as f64);
        if self.due_is_late() || self.due_packets < minimum::ROW {
            result.absent = Some(super::absent::LATE_DUE);
        } else {
            result.excess = Some(bi / (self.due_max as f64 / self.due_packets as f64));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_suits_the_cadence() {
        let us = Nanos::from_micros;
        assert_eq!(burst_window(None), us(250));
        assert_eq!(burst_window(Some(us(100))), us(300), "the smallest multiple from 250 us on");
        assert_eq!(burst_window(Some(us(125))), us(250));
        assert_eq!(burst_window(Some(us(400))), us(400));
        assert_eq!(burst_window(Some(us(500))), us(500));
        assert_eq!(burst_window(Some(us(501))), us(250), "no multiple in 250 to 500 us");
        assert_eq!(burst_window(Some(Nanos(0))), us(250));
    }

    #[test]
    fn the_window_number_is_the_exact_quotient() {
        for width in [250_000, 300_000, 262_144, 499_999] {
            let clock = WindowIndex::new(Nanos(width));
            let large = u64::MAX / width * width;
            for at in [0, 1, width - 1, width, width + 1, large - 1, large, large + 1, u64::MAX] {
                assert_eq!(clock.of(Nanos(at)), at / width, "{at} / {width}");
            }
        }
    }
}
