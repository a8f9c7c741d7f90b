//! A strategy that reacts to what it is delivered: an order a fixed think time after an update.

use std::collections::VecDeque;

use model::time::Nanos;

use crate::drill::peer::Peer;
use crate::drill::wire::Wire;
use crate::generate::{Draw, order_frame};

/// Stream of the seed that decides about updates.
const STREAM: u64 = 0x7265_6163;
const PER_MILLION: u32 = 1_000_000;

/// Which updates make an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Each with this probability, in parts per million, drawn by the seed.
    Share(u32),
    /// The `k`-th, and each `k`-th after it.
    Every(u32),
}

/// How a strategy reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which updates make an order.
    pub trigger: Trigger,
    /// From the delivery of an update to its order.
    pub think: Nanos,
}

/// The strategy: updates in, orders out.
pub struct Strategy {
    reaction: Reaction,
    draw: Draw,
    updates: u64,
    /// When the orders that it has thought of are sent.
    due: VecDeque<Nanos>,
    sent: u32,
}

impl Strategy {
    /// What it draws depends on `seed` alone.
    pub fn new(reaction: Reaction, seed: u64) -> Self {
        let draw = Draw::new(seed, STREAM);
        Self { reaction, draw, updates: 0, due: VecDeque::new(), sent: 0 }
    }

    /// An update is delivered at `now`, no earlier than the one before.
    pub fn update(&mut self, now: Nanos) {
        self.updates += 1;
        let reacts = match self.reaction.trigger {
            Trigger::Share(ppm) => self.draw.below(PER_MILLION) < ppm,
            Trigger::Every(k) => self.updates.is_multiple_of(u64::from(k.max(1))),
        };
        if reacts {
            self.due.push_back(now.saturating_add(self.reaction.think));
        }
    }

    /// When it sends next.
    pub fn next_order(&self) -> Option<Nanos> {
        self.due.front().copied()
    }

    /// The order that it sends then.
    pub fn take_order(&mut self) -> Option<(Nanos, Vec<u8>)> {
        let at = self.due.pop_front()?;
        let frame = order_frame(self.sent);
        self.sent = self.sent.wrapping_add(1);
        Some((at, frame))
    }
}

/// A strategy as the host of the inside: updates are datagrams to one port.
pub struct Reactor {
    strategy: Strategy,
    updates_to: u16,
}

impl Reactor {
    /// `strategy` sees what is sent to UDP port `updates_to`.
    pub const fn new(strategy: Strategy, updates_to: u16) -> Self {
        Self { strategy, updates_to }
    }
}

impl Peer for Reactor {
    fn next_event(&self) -> Option<Nanos> {
        self.strategy.next_order()
    }

    fn act(&mut self, now: Nanos, to_gateway: &Wire) {
        while self.strategy.next_order().is_some_and(|at| at <= now)
            && let Some((at, frame)) = self.strategy.take_order()
        {
            to_gateway.send(at, frame);
        }
    }

    fn receive(&mut self, at: Nanos, frame: &[u8]) {
        if super::udp_port(frame) == Some(self.updates_to) {
            self.strategy.update(at);
        }
    }

    fn facts(&self) -> Vec<(&'static str, f64)> {
        vec![("updates", self.strategy.updates as f64), ("orders", f64::from(self.strategy.sent))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders_of(trigger: Trigger, seed: u64, updates: u64) -> Vec<Nanos> {
        let mut strategy = Strategy::new(Reaction { trigger, think: Nanos(50) }, seed);
        (0..updates).for_each(|n| strategy.update(Nanos(n * 1_000)));
        std::iter::from_fn(|| strategy.take_order()).map(|(at, _)| at).collect()
    }

    #[test]
    fn each_third_update_makes_an_order_a_think_time_later() {
        assert_eq!(orders_of(Trigger::Every(3), 1, 7), [Nanos(2_050), Nanos(5_050)]);
    }

    #[test]
    fn a_share_of_updates_makes_orders_the_same_with_the_same_seed() {
        let tenth = Trigger::Share(PER_MILLION / 10);
        let (one, other) = (orders_of(tenth, 7, 10_000), orders_of(tenth, 8, 10_000));
        assert_eq!(one, orders_of(tenth, 7, 10_000));
        assert_ne!(one, other);
        // 1,000 of 10,000, give or take four times the square root of 900.
        assert!((880..=1_120).contains(&one.len()), "{}", one.len());
        assert!(orders_of(Trigger::Share(0), 7, 1_000).is_empty());
        assert_eq!(orders_of(Trigger::Share(PER_MILLION), 7, 1_000).len(), 1_000);
    }
}
