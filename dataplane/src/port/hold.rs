//! RX coalescing that can be seen and counted: a wrapper that delivers packets together.
//!
//! Delivery waits until `hold_frames` packets are there or `hold_time` has passed since the first of
//! them came. A packet has arrived when the gateway had it, before the hold: its arrival is written
//! into its metadata then. Only for queues that carry nothing but market data from the venue; `check`
//! refuses any other.

use model::time::Nanos;

use super::Rx;
use crate::batch::{BATCH_PACKETS_MAX, Batch};

/// See the module.
pub struct HoldRx<R> {
    inner: R,
    frames: usize,
    time: Nanos,
    held: Batch,
    /// What is held may go from here on.
    opens: Nanos,
    /// A profile lets it hold back.
    holds: bool,
    closed: bool,
}

impl<R: Rx> HoldRx<R> {
    /// Holds what comes from `inner` until `frames` (1 to 256) wait or `time` has passed.
    pub fn new(inner: R, frames: u16, time: Nanos) -> Self {
        Self {
            inner,
            frames: usize::from(frames).clamp(1, BATCH_PACKETS_MAX),
            time,
            held: Batch::new(),
            opens: Nanos::ZERO,
            holds: true,
            closed: false,
        }
    }

    /// From here on it holds until so many packets wait or so long. What is held keeps its time.
    pub fn set_hold(&mut self, frames: u16, time: Nanos) {
        self.frames = usize::from(frames).clamp(1, BATCH_PACKETS_MAX);
        self.time = time;
    }

    /// Gives back what it wraps, and frees what it held.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// What it wraps.
    pub const fn inner(&self) -> &R {
        &self.inner
    }

    fn take_in(&mut self, now: Nanos) {
        let before = self.held.len();
        let received = self.inner.rx_burst(now, &mut self.held);
        if received == 0 {
            return;
        }
        // Where they were held before, they have arrived before.
        if !self.inner.writes_arrival() {
            for packet in &mut self.held.as_mut_slice()[before..] {
                packet.meta_mut().arrival = now;
            }
        }
        if before == 0 {
            self.opens = if self.holds { now.saturating_add(self.time) } else { now };
        }
    }
}

impl<R: Rx> Rx for HoldRx<R> {
    #[inline]
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        if !self.closed {
            self.take_in(now);
        }
        if self.held.is_empty() {
            return 0;
        }
        if self.holds && self.held.len() < self.frames && now < self.opens && !self.closed {
            return 0;
        }
        // What `into` has no room for goes with the next call.
        self.opens = now;
        let all = self.held.len();
        self.held.move_front(all, into)
    }

    fn next_event(&self) -> Option<Nanos> {
        let opens = (!self.held.is_empty()).then_some(self.opens);
        self.inner.next_event().into_iter().chain(opens).min()
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.inner.take_missed()
    }

    fn waiting(&self) -> u32 {
        self.held.len() as u32 + self.inner.waiting()
    }

    fn hold_back(&mut self, may: bool) {
        self.holds = may;
        if !may {
            self.opens = Nanos::ZERO;
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.inner.close();
    }

    fn is_dry(&self) -> bool {
        self.held.is_empty()
    }

    #[inline]
    fn writes_arrival(&self) -> bool {
        true
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }
}
