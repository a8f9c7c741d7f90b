//! Copies of packets for an operator: what a port receives, sends, or what ends, and why.
//!
//! [`tap`] makes two halves with a bounded number of slots between them. The core that holds a [`Tap`]
//! copies what the [`TapSpec`] asks for into empty slots; without one it counts the packet as lost and
//! goes on. Control empties the [`TapReader`]. Nothing here waits, allocates or frees on the core; one
//! that holds no tap tests one flag for each burst, and one that does gives it a share of its time
//! ([`budget`]): packets beyond that are counted as unseen and are none of the tap's business.

mod budget;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::drop_reason::DropReason;
use model::frame::{FlowKey, Frame, parse};
use model::time::Nanos;

use crate::batch::{BATCH_PACKETS_MAX, Batch};
use crate::bpf::Program;
use crate::channel::{Inbox, Outbox};
use crate::mbuf::Mbuf;
use budget::Budget;

/// What it costs to look at a packet, in steps, beside one for each instruction of the filter.
const LOOK_STEPS: u64 = 8;
/// What it costs beside to find out its flow.
const PARSE_STEPS: u64 = 24;
/// What it costs to copy a packet: a slot that another core had, and its bytes.
const COPY_STEPS: u64 = 128;
/// Bytes that a step copies.
const BYTES_PER_STEP: u64 = 8;

/// Where a packet was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// Received from the port.
    In,
    /// Accepted by the port.
    Out,
    /// Ended on its way to the port.
    Dropped(DropReason),
}

/// What is to be caught.
#[derive(Clone, Debug)]
pub struct TapSpec {
    /// Index of the port; `None` = any.
    pub port: Option<u8>,
    /// What ports receive.
    pub received: bool,
    /// What ports accept.
    pub sent: bool,
    /// What ends.
    pub dropped: bool,
    /// Index of the class; `None` = any, and frames that have none.
    pub class: Option<u8>,
    /// Of this flow only, in either direction, whatever its VLAN.
    pub flow: Option<FlowKey>,
    /// Of what this program takes only, in the first buffer of a packet.
    pub filter: Option<Program>,
    /// Bytes that are kept of a packet.
    pub snaplen: u16,
    /// Packets in all.
    pub count: u64,
}

impl TapSpec {
    fn is_at(&self, port: u8) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
    }

    /// What one look costs at most, in steps.
    fn look_steps(&self) -> u64 {
        let filter = self.filter.as_ref().map_or(0, |filter| filter.instructions() as u64);
        LOOK_STEPS + filter + if self.flow.is_some() { PARSE_STEPS } else { 0 }
    }

    /// What one copy costs at most, in steps.
    fn copy_steps(&self) -> u64 {
        COPY_STEPS + u64::from(self.snaplen) / BYTES_PER_STEP
    }

    fn budgets(&self) -> [Budget; 3] {
        let ways = [self.received, self.sent, self.dropped];
        let watched = ways.iter().filter(|way| **way).count() as u64;
        ways.map(|_| Budget::one_of(watched))
    }

    fn takes(&self, class: Option<u8>, packet: &Mbuf) -> bool {
        if self.class.is_some() && self.class != class {
            return false;
        }
        if self.filter.as_ref().is_some_and(|filter| !filter.takes(packet.data(), packet.len())) {
            return false;
        }
        let Some(flow) = &self.flow else { return true };
        match parse(packet.data(), packet.len()) {
            Frame::Ip(parsed) => is_of(flow, &parsed.key),
            _ => false,
        }
    }
}

/// Whether `key` is `flow` or its way back.
fn is_of(flow: &FlowKey, key: &FlowKey) -> bool {
    let ends = |key: &FlowKey| ((key.src, key.src_port), (key.dst, key.dst_port));
    let ((a, b), (c, d)) = (ends(flow), ends(key));
    (flow.protocol, flow.ip_version) == (key.protocol, key.ip_version)
        && ((a, b) == (c, d) || (a, b) == (d, c))
}

/// A slot: a packet that was caught.
#[derive(Debug)]
pub struct Slot {
    /// When, gateway time.
    pub at: Nanos,
    /// Index of the port.
    pub port: u8,
    /// Where.
    pub caught: Caught,
    /// Index of its class.
    pub class: Option<u8>,
    /// Its length.
    pub len: u32,
    kept: usize,
    bytes: Box<[u8]>,
}

impl Slot {
    fn new(snaplen: u16) -> Self {
        Self {
            at: Nanos::ZERO,
            port: 0,
            caught: Caught::In,
            class: None,
            len: 0,
            kept: 0,
            bytes: vec![0; snaplen.into()].into(),
        }
    }

    /// What was kept of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.kept]
    }

    fn copy(&mut self, packet: &Mbuf, class: Option<u8>) {
        (self.len, self.class, self.kept) = (packet.len(), class, 0);
        for segment in packet.segments() {
            let room = &mut self.bytes[self.kept..];
            let kept = room.len().min(segment.len());
            room[..kept].copy_from_slice(&segment[..kept]);
            self.kept += kept;
        }
    }
}

struct Between {
    empty: Inbox<Slot>,
    full: Outbox<Slot>,
    /// Packets that were wanted and found no empty slot, or no time to be copied.
    lost: AtomicU64,
    /// Packets that there was no time to look at.
    unseen: AtomicU64,
}

impl Between {
    /// Adds to a counter of its single writer, the core: no bus lock.
    fn add(counter: &AtomicU64, n: u64) {
        counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}

/// The core's half.
pub struct Tap {
    spec: TapSpec,
    look_steps: u64,
    copy_steps: u64,
    /// For what is received, sent, and ends.
    budgets: [Budget; 3],
    between: Arc<Between>,
    empties_taken: u64,
    left: u64,
    /// Offered to a port, with their places in the burst.
    offered: VecDeque<(usize, Slot)>,
    /// Slots that were not used after all.
    spare: Vec<Slot>,
}

/// Control's half.
pub struct TapReader {
    between: Arc<Between>,
}

/// A tap with `slots` slots, at least 1.
pub fn tap(spec: TapSpec, slots: usize) -> (Tap, TapReader) {
    let slots = slots.max(1);
    let between = Arc::new(Between {
        empty: Inbox::new(slots),
        full: Outbox::new(slots),
        lost: AtomicU64::new(0),
        unseen: AtomicU64::new(0),
    });
    for _ in 0..slots {
        // Fits: the ring is as long as that.
        let _ = between.empty.push(Slot::new(spec.snaplen));
    }
    let tap = Tap {
        left: spec.count,
        look_steps: spec.look_steps(),
        copy_steps: spec.copy_steps(),
        budgets: spec.budgets(),
        spec,
        between: Arc::clone(&between),
        empties_taken: 0,
        offered: VecDeque::with_capacity(BATCH_PACKETS_MAX),
        spare: Vec::with_capacity(BATCH_PACKETS_MAX),
    };
    (tap, TapReader { between })
}

/// Which budget pays.
#[derive(Clone, Copy)]
enum Way {
    Received,
    Sent,
    Dropped,
}

impl Tap {
    /// A burst that port `port` has received; `class_of` says where each belongs.
    pub(crate) fn received(
        &mut self,
        now: Nanos,
        port: u8,
        burst: &Batch,
        class_of: impl Fn(usize, &Mbuf) -> Option<u8>,
    ) {
        if !self.spec.received || !self.spec.is_at(port) || self.left == 0 {
            return;
        }
        self.budget(Way::Received).wait(now);
        for (place, packet) in burst.as_slice().iter().enumerate() {
            if !self.may_look(Way::Received, burst.len() - place) {
                return;
            }
            if let Some(slot) = self.copy(Way::Received, packet, class_of(place, packet)) {
                self.keep(slot, (now, port, Caught::In));
            }
        }
    }

    /// A burst is about to be offered: what the port takes is gone with it.
    pub(crate) fn offer(&mut self, now: Nanos, burst: &Batch) {
        if !self.spec.sent {
            return;
        }
        self.budget(Way::Sent).wait(now);
        for (place, packet) in burst.as_slice().iter().enumerate() {
            let has_enough = self.offered.len() as u64 >= self.left;
            if has_enough || !self.may_look(Way::Sent, burst.len() - place) {
                return;
            }
            if let Some(slot) = self.copy(Way::Sent, packet, Some(packet.meta().class)) {
                self.offered.push_back((place, slot));
            }
        }
    }

    /// Of what was offered, the places `run` were taken by port `port`.
    pub(crate) fn taken(&mut self, at: Nanos, port: u8, run: &Range<usize>) {
        while self.offered.front().is_some_and(|(place, _)| *place < run.end) {
            let Some((_, slot)) = self.offered.pop_front() else { return };
            if self.spec.is_at(port) {
                self.keep(slot, (at, port, Caught::Out));
            } else {
                self.spare.push(slot);
            }
        }
    }

    /// The rest of the burst was not taken: it will be offered again.
    pub(crate) fn end_offer(&mut self) {
        self.spare.extend(self.offered.drain(..).map(|(_, slot)| slot));
    }

    /// A packet ends on its way to port `port`.
    pub(crate) fn dropped(
        &mut self,
        now: Nanos,
        port: u8,
        class: Option<u8>,
        packet: &Mbuf,
        reason: DropReason,
    ) {
        if !self.spec.dropped || !self.spec.is_at(port) || self.left == 0 {
            return;
        }
        self.budget(Way::Dropped).wait(now);
        if self.may_look(Way::Dropped, 1)
            && let Some(slot) = self.copy(Way::Dropped, packet, class)
        {
            self.keep(slot, (now, port, Caught::Dropped(reason)));
        }
    }

    const fn budget(&mut self, way: Way) -> &mut Budget {
        &mut self.budgets[way as usize]
    }

    /// Whether there is time to look at a packet; where there is none, it and the `rest` of its burst pass unseen.
    fn may_look(&mut self, way: Way, rest: usize) -> bool {
        let steps = self.look_steps;
        let may = self.budget(way).pay(steps);
        if !may {
            Between::add(&self.between.unseen, rest as u64);
        }
        may
    }

    /// A copy of a packet that is wanted, where there is time and a slot for it.
    fn copy(&mut self, way: Way, packet: &Mbuf, class: Option<u8>) -> Option<Slot> {
        if self.left == 0 || !self.spec.takes(class, packet) {
            return None;
        }
        let steps = self.copy_steps;
        let slot = match self.budget(way).pay(steps) {
            true => self.spare.pop().or_else(|| self.between.empty.pop(&mut self.empties_taken)),
            false => None,
        };
        let Some(mut slot) = slot else {
            Between::add(&self.between.lost, 1);
            return None;
        };
        slot.copy(packet, class);
        Some(slot)
    }

    fn keep(&mut self, mut slot: Slot, (at, port, caught): (Nanos, u8, Caught)) {
        if self.left == 0 {
            self.spare.push(slot);
            return;
        }
        (slot.at, slot.port, slot.caught) = (at, port, caught);
        self.left -= 1;
        // The ring is as long as there are slots.
        let pushed = self.between.full.push(slot);
        debug_assert!(pushed.is_ok(), "more slots than the tap was made with");
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("spec", &self.spec).field("left", &self.left).finish()
    }
}

impl TapReader {
    /// The next packet that was caught; read it and [give it back](TapReader::give).
    pub fn take(&self) -> Option<Slot> {
        self.between.full.pop()
    }

    /// The slot is empty again.
    pub fn give(&self, slot: Slot) {
        // Fits: the ring is as long as there are slots.
        let pushed = self.between.empty.push(slot);
        debug_assert!(pushed.is_ok(), "a slot of another tap");
    }

    /// Packets that were wanted and found no slot, or no time to be copied.
    pub fn lost(&self) -> u64 {
        self.between.lost.load(Ordering::Relaxed)
    }

    /// Packets that were not looked at, so as not to slow the core.
    pub fn unseen(&self) -> u64 {
        self.between.unseen.load(Ordering::Relaxed)
    }
}
