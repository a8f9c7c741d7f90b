//! The config of a comparison: `configs/ab.toml`. Every key has a default.

use model::config::units::{parse_bit_rate, parse_duration};
use model::time::Nanos;
use serde::{Deserialize, Deserializer, de};

use super::result::{Asked, Gates, VoidRule};
use super::source::Source;
use super::workload::Workload;

/// Fewest messages that a contract's burst may have: with one, a timer that is late costs rate for ever.
const BURST_MIN: u32 = 2;

/// What is compared, and how.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What every order and schedule is drawn from.
    pub seed: u64,
    /// The whole run.
    pub full: Length,
    /// The short one.
    pub quick: Length,
    /// Who runs where.
    pub cpu: Cpu,
    /// How the gateway meets its interfaces.
    pub driver: Driver,
    /// What every arm promises.
    pub contract: Terms,
    /// When a block is void.
    pub void: VoidRule,
    /// What gates a verdict.
    pub gates: Gates,
    /// Questions of the whole run; the short one asks who paces.
    pub questions: Vec<Asked>,
    /// Workloads of the whole run, made here or from files; the short one has `steady-orders` alone.
    #[serde(deserialize_with = "workloads")]
    pub workloads: Vec<Source>,
}

/// How long a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Length {
    /// Rounds of each comparison: one block of each arm.
    pub rounds: u32,
    /// A block.
    #[serde(deserialize_with = "duration")]
    pub block: Nanos,
    /// No round begins, and none is repeated, that would end later than this after the start.
    #[serde(deserialize_with = "duration")]
    pub time_max: Nanos,
}

/// Who runs where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpu {
    /// The sender, and everything else that runs between blocks.
    pub sender: usize,
    /// The arm under test: the polling core, or the kernel's forwarding.
    pub arm: usize,
}

/// How the gateway meets its interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// XDP sockets.
    #[default]
    AfXdp,
    /// Packet sockets.
    AfPacket,
}

impl Driver {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfXdp => "af_xdp",
            Self::AfPacket => "af_packet",
        }
    }
}

/// What every arm promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// By what share the rate lies above that which is offered: with none a backlog would stay for ever.
    pub rate_margin: f64,
    /// Messages that may leave back to back.
    pub burst_messages: u32,
    /// Longest that a message may wait beyond max(hand-over, due).
    #[serde(deserialize_with = "duration")]
    pub max_delay: Nanos,
    /// Largest increase of dispatch_to_wire p50 and p99 over the best pacing kernel arm.
    #[serde(deserialize_with = "duration")]
    pub latency_budget: Nanos,
    /// Rate of the link that departures are modelled with.
    #[serde(deserialize_with = "bit_rate")]
    pub link: u64,
}

/// What is wrong with a config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no such TOML, a key is unknown, or a value cannot be read.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A rule is broken.
    #[error("{key}: {problem}")]
    Rule {
        /// Key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// What a config is read on top of.
const DEFAULTS: &str = include_str!("../../../configs/ab.toml");

impl Config {
    /// Reads and checks a config. What it does not say is as in `configs/ab.toml`.
    ///
    /// # Errors
    /// It is no such TOML, or a rule is broken.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        // For its errors, which name lines of this text.
        toml::from_str::<Self>(text)?;
        let mut all: toml::Table = toml::from_str(DEFAULTS)?;
        overlay(&mut all, toml::from_str(text)?);
        let config: Self = all.try_into()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let broken =
            |key, problem: &str| Err(ConfigError::Rule { key, problem: problem.to_owned() });
        for (key, length) in [("full", self.full), ("quick", self.quick)] {
            if length.rounds == 0 || length.block < Nanos::from_millis(100) {
                return broken(key, "at least one round, of blocks of at least 100ms");
            }
        }
        if self.cpu.sender == self.cpu.arm {
            return broken("cpu", "sender and arm need a CPU each");
        }
        if self.contract.burst_messages < BURST_MIN {
            return broken(
                "contract.burst_messages",
                "at least 2: a late timer must not cost rate",
            );
        }
        if !(self.contract.rate_margin >= 0.0 && self.contract.rate_margin <= 1.0) {
            return broken("contract.rate_margin", "0 to 1");
        }
        if self.contract.link == 0 {
            return broken("contract.link", "a rate above 0");
        }
        let gates = &self.gates;
        if !(gates.level > 0.0
            && gates.level < 1.0
            && gates.confidence > 0.0
            && gates.confidence < 1.0)
        {
            return broken("gates", "level and confidence lie between 0 and 1");
        }
        if self.workloads.is_empty() || self.questions.is_empty() {
            return broken("workloads", "at least one workload and one question");
        }
        Ok(())
    }
}

/// Puts the values of `over` in place of those of `under`, table by table.
fn overlay(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => overlay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(de::Error::custom)
}

fn bit_rate<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_bit_rate(&String::deserialize(from)?).map_err(de::Error::custom)
}

fn workloads<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Source>, D::Error> {
    let named = |name: &String| {
        let names = || Workload::ALL.map(Workload::name).join(", ");
        Source::named(name).ok_or_else(|| {
            let known = names();
            de::Error::custom(format!(
                "no workload {name:?}: there are {known}, and paths of files"
            ))
        })
    };
    Vec::<String>::deserialize(from)?.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_in_the_example() {
        let defaults = Config::from_toml(DEFAULTS).expect("the example");
        assert_eq!(Config::from_toml("").expect("nothing is said"), defaults);
        let said = Config::from_toml("seed = 9\n[quick]\nrounds = 4").expect("a good config");
        assert_eq!((said.seed, said.quick.rounds), (9, 4));
        assert_eq!(said.quick.block, defaults.quick.block);
        assert!(defaults.quick.time_max < Nanos::from_secs(60));
        assert!(defaults.full.rounds >= 12 && defaults.full.block >= Nanos::from_secs(2));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, said) in [
            ("sed = 1", "unknown field"),
            ("[quick]\nrounds = 0", "quick"),
            ("[full]\nblock = \"2\"", "line 2"),
            ("[cpu]\nsender = 1\narm = 1", "a CPU each"),
            ("[contract]\nburst_messages = 1", "burst_messages"),
            ("workloads = [\"none\"]", "steady-orders"),
            ("driver = \"mlx5\"", "af_packet"),
            ("[gates]\nlevel = 0.0", "level"),
        ] {
            let error = Config::from_toml(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
