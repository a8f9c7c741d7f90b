//! Chains of states: transition matrix, shares of time, expected cost.

/// Transitions between `states` states.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    counts: Vec<Vec<u64>>,
}

impl Chain {
    /// Without a transition.
    pub fn new(states: usize) -> Self {
        Self { counts: vec![vec![0; states]; states] }
    }

    /// Adds a run of successive states.
    pub fn observe(&mut self, run: &[usize]) {
        run.windows(2).for_each(|pair| self.counts[pair[0]][pair[1]] += 1);
    }

    /// How often one state followed another.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// P(next | now); a state that was never left has no row.
    pub fn matrix(&self) -> Vec<Option<Vec<f64>>> {
        let row = |counts: &Vec<u64>| {
            let total: u64 = counts.iter().sum();
            (total > 0).then(|| counts.iter().map(|&n| n as f64 / total as f64).collect())
        };
        self.counts.iter().map(row).collect()
    }
}

/// E\[C\] = sum of share x cost. `None` when a branch that occurs has no cost, or nothing occurs.
pub fn expected_cost(counts: &[u64], costs: &[Option<f64>]) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let terms = counts.iter().zip(costs).filter(|(n, _)| **n > 0);
    let sum: Option<f64> = terms.map(|(&n, cost)| cost.map(|c| n as f64 * c)).sum();
    sum.filter(|_| total > 0).map(|sum| sum / total as f64)
}

/// Whether costs rise from branch to branch; `None` when one is not known.
pub fn rising(costs: &[Option<f64>]) -> Option<bool> {
    let known: Option<Vec<f64>> = costs.iter().copied().collect();
    known.map(|costs| costs.windows(2).all(|pair| pair[0] < pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_shares_of_what_left_a_state() {
        let mut chain = Chain::new(3);
        chain.observe(&[0, 0, 1, 0]);
        chain.observe(&[1, 0]);
        assert_eq!(chain.matrix(), [Some(vec![0.5, 0.5, 0.0]), Some(vec![1.0, 0.0, 0.0]), None]);
    }

    #[test]
    fn expected_cost_needs_the_cost_of_what_occurs() {
        let cost = expected_cost(&[6, 3, 1], &[Some(1.0), Some(2.0), Some(10.0)]);
        assert!((cost.expect("known") - 2.2).abs() < 1e-12);
        assert_eq!(expected_cost(&[6, 0], &[Some(1.0), None]), Some(1.0));
        assert_eq!(expected_cost(&[6, 1], &[Some(1.0), None]), None);
        assert_eq!(expected_cost(&[0, 0], &[None, None]), None);
        assert_eq!(rising(&[Some(1.0), Some(2.0), Some(2.0)]), Some(false));
        assert_eq!(rising(&[Some(1.0), None]), None);
    }
}
