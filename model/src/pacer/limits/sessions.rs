//! Which window does a session count in? Each flow its own, while there are enough; those that come
//! later share one, so that together they stay below what one of them might send.

use crate::time::Nanos;
use crate::venue_limit::{LimitScope, VenueLimit};

/// No limit.
pub const NO_LIMIT: u8 = u8::MAX;
const NO_WINDOW: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Session {
    limit: u8,
    window: u32,
    /// When it last sent a message.
    last: Nanos,
}

const NO_SESSION: Session = Session { limit: NO_LIMIT, window: NO_WINDOW, last: Nanos::ZERO };

/// The windows of one limit that nobody uses.
#[derive(Default)]
struct Pool {
    free: Vec<u32>,
    shared: u64,
}

pub(super) struct Sessions {
    /// One for each flow; empty where no limit is counted by session.
    of_flow: Box<[Session]>,
    pools: Box<[Pool]>,
}

impl Sessions {
    pub fn new(limits: &[VenueLimit], flows_max: u32) -> Self {
        let any = limits.iter().any(|l| l.scope == LimitScope::Session);
        let flows = if any { flows_max as usize } else { 0 };
        Self {
            of_flow: vec![NO_SESSION; flows].into_boxed_slice(),
            pools: limits.iter().map(|_| Pool::default()).collect(),
        }
    }

    /// Instance `window` is one of limit `limit`'s.
    pub fn add_window(&mut self, limit: usize, window: u32) {
        self.pools[limit].free.push(window);
    }

    /// The window in which `flow` counts for `limit`; `shared` is the one without an owner.
    ///
    /// A flow that changes to a class with another session limit while it still counts in a window
    /// shares that limit's: it has only one of its own.
    pub fn window(&mut self, flow: u32, limit: u8, shared: u32) -> u32 {
        let Some(session) = self.of_flow.get_mut(flow as usize) else { return shared };
        if session.window == NO_WINDOW {
            let pool = &mut self.pools[usize::from(limit)];
            session.limit = limit;
            session.window = pool.free.pop().unwrap_or_else(|| {
                pool.shared += 1;
                shared
            });
        }
        if session.limit == limit { session.window } else { shared }
    }

    /// The flow sent a message.
    pub fn touch(&mut self, now: Nanos, flow: u32) {
        if let Some(session) = self.of_flow.get_mut(flow as usize) {
            session.last = now;
        }
    }

    /// The flow's window and when it last sent.
    pub fn of(&self, flow: u32) -> Option<(u32, Nanos)> {
        let session = self.of_flow.get(flow as usize)?;
        (session.window != NO_WINDOW).then_some((session.window, session.last))
    }

    /// Takes the flow's window away from it.
    pub fn free(&mut self, flow: u32) {
        let Some(session) = self.of_flow.get_mut(flow as usize) else { return };
        let Session { limit, window, .. } = std::mem::replace(session, NO_SESSION);
        // The shared one is the limit's own instance and belongs to nobody.
        if window != NO_WINDOW && window != u32::from(limit) {
            self.pools[usize::from(limit)].free.push(window);
        }
    }

    /// Sessions that found no window of their own.
    pub fn shared(&self, limit: usize) -> u64 {
        self.pools[limit].shared
    }
}
