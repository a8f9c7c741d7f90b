//! The two ways between a peer and a port of the gateway: what it sends, and what it gets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use model::time::Nanos;

use crate::world::Frames;

struct Sent {
    at: Nanos,
    stamp: Nanos,
    bytes: Vec<u8>,
}

/// Frames on their way to the gateway, in the order in which they come.
#[derive(Clone, Default)]
pub struct Wire(Rc<RefCell<VecDeque<Sent>>>);

impl Wire {
    /// A frame that comes at `at`, or with the last one if that comes later.
    pub fn send(&self, at: Nanos, bytes: Vec<u8>) {
        self.send_held(at, at, bytes);
    }

    /// A frame that arrived at `stamp` and that something upstream delivers at `at`.
    pub fn send_held(&self, stamp: Nanos, at: Nanos, bytes: Vec<u8>) {
        let mut wire = self.0.borrow_mut();
        let at = wire.back().map_or(at, |last| last.at.max(at));
        wire.push_back(Sent { at, stamp, bytes });
    }
}

impl Frames for Wire {
    const HELD_UPSTREAM: bool = true;

    fn next_at(&self) -> Option<Nanos> {
        self.0.borrow().front().map(|sent| sent.at)
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Nanos {
        bytes.clear();
        self.0.borrow_mut().pop_front().map_or(Nanos::ZERO, |sent| {
            *bytes = sent.bytes;
            sent.stamp
        })
    }
}
