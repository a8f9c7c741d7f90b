//! The venue's end of a TCP connection: it acknowledges what comes, at once, in clumps, or for several
//! segments together.

use model::time::Nanos;

use crate::drill::outlet::Span;
use crate::drill::peer::Peer;
use crate::drill::tcp;
use crate::drill::wire::Wire;

/// From a segment to its acknowledgement.
const TAKES: Nanos = Nanos::from_micros(200);
/// Between acknowledgements that leave together.
const APART: Nanos = Nanos::from_micros(1);

/// How it acknowledges for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Every segment, but so many acknowledgements wait for each other.
    Compressed(usize),
    /// Every so many segments, with one.
    Delayed(usize),
}

/// See the module's text.
pub struct AckPeer {
    /// When it does not acknowledge every segment at once.
    phases: Vec<(Span, Acks)>,
    /// Numbers of acknowledgements that wait for others.
    waiting: Vec<u32>,
    /// Those that are to leave, and when.
    due: Vec<(Nanos, u32)>,
    acks: u16,
    segments: u64,
}

impl AckPeer {
    /// Acknowledges every segment at once but in these stretches of time.
    pub const fn new(phases: Vec<(Span, Acks)>) -> Self {
        Self { phases, waiting: Vec::new(), due: Vec::new(), acks: 0, segments: 0 }
    }

    fn segment(&mut self, at: Nanos, number: u32) {
        self.segments += 1;
        self.waiting.push(number);
        let phase = self.phases.iter().find(|((from, to), _)| *from <= at && at < *to);
        let leaves = at.saturating_add(TAKES);
        match phase.map(|(_, acks)| *acks) {
            None => self.flush(leaves),
            Some(Acks::Compressed(n)) if self.waiting.len() >= n => self.flush(leaves),
            Some(Acks::Delayed(n)) if self.waiting.len() >= n => {
                self.waiting.clear();
                self.due.push((leaves, number));
            }
            Some(_) => {}
        }
    }

    fn flush(&mut self, mut at: Nanos) {
        for number in self.waiting.drain(..) {
            self.due.push((at, number));
            at = at.saturating_add(APART);
        }
    }
}

impl Peer for AckPeer {
    fn next_event(&self) -> Option<Nanos> {
        self.due.iter().map(|(at, _)| *at).min()
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        let (leaves, stays) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = stays;
        let leaves: Vec<(Nanos, u32)> = leaves;
        for (at, number) in leaves {
            self.acks = self.acks.wrapping_add(1);
            to_gateway.send(at, tcp::ack(self.acks, number));
        }
    }

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        if let Some(number) = tcp::end_of(frame) {
            self.segment(at, number);
        }
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        vec![("segments", self.segments as f64), ("acks", f64::from(self.acks))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(acks: Acks) -> Vec<(u64, u32)> {
        let always = ((Nanos(0), Nanos(1_000_000_000)), acks);
        let mut peer = AckPeer::new(vec![always]);
        (1..=8).for_each(|n| peer.segment(Nanos(u64::from(n) * 1_000_000), n * 100));
        peer.due.iter().map(|(at, number)| (at.0, *number)).collect()
    }

    #[test]
    fn compressed_acknowledgements_leave_together_and_delayed_ones_stand_for_several() {
        let four = numbers(Acks::Compressed(4));
        assert_eq!(four.len(), 8);
        assert_eq!(four[..2], [(4_200_000, 100), (4_201_000, 200)]);
        assert_eq!(numbers(Acks::Delayed(4)), [(4_200_000, 400), (8_200_000, 800)]);
    }
}
