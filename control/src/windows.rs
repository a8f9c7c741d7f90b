//! The last seconds, so that KPIs can be computed over windows that slide.
//!
//! [`History::push`] takes what was counted in each tick. Of the last second every tick is kept, of
//! the minute before it every second. What windows want of whole seconds is added up once a second, so a
//! window of a minute costs hardly more than one of a second. Sums that wait hold memory only as far as they
//! are used.

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
    /// The windows that were last asked for, and of each the whole seconds that the one before does not have.
    parts: Vec<(u8, Slice)>,
    /// A second has ended since `parts` were added up.
    is_stale: bool,
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
        Self {
            ticks: VecDeque::new(),
            open,
            seconds: VecDeque::new(),
            parts: Vec::new(),
            is_stale: false,
            spare: Vec::new(),
            empty,
            scratch,
        }
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
                self.is_stale = true;
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
        let parts = self.parts.iter_mut().map(|(_, part)| part);
        slices.chain(parts).for_each(|slice| each(&mut slice.sums));
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
        if self.is_stale || !self.parts.iter().map(|(window_s, _)| window_s).eq(windows_s) {
            self.add_up(windows_s);
        }
        let sums = &mut self.scratch;
        sums.clear();
        let mut span = Nanos::ZERO;
        let mut add = |sums: &mut Sums, slice: &Slice| {
            sums.merge(&slice.sums);
            span = span.saturating_add(slice.span);
            span
        };
        for tick in self.ticks.iter().rev() {
            add(sums, tick);
        }
        let mut has_open = false;
        for (at, (window_s, part)) in self.parts.iter().enumerate() {
            // The last second is all ticks.
            if *window_s > 1 && !has_open {
                add(sums, &self.open);
                has_open = true;
            }
            let span = add(sums, part);
            each(at, sums, span);
        }
    }

    /// A window of so many seconds is the last one, the one under way and all whole ones between.
    fn add_up(&mut self, windows_s: &[u8]) {
        self.is_stale = false;
        for (_, part) in std::mem::take(&mut self.parts) {
            self.give_back(part.sums);
        }
        let mut newest_first = 0;
        for &window_s in windows_s {
            let mut part = Slice { sums: self.take_spare(), span: Nanos::ZERO };
            let wanted = usize::from(window_s).saturating_sub(1);
            let seconds = self.seconds.iter().rev().take(wanted).skip(newest_first);
            for second in seconds {
                part.sums.merge(&second.sums);
                part.span = part.span.saturating_add(second.span);
            }
            newest_first = newest_first.max(wanted);
            self.parts.push((window_s, part));
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

/// Where something moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Egress port.
    pub port: String,
    /// Class.
    pub class: String,
    /// As in [`model::kpi::Labels`].
    pub arm: Option<&'static str>,
}

/// KPIs over sliding windows, as the regime engine reads them.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// The report of each window, by its length in seconds.
    pub reports: Vec<(u8, Report)>,
    /// What moved since the last tick, and where. Empty = not known.
    pub traffic: Vec<(Spot, Traffic)>,
    /// Class and wire bits per second that were offered to it in the last second.
    pub offered: Vec<(String, u64)>,
}

impl Windows {
    /// The report over `window_s` seconds.
    pub fn report(&self, window_s: u8) -> Option<&Report> {
        self.reports.iter().find(|(length, _)| *length == window_s).map(|(_, report)| report)
    }

    /// What moved, summed over the places that `which` picks; `None` = not known.
    pub fn traffic(&self, which: impl Fn(&Spot) -> bool) -> Option<Traffic> {
        let places = self.traffic.iter().filter(|(spot, _)| which(spot));
        places.map(|(_, traffic)| *traffic).reduce(|a, b| Traffic {
            packets: a.packets + b.packets,
            backlog_packets: a.backlog_packets + b.backlog_packets,
            backlog_bytes: a.backlog_bytes + b.backlog_bytes,
            dropped: a.dropped + b.dropped,
        })
    }
}
