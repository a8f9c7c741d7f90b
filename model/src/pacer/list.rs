//! A doubly linked list of flows through the flows themselves: O(1) at both ends and in the middle.

/// "No flow".
pub const NONE: u32 = u32::MAX;

/// The links of one member.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    next: u32,
    prev: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { next: NONE, prev: NONE }
    }
}

/// Where the links of member `i` are.
pub trait Linked {
    /// Its links.
    fn links(&mut self) -> &mut Links;
}

/// Head and tail. Whether a flow is in this list is the owner's knowledge.
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl List {
    /// A list without a member.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// The first member.
    pub const fn head(self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// The last member.
    pub const fn tail(self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.tail) }
    }

    /// The member before `i`.
    pub fn before<T: Linked>(self, all: &mut [T], i: u32) -> Option<u32> {
        match all[i as usize].links().prev {
            NONE => None,
            prev => Some(prev),
        }
    }

    /// Whether it has no member.
    pub const fn is_empty(self) -> bool {
        self.head == NONE
    }

    /// Adds `i` at the tail.
    pub fn push_back<T: Linked>(&mut self, all: &mut [T], i: u32) {
        *all[i as usize].links() = Links { next: NONE, prev: self.tail };
        match self.tail {
            NONE => self.head = i,
            tail => all[tail as usize].links().next = i,
        }
        self.tail = i;
    }

    /// Adds `i` at the head.
    pub fn push_front<T: Linked>(&mut self, all: &mut [T], i: u32) {
        *all[i as usize].links() = Links { next: self.head, prev: NONE };
        match self.head {
            NONE => self.tail = i,
            head => all[head as usize].links().prev = i,
        }
        self.head = i;
    }

    /// Adds `i` behind the member `before`, or at the head.
    pub fn insert_behind<T: Linked>(&mut self, all: &mut [T], before: Option<u32>, i: u32) {
        let Some(prev) = before else { return self.push_front(all, i) };
        let next = std::mem::replace(&mut all[prev as usize].links().next, i);
        *all[i as usize].links() = Links { next, prev };
        match next {
            NONE => self.tail = i,
            next => all[next as usize].links().prev = i,
        }
    }

    /// Takes `i` out; it must be a member.
    pub fn remove<T: Linked>(&mut self, all: &mut [T], i: u32) {
        let Links { next, prev } = *all[i as usize].links();
        match prev {
            NONE => self.head = next,
            prev => all[prev as usize].links().next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => all[next as usize].links().prev = prev,
        }
    }
}
