//! The last seconds, so that KPIs can be computed over windows that slide.
//!
//! [`History::push`] takes what was counted in each tick. Of the last second every tick is kept, of
//! the minute before it every second, so a window is made of a few dozen sums. Sums that wait hold
//! memory only as far as they are used.

use std::collections::VecDeque;

use model::kpi::{KpiPlan, Report};
use model::time::Nanos;

use crate::kpis::Sums;

const SECOND: Nanos = Nanos::from_secs(1);
/// Whole seconds that are kept before the last one.
const SECONDS_MAX: usize = 60;

/// What was counted in a stretch of time.
pub(crate) struct Slice {
    pub(crate) sums: Sums,
    pub(crate) span: Nanos,
}

/// The slices of one core.
pub(crate) struct History {
    /// Of the last second, the oldest first.
    ticks: VecDeque<Slice>,
    /// Older than that and not yet a second.
    open: Slice,
    /// Whole seconds before, the oldest first.
    seconds: VecDeque<Slice>,
    spare: Vec<Sums>,
    /// Always empty: what others are copied from.
    empty: Sums,
    /// What a window is added up in.
    scratch: Sums,
}

impl History {
    pub(crate) fn new(plan: &KpiPlan) -> Self {
        let empty = Sums::new(plan);
        let open = Slice { sums: empty.clone(), span: Nanos::ZERO };
        let scratch = empty.clone();
        let (ticks, seconds) = (VecDeque::new(), VecDeque::new());
        Self { ticks, open, seconds, spare: Vec::new(), empty, scratch }
    }

    fn take_spare(&mut self) -> Sums {
        self.spare.pop().unwrap_or_else(|| self.empty.clone())
    }

    /// Takes what was counted in `span` and empties it.
    pub(crate) fn push(&mut self, sums: &mut Sums, span: Nanos) {
        let mut slice = self.take_spare();
        slice.merge(sums);
        sums.clear();
        self.ticks.push_back(Slice { sums: slice, span });
        // The last second stays: what is before it goes into whole seconds.
        while self.span_of_ticks() - self.ticks.front().map_or(Nanos::ZERO, |first| first.span)
            >= SECOND
        {
            let Some(old) = self.ticks.pop_front() else { break };
            self.open.sums.merge(&old.sums);
            self.open.span = self.open.span.saturating_add(old.span);
            self.give_back(old.sums);
            if self.open.span >= SECOND {
                let sums = self.take_spare();
                let full = std::mem::replace(&mut self.open, Slice { sums, span: Nanos::ZERO });
                self.seconds.push_back(full);
                if self.seconds.len() > SECONDS_MAX
                    && let Some(old) = self.seconds.pop_front()
                {
                    self.give_back(old.sums);
                }
            }
        }
    }

    fn give_back(&mut self, mut sums: Sums) {
        sums.clear();
        self.spare.push(sums);
    }

    fn span_of_ticks(&self) -> Nanos {
        self.ticks.iter().fold(Nanos::ZERO, |sum, slice| sum.saturating_add(slice.span))
    }

    /// Calls `each` with all sums there are, those too that wait or are added up in.
    pub(crate) fn each_sums(&mut self, each: impl Fn(&mut Sums)) {
        let slices = self.ticks.iter_mut().chain(&mut self.seconds).chain([&mut self.open]);
        slices.for_each(|slice| each(&mut slice.sums));
        self.spare.iter_mut().chain([&mut self.empty, &mut self.scratch]).for_each(each);
    }

    /// The newest slice.
    pub(crate) fn last(&self) -> Option<&Slice> {
        self.ticks.back()
    }

    /// Calls `each` with the sums of each of `windows_s`, which rise, and the time that they really
    /// cover: from so many seconds to one more. A window that is not full yet covers what there is.
    /// Levels in it, such as what waits, are of some moment of the window: [`History::last`] has the
    /// latest.
    pub(crate) fn windows(&mut self, windows_s: &[u8], mut each: impl FnMut(usize, &Sums, Nanos)) {
        let sums = &mut self.scratch;
        sums.clear();
        let mut span = Nanos::ZERO;
        let newest_first = self.ticks.iter().rev();
        let older = std::iter::once(&self.open).chain(self.seconds.iter().rev());
        let mut slices = newest_first.chain(older);
        for (at, window_s) in windows_s.iter().enumerate() {
            let wanted = Nanos::from_secs(u64::from(*window_s));
            while span < wanted
                && let Some(slice) = slices.next()
            {
                sums.merge(&slice.sums);
                span = span.saturating_add(slice.span);
            }
            each(at, sums, span);
        }
    }
}

/// What moved in one class, or one port, in the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that arrived.
    pub packets: u64,
    /// Packets that wait.
    pub backlog_packets: u64,
    /// Wire bytes that wait.
    pub backlog_bytes: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// KPIs over sliding windows, as the regime engine reads them.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// The report of each window, by its length in seconds.
    pub reports: Vec<(u8, Report)>,
    /// Port, class and what moved there since the last tick. Empty = not known.
    pub traffic: Vec<(String, String, Traffic)>,
    /// Class and wire bits per second that were offered to it in the last second.
    pub offered: Vec<(String, u64)>,
}

impl Windows {
    /// The report over `window_s` seconds.
    pub fn report(&self, window_s: u8) -> Option<&Report> {
        self.reports.iter().find(|(length, _)| *length == window_s).map(|(_, report)| report)
    }

    /// What moved, summed over the places that `which` picks by port and class; `None` = not known.
    pub fn traffic(&self, which: impl Fn(&str, &str) -> bool) -> Option<Traffic> {
        let places = self.traffic.iter().filter(|(port, class, _)| which(port, class));
        places.map(|(_, _, traffic)| *traffic).reduce(|a, b| Traffic {
            packets: a.packets + b.packets,
            backlog_packets: a.backlog_packets + b.backlog_packets,
            backlog_bytes: a.backlog_bytes + b.backlog_bytes,
            dropped: a.dropped + b.dropped,
        })
    }
}
