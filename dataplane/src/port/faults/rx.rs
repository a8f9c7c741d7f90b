//! What arrives is lost, comes twice, or comes later than what came after it.

use std::collections::VecDeque;

use model::kpi::Count;
use model::time::Nanos;

use super::{Chance, Draw, Faults};
use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::hand_over::Ended;
use crate::mbuf::Mbuf;
use crate::pool::Pool;
use crate::port::Rx;

/// Most packets that are held back at one time, and pass one that is.
const WINDOW_MAX: u32 = 64;

/// What a [`FaultRx`] has done so far, packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxFaults {
    /// The port gave.
    pub received: u64,
    /// Lost before the gateway had them.
    pub lost: u64,
    /// Copies that were added.
    pub duplicated: u64,
    /// Copies that no buffer was left for.
    pub duplicates_missed: u64,
    /// Held back so that others passed them.
    pub held_back: u64,
    /// The gateway was given.
    pub handed_on: u64,
    /// Not handed on yet.
    pub waiting: u64,
}

impl RxFaults {
    /// Whether every packet is accounted for.
    pub const fn is_balanced(&self) -> bool {
        self.received + self.duplicated == self.lost + self.handed_on + self.waiting
    }
}

/// A packet that others pass.
struct Late {
    packet: Mbuf,
    /// So many more may pass it.
    passes: u32,
    /// Then it goes in any case.
    until: Nanos,
}

/// A port whose arrivals suffer. See the module.
pub struct FaultRx<R> {
    inner: R,
    pool: Pool,
    burst: usize,
    drop: Chance,
    reorder: Chance,
    duplicate: Chance,
    window: u32,
    hold: Nanos,
    draw: Draw,
    arrived: Batch,
    late: Vec<Late>,
    ready: VecDeque<Mbuf>,
    now: Nanos,
    closed: bool,
    done: RxFaults,
}

impl<R: Rx> FaultRx<R> {
    /// Wraps `inner`. Copies come from `pool`; `burst` packets at most are handed on by one call, 1
    /// to 256.
    pub fn new(inner: R, pool: Pool, burst: usize, faults: &Faults) -> Self {
        let window = faults.reorder_window.clamp(1, WINDOW_MAX);
        let burst = burst.clamp(1, BATCH_PACKETS_MAX);
        Self {
            inner,
            pool,
            burst,
            drop: Chance::of(faults.drop),
            reorder: Chance::of(faults.reorder),
            duplicate: Chance::of(faults.duplicate),
            window,
            hold: faults.reorder_hold,
            draw: Draw::new(faults.seed, 1),
            arrived: Batch::new(),
            late: Vec::with_capacity(window as usize),
            // Filled only while less than a burst is in it: by a full batch, each packet twice, and
            // by all that is late.
            ready: VecDeque::with_capacity(3 * BATCH_PACKETS_MAX + WINDOW_MAX as usize),
            now: Nanos::ZERO,
            closed: false,
            done: RxFaults::default(),
        }
    }

    /// What it has done.
    pub fn faults(&self) -> RxFaults {
        RxFaults { waiting: (self.ready.len() + self.late.len()) as u64, ..self.done }
    }

    /// The port inside.
    pub const fn inner(&self) -> &R {
        &self.inner
    }

    fn suffer(&mut self, now: Nanos, packet: Mbuf) {
        self.done.received += 1;
        if self.draw.happens(self.drop) {
            self.done.lost += 1;
            return;
        }
        if self.late.len() < self.window as usize && self.draw.happens(self.reorder) {
            let passes = 1 + self.draw.below(u64::from(self.window)) as u32;
            self.late.push(Late { packet, passes, until: now.saturating_add(self.hold) });
            self.done.held_back += 1;
            return;
        }
        let copy = self.draw.happens(self.duplicate).then(|| self.pool.copy_of(&packet));
        self.pass(packet);
        match copy {
            None => {}
            Some(None) => self.done.duplicates_missed += 1,
            Some(Some(copy)) => {
                self.done.duplicated += 1;
                self.pass(copy);
            }
        }
    }

    /// Hands a packet on, past those that are late.
    fn pass(&mut self, packet: Mbuf) {
        self.ready.push_back(packet);
        for late in &mut self.late {
            late.passes -= 1;
        }
        self.release(|late| late.passes == 0);
    }

    fn release(&mut self, when: impl Fn(&Late) -> bool) {
        let mut k = 0;
        while k < self.late.len() {
            if when(&self.late[k]) {
                let late = self.late.remove(k);
                self.ready.push_back(late.packet);
            } else {
                k += 1;
            }
        }
    }
}

impl<R: Rx> Rx for FaultRx<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        self.now = now;
        let takes = !self.closed || !self.inner.is_dry();
        if takes && self.ready.len() < self.burst {
            self.inner.rx_burst(now, &mut self.arrived);
            // Out of the field, so that its packets can be handled one by one.
            let mut arrived = std::mem::take(&mut self.arrived);
            for packet in arrived.drain() {
                self.suffer(now, packet);
            }
            self.arrived = arrived;
        }
        let closed = self.closed;
        self.release(|late| closed || late.until <= now);
        let n = self.burst.min(into.room()).min(self.ready.len());
        for packet in self.ready.drain(..n) {
            let pushed = into.push(packet);
            debug_assert!(pushed.is_ok());
        }
        self.done.handed_on += n as u64;
        n
    }

    fn next_event(&self) -> Option<Nanos> {
        let ready = (!self.ready.is_empty()).then_some(self.now);
        let late = self.late.iter().map(|late| late.until).min();
        [self.inner.next_event(), ready, late].into_iter().flatten().min()
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.inner.take_missed()
    }

    fn waiting(&self) -> u32 {
        (self.ready.len() + self.late.len()) as u32 + self.inner.waiting()
    }

    fn hold_back(&mut self, may: bool) {
        self.inner.hold_back(may);
    }

    fn close(&mut self) {
        self.closed = true;
        self.inner.close();
    }

    fn is_dry(&self) -> bool {
        self.ready.is_empty() && self.late.is_empty() && self.inner.is_dry()
    }

    #[inline]
    fn writes_arrival(&self) -> bool {
        self.inner.writes_arrival()
    }

    #[inline]
    fn take_ended(&mut self, tell: impl FnMut(Ended, Count)) {
        self.inner.take_ended(tell);
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }
}
