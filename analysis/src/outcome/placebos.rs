//! Outcomes that a unit's own window cannot have changed.

use std::collections::HashMap;

use super::arms::Design;
use crate::join::Units;

/// Units count as of the same time of another day within so many seconds.
const SAME_TIME_S: i64 = 60;
/// Units of other hosts count as of the same time within so many seconds.
const AT_ONCE_S: i64 = 10;

/// For each row of `rows`: the markout that led up to its window, and the mean outcome of others at the same
/// time of the previous day on the same host, and at the same moment on other hosts, in the same symbol.
pub fn outcomes(
    units: &Units,
    rows: &[usize],
    outcomes: &[Option<f64>],
    design: Design,
) -> Vec<(&'static str, Vec<Option<f64>>)> {
    let lead = ("lead_markout", rows.iter().map(|&i| units.lead[i]).collect());
    if design == Design::BeforeAfter {
        // The day before and other hosts were governed alike: they differ between the arms by what is asked for.
        return vec![lead];
    }
    let day_before = days_before(units);
    let second = |i: usize| units.t_decision[i].rem_euclid(86_400_000_000_000) / 1_000_000_000;
    let by_time = |i: usize, day: i64| {
        (units.gateway.of_row[i], units.symbol.of_row[i], day, second(i) / SAME_TIME_S)
    };
    let at_once = |i: usize| (units.symbol.of_row[i], units.day[i], second(i) / AT_ONCE_S);
    let mut of_time: HashMap<_, Sum> = HashMap::new();
    let mut of_all: HashMap<_, Sum> = HashMap::new();
    let mut of_host: HashMap<_, Sum> = HashMap::new();
    for (i, outcome) in outcomes.iter().enumerate() {
        let Some(outcome) = *outcome else { continue };
        of_time.entry(by_time(i, units.day[i])).or_default().add(outcome);
        of_all.entry(at_once(i)).or_default().add(outcome);
        of_host.entry((at_once(i), units.gateway.of_row[i])).or_default().add(outcome);
    }
    let previous = |&i: &usize| {
        let day = *day_before.get(&units.day[i])?;
        of_time.get(&by_time(i, day))?.mean()
    };
    let others = |&i: &usize| {
        let all = of_all.get(&at_once(i))?;
        let own = of_host.get(&(at_once(i), units.gateway.of_row[i])).copied().unwrap_or_default();
        Sum { total: all.total - own.total, count: all.count - own.count }.mean()
    };
    vec![
        lead,
        ("previous_day", rows.iter().map(previous).collect()),
        ("other_host", rows.iter().map(others).collect()),
    ]
}

/// The trading day before each but the first.
fn days_before(units: &Units) -> HashMap<i64, i64> {
    let mut days = units.day.clone();
    days.sort_unstable();
    days.dedup();
    days.windows(2).map(|pair| (pair[1], pair[0])).collect()
}

#[derive(Clone, Copy, Default)]
struct Sum {
    total: f64,
    count: u32,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.total += value;
        self.count += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.total / f64::from(self.count))
    }
}
