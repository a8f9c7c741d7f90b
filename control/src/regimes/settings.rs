//! What the loop is made of: from a checked config and the file of its frozen baselines.

use std::path::PathBuf;

use model::config::{Config, Regime, StartMode};
use model::kind::{Kind, Side};
use model::profile::Profile;
use model::regime::{
    BaselineRecord, Engine, EngineSettings, Guardrail, Mode, Patches, Posture, Projection,
    Required, Scope, ScopeInfo,
};
use model::time::Nanos;

use super::ClassInfo;
use super::view::Names;

/// Why the loop cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file of the baselines is there and cannot be read.
    #[error("{path}: frozen baselines: {why}; move the file away to start without")]
    Baselines {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// See the module's text.
pub struct RegimeSettings {
    pub(super) engine: Engine,
    pub(super) mode: Mode,
    pub(super) required: Required,
    pub(super) tick: Nanos,
    pub(super) names: Names,
    pub(super) classes: Vec<ClassInfo>,
    pub(super) allow: Vec<usize>,
    pub(super) pin: Nanos,
    pub(super) seed: u64,
    pub(super) block: Nanos,
    pub(super) twins: Vec<u8>,
    pub(super) canary_share_ppm: u32,
    pub(super) projection: Projection,
    pub(super) guard: Guardrail,
    pub(super) normal: Profile,
    pub(super) patches: Patches,
    pub(super) env_digest: String,
    pub(super) baselines_path: Option<PathBuf>,
    pub(super) baselines: Option<BaselineRecord>,
    pub(super) unprotected: bool,
}

impl RegimeSettings {
    /// From a config. `env_digest` names what baselines depend on: kernel, driver, device, versions.
    ///
    /// # Errors
    /// See [`SettingsError`]. A file of baselines that is not there is none.
    pub fn new(config: &Config, env_digest: String) -> Result<Self, SettingsError> {
        let regime = &config.regime;
        let engine = Engine::new(regime.machines.clone(), scopes(config), engine_settings(regime));
        let baselines_path = regime.baselines.as_ref().map(PathBuf::from);
        let baselines = baselines_path.as_ref().map(read_baselines).transpose()?.flatten();
        let class = |(index, class): (usize, &model::config::Class)| ClassInfo {
            kind: class.kind,
            from: class.from,
            latency_budget: class.latency_budget,
            built_in: is_built_in(config, index),
        };
        let labels = config.labels.iter();
        Ok(Self {
            engine,
            mode: match regime.mode {
                StartMode::Observe => Mode::Observe,
                StartMode::Shadow => Mode::Shadow,
                StartMode::Canary => Mode::Canary,
                StartMode::Active => Mode::Active,
            },
            required: required(regime),
            tick: regime.tick,
            names: Names {
                classes: config.classes.iter().map(|class| class.name.clone()).collect(),
                ports: config.ports.iter().map(|port| port.name.clone()).collect(),
                venues: config.venues.clone(),
                tactics: labels.map(|label| label.tactic.clone().unwrap_or_default()).collect(),
                from_inside: config.classes.iter().map(|c| c.from == Side::Inside).collect(),
            },
            classes: config.classes.iter().enumerate().map(class).collect(),
            allow: regime.allow.clone(),
            pin: regime.pin,
            seed: config.gateway.seed,
            block: regime.switchback_block,
            twins: config.canaried(),
            canary_share_ppm: regime.canary_share_ppm,
            projection: Projection::new(config),
            guard: guard(regime),
            normal: config.profiles[0].clone(),
            patches: Patches::new(config),
            env_digest,
            baselines_path,
            baselines,
            unprotected: false,
        })
    }
}

/// For drills: what proves that a part of the loop matters is that something fails without it.
impl RegimeSettings {
    /// With these baselines instead of those of the file.
    #[must_use]
    pub fn with_baselines(mut self, baselines: BaselineRecord) -> Self {
        self.baselines = Some(baselines);
        self
    }

    /// Without one action of a profile, which stays as confirmed. `None` where it has no such action.
    #[must_use]
    pub fn without(mut self, posture: Posture, field: &str) -> Option<Self> {
        self.patches.without(posture, field, &self.normal).then_some(self)
    }

    /// Machines read figures as they are, what our own profiles add included: the loop may excite
    /// itself.
    #[must_use]
    pub const fn unprotected(mut self) -> Self {
        self.unprotected = true;
        self
    }
}

/// What holds for all machines.
pub(super) fn engine_settings(regime: &Regime) -> EngineSettings {
    EngineSettings {
        tick: regime.tick,
        absent_release: regime.absent_release,
        compressed_drain: regime.compressed_drain.clone(),
    }
}

/// What promotions need.
pub(super) const fn required(regime: &Regime) -> Required {
    Required {
        sessions: regime.sessions_min,
        parents: regime.parents_min,
        days: regime.days_min,
        max_age: regime.max_age,
    }
}

/// Where a backlog is past its guard.
pub(super) const fn guard(regime: &Regime) -> Guardrail {
    Guardrail { budget_ppm: regime.guard_budget_ppm, priority: regime.guard_priority }
}

/// What is not IP has a class that no file names.
fn is_built_in(config: &Config, class: usize) -> bool {
    config.rules.non_ip_class.map(usize::from).contains(&class)
}

/// Every class of the file from inside that the pacer may hold, every TX queue towards the venue, every feed.
fn scopes(config: &Config) -> Vec<ScopeInfo> {
    let of_the_file = |(index, _): &(usize, _)| !is_built_in(config, *index);
    let classes = config.classes.iter().enumerate().filter(of_the_file);
    let inside =
        classes.clone().filter(|(_, class)| class.from == Side::Inside && !class.kind.is_exempt());
    let inside = inside.map(|(index, class)| ScopeInfo {
        scope: Scope::Class(index),
        name: class.name.clone(),
        cadence: class.cadence,
        order: class.kind.is_order_entry(),
    });
    let queues = config.ports.iter().enumerate().filter(|(_, port)| port.side == Side::Venue);
    let queues = queues.map(|(index, port)| ScopeInfo {
        scope: Scope::TxQueue(index),
        name: port.name.clone(),
        cadence: None,
        order: false,
    });
    let feeds =
        classes.filter(|(_, class)| class.from == Side::Venue && class.kind == Kind::MarketData);
    let feeds = feeds.map(|(index, class)| ScopeInfo {
        scope: Scope::Feed(index),
        name: class.name.clone(),
        cadence: class.cadence,
        order: false,
    });
    inside.chain(queues).chain(feeds).collect()
}

fn read_baselines(path: &PathBuf) -> Result<Option<BaselineRecord>, SettingsError> {
    let refused = |why: String| SettingsError::Baselines { path: path.clone(), why };
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| refused(error.to_string()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(error.to_string())),
    }
}
