//! What every departure passes, however it was released: the venue limits, with those who wait for
//! them, and the record of what of each TCP connection is held and what has left.
//!
//! The tree calls it at the same places for every kind of release, so that none goes around it. A
//! pacer without limits that follows no connection pays one test for each call.

use super::held_segments::{Departed, HeldSegments, Segment};
use super::limits::{Claim, Limits, LimitsSpec};
use super::waiting::{Verdict, Waiting};
use crate::drop_reason::DropReason;
use crate::meta::{PacketMeta, flags};
use crate::time::Nanos;
use crate::venue_limit::VenueLimit;

/// Flows that can be sent to wait between two commits, where a burst has fewer packets: with more a
/// flush ends early.
const SENT_MIN: usize = 64;

/// What one departure changed, so that it can be taken back.
#[derive(Clone, Copy)]
struct Note {
    /// What the TCP segment was.
    segment: Departed,
    /// Charges in [`Limits`].
    charges: u8,
    was_senior: bool,
    /// [`Waiting::held_until`] of its flow before.
    held_until: Nanos,
    /// It is exempt, and packets ahead of it in its group were held by a limit.
    was_behind: bool,
}

/// A flow that was sent to wait while offers were out: had those not been made, it would not wait.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// So many.
    pub offers: usize,
    pub flow: u32,
    /// Its head was paced.
    pub was_ready: bool,
}

/// The room of an instance was promised to a flow that was sent to wait elsewhere while offers were
/// out.
#[derive(Clone, Copy)]
struct Promise {
    /// So many.
    offers: usize,
    instance: u32,
    before: Nanos,
}

/// What happened, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCounters {
    /// Exempt packets that waited because a venue limit held packets ahead of them in their group.
    pub exempt_behind_venue_limit: u64,
    /// Packets that ended because they have more messages than a limit ever lets go: at arrival, or when
    /// it was tightened.
    pub over_venue_limit: u64,
    /// TCP segments with payload, of flows that are one connection each.
    pub segments: u64,
    /// Of those, retransmissions of bytes that had left.
    pub retransmissions: u64,
    /// Of those, ends as `duplicate_held`.
    pub duplicates_held: u64,
}

/// See the module.
pub(super) struct Guard {
    pub limits: Limits,
    pub waiting: Waiting,
    /// Limits have other numbers, and the walk over those who wait for them goes on.
    pub is_changed: bool,
    segments: HeldSegments,
    follows_tcp: bool,
    is_limited: bool,
    notes: Vec<Note>,
    sent: Vec<Sent>,
    promises: Vec<Promise>,
    pub counters: GuardCounters,
}

fn is_segment(meta: &PacketMeta) -> bool {
    meta.has(flags::TCP | flags::PAYLOAD)
}

fn claim(flow: u32, venue: u8, meta: &PacketMeta) -> Claim {
    Claim {
        venue,
        class: meta.class,
        flow,
        messages: u32::from(meta.messages),
        exempt: meta.is_exempt(),
    }
}

impl Guard {
    pub fn new(
        spec: &LimitsSpec,
        follows_tcp: bool,
        classes: usize,
        flows_max: u32,
        burst_max: usize,
        start: Nanos,
        slot: Nanos,
    ) -> Self {
        let limits = Limits::new(spec, classes, flows_max, burst_max, start);
        let is_limited = limits.instances() > 0;
        let is_active = is_limited || follows_tcp;
        let sent_max = if is_limited { burst_max.max(SENT_MIN) } else { 0 };
        Self {
            waiting: Waiting::new(limits.instances(), flows_max, slot),
            is_changed: false,
            limits,
            segments: HeldSegments::new(if follows_tcp { flows_max } else { 0 }),
            follows_tcp,
            is_limited,
            notes: Vec::with_capacity(if is_active { burst_max } else { 0 }),
            sent: Vec::with_capacity(sent_max),
            promises: Vec::with_capacity(sent_max + spec.limits.len()),
            counters: GuardCounters::default(),
        }
    }

    /// Other numbers for the limits; `true` where any is different.
    pub fn set_limits(&mut self, now: Nanos, limits: &[VenueLimit]) -> bool {
        let is_changed = self.limits.set(now, limits);
        self.is_changed |= is_changed;
        is_changed
    }

    /// What is held and sent of a flow's connection.
    #[cfg(test)]
    pub fn connection(&self, flow: u32) -> impl std::fmt::Debug + use<> {
        self.segments.connection(flow)
    }

    /// Whether there is anything to guard.
    #[inline]
    pub const fn is_active(&self) -> bool {
        self.is_limited || self.follows_tcp
    }

    /// Whether there is anything to guard in the departure of such a packet.
    #[inline]
    pub const fn concerns(&self, meta: &PacketMeta) -> bool {
        self.is_limited || (self.follows_tcp && meta.has(flags::TCP))
    }

    /// A packet is about to be queued. A retransmission loses its messages: they were counted.
    pub fn enter(&mut self, flow: u32, venue: u8, meta: &mut PacketMeta) -> Result<(), DropReason> {
        if self.follows_tcp && meta.has(flags::TCP) {
            self.enter_segment(flow, meta)?;
        }
        if self.is_more_than_ever(&claim(flow, venue, meta)) {
            self.counters.over_venue_limit += 1;
            return Err(DropReason::Stale);
        }
        Ok(())
    }

    fn is_more_than_ever(&mut self, claim: &Claim) -> bool {
        self.limits.bind(claim.venue, claim.class) && self.limits.ask(claim).at == Nanos::MAX
    }

    /// Whether the head of a flow has more messages than a limit ever lets go.
    pub fn is_too_much(&mut self, flow: u32, head: &PacketMeta) -> bool {
        self.is_more_than_ever(&claim(flow, head.venue, head))
    }

    fn enter_segment(&mut self, flow: u32, meta: &mut PacketMeta) -> Result<(), DropReason> {
        if meta.begins_connection() {
            self.segments.restart(flow);
        }
        if !meta.has(flags::PAYLOAD) {
            return Ok(());
        }
        let bytes = meta.segment_bytes();
        self.counters.segments += u64::from(bytes > 0);
        match self.segments.judge(flow, meta.tcp_end_seq, bytes) {
            Segment::New => {}
            Segment::Duplicate => {
                self.counters.duplicates_held += 1;
                return Err(DropReason::DuplicateHeld);
            }
            Segment::Retransmission => {
                self.counters.retransmissions += 1;
                meta.messages = 0;
            }
        }
        Ok(())
    }

    /// The packet that [`Guard::enter`] let in is put at the tail of its flow.
    pub fn entered(&mut self, flow: u32, meta: &PacketMeta) {
        if self.follows_tcp && is_segment(meta) {
            self.segments.arrive(flow, meta.tcp_end_seq, meta.segment_bytes());
        }
    }

    /// Whether a packet of an empty flow may leave at once, with nothing to be noted at entry.
    pub fn admits(&mut self, now: Nanos, flow: u32, venue: u8, meta: &PacketMeta) -> bool {
        if self.follows_tcp && meta.has(flags::TCP) {
            let verdict = self.segments.judge(flow, meta.tcp_end_seq, meta.segment_bytes());
            if meta.begins_connection() || verdict != Segment::New {
                return false;
            }
        }
        let claim = claim(flow, venue, meta);
        !self.limits.bind(venue, meta.class)
            || matches!(
                self.waiting.judge(now, &mut self.limits, &claim, false, false),
                Verdict::Open(_)
            )
    }

    /// A packet that [`Guard::admits`] leaves its empty flow.
    pub fn admitted(&mut self, now: Nanos, flow: u32, meta: &PacketMeta) {
        let is_segment = self.follows_tcp && is_segment(meta);
        self.counters.segments += u64::from(is_segment && meta.segment_bytes() > 0);
        self.entered(flow, meta);
        self.depart(now, flow, meta);
    }

    /// Whether the head of a flow may leave. `is_old`: it has reached its `max_hold`.
    #[inline]
    pub fn judge(&mut self, now: Nanos, flow: u32, head: &PacketMeta, is_old: bool) -> Verdict {
        if !self.limits.bind(head.venue, head.class) {
            return Verdict::Open(Nanos::ZERO);
        }
        let claim = claim(flow, head.venue, head);
        self.waiting.judge(now, &mut self.limits, &claim, is_old, head.has(flags::TCP))
    }

    /// The head of a flow is offered to the port.
    pub fn depart(&mut self, now: Nanos, flow: u32, meta: &PacketMeta) {
        let mut note = Note {
            segment: Departed::default(),
            charges: 0,
            was_senior: false,
            held_until: Nanos::ZERO,
            was_behind: false,
        };
        if self.is_limited {
            let wanted = meta.wanted();
            note.held_until = self.waiting.held_until(flow);
            let full_exempt = meta.is_exempt() && !meta.has(flags::BARE);
            note.was_behind = full_exempt && note.held_until > wanted;
            let claim = claim(flow, meta.venue, meta);
            let charged = self.limits.charge(now, wanted, &claim);
            note.charges = charged.charges;
            if charged.opened_at > wanted && !meta.is_exempt() {
                self.waiting.note_held(flow, charged.opened_at);
            }
            note.was_senior = self.waiting.is_senior(flow);
            self.waiting.set_senior(flow, false);
        }
        if self.follows_tcp && is_segment(meta) {
            note.segment = self.segments.release(flow, meta.tcp_end_seq);
        }
        self.notes.push(note);
    }

    /// The last one that departed comes back to the head of its flow. Calls `closed_by_it` for each
    /// instance that has room again.
    pub fn undo(&mut self, flow: u32, meta: &PacketMeta, closed_by_it: impl FnMut(u32)) {
        let Some(note) = self.notes.pop() else { return };
        self.limits.undo(note.charges, closed_by_it);
        if self.is_limited {
            self.waiting.set_held_until(flow, note.held_until);
            self.waiting.set_senior(flow, note.was_senior);
        }
        if self.follows_tcp && is_segment(meta) {
            self.segments.undo(flow, note.segment, meta.tcp_end_seq);
        }
    }

    /// What departed and did not come back has left.
    #[inline]
    pub fn commit(&mut self) {
        self.limits.commit();
        let behind = self.notes.iter().filter(|note| note.was_behind).count();
        self.counters.exempt_behind_venue_limit += behind as u64;
        self.notes.clear();
        self.sent.clear();
        self.promises.clear();
    }

    /// The head of a flow ends without leaving.
    pub fn end(&mut self, flow: u32, meta: &PacketMeta) {
        if self.is_limited {
            self.waiting.set_senior(flow, false);
        }
        if self.follows_tcp && is_segment(meta) {
            self.segments.end(flow, meta.tcp_end_seq);
        }
    }

    /// The packet at the head of a flow, which is being filtered, goes back to its tail.
    pub fn rotate(&mut self, flow: u32, meta: &PacketMeta) {
        if self.follows_tcp && is_segment(meta) {
            let start = self.segments.end(flow, meta.tcp_end_seq);
            self.segments.keep(flow, start, meta.tcp_end_seq);
        }
    }

    /// Notes that a flow is sent to wait while offers are out. `false`, and nothing is noted, where
    /// there is no more room: then it must not be sent before the commit.
    pub fn note_sent(&mut self, sent: Sent) -> bool {
        // A packet answers to each limit at most once.
        let has_room = self.sent.len() < self.sent.capacity()
            && self.promises.len() + self.limits.limits() <= self.promises.capacity();
        if has_room {
            self.sent.push(sent);
        }
        has_room
    }

    /// The flow that was sent to wait last, if that was when more than `offers` were out. When there
    /// is none left, nothing is promised either to those who were.
    pub fn take_sent(&mut self, offers: usize) -> Option<Sent> {
        let sent = self.sent.pop_if(|sent| sent.offers > offers);
        if sent.is_none() {
            while let Some(promise) = self.promises.pop_if(|promise| promise.offers > offers) {
                self.waiting.break_promise(promise.instance, promise.before);
            }
        }
        sent
    }

    /// Those who were sent to wait by offers that were accepted.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// A senior waits elsewhere, for no longer than `at`: the room that its other limits have for it
    /// is kept, unless an offer comes back of the so many that are out.
    pub fn promise(
        &mut self,
        offers: usize,
        flow: u32,
        head: &PacketMeta,
        waits_for: u32,
        at: Nanos,
    ) {
        let claim = claim(flow, head.venue, head);
        let (limits, waiting, promises) = (&mut self.limits, &mut self.waiting, &mut self.promises);
        limits.each_instance(&claim, |instance| {
            if instance != waits_for {
                let before = waiting.promise(instance, at);
                if offers > 0 {
                    promises.push(Promise { offers, instance, before });
                }
            }
        });
    }

    /// Gives a flow's session and connection back, if nothing of them counts any more at `now`.
    pub fn free_flow(&mut self, now: Nanos, flow: u32) -> bool {
        if !self.limits.free_session(now, flow) {
            return false;
        }
        self.waiting.forget(flow);
        self.segments.restart(flow);
        true
    }
}
