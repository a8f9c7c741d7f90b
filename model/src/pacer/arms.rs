//! A few ordering groups under tables of their own.
//!
//! Behind the classes stand their *twins*: for each arm of a canary a node for each class whose groups may
//! be governed apart. While a profile has a [`Canary`], the groups it names queue in the twins of their
//! arm, all others where they always do. A twin is its class in everything but its table: halts, venue
//! limits and exemption are those of the class.

use std::sync::Arc;

use super::roster::Roster;
use crate::profile::{ARMS, CLASSES_MAX, Canary, Profile};
use crate::stop::StopWords;

/// See the module.
pub(super) struct Arms {
    /// The class of each twin of an arm, in the order of their nodes.
    twins: Box<[u8]>,
    /// The node of the first twin.
    first: u8,
    /// The place of each class among those that have twins.
    place_of: [Option<u8>; CLASSES_MAX],
    /// Ids of the groups of each arm, ascending. Never longer than they were made.
    groups: [Vec<u64>; ARMS],
    is_active: bool,
    roster: Arc<Roster>,
    /// The arm that each flow is in by now, [`NONE`] = in none. Empty without twins.
    arm_of_flow: Box<[u8]>,
}

/// No arm.
const NONE: u8 = u8::MAX;

impl Arms {
    /// For `classes` classes of which those in `twins` have twins, and so many flows.
    pub fn new(classes: usize, twins: &[u8], flows: u32) -> Self {
        let room = CLASSES_MAX.saturating_sub(classes) / ARMS;
        let twins: Box<[u8]> = twins.iter().copied().take(room).collect();
        let mut place_of = [None; CLASSES_MAX];
        for (k, &class) in twins.iter().enumerate() {
            place_of[usize::from(class)] = Some(k as u8);
        }
        let flows = if twins.is_empty() { 0 } else { flows };
        Self {
            twins,
            first: classes as u8,
            place_of,
            groups: std::array::from_fn(|_| Vec::with_capacity(flows as usize)),
            is_active: false,
            roster: Arc::new(Roster::new(flows)),
            arm_of_flow: vec![NONE; flows as usize].into(),
        }
    }

    /// The classes that have twins.
    pub fn twins(&self) -> &[u8] {
        &self.twins
    }

    /// The class of each twin of every arm, in the order of their nodes.
    pub fn classes(&self) -> impl Iterator<Item = u8> + '_ {
        (0..ARMS).flat_map(|_| self.twins.iter().copied())
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

    /// Takes what `profile` says of who is governed apart. Copies at most one id for each flow and arm.
    pub fn set(&mut self, profile: &Profile) {
        self.is_active = profile.canary.is_some() && !self.twins.is_empty();
        for (arm, mine) in self.groups.iter_mut().enumerate() {
            mine.clear();
            let room = mine.capacity();
            let theirs = profile.canary.iter().flat_map(|Canary(arms)| &arms[arm].groups);
            mine.extend(theirs.take(room));
        }
    }

    /// Brings `flow` into the arm that its group is in now, `None` = in none.
    pub fn seat(&mut self, flow: u32) -> Option<u8> {
        let arm = self.is_active.then(|| self.find(flow)).flatten();
        if let Some(of_flow) = self.arm_of_flow.get_mut(flow as usize) {
            *of_flow = arm.unwrap_or(NONE);
        }
        arm
    }

    fn find(&self, flow: u32) -> Option<u8> {
        let id = self.roster.id(flow)?;
        let at = self.groups.iter().position(|groups| groups.binary_search(&id).is_ok())?;
        Some(at as u8)
    }

    /// `flow` is no group of its own any more.
    pub fn leave(&mut self, flow: u32) {
        self.roster.leave(flow);
        if let Some(of_flow) = self.arm_of_flow.get_mut(flow as usize) {
            *of_flow = NONE;
        }
    }

    /// The arm that `flow` is in by now.
    #[inline]
    pub fn arm_of(&self, flow: u32) -> Option<u8> {
        let arm = self.arm_of_flow.get(flow as usize).copied().filter(|arm| *arm != NONE);
        arm.filter(|_| self.is_active)
    }

    /// The node in an arm, or in none, of the class behind `node`.
    #[inline]
    pub fn node(&self, node: u8, arm: Option<u8>) -> u8 {
        let count = self.twins.len() as u8;
        let class = match node.checked_sub(self.first) {
            Some(twin) if count > 0 => self.twins[usize::from(twin % count)],
            _ => node,
        };
        match (arm, self.place_of[usize::from(class)]) {
            (Some(arm), Some(place)) => self.first + arm * count + place,
            _ => class,
        }
    }

    /// What is said of a class holds for its twins.
    pub fn extend(&self, words: &StopWords) -> StopWords {
        let mut words = *words;
        for (k, class) in self.classes().enumerate() {
            words.classes[usize::from(self.first) + k] = words.classes[usize::from(class)];
        }
        words
    }
}
