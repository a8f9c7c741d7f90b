//! An egress port of a drill: a link, a ring below it, and what goes wrong with both.
//!
//! The gateway has the [`Outlet`]; what is around it steps the same port by [`Outlet::advance`] and
//! takes from it what was delivered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use dataplane::batch::Batch;
use dataplane::mbuf::Mbuf;
use dataplane::port::Tx;
use model::meta::wire_len;
use model::time::Nanos;

use super::model::slots::Slots;

/// A stretch of time: from, and up to but without.
pub type Span = (Nanos, Nanos);

/// The first `length` of each `every`, from the first time up to the second.
pub fn repeated((from, to): Span, every: Nanos, length: Nanos) -> Vec<Span> {
    let starts = (from.0..to.0).step_by(usize::try_from(every.0).unwrap_or(usize::MAX));
    starts.map(|at| (Nanos(at), Nanos(at).saturating_add(length).min(to))).collect()
}

/// When the device tells what has left.
#[derive(Clone, Copy, Debug)]
pub struct Completions {
    /// Once so many packets have left ...
    pub batch: u32,
    /// ... or so long after the first of fewer.
    pub after: Nanos,
}

/// How a port keeps small writes back, as a kernel does that hopes for more (autocorking): the first of
/// fewer than `frames` at once freezes the port, and `time` later everything is flushed. What is written in
/// batches is never kept back.
#[derive(Clone, Copy, Debug)]
pub struct Cork {
    /// So many at once are no small write.
    pub frames: usize,
    /// How long it waits for more.
    pub time: Nanos,
}

/// What a port is like. The default takes everything at once and delivers it at once.
#[derive(Clone, Debug)]
pub struct OutletSpec {
    /// Bits per second of its link; `None` = infinite.
    pub link_bits_per_s: Option<u64>,
    /// How completions are told; `None` = what was taken has left (synchronous).
    pub completions: Option<Completions>,
    /// Packets that its ring holds.
    pub descriptors: usize,
    /// The longest frame, bytes.
    pub frame_bytes_max: u32,
    /// It takes packets in slots only, while these stretches last.
    pub slots: Vec<(Span, Slots)>,
    /// It takes nothing.
    pub closed: Vec<Span>,
    /// It keeps small writes back to send them together.
    pub corked: Vec<(Span, Cork)>,
    /// It tells of no completion.
    pub withheld: Vec<Span>,
    /// It cuts super-frames.
    pub cuts_frames: bool,
    /// So long a frame is under way behind its link.
    pub latency: Nanos,
}

impl Default for OutletSpec {
    fn default() -> Self {
        Self {
            link_bits_per_s: None,
            completions: None,
            descriptors: 1_024,
            frame_bytes_max: 1_514,
            slots: Vec::new(),
            closed: Vec::new(),
            corked: Vec::new(),
            withheld: Vec::new(),
            cuts_frames: false,
            latency: Nanos::ZERO,
        }
    }
}

/// What a look at completions has found.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// When.
    pub at: Nanos,
    /// Wire bytes that were told of.
    pub bytes: u64,
    /// Wire bytes below the port before.
    pub before: u64,
}

struct InRing {
    /// When its last bit leaves.
    left_at: Nanos,
    wire_bytes: u64,
}

struct State {
    spec: OutletSpec,
    /// When the link is free.
    free_at: Nanos,
    ring: VecDeque<InRing>,
    ring_bytes: u64,
    delivered: VecDeque<(Nanos, Vec<u8>)>,
    /// It has refused since it last took something, so somebody waits.
    refused: bool,
    /// When it flushes what it kept back; at that very time it keeps nothing back.
    flushes_at: Nanos,
}

/// See the module's text.
#[derive(Clone)]
pub struct Outlet(Rc<RefCell<State>>);

impl Outlet {
    /// A port with an empty ring.
    pub fn new(spec: OutletSpec) -> Self {
        Self(Rc::new(RefCell::new(State {
            spec,
            free_at: Nanos::ZERO,
            ring: VecDeque::new(),
            ring_bytes: 0,
            delivered: VecDeque::new(),
            refused: false,
            flushes_at: Nanos::ZERO,
        })))
    }

    /// Whether it tells what has left.
    pub fn reports(&self) -> bool {
        self.0.borrow().spec.completions.is_some()
    }

    /// Lets time pass: what may be told of by `now` is.
    pub fn advance(&self, now: Nanos) -> Option<Told> {
        self.0.borrow_mut().advance(now)
    }

    /// The next frame that has come to the far end by `now`.
    pub fn delivered(&self, now: Nanos) -> Option<(Nanos, Vec<u8>)> {
        let mut state = self.0.borrow_mut();
        state.delivered.front().filter(|(at, _)| *at <= now)?;
        state.delivered.pop_front()
    }

    /// When something happens next at the far end.
    pub fn next_delivery(&self) -> Option<Nanos> {
        self.0.borrow().delivered.front().map(|(at, _)| *at)
    }

    /// When the port changes by itself after `now`: it tells of completions, or opens for who waits.
    pub fn next_change(&self, now: Nanos) -> Option<Nanos> {
        let state = self.0.borrow();
        let opens = Some(state.opens_at(now)).filter(|at| state.refused && *at > now);
        state.tells_at().into_iter().chain(opens).min()
    }
}

/// When the stretch ends that `now` is in.
fn end_of(spans: &[Span], now: Nanos) -> Option<Nanos> {
    spans.iter().find(|(from, to)| *from <= now && now < *to).map(|(_, to)| *to)
}

impl State {
    /// When the port takes packets next: `now` while it does.
    fn opens_at(&self, now: Nanos) -> Nanos {
        if let Some(end) = end_of(&self.spec.closed, now) {
            return end;
        }
        if now < self.flushes_at {
            return self.flushes_at;
        }
        let slots = self.spec.slots.iter().find(|((from, to), _)| *from <= now && now < *to);
        slots.map_or(now, |((_, to), slots)| slots.opens_at(now).min(*to))
    }

    /// `frames` are written at once.
    fn cork(&mut self, now: Nanos, frames: usize) {
        let mut corked = self.spec.corked.iter();
        let Some(((_, end), cork)) = corked.find(|((from, to), _)| *from <= now && now < *to)
        else {
            return;
        };
        if now > self.flushes_at && (1..cork.frames).contains(&frames) {
            self.flushes_at = now.saturating_add(cork.time).min(*end);
        }
    }

    /// When the ring is told of next; everything that has left by then is.
    fn tells_at(&self) -> Option<Nanos> {
        let Completions { batch, after } = self.spec.completions?;
        let first = self.ring.front()?.left_at.saturating_add(after);
        let full = self.ring.get(batch.max(1) as usize - 1).map(|last| last.left_at);
        let at = full.map_or(first, |full| full.min(first));
        Some(end_of(&self.spec.withheld, at).unwrap_or(at))
    }

    fn advance(&mut self, now: Nanos) -> Option<Told> {
        self.tells_at().filter(|at| *at <= now)?;
        let before = self.ring_bytes;
        while let Some(first) = self.ring.front().filter(|first| first.left_at <= now) {
            self.ring_bytes -= first.wire_bytes;
            self.ring.pop_front();
        }
        Some(Told { at: now, bytes: before - self.ring_bytes, before })
    }

    fn take(&mut self, now: Nanos, packet: &Mbuf) {
        let wire_bytes = u64::from(wire_len(packet.len()));
        let ns = |rate: u64| Nanos((wire_bytes * 8 * 1_000_000_000).div_ceil(rate.max(1)));
        let takes = self.spec.link_bits_per_s.map_or(Nanos::ZERO, ns);
        self.free_at = self.free_at.max(now).saturating_add(takes);
        if self.spec.completions.is_some() {
            self.ring.push_back(InRing { left_at: self.free_at, wire_bytes });
            self.ring_bytes += wire_bytes;
        }
        let bytes = packet.segments().collect::<Vec<_>>().concat();
        self.delivered.push_back((self.free_at.saturating_add(self.spec.latency), bytes));
    }
}

impl Tx for Outlet {
    fn tx_burst(&mut self, now: Nanos, from: &mut Batch) -> usize {
        let mut state = self.0.borrow_mut();
        state.cork(now, from.len());
        let room = state.spec.descriptors.saturating_sub(state.ring.len());
        let takes = if state.opens_at(now) > now { 0 } else { room.min(from.len()) };
        state.refused = takes < from.len();
        let mut taken = Batch::new();
        from.move_front(takes, &mut taken);
        taken.drain().for_each(|packet| state.take(now, &packet));
        takes
    }

    fn ring_occupancy(&self) -> Option<u32> {
        let state = self.0.borrow();
        // A ring has at most 65,536 descriptors.
        state.spec.completions.map(|_| state.ring.len() as u32)
    }

    fn frame_bytes_max(&self) -> u32 {
        self.0.borrow().spec.frame_bytes_max
    }

    fn multi_segs(&self) -> bool {
        true
    }

    fn cuts_frames(&self) -> bool {
        self.0.borrow().spec.cuts_frames
    }
}
