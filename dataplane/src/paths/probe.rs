//! Whether a path is alive: an ARP request goes out by it, and its answer has to come back by it.
//!
//! The lane sends requests ([`Probe::is_due`], [`ProbeSpec::request`]); [`ProbeRx`] around the receiving
//! side of the path notes answers as they pass. An answer is forwarded like any other frame.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::time::Nanos;

use crate::batch::Batch;
use crate::classify::FlowFigures;
use crate::hand_over::Ended;
use crate::port::Rx;
use model::kpi::Count;

/// A request goes out so often: several within the age at which an answer proves nothing any more.
const EVERY: Nanos = Nanos::from_millis(100);
/// The length of a request without FCS.
pub(crate) const REQUEST_BYTES: usize = 60;

const ARP: [u8; 2] = [0x08, 0x06];
const REPLY: [u8; 2] = [0, 2];
/// Where an ARP packet says who sent it (RFC 826), in an untagged frame.
const OPERATION: usize = 20;
const SENDER: usize = 28;

/// Who asks whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Answers on both paths: the venue's router.
    pub to: Ipv4Addr,
    /// The address that asks.
    pub from: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
}

impl ProbeSpec {
    /// Who has `to`? Tell `from`.
    pub fn request(&self) -> [u8; REQUEST_BYTES] {
        let mut frame = [0; REQUEST_BYTES];
        frame[..6].copy_from_slice(&[0xff; 6]);
        frame[6..12].copy_from_slice(&self.mac);
        frame[12..14].copy_from_slice(&ARP);
        // Ethernet, IPv4, lengths of both addresses, request.
        frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        frame[22..28].copy_from_slice(&self.mac);
        frame[SENDER..32].copy_from_slice(&self.from.octets());
        frame[38..42].copy_from_slice(&self.to.octets());
        frame
    }

    fn is_answer(&self, frame: &[u8]) -> bool {
        frame.get(12..14) == Some(&ARP)
            && frame.get(OPERATION..OPERATION + 2) == Some(&REPLY)
            && frame.get(SENDER..SENDER + 4) == Some(&self.to.octets())
    }
}

/// What is known of one path; the lane that sends and the one that receives share it.
#[derive(Debug, Default)]
pub struct Probe {
    /// Gateway time of the last answer, 0 = none.
    answered_at: AtomicU64,
    answers: AtomicU64,
}

impl Probe {
    /// When the path last answered.
    pub fn answered_at(&self) -> Option<Nanos> {
        match self.answered_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Nanos(at)),
        }
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether a request is to go out, given when the last one did.
    pub fn is_due(now: Nanos, last: Option<Nanos>) -> bool {
        now >= Self::next(last)
    }

    /// When the next request is to go out.
    pub fn next(last: Option<Nanos>) -> Nanos {
        last.map_or(Nanos::ZERO, |at| at.saturating_add(EVERY))
    }

    fn answered(&self, now: Nanos) {
        self.answered_at.store(now.0.max(1), Ordering::Relaxed);
        // One writer: the lane back.
        self.answers.store(self.answers() + 1, Ordering::Relaxed);
    }
}

/// The receiving side of a path.
pub struct ProbeRx<R> {
    inner: R,
    spec: ProbeSpec,
    probe: Arc<Probe>,
}

impl<R> ProbeRx<R> {
    /// Notes the answers to `spec` that come from `inner`.
    pub const fn new(inner: R, spec: ProbeSpec, probe: Arc<Probe>) -> Self {
        Self { inner, spec, probe }
    }

    /// What it wraps.
    pub const fn inner(&self) -> &R {
        &self.inner
    }
}

impl<R: Rx> Rx for ProbeRx<R> {
    fn rx_burst(&mut self, now: Nanos, into: &mut Batch) -> usize {
        let before = into.len();
        let received = self.inner.rx_burst(now, into);
        if into.iter().skip(before).any(|packet| self.spec.is_answer(packet.data())) {
            self.probe.answered(now);
        }
        received
    }

    fn next_event(&self) -> Option<Nanos> {
        self.inner.next_event()
    }

    fn take_missed(&mut self) -> Option<u32> {
        self.inner.take_missed()
    }

    fn waiting(&self) -> u32 {
        self.inner.waiting()
    }

    fn hold_back(&mut self, may: bool) {
        self.inner.hold_back(may);
    }

    fn close(&mut self) {
        self.inner.close();
    }

    fn is_dry(&self) -> bool {
        self.inner.is_dry()
    }

    fn writes_arrival(&self) -> bool {
        self.inner.writes_arrival()
    }

    fn take_ended(&mut self, tell: impl FnMut(Ended, Count)) {
        self.inner.take_ended(tell);
    }

    fn flows_elsewhere(&self) -> FlowFigures {
        self.inner.flows_elsewhere()
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_of_whom_was_asked_counts() {
        let spec = ProbeSpec {
            to: Ipv4Addr::new(10, 9, 0, 254),
            from: Ipv4Addr::new(10, 9, 0, 7),
            mac: [2, 0, 0, 0, 0, 9],
        };
        let request = spec.request();
        assert_eq!(&request[38..42], &[10, 9, 0, 254]);
        assert!(!spec.is_answer(&request), "our own request");
        let mut answer = request;
        answer[OPERATION + 1] = 2;
        assert!(!spec.is_answer(&answer), "somebody else answers");
        answer[SENDER..SENDER + 4].copy_from_slice(&spec.to.octets());
        assert!(spec.is_answer(&answer));
        assert!(!spec.is_answer(&answer[..30]), "cut off");
    }
}
