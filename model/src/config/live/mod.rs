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
}

impl Sourced {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// As [`Config::from_toml`].
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<super::ConfigError>> {
        let config = Config::from_toml(file, text)?;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), config })
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
        changes
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
    // Rows and figures know profiles by their places.
    let names = config.profiles.iter().map(|profile| json!(profile.name)).collect();
    tables.insert("profiles".to_owned(), names);
    tables.insert("built_in".to_owned(), built_in(config));
    all
}

/// What is made of the class table for good: deadlines of figures, and the messages that a tag may claim.
fn built_in(config: &Config) -> Value {
    let classes = config.classes.iter().zip(&config.profiles[0].classes).enumerate();
    let of_class = classes.map(|(index, (class, params))| {
        let messages = class.intent.then(|| config.messages_claimed_max(index));
        (class.name.clone(), json!({ "max_hold": params.max_hold, "messages_max": messages }))
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
