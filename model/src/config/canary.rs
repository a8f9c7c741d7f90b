//! Which classes can have a few of their ordering groups governed apart.

use super::{Arrangement, Config};
use crate::kind::Side;
use crate::profile::{ARMS, CLASSES_MAX};

impl Config {
    /// The allowed classes from inside, each of which has a twin in each arm of a canary. None in a
    /// pipeline, whose pacing core does not know groups, and none where the twins have no room.
    pub fn canaried(&self) -> Vec<u8> {
        let piped = self.pairs.iter().any(|pair| pair.arrangement == Arrangement::Pipeline);
        let own = |class: &&usize| self.classes[**class].from == Side::Inside;
        let twins = self.regime.allow.iter().filter(own).map(|class| *class as u8);
        let mut twins: Vec<u8> = twins.collect();
        twins.sort_unstable();
        if piped || self.classes.len() + ARMS * twins.len() > CLASSES_MAX {
            Vec::new()
        } else {
            twins
        }
    }

    /// The class behind each node of a pacer: every class, then for each arm those that have twins.
    pub fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        let twins = self.canaried().repeat(ARMS);
        (0..self.classes.len()).chain(twins.into_iter().map(usize::from))
    }
}
