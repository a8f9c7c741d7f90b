//! A walk over all flows in slices: what a change means for each of them is done a few at a time.

/// Flows that one slice visits at most.
pub(super) const SLICE_FLOWS: u32 = 256;
/// Packets after which it visits no further flow.
pub(super) const SLICE_PACKETS: u32 = 1_024;

/// Where the walk is. A new cause in the middle of it does not begin at the first flow again, or a
/// cause that comes often would starve the last: the walk goes on, and then visits what the new
/// cause found behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    at: u32,
    end: u32,
    again: u32,
}

impl Sweep {
    /// Every one of the flows `0..flows` is to be visited from now on.
    pub const fn begin(&mut self, flows: u32) {
        self.again = self.at;
        self.end = flows;
    }

    /// Whether some flow is still to be visited.
    #[inline]
    pub const fn is_active(self) -> bool {
        self.end != 0
    }

    /// The next flow, or `None` when the walk is over.
    pub const fn next(&mut self) -> Option<u32> {
        if self.at == self.end {
            if self.again == 0 {
                (self.at, self.end) = (0, 0);
                return None;
            }
            (self.at, self.end, self.again) = (0, self.again, 0);
        }
        self.at += 1;
        Some(self.at - 1)
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
        sweep.begin(0);
        assert!(!sweep.is_active() && sweep.next().is_none());
    }

    proptest! {
        /// After each cause every flow that was there is visited, in at most two rounds.
        #[test]
        fn each_cause_reaches_every_flow(causes in prop::collection::vec((0u32..40, 0u32..60), 1..8)) {
            let mut sweep = Sweep::default();
            let mut missing: Vec<std::collections::BTreeSet<u32>> = Vec::new();
            let mut flows = 0;
            for (more, visits) in causes {
                flows += more;
                sweep.begin(flows);
                missing.push((0..flows).collect());
                for _ in 0..visits {
                    let Some(flow) = sweep.next() else { break };
                    missing.iter_mut().for_each(|m| { m.remove(&flow); });
                }
            }
            let mut visits = 0;
            while let Some(flow) = sweep.next() {
                visits += 1;
                missing.iter_mut().for_each(|m| { m.remove(&flow); });
            }
            prop_assert!(visits <= flows && !sweep.is_active());
            prop_assert!(missing.iter().all(|m| m.is_empty()), "{missing:?}");
        }
    }
}
