//! Who is governed while a change is on trial: a few ordering groups, or everybody in turns.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::mix;
use crate::time::Nanos;

/// Fewer groups than this have no tenth: use a switchback.
pub const GROUPS_MIN: usize = 10;

/// An ordering group: the smallest unit that is governed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// What tells it from others for the life of its session.
    pub id: u64,
    /// Venue of its label.
    pub venue: String,
    /// Tactic of its label.
    pub tactic: String,
}

/// Why no canary can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{groups} ordering groups: a canary needs {GROUPS_MIN}; use a switchback")]
pub struct TooFew {
    /// How many there are.
    pub groups: usize,
}

fn hash(seed: u64, text: &str) -> u64 {
    text.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}

/// Who is on trial, and who is left as they are to hold them against: ids of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those that are governed.
    pub canary: BTreeSet<u64>,
    /// As many of the others, of the same venues and tactics where there are enough.
    pub control: BTreeSet<u64>,
}

/// Chooses the groups that are governed: at least one, at most a tenth, spread over venues and
/// tactics in proportion, and the same for the same seed whatever the order of `groups`. Beside them as
/// many to compare.
///
/// `share_ppm`: the share that is wanted, parts per million. Keep the answer for the life of the
/// sessions: asked again with other groups it may differ.
///
/// # Errors
/// Fewer than [`GROUPS_MIN`] groups.
pub fn choose(seed: u64, groups: &[Group], share_ppm: u32) -> Result<Chosen, TooFew> {
    let mut strata: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for group in groups {
        strata.entry((&group.venue, &group.tactic)).or_default().push(group.id);
    }
    for ids in strata.values_mut() {
        ids.sort_unstable();
        ids.dedup();
        // A permutation by a seeded key of each member.
        ids.sort_by_key(|id| (mix(seed ^ mix(*id)), *id));
    }
    let count: usize = strata.values().map(Vec::len).sum();
    if count < GROUPS_MIN {
        return Err(TooFew { groups: count });
    }
    let wanted = count as u128 * u128::from(share_ppm) / 1_000_000;
    let quota = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, count / 10);
    // Largest remainders; who gets the rest among equals is drawn too.
    let mut shares: Vec<(usize, usize, u64, &Vec<u64>)> = strata
        .iter()
        .map(|((venue, tactic), ids)| {
            let exact = quota * ids.len();
            let drawn = hash(seed, &format!("{venue}/{tactic}"));
            (exact / count, exact % count, drawn, ids)
        })
        .collect();
    let given: usize = shares.iter().map(|(whole, ..)| whole).sum();
    shares.sort_by_key(|(_, rest, drawn, _)| (std::cmp::Reverse(*rest), *drawn));
    shares.iter_mut().take(quota - given).for_each(|(whole, ..)| *whole += 1);
    let canary = shares.iter().flat_map(|(take, _, _, ids)| ids.iter().take(*take));
    let beside = shares.iter().flat_map(|(take, _, _, ids)| ids.iter().skip(*take).take(*take));
    let others = shares.iter().flat_map(|(take, _, _, ids)| ids.iter().skip(2 * take));
    let control = beside.chain(others).take(quota).copied().collect();
    Ok(Chosen { canary: canary.copied().collect(), control })
}

/// Draws that go on while a canary lasts: whoever has been drawn stays in its arm, and newcomers are drawn
/// once they are [`GROUPS_MIN`], among themselves, by the same rules.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    share_ppm: u32,
    drawn: BTreeSet<u64>,
    chosen: Chosen,
}

/// No more groups in neither arm are remembered than this: else sessions that come and go for weeks would
/// pile up.
const DRAWN_MAX: usize = 1 << 20;

impl Draws {
    /// Nobody is drawn yet.
    pub const fn new(seed: u64, share_ppm: u32) -> Self {
        let chosen = Chosen { canary: BTreeSet::new(), control: BTreeSet::new() };
        Self { seed, share_ppm, drawn: BTreeSet::new(), chosen }
    }

    /// Whether a group has been drawn, for an arm or for none.
    pub fn knows(&self, id: u64) -> bool {
        self.drawn.contains(&id)
    }

    /// Draws among the groups that are not known yet, if they are enough.
    ///
    /// # Errors
    /// Nobody is drawn yet, and there are too few.
    pub fn take_in(&mut self, groups: &[Group]) -> Result<(), TooFew> {
        if self.drawn.len() > DRAWN_MAX {
            self.drawn = self.chosen.canary.union(&self.chosen.control).copied().collect();
        }
        let new: Vec<Group> =
            groups.iter().filter(|group| !self.knows(group.id)).cloned().collect();
        match choose(self.seed, &new, self.share_ppm) {
            Ok(chosen) => {
                self.chosen.canary.extend(chosen.canary);
                self.chosen.control.extend(chosen.control);
                self.drawn.extend(new.iter().map(|group| group.id));
                Ok(())
            }
            Err(too_few) if self.drawn.is_empty() => Err(too_few),
            Err(_) => Ok(()),
        }
    }

    /// Who is in which arm.
    pub const fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// How many have been drawn, for an arm or for none.
    pub fn drawn(&self) -> usize {
        self.drawn.len()
    }
}

/// Whether the change governs `scope` at `now`, in a switchback that began at `start`: blocks of
/// `block`, of each pair of them one, drawn.
pub fn switchback(seed: u64, scope: &str, start: Nanos, now: Nanos, block: Nanos) -> bool {
    let number = now.saturating_sub(start).0 / block.0.max(1);
    let (pair, second) = (number / 2, number % 2 == 1);
    let first_is_governed = mix(hash(seed, scope) ^ mix(pair)) & 1 == 1;
    first_is_governed != second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(of: &[(&str, &str, u64)]) -> Vec<Group> {
        let mut id = 0;
        let mut groups = Vec::new();
        for &(venue, tactic, count) in of {
            for _ in 0..count {
                id += 1;
                groups.push(Group { id, venue: venue.to_owned(), tactic: tactic.to_owned() });
            }
        }
        groups
    }

    #[test]
    fn at_least_one_and_at_most_a_tenth() {
        for n in 10..200 {
            for share in [1, 50_000, 100_000, 1_000_000] {
                let chosen = choose(n, &groups(&[("X", "p", n)]), share).expect("enough");
                let count = chosen.canary.len();
                assert!((1..=n as usize / 10).contains(&count), "{count} of {n} at {share}");
                assert_eq!(chosen.control.len(), count);
                assert!(chosen.control.is_disjoint(&chosen.canary));
            }
        }
        assert_eq!(choose(1, &groups(&[("X", "p", 9)]), 100_000), Err(TooFew { groups: 9 }));
    }

    #[test]
    fn strata_get_their_share() {
        let all = groups(&[("X", "p", 100), ("X", "u", 50), ("Y", "p", 50)]);
        for seed in 0..20 {
            let chosen = choose(seed, &all, 100_000).expect("enough");
            for arm in [chosen.canary, chosen.control] {
                let of = |low, high| arm.range(low..=high).count();
                assert_eq!((of(1, 100), of(101, 150), of(151, 200)), (10, 5, 5), "seed {seed}");
            }
        }
    }

    #[test]
    fn is_drawn_by_the_seed_and_by_nothing_else() {
        let all = groups(&[("X", "p", 60), ("Y", "q", 40)]);
        let mut turned: Vec<_> = all.iter().rev().cloned().collect();
        turned.extend(all.iter().take(5).cloned());
        assert_eq!(choose(7, &all, 100_000), choose(7, &turned, 100_000));
        let different = (0..20).map(|seed| choose(seed, &all, 100_000).expect("enough").canary);
        assert!(different.collect::<BTreeSet<_>>().len() > 15);
        // Every group is chosen under some seed.
        let ever: BTreeSet<u64> =
            (0..300).flat_map(|seed| choose(seed, &all, 100_000).expect("enough").canary).collect();
        assert_eq!(ever.len(), 100);
    }

    #[test]
    fn whoever_is_drawn_stays_and_newcomers_are_drawn_in_their_turn() {
        let group = |id| Group { id, venue: "X".to_owned(), tactic: "p".to_owned() };
        let some = |ids: std::ops::RangeInclusive<u64>| ids.map(group).collect::<Vec<_>>();
        let mut draws = Draws::new(5, 100_000);
        assert_eq!(draws.take_in(&some(1..=9)), Err(TooFew { groups: 9 }));
        assert_eq!(draws.take_in(&some(1..=20)), Ok(()));
        let first = draws.chosen().clone();
        assert_eq!((first.canary.len(), first.control.len(), draws.drawn()), (2, 2, 20));
        assert_eq!(Ok(&first), choose(5, &some(1..=20), 100_000).as_ref(), "the plain choice");
        // Nine more are too few; some have gone meanwhile, and one comes back.
        draws.take_in(&some(10..=29)).expect("drawn before");
        assert_eq!((draws.chosen(), draws.drawn()), (&first, 20));
        draws.take_in(&some(1..=30)).expect("drawn before");
        assert_eq!(draws.drawn(), 30);
        let (before, after) = (first, draws.chosen());
        for (before, after) in [(&before.canary, &after.canary), (&before.control, &after.control)]
        {
            assert!(after.is_superset(before) && after.len() == 3);
            assert_eq!(after.range(21..).count(), 1, "of the newcomers");
        }
    }

    #[test]
    fn a_switchback_governs_one_block_of_each_pair() {
        let (start, block) = (Nanos::from_secs(50), Nanos::from_secs(300));
        let at = |scope: &str, n: u64| {
            switchback(3, scope, start, start + Nanos::from_secs(300 * n + 299), block)
        };
        let first: Vec<bool> = (0..64).map(|pair| at("class:orders", 2 * pair)).collect();
        for pair in 0..64 {
            assert_ne!(at("class:orders", 2 * pair), at("class:orders", 2 * pair + 1));
        }
        let ones = first.iter().filter(|governed| **governed).count();
        assert!((16..=48).contains(&ones), "{ones} of 64");
        let other: Vec<bool> = (0..64).map(|pair| at("class:other", 2 * pair)).collect();
        assert_ne!(first, other);
    }
}
