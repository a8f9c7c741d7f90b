//! Puts what comes in nearly in order into order, by waiting.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things with a time, given out in order once nothing earlier is waited for.
#[derive(Clone, Debug)]
pub struct InOrder<T: Ord> {
    waiting: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Ord> Default for InOrder<T> {
    fn default() -> Self {
        Self { waiting: BinaryHeap::new() }
    }
}

impl<T: Ord> InOrder<T> {
    /// `thing` is of time `at`.
    pub fn push(&mut self, at: u64, thing: T) {
        self.waiting.push(Reverse((at, thing)));
    }

    /// The next thing whose time is before `end`.
    pub fn pop_before(&mut self, end: u64) -> Option<(u64, T)> {
        let due = self.waiting.peek().is_some_and(|Reverse((at, _))| *at < end);
        if due { self.waiting.pop().map(|Reverse(first)| first) } else { None }
    }
}
