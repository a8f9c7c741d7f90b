//! The reserve of the pool: what classes that may lose packets leave to those that may not.

use model::config::Config;
use model::time::Nanos;

use crate::pool::Pool;

/// A pool that stays low raises one alarm in so long.
const ALARM_EVERY: Nanos = Nanos::from_millis(1);

/// Tells which packets end as `pool_low`: those of classes with `allow_drop` while this core can take
/// no more buffers than `[dpdk] pool_reserve`.
///
/// The pool is looked at once for each burst ([`Reserve::look`]), when the burst has its buffers: a
/// burst that takes the pool to the mark is the first to end. Buffers in the caches of other cores do
/// not count as free: this core cannot take them.
pub(super) struct Reserve {
    pool: Pool,
    /// 0 = off.
    buffers: u32,
    /// By class.
    may_drop: Box<[bool]>,
    is_low: bool,
    /// Ended since the last alarm.
    ended: u32,
    next_alarm: Nanos,
}

impl Reserve {
    pub(super) fn new(config: &Config, pool: &Pool) -> Self {
        let may_drop: Box<[bool]> = config.classes.iter().map(|c| c.allow_drop.is_some()).collect();
        let is_on = may_drop.contains(&true);
        Self {
            pool: pool.clone(),
            buffers: if is_on { config.dpdk.pool_reserve } else { 0 },
            may_drop,
            is_low: false,
            ended: 0,
            next_alarm: Nanos::ZERO,
        }
    }

    /// Looks at the pool, once for each burst.
    #[inline]
    pub(super) fn look(&mut self) {
        self.is_low = self.buffers > 0 && self.pool.free_here() <= self.buffers;
    }

    /// Whether a packet of `class` ends now.
    #[inline(always)]
    pub(super) fn ends(&mut self, class: u8) -> bool {
        self.is_low && self.end_one(class)
    }

    /// How many have ended since the last alarm, if one is to be raised.
    #[inline]
    pub(super) fn alarm(&mut self, now: Nanos) -> Option<u32> {
        if self.ended == 0 || now < self.next_alarm {
            return None;
        }
        self.next_alarm = now.saturating_add(ALARM_EVERY);
        Some(std::mem::take(&mut self.ended))
    }

    #[cold]
    fn end_one(&mut self, class: u8) -> bool {
        let ends = self.may_drop.get(usize::from(class)).is_some_and(|may| *may);
        self.ended += u32::from(ends);
        ends
    }
}
