//! Until when classes and the port wait on the wheel, and what it was before each offer that may still
//! come back: what an undo wakes to be on the safe side goes back to sleep. Under venue limits a head
//! that is asked too early is sent to wait, and may lose its place to others.

use crate::time::Nanos;

/// Waits for nothing.
const AWAKE: Nanos = Nanos::MAX;

#[derive(Clone, Copy)]
struct Change {
    /// Offers that were out.
    offers: u32,
    node: u32,
    before: Nanos,
}

/// What is done with changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// An offer that comes back takes them back.
    Offering,
    /// So does the offer that comes back just now.
    Undoing,
    /// They are taken back.
    Restoring,
}

/// See the module. The classes are nodes 0, 1, ...; the port is the one after them.
pub(super) struct Naps {
    until: Box<[Nanos]>,
    changes: Vec<Change>,
    mode: Mode,
    /// There were more changes than there is room for: until the commit an undo wakes, and no more.
    is_lost: bool,
}

impl Naps {
    /// For so many classes and offers between two commits.
    pub fn new(classes: usize, burst_max: usize) -> Self {
        // An offer wakes the port at most once, and each of its classes; each then sleeps again.
        let changes = 2 * (burst_max + classes + 1);
        Self {
            until: vec![AWAKE; classes + 1].into_boxed_slice(),
            changes: Vec::with_capacity(changes),
            mode: Mode::Offering,
            is_lost: false,
        }
    }

    /// For a pacer that has no venue limits: remembers nothing.
    pub fn none() -> Self {
        Self { until: Box::new([]), changes: Vec::new(), mode: Mode::Offering, is_lost: false }
    }

    /// The node of the port.
    pub const fn port(&self) -> usize {
        self.until.len().saturating_sub(1)
    }

    fn set(&mut self, offers: usize, node: usize, until: Nanos) {
        let Some(now) = self.until.get_mut(node) else { return };
        let before = std::mem::replace(now, until);
        let offers = match self.mode {
            Mode::Offering => offers,
            // It is not out any more.
            Mode::Undoing => offers + 1,
            Mode::Restoring => 0,
        };
        if offers > 0 && self.changes.len() < self.changes.capacity() {
            self.changes.push(Change { offers: offers as u32, node: node as u32, before });
        } else {
            self.is_lost |= offers > 0;
        }
    }

    /// `node` waits on the wheel until `until`; so many offers are out.
    pub fn sleep(&mut self, offers: usize, node: usize, until: Nanos) {
        self.set(offers, node, until);
    }

    /// It is taken off the wheel before its time.
    pub fn wake(&mut self, offers: usize, node: usize) {
        self.set(offers, node, AWAKE);
    }

    /// Its time has come, whatever becomes of offers.
    pub fn fire(&mut self, node: usize) {
        self.set(0, node, AWAKE);
    }

    /// An offer is being taken back.
    pub fn begin_undo(&mut self) {
        self.mode = Mode::Undoing;
    }

    /// The last change while more than `offers` were out: the node, and until when it waited before,
    /// `None` = it did not. When there are no more of them the undo is over.
    pub fn restore(&mut self, offers: usize) -> Option<(usize, Option<Nanos>)> {
        let Some(change) = self.changes.pop_if(|change| change.offers as usize > offers) else {
            self.mode = Mode::Offering;
            return None;
        };
        self.mode = Mode::Restoring;
        let before = (change.before != AWAKE && !self.is_lost).then_some(change.before);
        Some((change.node as usize, before))
    }

    /// What is out is accepted.
    #[inline]
    pub fn commit(&mut self) {
        self.changes.clear();
        self.is_lost = false;
    }
}
