//! A few ordering groups under a table of their own.
//!
//! Behind the classes stand their *twins*: a node for each class whose groups may be governed apart.
//! While a profile has a [`Canary`], the groups it names queue in the twins, all others where they
//! always do. A twin is its class in everything but its table: halts, venue limits and exemption are
//! those of the class.

use std::sync::Arc;

use super::roster::Roster;
use crate::profile::{CLASSES_MAX, Canary, Profile};
use crate::stop::StopWords;

/// See the module.
pub(super) struct Arms {
    /// The class of each twin, in the order of the twins' nodes.
    twins: Box<[u8]>,
    /// The node of the first twin.
    first: u8,
    /// The twin of each class; of a class without one, and of a twin, itself.
    twin_of: [u8; CLASSES_MAX],
    /// Ids of the groups that are governed apart, ascending. Never longer than it was made.
    chosen: Vec<u64>,
    is_active: bool,
    roster: Arc<Roster>,
}

impl Arms {
    /// For `classes` classes of which those in `twins` have one, and so many flows.
    pub fn new(classes: usize, twins: &[u8], flows: u32) -> Self {
        let room = CLASSES_MAX.saturating_sub(classes);
        let twins: Box<[u8]> = twins.iter().copied().take(room).collect();
        let mut twin_of = std::array::from_fn(|class| class as u8);
        for (k, &class) in twins.iter().enumerate() {
            twin_of[usize::from(class)] = (classes + k) as u8;
        }
        let flows = if twins.is_empty() { 0 } else { flows };
        Self {
            twins,
            first: classes as u8,
            twin_of,
            chosen: Vec::with_capacity(flows as usize),
            is_active: false,
            roster: Arc::new(Roster::new(flows)),
        }
    }

    /// The class of each twin.
    pub fn twins(&self) -> &[u8] {
        &self.twins
    }

    /// Who is who.
    pub const fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Whether some groups are governed apart.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.is_active
    }

    /// Takes what `profile` says of who is governed apart. Copies at most one id for each flow.
    pub fn set(&mut self, profile: &Profile) {
        self.chosen.clear();
        self.is_active = profile.canary.is_some() && !self.twins.is_empty();
        let groups = profile.canary.iter().flat_map(|Canary { groups, .. }| groups);
        let room = self.chosen.capacity();
        self.chosen.extend(groups.take(room));
    }

    /// Whether the group behind `flow` is governed apart.
    pub fn is_chosen(&self, flow: u32) -> bool {
        self.is_active
            && self.roster.id(flow).is_some_and(|id| self.chosen.binary_search(&id).is_ok())
    }

    /// The node of a class, or of its twin, in an arm.
    #[inline]
    pub fn node(&self, node: u8, is_canary: bool) -> u8 {
        let class = match node.checked_sub(self.first) {
            Some(twin) => self.twins.get(usize::from(twin)).copied().unwrap_or(node),
            None => node,
        };
        if is_canary { self.twin_of[usize::from(class)] } else { class }
    }

    /// What is said of a class holds for its twin.
    pub fn extend(&self, words: &StopWords) -> StopWords {
        let mut words = *words;
        for (k, &class) in self.twins.iter().enumerate() {
            words.classes[usize::from(self.first) + k] = words.classes[usize::from(class)];
        }
        words
    }
}
