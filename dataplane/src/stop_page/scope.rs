//! What a stop word is for.

use std::fmt;
use std::str::FromStr;

use model::stop::StopWord;

/// The scope of a stop word, as it stands on the command line: `all`, `venue:NAME`, `class:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every packet.
    All,
    /// Packets towards one venue of the rules.
    Venue(String),
    /// Packets of one class.
    Class(String),
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no scope: say all, venue:NAME or class:NAME")]
pub struct BadScope(pub String);

impl Scope {
    /// Whether one packet can be in both scopes.
    const fn meets(&self, other: &Self) -> bool {
        !matches!(
            (self, other),
            (Self::Venue(_), Self::Venue(_)) | (Self::Class(_), Self::Class(_))
        )
    }

    /// Those of `words` that are of other scopes, do not run and hold packets of this one too.
    pub fn others_that_hold(&self, words: &[(Self, StopWord)]) -> Vec<(Self, StopWord)> {
        let holds = |(other, word): &&(Self, StopWord)| {
            *word != StopWord::Running && other != self && other.meets(self)
        };
        words.iter().filter(holds).cloned().collect()
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("venue", name)) if !name.is_empty() => Ok(Self::Venue(name.to_owned())),
            Some(("class", name)) if !name.is_empty() => Ok(Self::Class(name.to_owned())),
            _ => Err(BadScope(text.to_owned())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Venue(name) => write!(f, "venue:{name}"),
            Self::Class(name) => write!(f, "class:{name}"),
        }
    }
}
