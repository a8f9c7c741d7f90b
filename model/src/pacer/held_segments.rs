//! What of a TCP connection is held, and what of it was sent: is this segment a duplicate of bytes
//! that have not left yet, or a retransmission of bytes that have?
//!
//! One record of 64 bytes for each flow that is one connection, apart from what a release of other
//! packets touches. It mirrors the flow's FIFO as up to [`RUNS_MAX`] *runs* of segments in a row; an
//! in-order sender has one. Every answer errs to the side that keeps data flowing and counts its
//! messages: what cannot be followed exactly (more runs than that, an unknown length, a hole) is
//! held to be new. Sequence numbers wrap; only distances are compared.
//!
//! [`HeldSegments::arrive`] for each segment with payload that enters a flow, then, in the order of
//! the FIFO, [`HeldSegments::release`] for each that leaves it and [`HeldSegments::undo`], last first,
//! for what the port gave back.

/// Runs of held segments that are followed in one flow.
pub const RUNS_MAX: usize = 4;

/// Longest stretch of sent bytes that is remembered: what is further back is not retransmitted any
/// more, and distances stay far from half the sequence space.
const SENT_BYTES_MAX: u32 = 1 << 28;

/// What a segment with payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Some of its bytes have been neither held nor sent, as far as is known.
    New,
    /// All of its bytes are held: the original has not left yet.
    Duplicate,
    /// All of its bytes have left before.
    Retransmission,
}

/// Bytes `[start, end)` of the sequence space, `start == end` = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    start: u32,
    end: u32,
}

impl Bytes {
    const fn len(self) -> u32 {
        self.end.wrapping_sub(self.start)
    }

    const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether byte `at` is in it.
    const fn has(self, at: u32) -> bool {
        at.wrapping_sub(self.start) < self.len()
    }

    /// Whether all of `other`, which is not empty, is in it.
    const fn covers(self, other: Self) -> bool {
        let from = other.start.wrapping_sub(self.start);
        from < self.len() && other.len() <= self.len() - from
    }
}

/// One connection.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Connection {
    /// In the order of the FIFO; the first `run_count` are in use.
    runs: [Bytes; RUNS_MAX],
    /// A stretch of bytes that all have left.
    sent: Bytes,
    /// Segments of the FIFO that are in the runs: those at its head.
    followed: u32,
    /// Segments behind them that are not.
    lost_track: u32,
    run_count: u8,
}

const _: () = assert!(size_of::<Connection>() == 64);

impl Connection {
    /// Whether every byte of `bytes` is held.
    fn holds(&self, bytes: Bytes) -> bool {
        let mut rest = bytes;
        // Each run can carry the search further at most once.
        for _ in 0..RUNS_MAX {
            let runs = &self.runs[..usize::from(self.run_count)];
            let Some(run) = runs.iter().find(|run| run.has(rest.start)) else { return false };
            if run.covers(rest) {
                return true;
            }
            rest.start = run.end;
        }
        false
    }

    fn push(&mut self, bytes: Bytes) {
        if self.lost_track > 0 || bytes.is_empty() {
            self.lost_track += 1;
            return;
        }
        let count = usize::from(self.run_count);
        let last = self.runs[..count].last_mut();
        let follows = |run: &&mut Bytes| {
            run.end == bytes.start && run.len().saturating_add(bytes.len()) < 1 << 31
        };
        if let Some(run) = last.filter(follows) {
            run.end = bytes.end;
        } else if count < RUNS_MAX {
            self.runs[count] = bytes;
            self.run_count += 1;
        } else {
            self.lost_track += 1;
            return;
        }
        self.followed += 1;
    }

    /// Takes the segment that ends at `end` off the head of the FIFO; says where it began.
    fn pop(&mut self, end: u32) -> Option<u32> {
        if self.followed == 0 {
            self.lost_track = self.lost_track.saturating_sub(1);
            return None;
        }
        self.followed -= 1;
        let start = self.runs[0].start;
        self.runs[0].start = end;
        if self.runs[0].is_empty() {
            self.runs.copy_within(1.., 0);
            self.run_count -= 1;
        }
        Some(start)
    }

    /// Gives the segment back to the head of the FIFO.
    fn unpop(&mut self, bytes: Bytes) {
        let count = usize::from(self.run_count);
        if count > 0 && self.runs[0].start == bytes.end {
            self.runs[0].start = bytes.start;
        } else if count < RUNS_MAX {
            self.runs.copy_within(..count, 1);
            self.runs[0] = bytes;
            self.run_count += 1;
        } else {
            return self.lose_track();
        }
        self.followed += 1;
    }

    /// From here on no segment of the FIFO is followed: one more than it knows is in it.
    fn lose_track(&mut self) {
        self.lost_track += self.followed + 1;
        self.followed = 0;
        self.run_count = 0;
    }

    fn note_sent(&mut self, bytes: Bytes) {
        let sent = self.sent;
        if sent.is_empty() || bytes.covers(sent) {
            self.sent = bytes;
        } else if sent.covers(bytes) {
            return;
        } else if sent.has(bytes.start) || bytes.start == sent.end {
            self.sent.end = bytes.end;
        } else if bytes.has(sent.start) || bytes.end == sent.start {
            self.sent.start = bytes.start;
        } else if (bytes.end.wrapping_sub(sent.end) as i32) > 0 {
            // A hole before it, which may be filled by new bytes: what lies before it is forgotten.
            self.sent = bytes;
        }
        if self.sent.len() > SENT_BYTES_MAX {
            self.sent.start = self.sent.end.wrapping_sub(SENT_BYTES_MAX);
        }
    }
}

/// A segment that was released, for [`HeldSegments::undo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departed {
    /// Where it began; `None` where that is not known.
    start: Option<u32>,
    /// What had left before it.
    sent: Bytes,
}

/// The connections of a pacer, by flow. See the module.
pub struct HeldSegments {
    connections: Box<[Connection]>,
}

impl HeldSegments {
    /// Room for `flows_max` connections, 64 bytes each.
    pub fn new(flows_max: u32) -> Self {
        Self { connections: vec![Connection::default(); flows_max as usize].into_boxed_slice() }
    }

    /// Runs that are held, bytes that were sent, segments of which nothing is known.
    #[cfg(test)]
    pub fn connection(&self, flow: u32) -> impl std::fmt::Debug + use<> {
        let c = self.connections.get(flow as usize).copied().unwrap_or_default();
        (c.runs[..usize::from(c.run_count)].to_vec(), c.sent, c.followed, c.lost_track)
    }

    /// What the segment is whose last payload byte is before `end` and that has `payload` bytes, 0 =
    /// its flow is not one connection, so it cannot be told. Changes nothing.
    pub fn judge(&self, flow: u32, end: u32, payload: u32) -> Segment {
        let (Some(c), true) = (self.connections.get(flow as usize), payload > 0) else {
            return Segment::New;
        };
        let bytes = Bytes { start: end.wrapping_sub(payload), end };
        if c.run_count > 0 && c.holds(bytes) {
            Segment::Duplicate
        } else if c.sent.covers(bytes) {
            Segment::Retransmission
        } else {
            Segment::New
        }
    }

    /// The segment enters its flow's FIFO, at the tail.
    pub fn arrive(&mut self, flow: u32, end: u32, payload: u32) {
        if let Some(c) = self.connections.get_mut(flow as usize) {
            c.push(Bytes { start: end.wrapping_sub(payload), end });
        }
    }

    /// The segment, head of its flow's FIFO, leaves.
    pub fn release(&mut self, flow: u32, end: u32) -> Departed {
        let Some(c) = self.connections.get_mut(flow as usize) else { return Departed::default() };
        let departed = Departed { sent: c.sent, start: c.pop(end) };
        match departed.start {
            Some(start) => c.note_sent(Bytes { start, end }),
            // Something left, and it is not known what: nothing is known to have left.
            None => c.sent = Bytes::default(),
        }
        departed
    }

    /// The last released segment comes back to the head of its flow's FIFO.
    pub fn undo(&mut self, flow: u32, departed: Departed, end: u32) {
        let Some(c) = self.connections.get_mut(flow as usize) else { return };
        match departed.start {
            Some(start) => c.unpop(Bytes { start, end }),
            None => c.lose_track(),
        }
        c.sent = departed.sent;
    }

    /// The segment, head of its flow's FIFO, ends without leaving. Returns where it began.
    pub fn end(&mut self, flow: u32, end: u32) -> Option<u32> {
        self.connections.get_mut(flow as usize)?.pop(end)
    }

    /// The segment that came off the head goes to the tail: the FIFO is being filtered.
    pub fn keep(&mut self, flow: u32, start: Option<u32>, end: u32) {
        if let Some(c) = self.connections.get_mut(flow as usize) {
            c.push(Bytes { start: start.unwrap_or(end), end });
        }
    }

    /// A connection begins on the flow (SYN), or another one gets it: sequence numbers of before mean
    /// nothing.
    pub fn restart(&mut self, flow: u32) {
        if let Some(c) = self.connections.get_mut(flow as usize) {
            c.sent = Bytes::default();
            if c.followed > 0 {
                c.lost_track += c.followed;
                (c.followed, c.run_count) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
