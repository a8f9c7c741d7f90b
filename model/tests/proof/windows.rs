//! Venue limits counted by the list of what left, and release windows by who waits in them.

use super::bucket::Exact;
use model::meta::PacketMeta;
use model::pacer::NO_VENUE;
use model::pacer::limits::LimitsSpec;
use model::venue_limit::{LimitScope, VenueLimit};
use std::collections::{HashMap, VecDeque};

struct Count {
    /// The last departures, oldest first: at least as many messages as the limit has.
    left: VecDeque<(u64, u64)>,
    pace: Exact,
    last: u64,
}

/// What the limits say to a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// Counts that it answers to.
    pub counts: usize,
    /// First ns at which all of them allow it.
    pub opens: u64,
    /// The last departure that one of them counted.
    pub last: u64,
    /// A session's is among them that may be shared with other sessions.
    pub shares: bool,
}

/// Every count of every limit; a session's own by its flow.
pub struct VenueCounts {
    spec: LimitsSpec,
    counts: HashMap<(usize, u32), Count>,
    /// Fullest window of each limit: messages in it, of so many.
    pub fullest: Vec<(u64, u64)>,
    /// Limits of which the pacer says that sessions found no window of their own.
    pub shared: Vec<bool>,
}

impl VenueCounts {
    pub fn new(spec: &LimitsSpec) -> Self {
        let fullest = spec.limits.iter().map(|l| (0, u64::from(l.messages_max))).collect();
        let shared = vec![false; spec.limits.len()];
        Self { spec: spec.clone(), counts: HashMap::new(), fullest, shared }
    }

    pub fn any(&self) -> bool {
        !self.spec.limits.is_empty()
    }

    fn each(
        &mut self,
        flow: u32,
        p: &PacketMeta,
        mut f: impl FnMut(usize, &VenueLimit, &mut Count),
    ) {
        let own = self.spec.classes.get(usize::from(p.class)).copied().unwrap_or_default();
        for (i, limit) in self.spec.limits.iter().enumerate() {
            let whose = match limit.scope {
                LimitScope::Venue(v) => (p.venue != NO_VENUE && p.venue == v).then_some(0),
                LimitScope::Participant => (own.participant == Some(i as u8)).then_some(0),
                LimitScope::Session => (own.session == Some(i as u8)).then_some(flow),
            };
            if let Some(whose) = whose
                && p.messages > 0
                && (limit.counts_cancels || !p.is_exempt())
            {
                let count = self.counts.entry((i, whose)).or_insert_with(|| Count {
                    left: VecDeque::new(),
                    pace: Exact::messages(limit.bucket),
                    last: 0,
                });
                f(i, limit, count);
            }
        }
    }

    pub fn ask(&mut self, flow: u32, p: &PacketMeta) -> Answer {
        let mut answer = Answer::default();
        if self.spec.limits.is_empty() {
            return answer;
        }
        let shared = std::mem::take(&mut self.shared);
        self.each(flow, p, |i, limit, count| {
            answer.shares |= shared[i];
            let (own, cap) = (u64::from(p.messages), cap(limit, p));
            let mut inside: u64 = count.left.iter().map(|(_, m)| m).sum();
            let mut opens = if own > cap { u64::MAX } else { 0 };
            for &(at, messages) in &count.left {
                if own > cap || inside + own <= cap {
                    break;
                }
                inside -= messages;
                opens = at + limit.per.0;
            }
            if !p.is_exempt() {
                opens = opens.max(count.pace.fits_at(own));
            }
            answer.counts += 1;
            answer.opens = answer.opens.max(opens);
            answer.last = answer.last.max(count.last);
        });
        self.shared = shared;
        answer
    }

    /// Counts a departure, and every window that ends with it.
    pub fn depart(&mut self, now: u64, flow: u32, p: &PacketMeta) {
        if self.spec.limits.is_empty() {
            return;
        }
        let mut fullest = std::mem::take(&mut self.fullest);
        self.each(flow, p, |i, limit, count| {
            count.left.push_back((now, p.messages.into()));
            count.last = now;
            let mut known: u64 = count.left.iter().map(|(_, m)| m).sum();
            while let Some(&(_, first)) = count.left.front()
                && known - first > limit.messages_max.into()
            {
                known -= first;
                count.left.pop_front();
            }
            // (now - per, now]
            let inside: u64 = count
                .left
                .iter()
                .rev()
                .take_while(|(at, _)| at + limit.per.0 > now)
                .map(|(_, m)| m)
                .sum();
            let cap = cap(limit, p);
            assert!(
                inside <= cap,
                "limit {}: {inside} of {cap} in the window to {now}",
                limit.name
            );
            let room = count.pace.put(now, p.messages.into());
            assert!(
                p.is_exempt() || room.is_some_and(|room| room >= 0),
                "limit {}: faster than its pace at {now}",
                limit.name
            );
            fullest[i].0 = fullest[i].0.max(inside);
        });
        self.fullest = fullest;
    }
}

fn cap(limit: &VenueLimit, p: &PacketMeta) -> u64 {
    u64::from(limit.messages_max - if p.is_exempt() { 0 } else { limit.cancel_reserve })
}

/// The release windows of a class: the first governed packet begins one, and it opens when `frames`
/// are in it or `time` has passed. What left or ended by another way is in it no more.
#[derive(Default)]
pub struct Releases {
    frames: u32,
    time: u64,
    began: u64,
    waiting: u32,
    opened: Vec<u64>,
}

impl Releases {
    pub fn new(frames: u16, time: u64) -> Self {
        Self { frames: frames.into(), time, ..Self::default() }
    }

    fn open(&mut self, at: u64) {
        self.opened.push(at);
        self.waiting = 0;
    }

    pub fn pass(&mut self, now: u64) {
        if self.waiting > 0 && self.began.saturating_add(self.time) <= now {
            self.open(self.began + self.time);
        }
    }

    /// Numbers of windows; the one that is given is open once [`Releases::opened`] knows it.
    pub fn join(&mut self, now: u64) -> usize {
        self.pass(now);
        let number = self.opened.len();
        if self.waiting == 0 {
            self.began = now;
        }
        self.waiting += 1;
        if self.waiting >= self.frames {
            self.open(now);
        }
        number
    }

    pub fn opened(&self, number: usize) -> Option<u64> {
        self.opened.get(number).copied()
    }

    pub fn leave(&mut self, now: u64, number: usize) {
        self.pass(now);
        self.waiting -= u32::from(number == self.opened.len());
    }

    pub fn resize(&mut self, now: u64, frames: u16, time: u64) {
        self.pass(now);
        let switched = (self.frames > 1) != (frames > 1);
        (self.frames, self.time) = (frames.into(), time);
        if self.waiting > 0 && (switched || self.waiting >= self.frames) {
            self.open(now);
        }
        self.pass(now);
    }
}
