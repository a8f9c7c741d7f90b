//! When nothing comes back (a stall), and when something waits while nothing is under way (starvation).

use super::InFlight;
use crate::inflight::alert::Alert;
use crate::time::Nanos;

impl InFlight {
    /// Says whether a due packet waits because it does not fit. May be repeated; an acceptance ends
    /// it by itself.
    #[inline]
    pub fn set_waiting(&mut self, now: Nanos, waiting: bool) {
        if !waiting {
            self.end_waiting(now);
        } else if self.source.reports() && self.waiting_since.is_none() {
            self.waiting_since = Some(now);
            // Refused by an empty queue: the limit is below the packet and nothing will come.
            if self.packets == 0 {
                self.starve(now, now);
            }
        }
    }

    pub(super) fn detect_stall(&mut self, now: Nanos) {
        if !self.in_stall && now.saturating_sub(self.progress) >= self.stall_time {
            self.in_stall = true;
            self.stalls += 1;
            self.alerts.raise(Alert::Stalled { since: self.progress });
        }
    }

    pub(super) fn end_stall(&mut self, now: Nanos) {
        if self.in_stall {
            self.in_stall = false;
            let span = now.saturating_sub(self.progress);
            self.stalled = self.stalled.saturating_add(span);
            self.stall_max = self.stall_max.max(span);
            self.alerts.raise(Alert::StallEnded { since: self.progress, at: now });
        }
    }

    pub(super) fn detect_starvation(&mut self, now: Nanos) {
        // A model whose wire sends until this very moment has lost no time: what is accepted now
        // departs without a gap. A device's completion is always learnt after the wire went idle.
        let dry = self.link.is_none_or(|link| link.busy_until() < now);
        if let Some(since) = self.waiting_since
            && self.packets == 0
            && dry
        {
            self.starve(now, since);
        }
    }

    fn starve(&mut self, now: Nanos, waiting_since: Nanos) {
        if self.starved {
            return;
        }
        self.starved = true;
        self.starvations += 1;
        let idle = self.link.map(|link| now.saturating_sub(link.busy_until().max(waiting_since)));
        self.starved_idle = self.starved_idle.saturating_add(idle.unwrap_or_default());
        self.alerts.raise(Alert::Starved { at: now, waiting_since, idle });
    }

    #[inline]
    pub(super) fn end_waiting(&mut self, now: Nanos) {
        if let Some(since) = self.waiting_since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
            self.starved = false;
        }
    }
}
