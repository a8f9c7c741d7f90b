//! A walk over all flows in slices: what a change means for each of them is done a few at a time.

/// Flows that one slice visits at most.
pub(super) const SLICE_FLOWS: u32 = 256;
/// Packets after which it visits no further flow.
pub(super) const SLICE_PACKETS: u32 = 1_024;

/// Words of marks that it passes over at most: 65,536 flows that hold nothing.
pub(super) const SLICE_WORDS: u32 = 1_024;

/// Flows that may hold packets, a bit for each: set by whoever queues one, cleared by the walk that
/// finds the flow empty, so that a release pays nothing for it.
#[derive(Clone, Debug)]
pub(super) struct Marks(Box<[u64]>);

impl Marks {
    pub fn new(flows: u32) -> Self {
        Self(vec![0; flows.div_ceil(64) as usize].into_boxed_slice())
    }

    #[inline]
    pub fn set(&mut self, flow: u32) {
        self.0[flow as usize / 64] |= 1 << (flow % 64);
    }

    pub fn clear(&mut self, flow: u32) {
        self.0[flow as usize / 64] &= !(1 << (flow % 64));
    }

    /// The first marked flow from `from` on, or where the next word begins.
    fn next(&self, from: u32) -> (u32, bool) {
        let word = self.0[from as usize / 64] >> (from % 64);
        if word == 0 { ((from | 63) + 1, false) } else { (from + word.trailing_zeros(), true) }
    }
}

/// One step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Visit this flow.
    Flow(u32),
    /// Up to 64 flows that hold nothing were passed over.
    Empty,
    /// The walk is over.
    Over,
}

/// Where the walk is. A new cause in the middle of it does not begin at the first flow again, or a
/// cause that comes often would starve the last: the walk goes on, and then visits what the new
/// cause found behind it.
///
/// A cause that concerns every flow (a profile, words) makes the walk visit *all* of them once; for
/// others it visits those that are marked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    at: u32,
    end: u32,
    again: u32,
    /// Flows there were at the last cause.
    flows: u32,
    /// Flows that are still to be visited whether they are marked or not.
    all: u32,
}

impl Sweep {
    /// The flows `0..flows` are to be visited from now on: each, or those that are marked.
    pub const fn begin(&mut self, flows: u32, all: bool) {
        if all {
            self.all = flows;
        } else if self.all > 0 {
            // Flows that came since may stand between here and the rest.
            self.all += flows - self.flows;
        }
        (self.again, self.end, self.flows) = (self.at, flows, flows);
    }

    /// Whether some flow is still to be visited.
    #[inline]
    pub const fn is_active(self) -> bool {
        self.end != 0
    }

    /// Whether flows are visited that are not marked.
    pub const fn visits_all(self) -> bool {
        self.all != 0
    }

    pub fn next(&mut self, marks: &Marks) -> Step {
        if self.at == self.end {
            if self.again == 0 {
                *self = Self::default();
                return Step::Over;
            }
            (self.at, self.end, self.again) = (0, self.again, 0);
        }
        if self.all > 0 {
            self.all -= 1;
            self.at += 1;
            return Step::Flow(self.at - 1);
        }
        let (flow, is_marked) = marks.next(self.at);
        if flow >= self.end || !is_marked {
            self.at = flow.min(self.end);
            return Step::Empty;
        }
        self.at = flow + 1;
        Step::Flow(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_to_visit() {
        let mut sweep = Sweep::default();
        assert!(!sweep.is_active());
        sweep.begin(0, true);
        assert!(!sweep.is_active() && sweep.next(&Marks::new(0)) == Step::Over);
    }

    #[test]
    fn flows_that_hold_nothing_are_passed_over_a_word_at_a_time() {
        let (mut sweep, mut marks) = (Sweep::default(), Marks::new(1_000));
        [0, 63, 64, 700, 999].iter().for_each(|&flow| marks.set(flow));
        marks.clear(64);
        sweep.begin(1_000, false);
        let (mut visited, mut steps) = (Vec::new(), 0);
        loop {
            steps += 1;
            match sweep.next(&marks) {
                Step::Flow(flow) => visited.push(flow),
                Step::Empty => {}
                Step::Over => break,
            }
        }
        assert_eq!(visited, [0, 63, 700, 999]);
        assert!(steps < 25, "{steps}");
    }

    proptest! {
        /// After each cause every flow that was there is visited if it is marked, and after one that
        /// concerns all each is; in at most two rounds.
        #[test]
        fn each_cause_reaches_every_flow(
            causes in prop::collection::vec((0u32..90, 0u32..120, any::<bool>()), 1..8),
            marked in prop::collection::vec(any::<bool>(), 8 * 90),
        ) {
            let (mut sweep, mut marks) = (Sweep::default(), Marks::new(8 * 90));
            let is_marked = |flow: &u32| marked[*flow as usize];
            (0..8 * 90).filter(is_marked).for_each(|flow| marks.set(flow));
            let mut missing: Vec<std::collections::BTreeSet<u32>> = Vec::new();
            let mut flows = 0;
            for (more, visits, all) in causes {
                flows += more;
                sweep.begin(flows, all);
                missing.push((0..flows).filter(|flow| all || is_marked(flow)).collect());
                for _ in 0..visits {
                    match sweep.next(&marks) {
                        Step::Flow(flow) => missing.iter_mut().for_each(|m| { m.remove(&flow); }),
                        Step::Empty => {}
                        Step::Over => break,
                    }
                }
                if !sweep.visits_all() {
                    prop_assert!(missing.iter().all(|m| m.iter().all(is_marked)), "{missing:?}");
                }
            }
            let mut visits = 0;
            loop {
                match sweep.next(&marks) {
                    Step::Flow(flow) => missing.iter_mut().for_each(|m| { m.remove(&flow); }),
                    Step::Empty => {}
                    Step::Over => break,
                }
                visits += 1;
            }
            prop_assert!(visits <= flows + 2 * flows.div_ceil(64) + 2 && !sweep.is_active());
            prop_assert!(missing.iter().all(|m| m.is_empty()), "{missing:?}");
        }
    }
}
