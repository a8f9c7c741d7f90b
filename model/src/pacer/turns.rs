//! Whose turn it is at the port, among the classes that have something to give.
//!
//! In this order: a class whose floor is due; a class whose reserved bucket conforms; strict
//! priority, and deficit round robin in wire bytes among equals. Bits, one for each class: every
//! question costs the same, however many classes there are.
//!
//! The first two are told by bits that are too generous: `floor_due` and `reserved` say "look at it",
//! and the one who looks clears the bit of a class that turns out to have no claim, and sets a timer.

/// Priorities 0 (first) to 7.
pub(super) const PRIORITIES: usize = 8;

/// By which rule a class was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Rule {
    /// Priority, then turn.
    #[default]
    Turn = 0,
    /// Its reserved bucket conforms.
    Reserved = 1,
    /// Its floor is due.
    Floor = 2,
}

/// Who had a turn last: a class, and whether its turn goes on. What a release changes and what an
/// undo puts back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served(u8);

impl Served {
    const GOES_ON: u8 = 1 << 7;

    const fn new(class: usize, goes_on: bool) -> Self {
        Self(class as u8 | if goes_on { Self::GOES_ON } else { 0 })
    }

    const fn class(self) -> usize {
        (self.0 & !Self::GOES_ON) as usize
    }

    const fn goes_on(self) -> bool {
        self.0 & Self::GOES_ON != 0
    }
}

/// What a class claims: that it has something to give, and that its floor and its reserved bucket are
/// looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub ready: bool,
    pub floor: bool,
    pub reserved: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// Classes with ready flows that do not wait for their bucket, by priority.
    ready: [u128; PRIORITIES],
    /// Priorities that have such classes, a bit for each.
    priorities: u8,
    served: [Served; PRIORITIES],
    /// Ready classes whose floor may be due.
    floor_due: u128,
    floor_served: Served,
    /// Ready classes whose reserved bucket may conform.
    reserved: u128,
    reserved_served: Served,
    /// Classes that have spent their share of this flush.
    spent: u128,
}

/// The first class of `classes`, not empty, after `last`, cyclically.
#[inline]
fn after(classes: u128, last: usize) -> usize {
    let later = classes & (!1u128) << last;
    (if later != 0 { later } else { classes }).trailing_zeros() as usize
}

impl Turns {
    /// Whether some class has something to give.
    #[inline]
    pub const fn any(&self) -> bool {
        self.priorities != 0
    }

    /// Class `class` of `priority` has something to give; `reserved`: and a reserved bucket.
    #[inline]
    pub fn set_ready(&mut self, class: usize, priority: usize, reserved: bool) {
        self.ready[priority] |= 1 << class;
        self.priorities |= 1 << priority;
        if reserved {
            self.reserved |= 1 << class;
        }
    }

    /// It waits, or has nothing to give any more. A turn that goes on does so when it is back, unless
    /// another class has had one meanwhile.
    #[inline]
    pub fn clear_ready(&mut self, class: usize, priority: usize) {
        self.ready[priority] &= !(1 << class);
        if self.ready[priority] == 0 {
            self.priorities &= !(1 << priority);
        }
        if self.reserved | self.floor_due != 0 {
            self.reserved &= !(1 << class);
            self.floor_due &= !(1 << class);
        }
    }

    /// What `class` claims.
    pub const fn claims(&self, class: usize, priority: usize) -> Claims {
        let bit = 1 << class;
        Claims {
            ready: self.ready[priority] & bit != 0,
            floor: self.floor_due & bit != 0,
            reserved: self.reserved & bit != 0,
        }
    }

    /// It claims this and nothing else.
    pub fn set_claims(&mut self, class: usize, priority: usize, claims: Claims) {
        self.clear_ready(class, priority);
        if claims.ready {
            self.set_ready(class, priority, claims.reserved);
            self.floor_due |= u128::from(claims.floor) << class;
        }
    }

    /// Whose turn a priority has is put back.
    pub const fn set_served(&mut self, priority: usize, served: Served) {
        self.served[priority] = served;
    }

    /// The class to look at, and why.
    #[inline]
    pub fn pick(&self) -> Option<(usize, Rule)> {
        if self.floor_due | self.reserved | self.spent != 0 {
            return self.pick_by_claim();
        }
        let priority = self.priorities.trailing_zeros() as usize;
        let classes = *self.ready.get(priority)?;
        Some((self.in_turn(classes, priority), Rule::Turn))
    }

    fn pick_by_claim(&self) -> Option<(usize, Rule)> {
        let due = self.floor_due & !self.spent;
        if due != 0 {
            return Some((after(due, self.floor_served.class()), Rule::Floor));
        }
        let claims = self.reserved & !self.spent;
        let first = |of: u128| (0..PRIORITIES).map(|p| (p, self.ready[p] & of)).find(|c| c.1 != 0);
        if claims != 0
            && let Some((_, classes)) = first(claims)
        {
            return Some((after(classes, self.reserved_served.class()), Rule::Reserved));
        }
        let (priority, classes) = first(!self.spent)?;
        Some((self.in_turn(classes, priority), Rule::Turn))
    }

    #[inline]
    fn in_turn(&self, classes: u128, priority: usize) -> usize {
        let last = self.served[priority];
        if last.goes_on() && classes & 1 << last.class() != 0 {
            last.class()
        } else {
            after(classes, last.class())
        }
    }

    /// Whether the turn of `class` goes on; else, chosen by [`Rule::Turn`], it begins one.
    #[inline]
    pub fn goes_on(&self, class: usize, priority: usize) -> bool {
        self.served[priority] == Served::new(class, true)
    }

    /// Who had the turn of a priority last.
    #[inline]
    pub const fn served(&self, priority: usize) -> Served {
        self.served[priority]
    }

    /// The turn of `class` is over, if it is its turn.
    #[inline]
    pub fn end_turn(&mut self, class: usize, priority: usize) {
        if self.served[priority].class() == class {
            self.served[priority] = Served::new(class, false);
        }
    }

    /// A packet of `class` leaves by `rule`. Returns what an undo gives back to
    /// [`Turns::restore`].
    #[inline]
    pub fn serve(&mut self, class: usize, priority: usize, rule: Rule) -> Served {
        let (place, now) = match rule {
            Rule::Turn => (&mut self.served[priority], Served::new(class, true)),
            Rule::Reserved => (&mut self.reserved_served, Served::new(class, false)),
            Rule::Floor => (&mut self.floor_served, Served::new(class, false)),
        };
        std::mem::replace(place, now)
    }

    /// The same for a packet that leaves without having waited: its turn is over. Returns whose turn it
    /// was before, of the priority and of the rule.
    #[inline]
    pub fn serve_at_once(&mut self, class: usize, priority: usize, rule: Rule) -> (Served, Served) {
        let turn = self.served[priority];
        if rule == Rule::Turn {
            self.served[priority] = Served::new(class, false);
            return (turn, turn);
        }
        (turn, self.serve(class, priority, rule))
    }

    /// A packet left by `rule` did not leave after all.
    pub fn restore(&mut self, class: usize, priority: usize, rule: Rule, before: Served) {
        match rule {
            Rule::Turn => self.served[priority] = before,
            Rule::Reserved => self.reserved_served = before,
            Rule::Floor => {
                self.floor_served = before;
                self.set_floor_due(class, priority);
            }
        }
    }

    /// The floor of `class` may be due. Says nothing while it is not ready.
    pub fn set_floor_due(&mut self, class: usize, priority: usize) {
        self.floor_due |= self.ready[priority] & 1 << class;
    }

    /// It is not due.
    pub fn clear_floor_due(&mut self, class: usize) {
        self.floor_due &= !(1 << class);
    }

    /// The reserved bucket of `class` may conform.
    pub fn set_reserved(&mut self, class: usize, priority: usize) {
        self.reserved |= self.ready[priority] & 1 << class;
    }

    /// It does not.
    pub fn clear_reserved(&mut self, class: usize) {
        self.reserved &= !(1 << class);
    }

    /// `class` has spent its share of this flush.
    pub fn set_spent(&mut self, class: usize) {
        self.spent |= 1 << class;
    }

    /// It has not.
    pub fn clear_spent(&mut self, class: usize) {
        self.spent &= !(1 << class);
    }

    /// A new flush.
    #[inline]
    pub fn begin_flush(&mut self) {
        self.spent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(classes: &[(usize, usize)]) -> Turns {
        let mut turns = Turns::default();
        classes.iter().for_each(|&(class, priority)| turns.set_ready(class, priority, false));
        turns
    }

    #[test]
    fn priority_then_the_next_after_the_last() {
        let mut turns = ready(&[(95, 1), (3, 1), (127, 1), (5, 2)]);
        assert_eq!(turns.pick(), Some((3, Rule::Turn)));
        turns.serve(95, 1, Rule::Turn);
        // Its turn goes on until somebody ends it.
        assert_eq!(turns.pick(), Some((95, Rule::Turn)));
        turns.end_turn(95, 1);
        assert_eq!(turns.pick(), Some((127, Rule::Turn)));
        turns.serve(127, 1, Rule::Turn);
        turns.end_turn(127, 1);
        assert_eq!(turns.pick(), Some((3, Rule::Turn)));
        [3, 95, 127].iter().for_each(|&class| turns.clear_ready(class, 1));
        assert_eq!(turns.pick(), Some((5, Rule::Turn)));
        turns.clear_ready(5, 2);
        assert!(turns.pick().is_none() && !turns.any());
    }

    #[test]
    fn floors_then_reserves_then_priority() {
        let mut turns = ready(&[(0, 0), (6, 7), (7, 7)]);
        turns.set_ready(3, 4, true);
        turns.set_ready(2, 5, true);
        turns.set_floor_due(6, 7);
        turns.set_floor_due(7, 7);
        // Not ready: says nothing.
        turns.set_floor_due(9, 7);
        let before = turns.serve(6, 7, Rule::Floor);
        assert_eq!(turns.pick(), Some((7, Rule::Floor)));
        turns.restore(6, 7, Rule::Floor, before);
        assert_eq!(turns.pick(), Some((6, Rule::Floor)));
        turns.clear_floor_due(6);
        turns.clear_floor_due(7);
        assert_eq!(turns.pick(), Some((3, Rule::Reserved)));
        turns.clear_reserved(3);
        assert_eq!(turns.pick(), Some((2, Rule::Reserved)));
        turns.clear_reserved(2);
        assert_eq!(turns.pick(), Some((0, Rule::Turn)));
    }

    #[test]
    fn who_has_spent_its_share_is_passed_over_until_the_next_flush() {
        let mut turns = ready(&[(0, 0), (1, 1)]);
        turns.set_floor_due(0, 0);
        turns.set_spent(0);
        assert_eq!(turns.pick(), Some((1, Rule::Turn)));
        turns.set_spent(1);
        assert!(turns.pick().is_none() && turns.any());
        turns.begin_flush();
        assert_eq!(turns.pick(), Some((0, Rule::Floor)));
    }
}
