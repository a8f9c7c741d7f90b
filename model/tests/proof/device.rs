//! What stands below the pacer: a queue of packets in flight, and when it tells that they left. Its
//! own account of bytes is what the in-flight limit is held against.

use super::rng::Rng;
use std::collections::VecDeque;

/// How completions come.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    /// At once, with everything taken.
    Synchronous,
    /// At once, but only some of what is offered is taken.
    Refusing,
    /// A serializer of so many bits/s tells of `batch` packets, or of fewer `delay_ns` after the
    /// first of them.
    Link { rate_bps: u64, batch: u32, delay_ns: u64 },
    /// A driver that is asked, and that may tell nothing for a long time.
    Probed { stall_ns: u64 },
}

pub struct Device {
    pub wire: Wire,
    /// Wire bytes of what it holds, and when their last bit leaves.
    held: VecDeque<(u64, u64)>,
    pub bytes: u64,
    /// In `1/rate` ns.
    free: i128,
    next_told: u64,
}

impl Device {
    pub fn new(wire: Wire) -> Self {
        Self { wire, held: VecDeque::new(), bytes: 0, free: 0, next_told: 0 }
    }

    pub fn accept(&mut self, now: u64, bytes: u64, rng: &mut Rng) {
        let end = match self.wire {
            Wire::Synchronous | Wire::Refusing => return,
            Wire::Link { rate_bps, .. } => {
                let rate = i128::from(rate_bps);
                self.free =
                    self.free.max(i128::from(now) * rate) + i128::from(bytes) * 8_000_000_000;
                ((self.free + rate - 1) / rate) as u64
            }
            Wire::Probed { stall_ns } => {
                if self.held.is_empty() {
                    let stalls = rng.percent(2);
                    self.next_told = now + if stalls { stall_ns } else { rng.between(50, 3_000) };
                }
                0
            }
        };
        self.held.push_back((bytes, end));
        self.bytes += bytes;
    }

    /// When it tells of something next.
    pub fn next_event(&self) -> Option<u64> {
        let first = self.held.front()?.1;
        match self.wire {
            Wire::Synchronous | Wire::Refusing => None,
            Wire::Link { batch, delay_ns, .. } => {
                let full = self.held.get(batch as usize - 1).map(|&(_, end)| end);
                Some(full.map_or(first + delay_ns, |end| end.min(first + delay_ns)))
            }
            Wire::Probed { .. } => Some(self.next_told),
        }
    }

    /// The next packets that it tells of by `now`.
    pub fn tell(&mut self, now: u64, rng: &mut Rng) -> Option<u32> {
        let at = self.next_event().filter(|&at| at <= now)?;
        let held = self.held.len() as u64;
        let count = match self.wire {
            Wire::Link { batch, .. } => {
                let left = self.held.iter().take_while(|&&(_, end)| end <= at).count();
                left.min(batch as usize)
            }
            _ => rng.between(1, held) as usize,
        };
        self.bytes -= self.held.drain(..count).map(|(bytes, _)| bytes).sum::<u64>();
        if let Wire::Probed { stall_ns } = self.wire {
            self.next_told = now + if rng.percent(2) { stall_ns } else { rng.between(50, 3_000) };
        }
        Some(count as u32)
    }
}
