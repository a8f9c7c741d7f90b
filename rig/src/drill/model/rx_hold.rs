//! A receiver upstream of the gateway that coalesces interrupts: what a peer sends to one port is
//! delivered when so many frames wait, or so long after the first of them.
//!
//! No profile of the gateway can switch it off. Frames keep the time at which they came to it, as a NIC
//! stamps them before it coalesces.

use model::time::Nanos;

use crate::drill::peer::Peer;
use crate::drill::wire::Wire;
use crate::world::Frames;

/// How long it holds, from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What comes from here on.
    pub from: Nanos,
    /// Until so many wait; 1 = delivered as it comes.
    pub frames: usize,
    /// Or so long after the first.
    pub time: Nanos,
}

/// See the module.
pub struct Coalescing<P> {
    inner: P,
    /// UDP port of what it holds; everything else passes.
    to_port: u16,
    /// By time.
    holds: Vec<Hold>,
    sent: Wire,
    held: Vec<(Nanos, Vec<u8>)>,
    opens: Nanos,
}

impl<P: Peer> Coalescing<P> {
    /// Holds what `inner` sends to UDP port `to_port`, as `holds` say, which come one after the other.
    pub fn new(inner: P, to_port: u16, holds: Vec<Hold>) -> Self {
        let (sent, held) = (Wire::default(), Vec::new());
        Self { inner, to_port, holds, sent, held, opens: Nanos::ZERO }
    }

    fn hold_at(&self, at: Nanos) -> Hold {
        let none = Hold { from: Nanos::ZERO, frames: 1, time: Nanos::ZERO };
        self.holds.iter().rfind(|hold| hold.from <= at).copied().unwrap_or(none)
    }

    fn deliver(&mut self, now: Nanos, to_gateway: &Wire) {
        for (came, frame) in self.held.drain(..) {
            to_gateway.send_held(came, now, frame);
        }
    }
}

impl<P: Peer> Peer for Coalescing<P> {
    fn next_event(&self) -> Option<Nanos> {
        let opens = (!self.held.is_empty()).then_some(self.opens);
        self.inner.next_event().into_iter().chain(opens).min()
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        if !self.held.is_empty() && self.opens <= now {
            self.deliver(now, to_gateway);
        }
        self.inner.act(now, &self.sent);
        while let Some(came) = self.sent.next_at() {
            let mut frame = Vec::new();
            self.sent.take(&mut frame);
            if super::udp_port(&frame) != Some(self.to_port) {
                to_gateway.send(came, frame);
                continue;
            }
            let hold = self.hold_at(came);
            if self.held.is_empty() {
                self.opens = came.saturating_add(hold.time);
            }
            self.held.push((came, frame));
            if self.held.len() >= hold.frames {
                self.deliver(now, to_gateway);
            }
        }
    }

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        self.inner.receive(at, frame);
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        self.inner.facts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::traffic::{PORT_FIRST, Plan, Sender, Way};

    /// Frames of flow 0 each 10 from 0 on, held by threes or for 25, from 60 on not at all; one of flow 1
    /// at 15 passes.
    #[test]
    fn holds_by_number_and_by_time_and_lets_others_pass() {
        let plan = Plan::new(1).steady((Nanos(0), Nanos(40)), Nanos(10), 0, 100);
        let plan = plan.burst(Nanos(15), 1, 1, 100).burst(Nanos(60), 1, 0, 100);
        let holds = vec![
            Hold { from: Nanos(0), frames: 3, time: Nanos(25) },
            Hold { from: Nanos(60), frames: 1, time: Nanos(0) },
        ];
        let mut peer = Coalescing::new(Sender::new(Way::FromVenue, plan), PORT_FIRST, holds);
        let mut wire = Wire::default();
        let mut seen = Vec::new();
        while let Some(now) = peer.next_event() {
            peer.act(now, &wire);
            while let Some(at) = wire.next_at() {
                seen.push((wire.take(&mut Vec::new()).0, at.0));
            }
        }
        let expected = [(15, 15), (0, 20), (10, 20), (20, 20), (30, 55), (60, 60)];
        assert_eq!(seen, expected, "(came, delivered)");
    }
}
