//! What a check found.

use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing; nothing has to be done.
    Note,
    /// In the way of a gateway.
    Bad,
    /// Not looked at, or not to be known here.
    Skipped,
}

impl Level {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
            Self::Skipped => "skipped",
        }
    }
}

/// What mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Commands for root that take effect at once and last until the next boot.
    Now(Vec<String>),
    /// Parameters of the kernel: they take effect with the next boot.
    Boot(String),
    /// Something that a person has to do elsewhere.
    ByHand(String),
}

impl Mend {
    /// One line each, for people.
    pub fn in_words(&self) -> Vec<String> {
        match self {
            Self::Now(commands) => commands.clone(),
            Self::Boot(parameters) => vec![format!("kernel parameters, then reboot: {parameters}")],
            Self::ByHand(what) => vec![what.clone()],
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Now(commands) => json!({ "when": "now", "commands": commands }),
            Self::Boot(parameters) => json!({ "when": "boot", "parameters": parameters }),
            Self::ByHand(what) => json!({ "when": "by_hand", "what": what }),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is there.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// What mends it.
    pub mend: Option<Mend>,
}

impl Finding {
    /// In JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "level": self.level.name(),
            "found": self.found,
            "why": self.why,
            "mend": self.mend.as_ref().map(Mend::to_json),
        })
    }
}

/// A check by name, with why it matters: what each of its findings says.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Why it matters.
    pub why: &'static str,
}

impl Check {
    /// As it should be.
    pub fn good(&self, found: impl Into<String>) -> Vec<Finding> {
        vec![self.finding(Level::Good, found, None)]
    }

    /// Worth knowing.
    pub fn note(&self, found: impl Into<String>) -> Vec<Finding> {
        vec![self.finding(Level::Note, found, None)]
    }

    /// Not to be known.
    pub fn skipped(&self, found: impl Into<String>) -> Vec<Finding> {
        vec![self.finding(Level::Skipped, found, None)]
    }

    /// In the way.
    pub fn bad(&self, found: impl Into<String>, mend: Option<Mend>) -> Vec<Finding> {
        vec![self.finding(Level::Bad, found, mend)]
    }

    fn finding(&self, level: Level, found: impl Into<String>, mend: Option<Mend>) -> Finding {
        Finding { check: self.name, level, found: found.into(), why: self.why, mend }
    }
}
