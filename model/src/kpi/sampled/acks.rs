//! What comes back for the bytes of a TCP connection: how long after, and how evenly.
//!
//! One outstanding probe for each connection (RFC 6298), and none on bytes that were sent twice
//! (Karn). Connections are told apart by a key that is the same in both directions, because both
//! directions meet on one core; more than [`CONNECTIONS_MAX`] are not followed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::spread::Spread;
use crate::kpi::minimum;
use crate::time::Nanos;

/// Connections that are followed at the same time.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Segments of a connection that wait for their acknowledgement; older ones are forgotten.
const SEGMENTS_MAX: usize = 256;
/// A connection that was silent for so long makes room for another.
const SILENT: Nanos = Nanos::from_secs(60);

/// A segment with payload that left for the venue.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sequence number after its last byte.
    pub end_seq: u32,
    /// Payload bytes.
    pub bytes: u32,
    /// Departure.
    pub wire: Nanos,
}

/// An acknowledgement from the venue.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Next sequence number that the venue waits for.
    pub number: u32,
    /// Arrival.
    pub at: Nanos,
    /// Packets of one burst have stamps of their own: not one clock read for all.
    pub own_stamp: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    start: u32,
    end_seq: u32,
    wire: Nanos,
    twice: bool,
}

#[derive(Clone, Debug)]
struct Connection {
    /// Where its figures belong.
    cell: usize,
    sent: VecDeque<Sent>,
    /// Sequence number after the highest byte sent.
    highest: u32,
    /// End and departure of the segment whose acknowledgement is timed.
    probe: Option<(u32, Nanos)>,
    /// Arrival of the last acknowledgement of new data, and departure of what it acknowledged.
    last_ack: Option<(Nanos, Nanos)>,
    last_seen: Nanos,
}

/// The connections of a core.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    connections: HashMap<u64, Connection>,
}

/// What is added up of a class.
#[derive(Clone, Debug, Default)]
pub struct AckTotals {
    /// First acknowledgement that covers a segment less its departure, ns.
    pub wire_to_ack: Spread,
    /// Acknowledgements that arrived before the departure: clocks that disagree.
    pub negative: u64,
    /// Pairs of consecutive acknowledgements of new data.
    pub pairs: u64,
    /// Of those, the ones that arrived closer than 3/4 of the gap of their data.
    pub compressed: u64,
    /// Pairs that arrived in one receive burst without stamps of their own: not judged.
    pub in_one_burst: u64,
    /// Segments of connections that found no room.
    pub not_followed: u64,
    /// Rows from the venue that stand for more packets than their own: an acknowledgement between two
    /// of them was not seen.
    pub thinned: u64,
}

/// How much of the acknowledgements of a class is compressed: what an operator freezes as usual.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckShare {
    /// Compressed pairs over all.
    pub share: f64,
    /// All.
    pub pairs: u64,
}

/// By the name of a class.
pub type AckShares = BTreeMap<String, AckShare>;

impl AckShare {
    /// `None` below [`minimum::ACK_PAIRS`].
    pub fn of(pairs: u64, compressed: u64) -> Option<Self> {
        (pairs >= minimum::ACK_PAIRS)
            .then(|| Self { share: compressed as f64 / pairs as f64, pairs })
    }
}

/// `a` is not behind `b` on the circle of sequence numbers.
const fn covers(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl Acks {
    /// A segment of `connection` left, whose figures belong to `cell`.
    pub fn sent(&mut self, connection: u64, cell: usize, segment: Segment, totals: &mut AckTotals) {
        let Segment { end_seq, bytes, wire } = segment;
        let is_known = self.connections.contains_key(&connection);
        if !is_known && self.connections.len() >= CONNECTIONS_MAX {
            self.connections.retain(|_, c| wire.saturating_sub(c.last_seen) < SILENT);
            if self.connections.len() >= CONNECTIONS_MAX {
                totals.not_followed += 1;
                return;
            }
        }
        let start = end_seq.wrapping_sub(bytes);
        let known = self.connections.entry(connection).or_insert_with(|| Connection {
            cell,
            sent: VecDeque::new(),
            highest: start,
            probe: None,
            last_ack: None,
            last_seen: wire,
        });
        known.last_seen = wire;
        let twice = !covers(start, known.highest);
        if twice {
            // An acknowledgement would not tell which of the two it answers.
            known.probe = known.probe.filter(|(probe, _)| covers(start, *probe));
            let is_in =
                |sent: &&mut Sent| !covers(start, sent.end_seq) && !covers(sent.start, end_seq);
            known.sent.iter_mut().filter(is_in).for_each(|sent| sent.twice = true);
        }
        if covers(known.highest, end_seq) {
            return;
        }
        known.highest = end_seq;
        if known.sent.len() == SEGMENTS_MAX {
            known.sent.pop_front();
            known.last_ack = None;
        }
        known.sent.push_back(Sent { start, end_seq, wire, twice });
        if known.probe.is_none() && !twice {
            known.probe = Some((end_seq, wire));
        }
    }

    /// The class whose connection `connection` is.
    pub fn cell_of(&self, connection: u64) -> Option<usize> {
        self.connections.get(&connection).map(|known| known.cell)
    }

    /// An acknowledgement for `connection` arrived.
    pub fn acknowledged(&mut self, connection: u64, ack: Ack, totals: &mut AckTotals) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        known.last_seen = known.last_seen.max(ack.at);
        if let Some((probe, wire)) = known.probe
            && covers(ack.number, probe)
        {
            known.probe = None;
            match ack.at.0.checked_sub(wire.0) {
                Some(delay) => totals.wire_to_ack.record(delay, 1),
                None => totals.negative += 1,
            }
        }
        let (mut newest, mut twice) = (None, false);
        while let Some(sent) = known.sent.front()
            && covers(ack.number, sent.end_seq)
        {
            (newest, twice) = (Some(sent.wire), twice | sent.twice);
            known.sent.pop_front();
        }
        let Some(data) = newest else { return };
        if twice {
            known.last_ack = None;
            return;
        }
        let last = known.last_ack.replace((ack.at, data));
        let Some((last_at, last_data)) = last else { return };
        if ack.at == last_at && !ack.own_stamp {
            totals.in_one_burst += 1;
            return;
        }
        let data_gap = u128::from(data.saturating_sub(last_data).0);
        if data_gap > 0 {
            let ack_gap = u128::from(ack.at.saturating_sub(last_at).0);
            totals.pairs += 1;
            totals.compressed += u64::from(ack_gap * 4 < data_gap * 3);
        }
    }
}

impl AckTotals {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.wire_to_ack.merge(&other.wire_to_ack);
        self.negative += other.negative;
        self.pairs += other.pairs;
        self.compressed += other.compressed;
        self.in_one_burst += other.in_one_burst;
        self.not_followed += other.not_followed;
        self.thinned += other.thinned;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.wire_to_ack.clear();
        (self.negative, self.pairs, self.compressed) = (0, 0, 0);
        (self.in_one_burst, self.not_followed, self.thinned) = (0, 0, 0);
    }

    /// Share of compressed pairs; `None` below [`minimum::ACK_PAIRS`].
    pub fn share(&self) -> Option<f64> {
        AckShare::of(self.pairs, self.compressed).map(|found| found.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        acks: Acks,
        totals: AckTotals,
    }

    impl World {
        fn new() -> Self {
            Self { acks: Acks::default(), totals: AckTotals::default() }
        }

        fn sent(&mut self, end_seq: u32, wire: u64) {
            let segment = Segment { end_seq, bytes: 100, wire: Nanos(wire) };
            self.acks.sent(1, 0, segment, &mut self.totals);
        }

        fn ack(&mut self, number: u32, at: u64) {
            let ack = Ack { number, at: Nanos(at), own_stamp: true };
            self.acks.acknowledged(1, ack, &mut self.totals);
        }

        fn delays(&self) -> (u64, u128) {
            self.totals.wire_to_ack.histogram().map_or((0, 0), |h| (h.count(), h.sum()))
        }
    }

    /// Sequence numbers pass 0. 100 bytes leave at 10, 20 and 30; the first is the probe. The
    /// acknowledgement of all three at 90 answers it after 80; the next segment is the next probe.
    #[test]
    fn one_probe_at_a_time() {
        let mut world = World::new();
        for (n, wire) in [10, 20, 30].into_iter().enumerate() {
            world.sent((u32::MAX - 150).wrapping_add(100 * n as u32 + 100), wire);
        }
        let end = (u32::MAX - 150).wrapping_add(300);
        world.ack(end.wrapping_sub(250), 50);
        assert_eq!(world.delays(), (0, 0), "does not cover the probe");
        world.ack(end, 90);
        assert_eq!(world.delays(), (1, 80));
        world.ack(end, 95);
        world.sent(end.wrapping_add(100), 100);
        world.ack(end.wrapping_add(100), 140);
        assert_eq!(world.delays(), (2, 120));
    }

    /// The probe is sent again before it is answered: no figure. What follows is timed again.
    #[test]
    fn a_segment_that_was_sent_twice_is_not_timed() {
        let mut world = World::new();
        world.sent(1_100, 10);
        world.sent(1_100, 50);
        world.ack(1_100, 90);
        assert_eq!((world.delays(), world.totals.pairs), ((0, 0), 0));
        world.sent(1_200, 100);
        world.ack(1_200, 130);
        assert_eq!(world.delays(), (1, 30));
    }

    /// Data every 100. Acknowledged at 1,000, 1,100 (even), 1,175 (0.75: not below) and 1,249 (0.74).
    #[test]
    fn compressed_is_below_three_quarters_of_the_data_gap() {
        let mut world = World::new();
        for n in 0..4 {
            world.sent(100 * n + 100, u64::from(n) * 100);
        }
        for (n, at) in [1_000, 1_100, 1_175, 1_249].into_iter().enumerate() {
            world.ack(100 * n as u32 + 100, at);
        }
        assert_eq!((world.totals.pairs, world.totals.compressed), (3, 1));
    }

    /// Two acknowledgements with the stamp of one receive burst say nothing of their own gap; data that
    /// left at one time, or twice, has none.
    #[test]
    fn pairs_that_cannot_be_judged_are_left_out() {
        let mut world = World::new();
        for (n, wire) in [0, 100, 100, 200, 300].into_iter().enumerate() {
            world.sent(100 * n as u32 + 100, wire);
        }
        world.sent(400, 250); // the fourth again
        world.ack(100, 1_000);
        let same = Ack { number: 200, at: Nanos(1_000), own_stamp: false };
        world.acks.acknowledged(1, same, &mut world.totals);
        assert_eq!((world.totals.in_one_burst, world.totals.pairs), (1, 0));
        world.ack(300, 1_001);
        assert_eq!(world.totals.pairs, 0, "data gap 0");
        world.ack(400, 1_002);
        world.ack(500, 1_003);
        assert_eq!(world.totals.pairs, 0, "a retransmission in range");
    }

    #[test]
    fn a_silent_connection_makes_room() {
        let mut world = World::new();
        let segment = |wire| Segment { end_seq: 100, bytes: 100, wire };
        for key in 0..CONNECTIONS_MAX as u64 + 1 {
            world.acks.sent(key, 0, segment(Nanos(1)), &mut world.totals);
        }
        assert_eq!(world.totals.not_followed, 1);
        let later = segment(Nanos(1 + SILENT.0));
        world.acks.sent(u64::MAX, 7, later, &mut world.totals);
        assert_eq!((world.totals.not_followed, world.acks.cell_of(u64::MAX)), (1, Some(7)));
        assert_eq!(world.acks.cell_of(0), None);
    }
}
