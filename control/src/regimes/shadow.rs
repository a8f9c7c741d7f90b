//! What shadow would have come to: the packets of the last seconds, run again under the table that states
//! ask for. The gate to a trial reads it where nothing is fed.

use std::collections::BTreeMap;

use model::kpi::Report;
use model::profile::Profile;
use model::regime::gates::Arm;
use model::regime::{ArmTotals, Projection};
use model::sample::Sample;
use model::time::Nanos;

/// So much of time is run again at once.
const SPAN: Nanos = Nanos::from_secs(8);

/// What a class would have come to, or why nobody knows.
pub(super) type Projected = Result<(Arm, Arm), &'static str>;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shadow {
    projection: Projection,
    next: Nanos,
    /// By class.
    projected: BTreeMap<usize, Projected>,
}

impl Shadow {
    pub fn new(projection: Projection) -> Self {
        Self { projection, next: Nanos::ZERO, projected: BTreeMap::new() }
    }

    /// A packet has ended while nothing is governed.
    pub fn keep(&mut self, row: &Sample) {
        self.projection.keep(row);
    }

    /// Nothing that is known holds any more.
    pub fn clear(&mut self) {
        self.projection.clear();
        self.projected.clear();
        self.next = Nanos::ZERO;
    }

    /// Runs what has been kept again, when enough of it has: as `normal` has it, and under `asked`.
    /// `classes`: those that `asked` changes, with their names. `is_lossy`: some rows are missing.
    pub fn tick(
        &mut self,
        now: Nanos,
        (normal, asked): (&Profile, &Profile),
        classes: &[(usize, &str)],
        is_lossy: bool,
    ) {
        if self.next == Nanos::ZERO {
            self.next = now.saturating_add(SPAN);
        }
        if now < self.next {
            return;
        }
        self.next = now.saturating_add(SPAN);
        self.projected.clear();
        let runs = (!classes.is_empty())
            .then(|| (self.projection.run(asked), self.projection.run(normal)));
        if let Some((changed, control)) = runs {
            for (class, name) in classes {
                let of = |report: &Report| {
                    let mut totals = ArmTotals::default();
                    totals.add(report, name, None);
                    totals.arm()
                };
                let known = match self.projection.covers(*class) {
                    Ok(()) if is_lossy => Err(model::kpi::absent::SAMPLES_LOST),
                    Ok(()) => Ok((of(&changed), of(&control))),
                    Err(why) => Err(why.name()),
                };
                self.projected.insert(*class, known);
            }
        }
        self.projection.clear();
    }

    /// What is known of `class`: its figures under the asked table, and under `normal`.
    pub fn of(&self, class: usize) -> Option<Projected> {
        self.projected.get(&class).copied()
    }
}
