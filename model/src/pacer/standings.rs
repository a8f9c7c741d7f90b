//! How classes and the port stood before each offer that may still come back: until when they wait on
//! the wheel, what a class claims, and whose turn it is. Whoever changes it while offers are out notes
//! first what it was; an undo puts that back, so that what a port refuses leaves no trace, not even in
//! who is asked next. (Under venue limits a head that is asked too early is sent to wait, and may lose
//! its place to others; a floor that is looked at too early may be found due before its look.)

use super::turns::{Claims, Served};
use crate::time::Nanos;

/// How a class stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// When its timers fire: for its bucket, its floor and its reserved bucket.
    pub asleep_until: Option<Nanos>,
    pub floor_look: Option<Nanos>,
    pub reserved_look: Option<Nanos>,
    pub waits_since: Nanos,
    pub deficit: u32,
    /// It had ready flows.
    pub had_flows: bool,
    pub claims: Claims,
    /// Whose turn its priority had.
    pub turn: Served,
}

/// What is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// A class stood so.
    Class(usize, Standing),
    /// The port waited until then.
    Port(Option<Nanos>),
}

impl Before {
    /// Whether both are of the same class, or of the port.
    fn is_of_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Class(a, _), Self::Class(b, _)) => a == b,
            (Self::Port(_), Self::Port(_)) => true,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Arrivals, timers and changes: no offer that comes back takes them back.
    Elsewhere,
    /// What is changed now belongs to the last of so many offers.
    Noting(u32),
    /// It is put back.
    Restoring,
}

/// See the module.
pub(super) struct Standings {
    notes: Vec<(u32, Before)>,
    mode: Mode,
    /// Something was changed that is not noted: until the commit an undo has everybody asked again.
    is_lost: bool,
}

impl Standings {
    /// For so many classes and offers between two commits.
    pub fn new(classes: usize, burst_max: usize) -> Self {
        // Each look that finds no claim ends one; an offer may open its class's again, and the port's.
        let notes = 4 * (burst_max + classes + 1);
        Self { notes: Vec::with_capacity(notes), mode: Mode::Elsewhere, is_lost: false }
    }

    /// What is changed from now on is taken back with the last of so many offers; none is never.
    #[inline]
    pub const fn begin(&mut self, offers: usize) {
        self.mode = Mode::Noting(offers as u32);
    }

    /// What is changed from now on is not.
    #[inline]
    pub const fn end(&mut self) {
        self.mode = Mode::Elsewhere;
    }

    /// Something is about to be changed. Whether what it was has to be told to [`Standings::note`].
    #[inline]
    pub fn must_note(&mut self) -> bool {
        match self.mode {
            Mode::Noting(offers) => offers > 0,
            Mode::Elsewhere => {
                self.is_lost |= !self.notes.is_empty();
                false
            }
            Mode::Restoring => false,
        }
    }

    /// What is about to be changed.
    pub fn note(&mut self, before: Before) {
        let Mode::Noting(offers) = self.mode else { return };
        if let Some((last, noted)) = self.notes.last()
            && *last == offers
            && noted.is_of_same(&before)
        {
            return;
        }
        if self.notes.len() < self.notes.capacity() {
            self.notes.push((offers, before));
        } else {
            self.is_lost = true;
        }
    }

    /// The last note about what more than `offers` offers changed. When there are no more of them the
    /// undo is over.
    pub fn restore(&mut self, offers: usize) -> Option<Before> {
        let note = self.notes.pop_if(|(of, _)| *of as usize > offers);
        self.mode = if note.is_some() { Mode::Restoring } else { Mode::Elsewhere };
        note.map(|(_, before)| before)
    }

    /// Something was changed that is not noted, or not in a way that could be put back.
    pub const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// See [`Standings::is_lost`].
    pub const fn lose(&mut self) {
        self.is_lost = true;
    }

    /// What is out is accepted.
    #[inline]
    pub fn commit(&mut self) {
        self.notes.clear();
        self.is_lost = false;
    }
}
