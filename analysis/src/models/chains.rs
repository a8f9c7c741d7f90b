//! Transitions between states, what each state costs, and E\[C\] = sum of share x cost.

use std::collections::BTreeMap;

use estimate::chain::{Chain, expected_cost, rising};
use estimate::effect::Interval;
use serde::Serialize;

use super::history::History;
use crate::inputs::MACHINES;
use crate::join::Units;
use crate::kpi::{Contrast, Outcome};
use crate::outcome::{Settings, compared};

/// A state of a machine.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Its name.
    pub name: &'static str,
    /// Windows in it.
    pub windows: u64,
    /// Of all.
    pub share: f64,
    /// Mean shortfall of the lowest state; of any other that plus its matched effect. Absent below 50 units.
    pub cost_bps: Option<f64>,
    /// Of the effect, moved to the cost.
    pub interval: Option<Interval>,
    /// Matched units.
    pub n: usize,
}

/// The chain of a machine.
#[derive(Clone, Debug, Serialize)]
pub struct ChainModel {
    /// The mildest first.
    pub states: Vec<State>,
    /// How often one followed another, window by window.
    pub transitions: Vec<Vec<u64>>,
    /// P(next | now); null for a state that was never left.
    pub matrix: Vec<Option<Vec<f64>>>,
    /// E\[C\], bps.
    pub expected_cost_bps: Option<f64>,
    /// What being in the lowest state all the time would save.
    pub avoidable_bps: Option<f64>,
    /// Whether each state costs more than the one before it, as the playbooks expect.
    pub costs_rise: Option<bool>,
}

/// The chains of all machines that decided.
pub fn chains(
    history: &History,
    units: &Units,
    settings: &Settings,
) -> BTreeMap<&'static str, ChainModel> {
    let chain =
        |machine: usize| Some((MACHINES[machine].name, chain(history, units, machine, settings)?));
    (0..MACHINES.len()).filter_map(chain).collect()
}

fn chain(
    history: &History,
    units: &Units,
    machine: usize,
    settings: &Settings,
) -> Option<ChainModel> {
    let names = MACHINES[machine].states;
    let mut chain = Chain::new(names.len());
    let mut windows = vec![0_u64; names.len()];
    for run in &history.runs {
        let states: Option<Vec<usize>> = run.windows.iter().map(|w| w.states[machine]).collect();
        let Some(states) = states else { continue };
        chain.observe(&states);
        states.iter().for_each(|&state| windows[state] += 1);
    }
    let total: u64 = windows.iter().sum();
    if total == 0 {
        return None;
    }
    let costs = costs(units, machine, settings);
    let states: Vec<State> = names
        .iter()
        .zip(&windows)
        .zip(costs)
        .map(|((name, &windows), (cost_bps, interval, n))| State {
            name,
            windows,
            share: windows as f64 / total as f64,
            cost_bps,
            interval,
            n,
        })
        .collect();
    // States that never occurred have no cost to compare.
    let seen: Vec<Option<f64>> =
        states.iter().filter(|state| state.windows > 0).map(|state| state.cost_bps).collect();
    let all: Vec<Option<f64>> = states.iter().map(|state| state.cost_bps).collect();
    let expected = expected_cost(&windows, &all);
    Some(ChainModel {
        avoidable_bps: expected.zip(all[0]).map(|(expected, lowest)| expected - lowest),
        expected_cost_bps: expected,
        costs_rise: rising(&seen),
        transitions: chain.counts().to_vec(),
        matrix: chain.matrix(),
        states,
    })
}

/// Units that a state needs.
const UNITS_MIN: usize = 50;

/// Cost, interval and matched units of each state.
fn costs(
    units: &Units,
    machine: usize,
    settings: &Settings,
) -> Vec<(Option<f64>, Option<Interval>, usize)> {
    let names = MACHINES[machine].states;
    let contrast = Contrast::of_machine(MACHINES[machine].name).unwrap_or(Contrast::SlowAndBursty);
    let of_unit = &units.states[machine];
    let in_state = |state: &str| -> Vec<usize> {
        (0..units.len())
            .filter(|&i| of_unit.name(i) == state && units.shortfall[i].is_some())
            .collect()
    };
    let lowest = in_state(names[0]);
    let base = (lowest.len() >= UNITS_MIN).then(|| {
        lowest.iter().filter_map(|&i| units.shortfall[i]).sum::<f64>() / lowest.len() as f64
    });
    let mut costs = vec![(base, None, lowest.len())];
    for state in &names[1..] {
        let arm = |i: usize| match of_unit.name(i) {
            name if name == *state => Some(true),
            name if name == names[0] => Some(false),
            _ => None,
        };
        let arms: Vec<Option<bool>> = (0..units.len()).map(arm).collect();
        let effect = base
            .filter(|_| in_state(state).len() >= UNITS_MIN)
            .and_then(|_| compared(units, Outcome::Shortfall, contrast, &arms, settings));
        costs.push(match (effect, base) {
            (Some(effect), Some(base)) => (
                Some(base + effect.mean.estimate),
                effect.mean.interval.map(|i| Interval { low: base + i.low, high: base + i.high }),
                effect.treated,
            ),
            _ => (None, None, 0),
        });
    }
    costs
}
