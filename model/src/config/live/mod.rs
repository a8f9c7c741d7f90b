//! What of a config can change while the gateway runs.
//!
//! [`Sourced::change_to`] lays two texts side by side: every key that differs, with its place, and
//! whether a running gateway can take it. The checked values decide ([`fixed`]); the keys say where to
//! look.

mod keys;
mod stated;

use serde_json::{Map, Value, json};

use self::keys::is_live;
use self::stated::Stated;
use super::Config;
use crate::pacer::limits::window_messages;
use crate::regime::Machine;

/// One key that two texts have different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Such as `class "orders".rate`; a whole table where it is new or gone.
    pub key: String,
    /// As it is written now, `None` = not at all.
    pub was: Option<String>,
    /// As it is to be, `None` = not at all.
    pub is: Option<String>,
    /// The file that it stands in: the new one, or the old one for what is gone.
    pub file: String,
    /// Line, 1 is the first.
    pub line: usize,
    /// Whether a running gateway can take it.
    pub is_live: bool,
}

/// A checked config and the text that it came from.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// What errors and changes call it.
    pub file: String,
    /// The text.
    pub text: String,
    /// What it says.
    pub config: Config,
    /// Messages that the window of each venue limit is made for: no limit is raised further while the
    /// gateway runs.
    pub window_messages: Vec<u32>,
}

impl Sourced {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// As [`Config::from_toml`].
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<super::ConfigError>> {
        let config = Config::from_toml(file, text)?;
        let windows = config.venue_limits.iter();
        let window_messages = windows.map(|limit| window_messages(limit.messages_max)).collect();
        Ok(Self { file: file.to_owned(), text: text.to_owned(), config, window_messages })
    }

    /// The same for a gateway whose windows were made by another one.
    #[must_use]
    pub fn in_windows(mut self, window_messages: &[u32]) -> Self {
        self.window_messages = window_messages.to_vec();
        self
    }

    /// What would change with `new`, key by key in the order of the file: nothing where all values are
    /// the same, however they are written. Where some key is not live, `new` needs a restart.
    pub fn change_to(&self, new: &Self) -> Vec<KeyChange> {
        if self.config.digest == new.config.digest {
            return Vec::new();
        }
        let mut changes = Stated::changes((&self.file, &self.text), (&new.file, &new.text));
        let (old_fixed, new_fixed) = (fixed(&self.config), fixed(&new.config));
        if old_fixed == new_fixed {
            // What is fixed may be written in another way: that is no change.
            changes.retain(|change| change.is_live);
        } else if changes.iter().all(|change| change.is_live) {
            changes.extend(unnamed(&old_fixed, &new_fixed, &new.file));
        }
        self.refuse_larger_windows(&new.config, &mut changes);
        changes
    }

    /// What makes a limit larger than its window is not live.
    fn refuse_larger_windows(&self, new: &Config, changes: &mut [KeyChange]) {
        for (limit, most) in new.venue_limits.iter().zip(&self.window_messages) {
            if limit.messages_max > *most {
                let table = format!("venue_limit {:?}.", limit.name);
                let of_it = changes.iter_mut().filter(|change| change.key.starts_with(&table));
                of_it.for_each(|change| change.is_live = false);
            }
        }
    }
}

/// The values that a running gateway is built on: all but those of [`keys`], and what is made of those
/// for good at the start.
fn fixed(config: &Config) -> Value {
    let mut all = serde_json::to_value(config).unwrap_or_default();
    let Some(tables) = all.as_object_mut() else { return all };
    for [table, key] in keys::CONTROL {
        tables.get_mut(table).and_then(Value::as_object_mut).map(|table| table.remove(key));
    }
    // The limit in force is that of the table; that there is one asks for a port that tells of completions.
    let ports = tables.get_mut("ports").and_then(Value::as_array_mut);
    for limit in ports.into_iter().flatten().filter_map(|port| port.get_mut("inflight_limit_bytes"))
    {
        *limit = json!(!limit.is_null());
    }
    let limits = tables.get_mut("venue_limits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten().filter_map(Value::as_object_mut) {
        limit
            .retain(|key, _| !["messages_max", "cancel_reserve", "bucket"].contains(&key.as_str()));
    }
    tables.insert("regime".to_owned(), fixed_regime(config));
    // Rows and figures know profiles by their places.
    let names = config.profiles.iter().map(|profile| json!(profile.name)).collect();
    tables.insert("profiles".to_owned(), names);
    tables.insert("built_in".to_owned(), built_in(config));
    all
}

/// What of `[regime]` is fixed: when it decides, over which classes, and the states to be in.
fn fixed_regime(config: &Config) -> Value {
    let regime = &config.regime;
    let machine = |machine: &Machine| {
        let states = machine.states.iter().map(|state| json!([state.name, state.severity]));
        json!({
            "name": machine.name, "scope": machine.scope, "lowest": machine.lowest,
            "states": states.collect::<Vec<_>>(),
        })
    };
    json!({
        "mode": regime.mode, "tick": regime.tick, "allow": regime.allow, "baselines": regime.baselines,
        "canary_share": regime.canary_share_ppm, "switchback_block": regime.switchback_block,
        "machines": regime.machines.iter().map(machine).collect::<Vec<_>>(),
    })
}

/// What is made of the class table for good: the messages that a tag may claim.
fn built_in(config: &Config) -> Value {
    let of_class = config.classes.iter().enumerate().map(|(index, class)| {
        let messages = class.intent.then(|| config.messages_claimed_max(index));
        (class.name.clone(), json!(messages))
    });
    Value::Object(of_class.collect::<Map<_, _>>())
}

/// Fixed values that differ though no key that is fixed does: where they stand in the checked config.
fn unnamed(old: &Value, new: &Value, file: &str) -> Option<KeyChange> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return None };
    let tables = old.keys().chain(new.keys());
    let differs = tables.into_iter().find(|table| old.get(*table) != new.get(*table))?;
    Some(KeyChange {
        key: format!("what follows for `{differs}`"),
        was: None,
        is: None,
        file: file.to_owned(),
        line: 1,
        is_live: false,
    })
}
