//! What control has to know of the config.

use model::calendar::Calendar;
use model::config::Config;
use model::profile::Profile;
use model::regime::{COMPOSED_INDEX, COMPOSED_NAME, selectable};
use model::time::Nanos;

use crate::registry::Provenance;
use crate::stop_words::HaltGaps;

/// What control has to know of the config.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the gateway.
    pub name: String,
    /// Version of the product.
    pub version: String,
    /// Digest of the config.
    pub digest: String,
    /// `[control] tick`.
    pub tick: Nanos,
    /// `[control] lease`.
    pub lease: Nanos,
    /// `[gateway] core_stall`.
    pub core_stall: Nanos,
    /// `[gateway] stall_threshold`.
    pub stall_threshold: Nanos,
    /// Every profile that may be put in force; 0 is `normal`.
    pub profiles: Vec<Profile>,
    /// Name and side of every port.
    pub ports: Vec<(String, &'static str)>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What halts of classes leave going.
    pub halt_gaps: HaltGaps,
    /// How long a profile that the operator pinned stays, `[regime] pin`.
    pub pin: Nanos,
    /// `[[control.session]]`.
    pub sessions: Calendar,
    /// Name of the host, where the numbers shall bear it.
    pub host: Option<String>,
}

impl Settings {
    /// From a checked config.
    pub fn new(config: &Config, version: &str) -> Self {
        let ports = config.ports.iter().map(|port| (port.name.clone(), port.side.name()));
        Self {
            name: config.gateway.name.clone(),
            version: version.to_owned(),
            digest: config.digest.clone(),
            tick: config.control.tick,
            lease: config.control.lease,
            core_stall: config.gateway.core_stall,
            stall_threshold: config.gateway.stall_threshold,
            profiles: selectable(config),
            ports: ports.collect(),
            classes: config.classes.iter().map(|class| class.name.clone()).collect(),
            halt_gaps: HaltGaps::of(config),
            pin: config.regime.pin,
            sessions: config.control.sessions.clone(),
            host: None,
        }
    }

    /// What the exporter says of the figures at a moment in UTC.
    pub(super) fn provenance(&self, utc: Nanos) -> Provenance {
        Provenance { host: self.host.clone(), session: self.sessions.at(utc) }
    }

    /// What a running gateway can take of another config.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.digest.clone_from(&config.digest);
        self.profiles = selectable(config);
        self.lease = config.control.lease;
        self.core_stall = config.gateway.core_stall;
        self.stall_threshold = config.gateway.stall_threshold;
        self.halt_gaps = HaltGaps::of(config);
        self.pin = config.regime.pin;
    }

    pub(super) fn profile_name(&self, index: u16) -> &str {
        match index {
            COMPOSED_INDEX => COMPOSED_NAME,
            _ => self.profiles.get(usize::from(index)).map_or("unknown", |profile| &profile.name),
        }
    }
}
