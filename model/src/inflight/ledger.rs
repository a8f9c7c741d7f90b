//! The account of one TX queue.

mod stalls;

use super::alert::{Alert, Alerts};
use super::figures::Figures;
use super::link::Link;
use super::setup::{Setup, SetupError};
use super::source::CompletionSource;
use super::timed::Timed;
use crate::time::Nanos;

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// When it came. A link model tells its own time, which may lie before the poll.
    pub at: Nanos,
    /// Packets, first in first out.
    pub packets: u32,
    /// Their wire bytes.
    pub bytes: u64,
    /// Time since the last completion, or since the first acceptance into an empty queue: the
    /// drain interval of the KPIs.
    pub since_last: Nanos,
}

/// A packet in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    wire_len: u32,
    /// When its last bit has left; only a link model knows.
    end: Nanos,
    /// It has a launch time of its own.
    timed: bool,
}

/// Bytes and packets in flight below one TX queue, their limit, stalls and starvation.
///
/// Allocates at construction only. Every call is O(1) but for completions, which cost O(1) for
/// each packet completed. Times must not go backwards.
#[derive(Debug)]
pub struct InFlight {
    // Read and written for every packet.
    bytes: u64,
    limit_bytes: u64,
    packets: u32,
    packets_max: u32,
    head: u32,
    mask: u32,
    ring: Box<[Entry]>,
    /// From when on the NIC may send each packet of the ring that it may not send yet.
    from: Box<[Nanos]>,
    peak_bytes: u64,
    peak_packets: u32,
    accepted_packets: u64,
    accepted_bytes: u64,
    byte_ns: u128,
    counted_to: Nanos,
    link: Option<Link>,
    timed: Timed,

    // Progress.
    source: CompletionSource,
    stall_time: Nanos,
    /// Last completion, or first acceptance into the empty queue.
    progress: Nanos,
    in_stall: bool,
    waiting_since: Option<Nanos>,
    /// The starvation that lasts is counted already.
    starved: bool,

    // Counters.
    completed_packets: u64,
    completed_bytes: u64,
    completions: u64,
    waited: Nanos,
    stalls: u64,
    stalled: Nanos,
    stall_max: Nanos,
    starvations: u64,
    starved_idle: Nanos,
    limit_changes: u64,
    overruns: u64,
    surplus_completions: u64,
    alerts: Alerts,
}

impl InFlight {
    /// An empty queue.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        setup.check()?;
        let Setup { source, limit_bytes, packets_max, stall_time, link } = setup;
        let slots = if source.reports() { packets_max.next_power_of_two() } else { 1 };
        Ok(Self {
            bytes: 0,
            limit_bytes: limit_bytes.unwrap_or(u64::MAX),
            packets: 0,
            packets_max,
            head: 0,
            mask: slots - 1,
            ring: vec![Entry::default(); slots as usize].into_boxed_slice(),
            from: vec![Nanos::ZERO; slots as usize].into_boxed_slice(),
            peak_bytes: 0,
            peak_packets: 0,
            accepted_packets: 0,
            accepted_bytes: 0,
            byte_ns: 0,
            counted_to: Nanos::ZERO,
            link: link.map(Link::new),
            timed: Timed::new(),
            source,
            stall_time,
            progress: Nanos::ZERO,
            in_stall: false,
            waiting_since: None,
            starved: false,
            completed_packets: 0,
            completed_bytes: 0,
            completions: 0,
            waited: Nanos::ZERO,
            stalls: 0,
            stalled: Nanos::ZERO,
            stall_max: Nanos::ZERO,
            starvations: 0,
            starved_idle: Nanos::ZERO,
            limit_changes: 0,
            overruns: 0,
            surplus_completions: 0,
            alerts: Alerts::default(),
        })
    }

    /// Wire bytes that may be handed over now: 0 while the descriptors are full or a lowered limit
    /// drains, [`u64::MAX`] without a limit and where completion is synchronous.
    #[inline]
    pub const fn room(&self) -> u64 {
        if !self.source.reports() || (self.packets < self.packets_max && self.is_unlimited()) {
            u64::MAX
        } else if self.packets >= self.packets_max {
            0
        } else {
            self.limit_bytes.saturating_sub(self.eligible_bytes() + self.timed.behind)
        }
    }

    /// Wire bytes that may be handed over now to leave at a later time: as [`InFlight::room`], under
    /// the limit of what is queued for time. 0 while what may leave, or stands behind others without a
    /// time of its own, already reaches the in-flight limit: the wire is behind, and a queue that grows
    /// on would only hide it.
    #[inline]
    pub const fn room_for_time(&self) -> u64 {
        if !self.source.reports() {
            u64::MAX
        } else if self.packets >= self.packets_max
            || self.eligible_bytes() + self.timed.behind >= self.limit_bytes
        {
            0
        } else if self.timed.limit_bytes == u64::MAX {
            u64::MAX
        } else {
            self.timed.limit_bytes.saturating_sub(self.timed.bytes - self.timed.behind)
        }
    }

    /// How many packets of the given wire lengths may be handed over now, in order. The first that
    /// does not fit ends the count: a shorter one behind it does not pass it.
    #[inline]
    pub fn fits(&self, wire_lens: impl IntoIterator<Item = u32>) -> usize {
        if !self.source.reports() {
            return wire_lens.into_iter().count();
        }
        let mut room = self.limit_bytes.saturating_sub(self.eligible_bytes() + self.timed.behind);
        let slots = (self.packets_max - self.packets) as usize;
        wire_lens
            .into_iter()
            .take(slots)
            .take_while(|&len| {
                let left = room.checked_sub(u64::from(len));
                room = left.unwrap_or(room);
                left.is_some()
            })
            .count()
    }

    /// The port took a packet of `wire_len` bytes at `now`. Returns its modelled departure,
    /// `t_wire`, where there is a link model.
    ///
    /// A packet that [`InFlight::room`] did not allow is counted as an overrun; one beyond the
    /// descriptors cannot be followed to its completion.
    #[inline]
    pub fn on_accepted(&mut self, now: Nanos, wire_len: u32) -> Option<Nanos> {
        self.on_accepted_for(now, wire_len, None)
    }

    /// The same for a packet that the NIC sends at `launch` at the earliest, `None` = at once. Until
    /// then it counts as queued for time ([`InFlight::room_for_time`]) and not against the in-flight
    /// limit; so does what comes in behind it, for the queue is first in, first out.
    #[inline]
    pub fn on_accepted_for(
        &mut self,
        now: Nanos,
        wire_len: u32,
        launch: Option<Nanos>,
    ) -> Option<Nanos> {
        let bytes = u64::from(wire_len);
        self.accepted_packets += 1;
        self.accepted_bytes += bytes;
        if !self.source.reports() {
            return None;
        }
        self.ripen(now);
        let waits = launch.is_some_and(|at| at > now);
        if bytes > if waits { self.room_for_time() } else { self.room() } {
            self.overruns += 1;
        }
        let leaves = launch.unwrap_or(now).max(now);
        let times = self.link.as_mut().map(|link| link.send(leaves, wire_len));
        self.end_waiting(now);
        if self.packets < self.packets_max {
            self.integrate(now);
            let from = self.timed.accept(now, self.packets, bytes, launch);
            if self.packets == 0 {
                self.progress = from;
            }
            let end = times.map_or(Nanos::ZERO, |t| t.end);
            let slot = self.slot(self.packets);
            self.ring[slot] = Entry { wire_len, end, timed: launch.is_some() };
            self.from[slot] = from;
            self.packets += 1;
            self.bytes += bytes;
            self.peak_packets = self.peak_packets.max(self.packets);
            self.peak_bytes = self.peak_bytes.max(self.bytes);
            self.timed.peak_eligible = self.timed.peak_eligible.max(self.eligible_bytes());
        }
        times.map(|t| t.start)
    }

    /// The same for a burst of packets that the port took at `now`, none of which has a launch time: their
    /// lengths on the wire, and where to put their modelled departures, in order; `now` without a link
    /// model.
    #[inline]
    pub fn on_burst_accepted<'a>(
        &mut self,
        now: Nanos,
        mut burst: impl Iterator<Item = (u32, &'a mut Nanos)>,
    ) {
        self.ripen(now);
        self.integrate(now);
        if self.source.reports() && self.timed.ripe == self.packets {
            let (packets, bytes) = (self.packets, self.bytes);
            let room = self.packets_max.saturating_sub(packets) as usize;
            // Nothing is queued for time, and what comes is not: one sum for the whole burst.
            let burst = burst.by_ref().take(room);
            if let Some(mut link) = self.link {
                // Each departs when the one before has left.
                let mut start = link.begin_busy(now);
                for (wire_len, wire) in burst {
                    *wire = start;
                    start = link.send_next(wire_len);
                    self.push_ripe(wire_len, start);
                }
                self.link = Some(link);
            } else {
                for (wire_len, wire) in burst {
                    *wire = now;
                    self.push_ripe(wire_len, Nanos::ZERO);
                }
            }
            if self.packets > packets {
                self.end_waiting(now);
                self.progress = if packets == 0 { now } else { self.progress };
            }
            self.timed.ripe = self.packets;
            self.accepted_packets += u64::from(self.packets - packets);
            self.accepted_bytes += self.bytes - bytes;
            self.peak_packets = self.peak_packets.max(self.packets);
            self.peak_bytes = self.peak_bytes.max(self.bytes);
            self.timed.peak_eligible = self.timed.peak_eligible.max(self.bytes);
        }
        for (wire_len, wire) in burst {
            *wire = self.on_accepted(now, wire_len).unwrap_or(now);
        }
    }

    /// One more packet, not queued for time, whose sums are for the caller but for its bytes.
    #[inline(always)]
    fn push_ripe(&mut self, wire_len: u32, end: Nanos) {
        self.bytes += u64::from(wire_len);
        self.overruns += u64::from(self.bytes > self.limit_bytes);
        self.ring[self.slot(self.packets)] = Entry { wire_len, end, timed: false };
        self.packets += 1;
    }

    /// The device gave back the first `packets` packets at `now`. `None` for 0.
    ///
    /// Not for the link model, whose completions come out of [`InFlight::poll`].
    pub fn on_completed(&mut self, now: Nanos, packets: u32) -> Option<Completed> {
        let known = packets.min(self.packets);
        self.surplus_completions += u64::from(packets - known);
        if known == 0 {
            return None;
        }
        self.integrate(now);
        self.ripen(now);
        // The NIC's clock may be a little ahead of what we make of it.
        while self.timed.ripe < known {
            self.ripen_one();
        }
        let bytes = (0..known).map(|k| u64::from(self.entry(k).wire_len)).sum();
        self.head = (self.head + known) & self.mask;
        self.packets -= known;
        self.timed.ripe -= known;
        self.bytes -= bytes;
        self.completions += 1;
        self.completed_packets += u64::from(known);
        self.completed_bytes += bytes;
        // A model knows when its completion came. For a device only a look that finds nothing (see
        // `poll`) proves a stall: a core that was away itself would take its own absence for one.
        if self.link.is_some() {
            self.detect_stall(now);
        }
        self.end_stall(now);
        let since_last = now.saturating_sub(self.progress);
        self.progress = self.progress.max(now);
        self.detect_starvation(now);
        Some(Completed { at: now, packets: known, bytes, since_last })
    }

    /// The next completion of the link model that is due by `now`; call it until it returns
    /// `None`. Then, and for every other source, looks whether the queue has stalled.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Option<Completed> {
        if let Some(at) = self.next_event().filter(|&at| at <= now)
            && let Some(link) = self.link
        {
            let covered = link.covered(at, self.packets, |k| self.entry(k).end);
            return self.on_completed(at, covered);
        }
        if self.packets > 0 {
            self.ripen(now);
            // What waits for its time is not late.
            if self.timed.ripe > 0 {
                self.detect_stall(now);
            }
        }
        None
    }

    /// When the link model completes something next: nothing happens before, something does then.
    /// `None` when nothing is in flight, and for every source that cannot know.
    #[inline]
    pub fn next_event(&self) -> Option<Nanos> {
        self.link?.next_completion(self.packets, |k| self.entry(k).end)
    }

    /// From when on the modelled wire is idle.
    pub fn busy_until(&self) -> Option<Nanos> {
        self.link.map(|link| link.busy_until())
    }

    /// Sets the limit in wire bytes. Below what is in flight it drains: nothing is dropped, and
    /// nothing more fits until completions have brought it below the limit.
    pub fn set_limit(&mut self, limit_bytes: Option<u64>) {
        let limit = limit_bytes.unwrap_or(u64::MAX);
        if limit != self.limit_bytes {
            self.limit_bytes = limit;
            self.limit_changes += 1;
        }
    }

    /// Sets the limit in wire bytes of what is queued for time; `None`, as at the start: no limit
    /// beside the descriptors.
    pub const fn set_queued_limit(&mut self, limit_bytes: Option<u64>) {
        self.timed.limit_bytes = match limit_bytes {
            Some(limit) => limit,
            None => u64::MAX,
        };
    }

    /// The next happening that was not taken yet.
    #[inline]
    pub fn take_alert(&mut self) -> Option<Alert> {
        self.alerts.take()
    }

    /// Begins a new interval for the peaks.
    pub fn restart_peak(&mut self) {
        self.peak_bytes = self.bytes;
        self.peak_packets = self.packets;
        self.timed.peak_bytes = self.timed.bytes;
        self.timed.peak_eligible = self.eligible_bytes();
    }

    /// The figures at `now`, `None` where completion is synchronous: absent, not 0.
    pub fn figures(&self, now: Nanos) -> Option<Figures> {
        if !self.source.reports() {
            return None;
        }
        let since_counted = u128::from(now.saturating_sub(self.counted_to).0);
        let waits = self.waiting_since.map_or(Nanos::ZERO, |since| now.saturating_sub(since));
        Some(Figures {
            at: now,
            source: self.source,
            limit_bytes: (!self.is_unlimited()).then_some(self.limit_bytes),
            packets_max: self.packets_max,
            packets: self.packets,
            bytes: self.bytes,
            peak_packets: self.peak_packets,
            peak_bytes: self.peak_bytes,
            peak_eligible_bytes: self.timed.peak_eligible,
            queued_packets: self.packets - self.timed.ripe,
            queued_bytes: self.timed.bytes,
            queued_limit_bytes: (self.timed.limit_bytes != u64::MAX)
                .then_some(self.timed.limit_bytes),
            peak_queued_bytes: self.timed.peak_bytes,
            ripened_over_limit: self.timed.over_limit,
            accepted_packets: self.accepted_packets,
            accepted_bytes: self.accepted_bytes,
            completed_packets: self.completed_packets,
            completed_bytes: self.completed_bytes,
            completions: self.completions,
            byte_ns: self.byte_ns + u128::from(self.bytes) * since_counted,
            waited: self.waited.saturating_add(waits),
            stalls: self.stalls,
            stalled: self.stalled,
            stall_max: self.stall_max,
            stalled_for: self.in_stall.then(|| now.saturating_sub(self.progress)),
            starvations: self.starvations,
            starved_idle: self.link.map(|_| self.starved_idle),
            limit_changes: self.limit_changes,
            overruns: self.overruns,
            surplus_completions: self.surplus_completions,
        })
    }

    /// Packets in flight; 0 where completion is synchronous.
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// Wire bytes in flight; 0 where completion is synchronous.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of [`InFlight::bytes`], those whose launch time has not come.
    pub const fn queued_bytes(&self) -> u64 {
        self.timed.bytes
    }

    /// Of [`InFlight::bytes`], those that the NIC may send: what the in-flight limit limits.
    pub const fn eligible_bytes(&self) -> u64 {
        self.bytes - self.timed.bytes
    }

    /// The limit in wire bytes, `None` = not limited.
    pub const fn limit_bytes(&self) -> Option<u64> {
        if self.limit_bytes == u64::MAX { None } else { Some(self.limit_bytes) }
    }

    /// Where completions come from.
    pub const fn source(&self) -> CompletionSource {
        self.source
    }

    const fn is_unlimited(&self) -> bool {
        self.limit_bytes == u64::MAX
    }

    #[inline]
    const fn slot(&self, k: u32) -> usize {
        (self.head.wrapping_add(k) & self.mask) as usize
    }

    #[inline]
    fn entry(&self, k: u32) -> Entry {
        self.ring[self.slot(k)]
    }

    /// Moves over what has become eligible by `now`.
    #[inline]
    fn ripen(&mut self, now: Nanos) {
        while self.timed.ripe < self.packets && self.from[self.slot(self.timed.ripe)] <= now {
            self.ripen_one();
        }
    }

    fn ripen_one(&mut self) {
        let Entry { wire_len, timed, .. } = self.entry(self.timed.ripe);
        let from = self.from[self.slot(self.timed.ripe)];
        if self.timed.ripe == 0 {
            self.progress = self.progress.max(from);
        }
        self.timed.ripe += 1;
        self.timed.bytes -= u64::from(wire_len);
        self.timed.behind -= if timed { 0 } else { u64::from(wire_len) };
        self.timed.peak_eligible = self.timed.peak_eligible.max(self.eligible_bytes());
        self.timed.over_limit += u64::from(self.eligible_bytes() > self.limit_bytes);
    }

    /// Brings the integral of bytes over time up to `now`, before the bytes change.
    #[inline]
    fn integrate(&mut self, now: Nanos) {
        let span = now.saturating_sub(self.counted_to);
        self.byte_ns += u128::from(self.bytes) * u128::from(span.0);
        self.counted_to = self.counted_to.max(now);
    }
}
