//! Another config while the loop runs: its thresholds, and what it composes tables from. States, modes and
//! baselines stay.

use model::config::Config;
use model::regime::{Patches, Projection};

use super::Regimes;
use super::settings::{engine_settings, guard, required};
use super::shadow::Shadow;

impl Regimes {
    /// Goes by `config` from now on, which differs in what a running gateway can take.
    pub fn reconfigure(&mut self, config: &Config) {
        let regime = &config.regime;
        self.engine.retune(regime.machines.clone(), engine_settings(regime));
        self.mode.require(required(regime));
        self.guard = guard(regime);
        self.pin = regime.pin;
        self.normal = config.profiles[0].clone();
        self.patches = Patches::new(config);
        // What it knows was of the tables before.
        self.shadow = Shadow::new(Projection::new(config));
    }
}
