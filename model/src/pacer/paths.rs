//! Which of two paths each flow leaves by, and the flows that a path keeps waiting.
//!
//! Both paths are below one pacer, so every cap and every venue limit counts what leaves by either. A
//! flow waits for its path in two cases: the path takes nothing (it is *closed*), or the flow is about
//! to move and what it sent may still be under way (it is *held*).

use super::flow::Flow;
use super::list::List;
use crate::time::Nanos;

/// One of the two paths of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PathChoice {
    /// The port of the pair.
    #[default]
    First = 0,
    /// The other one.
    Second = 1,
}

impl PathChoice {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// The name in JSON and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// The one that it is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Marks of a flow.
mod mark {
    pub const SECOND: u8 = 1;
    /// It must not leave yet.
    pub const HELD: u8 = 1 << 1;
    /// It is in the list of its path.
    pub const LISTED: u8 = 1 << 2;
}

/// See the module.
pub(super) struct Paths {
    marks: Box<[u8]>,
    /// By flow: until when it has waited for its path.
    opened_at: Box<[Nanos]>,
    closed: [bool; 2],
    /// Flows whose head found the path closed.
    parked: [List; 2],
    held: u32,
}

impl Paths {
    pub fn new(flows_max: u32) -> Self {
        Self {
            marks: vec![0; flows_max as usize].into(),
            opened_at: vec![Nanos::ZERO; flows_max as usize].into(),
            closed: [false; 2],
            parked: [List::EMPTY; 2],
            held: 0,
        }
    }

    fn has(&self, flow: u32, mark: u8) -> bool {
        self.marks[flow as usize] & mark != 0
    }

    fn set(&mut self, flow: u32, mark: u8, on: bool) {
        let marks = &mut self.marks[flow as usize];
        *marks = if on { *marks | mark } else { *marks & !mark };
    }

    pub fn of(&self, flow: u32) -> PathChoice {
        if self.has(flow, mark::SECOND) { PathChoice::Second } else { PathChoice::First }
    }

    /// Of a flow that is in no list.
    pub fn choose(&mut self, flow: u32, path: PathChoice) {
        self.set(flow, mark::SECOND, path == PathChoice::Second);
    }

    pub fn is_held(&self, flow: u32) -> bool {
        self.has(flow, mark::HELD)
    }

    pub fn hold(&mut self, flow: u32, on: bool) {
        if on != self.is_held(flow) {
            self.held = if on { self.held + 1 } else { self.held - 1 };
            self.set(flow, mark::HELD, on);
        }
    }

    /// Whether the head of `flow` must wait for its path.
    pub fn stops(&self, flow: u32) -> bool {
        self.is_held(flow) || self.closed[self.of(flow) as usize]
    }

    /// Whether no flow at all can have to wait.
    pub fn are_free(&self) -> bool {
        self.held == 0 && self.closed == [false; 2]
    }

    /// Returns whether that is new.
    pub fn set_closed(&mut self, path: PathChoice, closed: bool) -> bool {
        std::mem::replace(&mut self.closed[path as usize], closed) != closed
    }

    /// A flow, in no list, waits. One that is held is found by who holds it.
    pub fn park<Q>(&mut self, flows: &mut [Flow<Q>], flow: u32) {
        if !self.is_held(flow) {
            self.set(flow, mark::LISTED, true);
            self.parked[self.of(flow) as usize].push_back(flows, flow);
        }
    }

    pub fn unpark<Q>(&mut self, flows: &mut [Flow<Q>], flow: u32) {
        if self.has(flow, mark::LISTED) {
            self.set(flow, mark::LISTED, false);
            self.parked[self.of(flow) as usize].remove(flows, flow);
        }
    }

    /// A flow that waited goes on.
    pub fn open(&mut self, flow: u32, now: Nanos) {
        self.opened_at[flow as usize] = now;
    }

    /// When the path of a flow last let it go on.
    pub fn opened_at(&self, flow: u32) -> Nanos {
        self.opened_at[flow as usize]
    }

    /// The flow that has waited longest for `path`.
    pub fn first_parked(&self, path: PathChoice) -> Option<u32> {
        self.parked[path as usize].head()
    }

    /// A flow is given back.
    pub fn forget(&mut self, flow: u32) {
        self.hold(flow, false);
        self.marks[flow as usize] = 0;
        self.opened_at[flow as usize] = Nanos::ZERO;
    }
}
