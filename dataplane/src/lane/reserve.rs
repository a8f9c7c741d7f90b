//! The reserve of the pool: what classes that may lose packets leave to those that may not, and orders to
//! cancels.

use model::config::Config;
use model::drop_reason::DropReason;
use model::meta::PacketMeta;
use model::time::Nanos;

use crate::channel::Event;
use crate::pool::Pool;

/// A pool that stays low raises its alarms once in so long.
const ALARM_EVERY: Nanos = Nanos::from_millis(1);

/// Tells which packets end because this core can take few more buffers:
///
/// - at `[dpdk] pool_reserve` those of classes with `allow_drop`, as `pool_low`;
/// - at half of it, and never below one burst, all that are not exempt, as `pool_empty`. What may not be
///   lost is then held far beyond its budget, and without this a cancel would find no buffer to arrive in.
///
/// The pool is looked at once for each burst ([`Reserve::look`]), when the burst has its buffers: a
/// burst that takes the pool to the mark is the first to end. So the next burst always finds its buffers.
/// Buffers in the caches of other cores do not count as free: this core cannot take them.
pub(super) struct Reserve {
    pool: Pool,
    /// What is kept from classes with `allow_drop`; 0 = off.
    buffers: u32,
    /// What is kept for exempt packets.
    for_exempt: u32,
    /// By class, then by twin.
    may_drop: Box<[bool]>,
    any_may_drop: bool,
    is_low: bool,
    is_for_exempt: bool,
    /// Whether it was low since the last alarm.
    was_low: bool,
    /// Ended as `pool_low` since the last alarm.
    low: u32,
    /// Ended as `pool_empty` since the last alarm.
    empty: u32,
    next_alarm: Nanos,
}

impl Reserve {
    pub(super) fn new(config: &Config, pool: &Pool) -> Self {
        let may_drop = |class: usize| config.classes[class].allow_drop.is_some();
        let may_drop: Box<[bool]> = config.nodes().map(may_drop).collect();
        let any_may_drop = may_drop.contains(&true);
        let burst = config.ports.iter().map(|port| u32::from(port.rx_burst)).max().unwrap_or(0);
        let (buffers, for_exempt) = match config.dpdk.pool_reserve {
            0 => (0, 0),
            reserve => (reserve.max(burst), (reserve / 2).max(burst)),
        };
        Self {
            pool: pool.clone(),
            buffers,
            for_exempt,
            may_drop,
            any_may_drop,
            is_low: false,
            is_for_exempt: false,
            was_low: false,
            low: 0,
            empty: 0,
            next_alarm: Nanos::ZERO,
        }
    }

    /// Looks at the pool, once for each burst. A lane that `holds` nothing takes no buffers away.
    #[inline]
    pub(super) fn look(&mut self, holds: bool) {
        if self.buffers == 0 || !(holds || self.any_may_drop) {
            self.is_low = false;
            return;
        }
        let free = self.pool.free_here();
        self.is_low = free <= self.buffers;
        self.is_for_exempt = free <= self.for_exempt;
        self.was_low |= self.is_low;
    }

    /// Whether packets may end for want of buffers now.
    #[inline]
    pub(super) const fn is_low(&self) -> bool {
        self.is_low
    }

    /// As what a packet ends now, if it does.
    #[inline(always)]
    pub(super) fn end_of(&mut self, meta: &PacketMeta) -> Option<DropReason> {
        if self.is_low { self.end_one(meta) } else { None }
    }

    /// Raises the alarms that are due.
    #[inline]
    pub(super) fn alarm(&mut self, now: Nanos, raise: impl FnMut(Event)) {
        if self.was_low && now >= self.next_alarm {
            self.raise(now, raise);
        }
    }

    #[cold]
    fn end_one(&mut self, meta: &PacketMeta) -> Option<DropReason> {
        if self.may_drop.get(usize::from(meta.class)).is_some_and(|may| *may) {
            self.low += 1;
            Some(DropReason::PoolLow)
        } else if self.is_for_exempt && !meta.is_exempt() {
            self.empty += 1;
            Some(DropReason::PoolEmpty)
        } else {
            None
        }
    }

    #[cold]
    fn raise(&mut self, at: Nanos, mut raise: impl FnMut(Event)) {
        self.next_alarm = at.saturating_add(ALARM_EVERY);
        self.was_low = false;
        raise(Event::PoolReserve { at });
        match std::mem::take(&mut self.low) {
            0 => {}
            packets => raise(Event::PoolLow { at, packets }),
        }
        match std::mem::take(&mut self.empty) {
            0 => {}
            packets => raise(Event::PoolAlarm { at, packets }),
        }
    }
}
