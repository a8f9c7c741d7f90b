//! What is compared: units in two arms, column by column.

/// A number known of each unit before it was treated.
#[derive(Clone, Debug)]
pub struct Covariate {
    /// Name, for balance tables.
    pub name: &'static str,
    /// One value for each unit, finite.
    pub values: Vec<f64>,
    /// Cells it is coarsened to for matching, by quantiles of all units; 0 = it is balanced, not matched.
    pub cells: usize,
}

/// A label known of each unit before it was treated.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Name, for balance tables.
    pub name: &'static str,
    /// One level for each unit.
    pub levels: Vec<u32>,
    /// What is done about it.
    pub role: Role,
}

/// What is done about a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Units are matched within a level.
    Exact,
    /// It is balanced, and has an effect of its own in the outcome model.
    Own,
    /// Likewise, and its effect may grow with each covariate that is matched on.
    Growing,
}

/// Units with outcome, arm and what they are matched on. All columns have the same length.
#[derive(Clone, Debug, Default)]
pub struct Cohorts {
    /// Outcome, finite.
    pub outcome: Vec<f64>,
    /// In the arm whose cost is asked for.
    pub treated: Vec<bool>,
    /// Numbers known before.
    pub covariates: Vec<Covariate>,
    /// Labels known before.
    pub factors: Vec<Factor>,
    /// Units of one cluster may depend on each other; clusters do not.
    pub cluster: Vec<u32>,
}

impl Cohorts {
    /// Units.
    pub const fn len(&self) -> usize {
        self.outcome.len()
    }

    /// There is none.
    pub const fn is_empty(&self) -> bool {
        self.outcome.is_empty()
    }

    /// Units in the treated arm.
    pub fn treated_count(&self) -> usize {
        self.treated.iter().filter(|&&treated| treated).count()
    }

    /// The same units with another outcome; those without one are left out.
    #[must_use]
    pub fn with_outcome(&self, outcome: &[Option<f64>]) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|&i| outcome[i].is_some()).collect();
        let mut chosen = self.only(&kept);
        chosen.outcome = kept.iter().filter_map(|&i| outcome[i]).collect();
        chosen
    }

    /// The units at `kept`.
    #[must_use]
    pub fn only(&self, kept: &[usize]) -> Self {
        fn pick<T: Copy>(column: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().map(|&i| column[i]).collect()
        }
        Self {
            outcome: pick(&self.outcome, kept),
            treated: pick(&self.treated, kept),
            covariates: self
                .covariates
                .iter()
                .map(|c| Covariate { values: pick(&c.values, kept), ..c.clone() })
                .collect(),
            factors: self
                .factors
                .iter()
                .map(|f| Factor { levels: pick(&f.levels, kept), ..f.clone() })
                .collect(),
            cluster: pick(&self.cluster, kept),
        }
    }
}
