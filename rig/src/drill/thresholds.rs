//! Bounds of another config in the machines of a drill, such as those that a calibration has found.
//!
//! How quickly its machines move stays the drill's, or no dwell would pass in it; so do baselines, profiles
//! and everything that is around the gateway.

use ::model::config::Config;
use ::model::regime::{Logistic, Machine};

use super::DrillError;

/// What states are entered and left by.
#[derive(Clone, Debug)]
pub struct Thresholds {
    machines: Vec<Machine>,
    compressed_drain: Option<Logistic>,
}

impl Thresholds {
    /// Those of `config`.
    pub fn of(config: Config) -> Self {
        let regime = config.regime;
        Self { machines: regime.machines, compressed_drain: regime.compressed_drain }
    }

    /// Puts them into the config of a drill. A machine that only one of the two has stays as it is.
    ///
    /// # Errors
    /// A machine of both has other states in one of them: bounds refer to states.
    pub(super) fn put_into(&self, config: &mut Config) -> Result<(), DrillError> {
        for machine in &mut config.regime.machines {
            let Some(other) = self.machines.iter().find(|other| other.name == machine.name) else {
                continue;
            };
            if !machine.states.iter().map(|s| &s.name).eq(other.states.iter().map(|s| &s.name)) {
                return Err(DrillError::OtherStates { machine: machine.name.clone() });
            }
            for (state, bounds) in machine.states.iter_mut().zip(&other.states) {
                state.enter.clone_from(&bounds.enter);
                state.exit.clone_from(&bounds.exit);
            }
        }
        config.regime.compressed_drain.clone_from(&self.compressed_drain);
        Ok(())
    }
}
