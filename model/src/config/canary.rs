//! Which classes can have a few of their ordering groups governed apart.

use super::{Arrangement, Config};
use crate::kind::Side;
use crate::profile::CLASSES_MAX;

impl Config {
    /// The allowed classes from inside, each of which has a canary twin behind the classes. None in a
    /// pipeline, whose pacing core does not know groups, and none where the twins have no room.
    pub fn canaried(&self) -> Vec<u8> {
        let piped = self.pairs.iter().any(|pair| pair.arrangement == Arrangement::Pipeline);
        let own = |class: &&usize| self.classes[**class].from == Side::Inside;
        let twins = self.regime.allow.iter().filter(own).map(|class| *class as u8);
        let mut twins: Vec<u8> = twins.collect();
        twins.sort_unstable();
        if piped || self.classes.len() + twins.len() > CLASSES_MAX { Vec::new() } else { twins }
    }

    /// The class behind each node of a pacer: every class, then those that have a twin.
    pub fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.classes.len()).chain(self.canaried().into_iter().map(usize::from))
    }
}
