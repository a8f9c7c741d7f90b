//! One limit, counted exactly: at most so many messages in every window `(t - per, t]`.
//!
//! A ring holds, for each of the last messages, when it falls out of the window: twice as many as
//! `messages_max`, so that a charge that is taken back has overwritten nothing that counts. To ask
//! whether `m` more may leave under a cap is one look at one entry: of the last `cap - m + 1`
//! messages the oldest must have fallen out. No window is approximated by a bucket or by cells.

use crate::time::Nanos;

/// See the module. Times never go back between two calls.
#[derive(Clone, Debug)]
pub struct Window {
    /// When each message falls out, the newest before `next`; 0 = no message.
    leaves_at: Box<[u64]>,
    messages_max: usize,
    per: u64,
    next: usize,
    /// Newest entries that had not fallen out at the last charge.
    inside: usize,
}

impl Window {
    /// An empty window of `per` that can tell the last `messages_max` messages apart (at least 1).
    pub fn new(messages_max: u32, per: Nanos) -> Self {
        let messages_max = messages_max.max(1) as usize;
        let leaves_at = vec![0; 2 * messages_max].into_boxed_slice();
        Self { leaves_at, messages_max, per: per.0, next: 0, inside: 0 }
    }

    /// Bytes that a window of so many messages takes.
    pub const fn bytes(messages_max: u32) -> u64 {
        2 * size_of::<u64>() as u64 * messages_max as u64
    }

    /// The entry of the `n`-th newest message, `1..=messages_max`.
    fn newest(&self, n: usize) -> u64 {
        let len = self.leaves_at.len();
        let at = self.next + len - n;
        self.leaves_at[if at >= len { at - len } else { at }]
    }

    /// The first ns at which `messages` more may leave without there being more than `cap` in a
    /// window; in the past where they may already. [`Nanos::MAX`] = never: more than `cap` by
    /// themselves. `cap` is at most `messages_max`.
    #[inline]
    pub fn open_at(&self, messages: u32, cap: u32) -> Nanos {
        let cap = (cap as usize).min(self.messages_max);
        match cap.checked_sub(messages as usize) {
            _ if messages == 0 => Nanos::ZERO,
            None => Nanos::MAX,
            Some(others) => Nanos(self.newest(others + 1)),
        }
    }

    /// `messages` leave at `now`, which [`Window::open_at`] allowed. Returns how many are in the window
    /// now. O(messages).
    pub fn charge(&mut self, now: Nanos, messages: u32) -> u32 {
        let len = self.leaves_at.len();
        let messages = (messages as usize).min(self.messages_max);
        while self.inside > 0 && self.newest(self.inside) <= now.0 {
            self.inside -= 1;
        }
        // Never before its elders, so that the oldest of some is the first to fall out.
        let leaves_at = now.0.saturating_add(self.per).max(self.newest(1));
        for _ in 0..messages {
            self.leaves_at[self.next] = leaves_at;
            self.next = if self.next + 1 == len { 0 } else { self.next + 1 };
        }
        self.inside = (self.inside + messages).min(self.messages_max);
        self.inside as u32
    }

    /// Takes the last charge of so many messages back: what the window says is what it said before.
    /// Charges that can still be taken back are of one window, so together no more than
    /// `messages_max`.
    pub fn undo(&mut self, messages: u32) {
        let len = self.leaves_at.len();
        let messages = (messages as usize).min(self.messages_max);
        self.next = (self.next + len - messages) % len;
        self.inside = self.inside.saturating_sub(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_by_hand_five_in_a_hundred() {
        let mut w = Window::new(5, Nanos(100));
        assert_eq!(w.charge(Nanos(10), 2), 2);
        assert_eq!(w.charge(Nanos(30), 3), 5);
        // At 109 the window (9, 109] holds all five; at 110 it is (10, 110], without the first two.
        assert_eq!(w.open_at(1, 5), Nanos(110));
        assert_eq!(w.open_at(2, 5), Nanos(110));
        assert_eq!(w.open_at(3, 5), Nanos(130));
        assert_eq!(w.open_at(6, 5), Nanos::MAX);
        // Who may use four only finds one place at 110 where there were two.
        assert_eq!(w.open_at(1, 4), Nanos(110));
        assert_eq!(w.open_at(2, 4), Nanos(130));
        assert_eq!(w.open_at(0, 0), Nanos::ZERO);
        assert_eq!(w.charge(Nanos(110), 2), 5);
        w.undo(2);
        assert_eq!(w.open_at(2, 5), Nanos(110), "as before");
        assert_eq!(w.open_at(3, 5), Nanos(130));
    }

    proptest! {
        /// Against counting: the answer is the first ns that conforms, whatever was taken back, and
        /// what is inside is all of it.
        #[test]
        fn agrees_with_counting(
            max in 1u32..12,
            per in 1u64..60,
            steps in prop::collection::vec((0u64..40, 1u32..6, 0u32..4, 0u32..4), 1..120),
        ) {
            let mut w = Window::new(max, Nanos(per));
            let mut left: Vec<(u64, u32)> = Vec::new();
            let count = |left: &[(u64, u32)], t: u64| -> u32 {
                left.iter().filter(|(d, _)| *d + per > t).map(|(_, m)| m).sum()
            };
            let mut now = 0u64;
            for (gap, messages, kept_free, refuse) in steps {
                now += gap;
                let cap = max.saturating_sub(kept_free);
                let open = w.open_at(messages, cap);
                if messages > cap {
                    prop_assert_eq!(open, Nanos::MAX);
                    continue;
                }
                let first = (now..).find(|&t| count(&left, t) + messages <= cap).unwrap();
                prop_assert_eq!(open.0.max(now), first);
                if open.0 > now && refuse < 2 {
                    now = open.0;
                } else if open.0 > now {
                    continue;
                }
                let inside = w.charge(Nanos(now), messages);
                prop_assert_eq!(inside, count(&left, now) + messages);
                if refuse == 3 {
                    w.undo(messages);
                } else {
                    left.push((now, messages));
                }
            }
            // Every window of every length-`per` interval that ends with a departure.
            for &(t, _) in &left {
                let inside: u32 =
                    left.iter().filter(|(d, _)| *d <= t && *d + per > t).map(|(_, m)| m).sum();
                prop_assert!(inside <= max);
            }
        }
    }
}
