//! Two tables over the same history: what they call distorted, and what that costs.

use std::collections::BTreeMap;

use estimate::effect::Interval;
use serde::Serialize;

use super::Decided;
use crate::inputs::MACHINES;
use crate::join::Units;
use crate::kpi::Contrast;
use crate::outcome::{Settings, compared};

/// What one table makes of a machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    /// Transitions.
    pub transitions: u64,
    /// Share of time in each state.
    pub share_in: BTreeMap<String, f64>,
    /// Share of children that were decided in a state above the lowest.
    pub distorted_share: f64,
    /// What they cost beyond those in the lowest, matched, bps.
    pub cost_bps: Option<f64>,
    /// Of it.
    pub interval: Option<Interval>,
}

/// One condition of the promotion.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    /// What it asks.
    pub name: String,
    /// Whether it does.
    pub holds: bool,
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Validation {
    /// By machine, old and new.
    pub machines: BTreeMap<&'static str, [Side; 2]>,
    /// Instances that flapped and were frozen, old and new.
    pub frozen: [u64; 2],
    /// Conditions.
    pub gates: Vec<Gate>,
    /// All of them hold.
    pub holds: bool,
}

/// Compares what was decided under two tables. `changed` are the machines whose tables differ.
pub fn validation(
    units: &Units,
    old: &Decided,
    new: &Decided,
    changed: &[String],
    settings: &Settings,
) -> Validation {
    let mut machines = BTreeMap::new();
    let mut gates = vec![Gate {
        name: "no more instances flap than before".to_owned(),
        holds: new.frozen <= old.frozen,
    }];
    for (place, machine) in MACHINES.iter().enumerate() {
        let sides = [old, new].map(|decided| side(units, decided, place, settings));
        if changed.iter().any(|name| name == machine.name) {
            gates.push(Gate {
                name: format!("{}: what it calls distorted costs more than 0", machine.name),
                holds: sides[1].interval.is_some_and(|interval| interval.low > 0.0),
            });
        }
        machines.insert(machine.name, sides);
    }
    let holds = gates.iter().all(|gate| gate.holds);
    Validation { machines, frozen: [old.frozen, new.frozen], gates, holds }
}

fn side(units: &Units, decided: &Decided, machine: usize, settings: &Settings) -> Side {
    let name = MACHINES[machine].name;
    let times = decided.time_in.get(name);
    let total: u64 = times.into_iter().flat_map(BTreeMap::values).sum();
    let share =
        |(state, time): (&String, &u64)| (state.clone(), *time as f64 / total.max(1) as f64);
    let clocks: BTreeMap<&str, i64> =
        units.clock_offsets_ns.iter().map(|(name, offset)| (name.as_str(), *offset)).collect();
    let arm = |i: usize| {
        let gateway = units.gateway.name(i);
        let time = units.t_decision[i] + clocks.get(gateway).copied().unwrap_or_default();
        let states = decided.logs.states(gateway, units.class.name(i), time);
        Some(states[machine].unwrap_or_default() > 0)
    };
    let arms: Vec<Option<bool>> = (0..units.len()).map(arm).collect();
    let distorted = arms.iter().filter(|arm| **arm == Some(true)).count();
    let contrast = Contrast::of_machine(name);
    let effect = contrast.and_then(|of| compared(units, of.outcome(), of, &arms, settings));
    Side {
        transitions: decided.transitions.get(name).copied().unwrap_or_default(),
        share_in: times.into_iter().flatten().map(share).collect(),
        distorted_share: distorted as f64 / units.len().max(1) as f64,
        cost_bps: effect.as_ref().map(|effect| effect.mean.estimate),
        interval: effect.and_then(|effect| effect.mean.interval),
    }
}
