//! What an operator wants to hear of at once.

use crate::time::Nanos;

/// One happening on a TX queue. The counters in [`super::Figures`] count each of them; of alerts
/// that nobody took in time, the latest of each kind is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Nothing has completed for `stall_time` while bytes were in flight.
    Stalled {
        /// Last completion, or first acceptance after the queue was empty.
        since: Nanos,
    },
    /// The stall is over.
    StallEnded {
        /// As in [`Alert::Stalled`].
        since: Nanos,
        /// When the completion came.
        at: Nanos,
    },
    /// The limit (or the descriptors) kept a due packet out until everything below had left: the
    /// wire stood idle because of it.
    Starved {
        /// When the queue ran empty, or when the packet was refused by an empty queue.
        at: Nanos,
        /// Since when a due packet waited.
        waiting_since: Nanos,
        /// How long the wire is known to have been idle with a due packet waiting; only a link
        /// model knows.
        idle: Option<Nanos>,
    },
}

/// One slot for each kind, so that alerts need no queue and no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alerts {
    slots: [Option<Alert>; 3],
    any: bool,
}

impl Alerts {
    pub(super) fn raise(&mut self, alert: Alert) {
        let slot = match alert {
            Alert::Stalled { .. } => 0,
            Alert::StallEnded { .. } => 1,
            Alert::Starved { .. } => 2,
        };
        self.slots[slot] = Some(alert);
        self.any = true;
    }

    pub(super) fn take(&mut self) -> Option<Alert> {
        if !self.any {
            return None;
        }
        let alert = self.slots.iter_mut().find_map(Option::take);
        self.any = alert.is_some();
        alert
    }
}
