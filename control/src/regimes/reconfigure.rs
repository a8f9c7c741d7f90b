//! Another config while the loop runs: what it composes tables from. Machines, modes and baselines stay.

use model::config::Config;
use model::regime::{Patches, Projection};

use super::Regimes;
use super::shadow::Shadow;

impl Regimes {
    /// Composes from the tables of `config` from now on, which differs in what a running gateway can take.
    pub fn reconfigure(&mut self, config: &Config) {
        self.normal = config.profiles[0].clone();
        self.patches = Patches::new(config);
        self.pin = config.regime.pin;
        // What it knows was of the tables before.
        self.shadow = Shadow::new(Projection::new(config));
    }
}
