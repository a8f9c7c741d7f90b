//! Out-of-band records that wait for their segment or datagram.
//!
//! All memory is taken in [`SideTable::new`]; every call is bounded. In the order of use: for each
//! poll the records of the [`super::inlet`] go in by [`SideTable::insert`] and old ones go by
//! [`SideTable::expire`]; for each packet of a lane that takes records, [`SideTable::on_syn`] or
//! [`SideTable::take_tcp`] or [`SideTable::take_udp`].
//!
//! Rules:
//! - The records of a flow are kept in the order in which they came. On TCP their ends have to rise;
//!   one that does not is refused.
//! - **TCP**: a segment gets the latest record whose end is at or before the segment's end, and the
//!   messages of all records that end in it, summed. A record of a message that is split over several
//!   segments goes to the one with its last byte. Where several kinds meet in one segment it is
//!   `mixed`, unless all of them are exempt. Records that end at or before the segment's first byte
//!   came too late: their bytes have passed. A retransmission gets none.
//! - **UDP**: a datagram gets the oldest record of its flow. A record that states another length is
//!   not about this datagram and goes.
//! - A record lives for a stated time at most. When there is no place for another, the oldest goes;
//!   when there is no place for another flow, the one that was used least recently goes with its
//!   records. All of them are counted.
//! - VLAN tags are not looked at: a socket does not know them.

mod index;

use ::intent::{FlowRecord, FlowTuple, Kind, Position, Record};
use model::time::Nanos;

use index::Index;

/// Records that one call of [`SideTable::expire`] removes at most.
const EXPIRE_MAX: usize = 32;
const NONE: u32 = u32::MAX;

/// Sizes of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideTableSpec {
    /// Records that may wait, 1 to 2^20.
    pub records_max: u32,
    /// Flows that are known, 1 to 2^20. A TCP connection is known from its SYN on.
    pub flows_max: u32,
    /// How long a record waits for its bytes.
    pub expiry: Nanos,
}

impl Default for SideTableSpec {
    /// 4,096 records, 1,024 flows, 100 ms.
    fn default() -> Self {
        Self { records_max: 4_096, flows_max: 1_024, expiry: Nanos::from_millis(100) }
    }
}

/// What became of the records, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideCounters {
    /// Taken in.
    pub inserted: u64,
    /// Given to a packet, those included that were summed into another.
    pub matched: u64,
    /// Their bytes had passed.
    pub too_late: u64,
    /// Their bytes did not come in time.
    pub expired: u64,
    /// Made room for another record.
    pub dropped_oldest: u64,
    /// Went with their flow, which made room for another flow or was opened anew.
    pub dropped_with_flow: u64,
    /// Flows that made room for another one.
    pub flows_dropped: u64,
    /// Refused: an end that does not lie behind the one before.
    pub out_of_order: u64,
    /// Refused: a stream offset, and the connection's SYN was not seen.
    pub no_base: u64,
    /// Datagrams of another length than stated.
    pub length_differs: u64,
}

/// One record.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    record: Record,
    came: Nanos,
    /// TCP: the sequence number after its last byte. UDP: the stated length.
    end: u32,
    flow: u32,
    /// The next record of the flow.
    next: u32,
    /// Neighbours by age, over all flows.
    older: u32,
    newer: u32,
}

/// One flow.
#[derive(Clone, Copy, Debug)]
struct Flow {
    key: Key,
    /// Sequence number of the first byte of its stream, from the SYN.
    base: Option<u32>,
    /// Oldest and newest record.
    first: u32,
    last: u32,
    /// Neighbours by last use.
    colder: u32,
    warmer: u32,
}

/// A flow and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    tuple: FlowTuple,
    is_tcp: bool,
}

/// See the module.
pub struct SideTable {
    index: Index,
    flows: Box<[Flow]>,
    /// Flows that were used once; those behind were never.
    flows_used: u32,
    coldest: u32,
    warmest: u32,
    records: Box<[Waiting]>,
    records_used: u32,
    free_record: u32,
    oldest: u32,
    newest: u32,
    waiting: u32,
    expiry: Nanos,
    counters: SideCounters,
}

impl SideTable {
    /// An empty table: about 150 bytes for each record and 80 for each flow.
    pub fn new(spec: &SideTableSpec) -> Self {
        let flows_max = spec.flows_max.clamp(1, 1 << 20);
        let records_max = spec.records_max.clamp(1, 1 << 20);
        let tuple =
            FlowTuple { src: [0; 16], dst: [0; 16], src_port: 0, dst_port: 0, ip_version: 0 };
        let flow = Flow {
            key: Key { tuple, is_tcp: false },
            base: None,
            first: NONE,
            last: NONE,
            colder: NONE,
            warmer: NONE,
        };
        let record = Waiting {
            record: Record::default(),
            came: Nanos::ZERO,
            end: 0,
            flow: NONE,
            next: NONE,
            older: NONE,
            newer: NONE,
        };
        Self {
            index: Index::new(flows_max),
            flows: vec![flow; flows_max as usize].into_boxed_slice(),
            flows_used: 0,
            coldest: NONE,
            warmest: NONE,
            records: vec![record; records_max as usize].into_boxed_slice(),
            records_used: 0,
            free_record: NONE,
            oldest: NONE,
            newest: NONE,
            waiting: 0,
            expiry: spec.expiry,
            counters: SideCounters::default(),
        }
    }

    /// Records that wait.
    pub const fn len(&self) -> u32 {
        self.waiting
    }

    /// Whether no record waits: then no packet needs to be looked up.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// See [`SideCounters`].
    pub const fn counters(&self) -> SideCounters {
        self.counters
    }

    /// A connection is opened: `first` is the sequence number of its first byte, one more than the
    /// SYN's own. A SYN that is sent again changes nothing; another one ends what was before.
    pub fn on_syn(&mut self, tuple: &FlowTuple, first: u32) {
        let flow = self.flow(Key { tuple: *tuple, is_tcp: true });
        if self.flows[flow as usize].base != Some(first) {
            self.clear(flow);
            self.flows[flow as usize].base = Some(first);
        }
    }

    /// Takes a record in. Time must not go backwards from call to call.
    pub fn insert(&mut self, now: Nanos, record: &FlowRecord) {
        let key = |is_tcp| Key { tuple: record.flow, is_tcp };
        let (flow, end) = match record.position {
            Position::NextDatagram { payload_bytes } => {
                (self.flow(key(false)), u32::from(payload_bytes))
            }
            Position::Sequence(end) => (self.flow(key(true)), end),
            Position::StreamOffset(offset) => {
                let known = self.index.get(&key(true), &self.flows);
                let base = known.and_then(|flow| self.flows[flow as usize].base);
                let (Some(flow), Some(base)) = (known, base) else {
                    self.counters.no_base += 1;
                    return;
                };
                self.touch(flow);
                // Sequence numbers are the offset modulo 2^32 (RFC 9293, 3.4).
                (flow, base.wrapping_add(offset as u32))
            }
        };
        let last = self.flows[flow as usize].last;
        let is_tcp = self.flows[flow as usize].key.is_tcp;
        if is_tcp && last != NONE && !is_after(end, self.records[last as usize].end) {
            self.counters.out_of_order += 1;
            return;
        }
        let slot = self.free_slot();
        self.records[slot as usize] = Waiting {
            record: record.record,
            came: now,
            end,
            flow,
            next: NONE,
            older: self.newest,
            newer: NONE,
        };
        // The oldest, which made room, may have been the last of this very flow.
        match self.flows[flow as usize].last {
            NONE => self.flows[flow as usize].first = slot,
            last => self.records[last as usize].next = slot,
        }
        self.flows[flow as usize].last = slot;
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.records[newest as usize].newer = slot,
        }
        self.newest = slot;
        self.waiting += 1;
        self.counters.inserted += 1;
    }

    /// What is meant with the TCP segment whose bytes are `start` up to, not with, `end`.
    pub fn take_tcp(&mut self, tuple: &FlowTuple, start: u32, end: u32) -> Option<Record> {
        let flow = self.index.get(&Key { tuple: *tuple, is_tcp: true }, &self.flows)?;
        let mut answer: Option<Record> = None;
        loop {
            let first = self.flows[flow as usize].first;
            let waiting = self.records.get(first as usize)?;
            if is_after(waiting.end, end) {
                return answer;
            }
            let (record, passed) = (waiting.record, !is_after(waiting.end, start));
            self.pop(flow);
            if passed {
                self.counters.too_late += 1;
            } else {
                self.counters.matched += 1;
                answer = Some(answer.map_or(record, |before| merge(&before, record)));
            }
            if self.flows[flow as usize].first == NONE {
                return answer;
            }
        }
    }

    /// What is meant with a datagram of `payload_bytes`.
    pub fn take_udp(&mut self, tuple: &FlowTuple, payload_bytes: u32) -> Option<Record> {
        let flow = self.index.get(&Key { tuple: *tuple, is_tcp: false }, &self.flows)?;
        let waiting = self.records.get(self.flows[flow as usize].first as usize)?;
        let (record, stated) = (waiting.record, waiting.end);
        self.pop(flow);
        if stated != 0 && stated != payload_bytes {
            self.counters.length_differs += 1;
            return None;
        }
        self.counters.matched += 1;
        Some(record)
    }

    /// Removes records that have waited too long, at most 32.
    #[inline]
    pub fn expire(&mut self, now: Nanos) {
        for _ in 0..EXPIRE_MAX {
            let Some(oldest) = self.records.get(self.oldest as usize) else { return };
            if oldest.came.saturating_add(self.expiry) > now {
                return;
            }
            self.pop_oldest();
            self.counters.expired += 1;
        }
    }

    /// The flow of a key, made where it is not known.
    fn flow(&mut self, key: Key) -> u32 {
        if let Some(flow) = self.index.get(&key, &self.flows) {
            self.touch(flow);
            return flow;
        }
        let flow = if (self.flows_used as usize) < self.flows.len() {
            self.flows_used += 1;
            self.flows_used - 1
        } else {
            let flow = self.coldest;
            self.counters.flows_dropped += 1;
            self.clear(flow);
            self.unlink_flow(flow);
            self.index.remove(flow, &self.flows);
            flow
        };
        let (first, last) = (NONE, NONE);
        self.flows[flow as usize] =
            Flow { key, base: None, first, last, colder: NONE, warmer: NONE };
        self.index.insert(flow, &self.flows);
        self.link_warmest(flow);
        flow
    }

    fn touch(&mut self, flow: u32) {
        if self.warmest != flow {
            self.unlink_flow(flow);
            self.link_warmest(flow);
        }
    }

    fn link_warmest(&mut self, flow: u32) {
        let before = self.warmest;
        let f = &mut self.flows[flow as usize];
        (f.colder, f.warmer) = (before, NONE);
        match before {
            NONE => self.coldest = flow,
            before => self.flows[before as usize].warmer = flow,
        }
        self.warmest = flow;
    }

    fn unlink_flow(&mut self, flow: u32) {
        let Flow { colder, warmer, .. } = self.flows[flow as usize];
        match colder {
            NONE => self.coldest = warmer,
            colder => self.flows[colder as usize].warmer = warmer,
        }
        match warmer {
            NONE => self.warmest = colder,
            warmer => self.flows[warmer as usize].colder = colder,
        }
    }

    /// Ends all records of a flow. Bounded by those it has; a flow of many records is a sender's own.
    fn clear(&mut self, flow: u32) {
        while self.flows[flow as usize].first != NONE {
            self.pop(flow);
            self.counters.dropped_with_flow += 1;
        }
    }

    fn free_slot(&mut self) -> u32 {
        if self.free_record == NONE && (self.records_used as usize) < self.records.len() {
            self.records_used += 1;
            return self.records_used - 1;
        }
        if self.free_record == NONE {
            self.pop_oldest();
            self.counters.dropped_oldest += 1;
        }
        let slot = self.free_record;
        self.free_record = self.records[slot as usize].next;
        slot
    }

    /// The oldest of all records is the oldest of its flow.
    fn pop_oldest(&mut self) {
        let flow = self.records[self.oldest as usize].flow;
        self.pop(flow);
    }

    /// Removes the oldest record of a flow that has one.
    fn pop(&mut self, flow: u32) {
        let f = &mut self.flows[flow as usize];
        let slot = f.first;
        let Waiting { next, older, newer, .. } = self.records[slot as usize];
        f.first = next;
        if next == NONE {
            f.last = NONE;
        }
        match older {
            NONE => self.oldest = newer,
            older => self.records[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.records[newer as usize].older = older,
        }
        self.records[slot as usize].next = self.free_record;
        self.free_record = slot;
        self.waiting -= 1;
    }
}

/// Whether `a` lies behind `b` in sequence space (RFC 9293, 3.4).
const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// What two records that end in one segment come to.
fn merge(before: &Record, latest: Record) -> Record {
    let messages = match (before.messages, latest.messages) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    let kind = match (before.kind, latest.kind) {
        (a, b) if a == b => b,
        (Some(a), Some(b)) if is_exempt(a) && is_exempt(b) => latest.kind,
        _ => Some(Kind::Mixed),
    };
    Record { messages, kind, ..latest }
}

const fn is_exempt(kind: Kind) -> bool {
    matches!(kind, Kind::Cancel | Kind::MassCancel | Kind::Exit | Kind::Session)
}

#[cfg(test)]
mod tests;
