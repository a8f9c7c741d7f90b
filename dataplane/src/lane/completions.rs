//! What stands below the TX queue: completions, the link, and a port that takes nothing.

use std::collections::VecDeque;

use model::inflight::{Alert, Completed};
use model::kpi::InFlight as InFlightReading;
use model::time::Nanos;

use super::rows::drop_packet;
use super::{Core, Lane};
use crate::channel::Event;
use crate::classify::Classify;
use crate::mbuf::{Mbuf, ProbeRef};
use crate::port::{Rx, Tx};

/// While a port takes nothing, what has become too old is looked for so often. A look walks all flows.
const STUCK_LOOK: Nanos = Nanos::from_micros(500);

/// How the completions of the TX queue are learnt.
pub(super) enum Completions {
    /// Nothing to learn, or the link model's own.
    None,
    /// The ring behind net_ring.
    RingCount,
    /// Extra references to what is in flight, oldest first; bounded by the TX descriptors.
    Refcount(VecDeque<ProbeRef>),
}

impl<R: Rx, T: Tx, S: Classify> Lane<R, T, S> {
    /// Learns what has left below the TX queue. Returns whether anything has.
    pub(super) fn complete(&mut self, now: Nanos, core: &mut Core<'_>) -> bool {
        let parts = &mut self.parts;
        let below = parts.inflight.packets();
        let done = match &mut self.completions {
            Completions::None => 0,
            Completions::RingCount => below.saturating_sub(parts.tx.ring_occupancy().unwrap_or(0)),
            Completions::Refcount(probes) => {
                if below > 0 {
                    parts.tx.reap(now);
                }
                let done = probes.iter().take_while(|probe| probe.is_done()).count();
                probes.drain(..done);
                done as u32
            }
        };
        let port = parts.tx_port;
        let mut any = false;
        let mut drained = |completed: Completed| {
            any = true;
            core.aggregates.on_drained(port, completed.bytes, completed.since_last);
        };
        parts.inflight.on_completed(now, done).into_iter().for_each(&mut drained);
        while let Some(completed) = parts.inflight.poll(now) {
            drained(completed);
        }
        while let Some(alert) = parts.inflight.take_alert() {
            let port = parts.tx_port;
            match alert {
                Alert::Stalled { .. } => {
                    core.aggregates.on_stall(port);
                    core.link.alarm(Event::TxStall { port, at: now });
                }
                Alert::Starved { at, .. } => {
                    core.aggregates.on_starvation(port);
                    core.link.alarm(Event::Starvation { port, at });
                }
                Alert::StallEnded { .. } => {
                    let from = self.from;
                    parts.pacer.end_stale(now, |packet, reason| {
                        drop_packet(core, now, from, port, true, &packet, reason);
                    });
                }
            }
        }
        any
    }

    /// A link that comes back finds nothing that is older than its `max_hold`.
    pub(super) fn link_is_up(&mut self, now: Nanos, core: &mut Core<'_>) -> bool {
        let up = self.parts.tx.link_up();
        if up != self.link_was_up {
            self.link_was_up = up;
            core.link.alarm(Event::Link { port: self.parts.tx_port, up, at: now });
            if up {
                self.stuck_since = None;
                self.end_stale(now, core);
            }
        }
        up
    }

    /// Whether the port is worth asking. One that is down, that has taken nothing for `stall_time`, or
    /// that keeps a drain waiting must find nothing older than its `max_hold` when it takes packets
    /// again, and what it will never get must not fill the pool meanwhile.
    #[inline]
    pub(super) fn may_offer(&mut self, now: Nanos, up: bool, core: &mut Core<'_>) -> bool {
        let stuck =
            self.stuck_since.is_some_and(|since| now.saturating_sub(since) >= self.stall_time);
        if up && !stuck && (!self.draining || self.blocked_since.is_none()) {
            return true;
        }
        self.look_at_waiting(now, up, stuck, core)
    }

    #[cold]
    fn look_at_waiting(&mut self, now: Nanos, up: bool, stuck: bool, core: &mut Core<'_>) -> bool {
        let inflight = &self.parts.inflight;
        // With bytes in flight the missing completions tell of the stall.
        if stuck && !self.stuck_told && (!inflight.source().reports() || inflight.packets() == 0) {
            self.stuck_told = true;
            core.aggregates.on_stall(self.parts.tx_port);
            core.link.alarm(Event::TxStall { port: self.parts.tx_port, at: now });
        }
        self.blocked_since.get_or_insert(now);
        if now < self.next_look && !self.draining {
            return false;
        }
        self.next_look = now.saturating_add(STUCK_LOOK);
        self.end_stale(now, core);
        up
    }

    /// References held to what is in flight.
    pub(super) fn probes(&self) -> usize {
        match &self.completions {
            Completions::Refcount(probes) => probes.len(),
            _ => 0,
        }
    }

    /// References to what is about to be handed over. Returns how many there were before.
    pub(super) fn take_probes(&mut self) -> usize {
        let Completions::Refcount(probes) = &mut self.completions else { return 0 };
        let before = probes.len();
        probes.extend(self.departures.iter().map(Mbuf::refcount_probe));
        before
    }

    pub(super) fn report_in_flight(&mut self, core: &mut Core<'_>, changed: bool) {
        let inflight = &self.parts.inflight;
        if changed && inflight.source().reports() {
            core.aggregates.on_in_flight(
                self.parts.tx_port,
                InFlightReading {
                    packets: inflight.packets(),
                    bytes: inflight.bytes(),
                    limit_bytes: inflight.limit_bytes(),
                },
            );
        }
    }

    /// Keeps the first `n` references.
    pub(super) fn forget_probes(&mut self, n: usize) {
        if let Completions::Refcount(probes) = &mut self.completions {
            probes.truncate(n);
        }
    }

    /// What became of the packets that were due: `refused` = some of them wait for the port.
    pub(super) fn note_offer(&mut self, now: Nanos, accepted: usize, refused: bool) {
        self.blocked_since = refused.then(|| self.blocked_since.unwrap_or(now));
        if refused && accepted == 0 {
            self.stuck_since.get_or_insert(now);
        } else {
            (self.stuck_since, self.stuck_told) = (None, false);
        }
    }
}
