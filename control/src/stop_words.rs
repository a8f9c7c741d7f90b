//! The stop words as control sees them. Where they live is the data plane's business: they have to
//! work with the control thread dead, so control is one writer among others.

use model::stop::StopWord;
use serde_json::Value;

use crate::request::Word;

/// What came of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What now holds for the scope: the strictest of its own word and those above it.
    pub state: StopWord,
    /// Scopes that still hold it stricter than its own word, such as `all`.
    pub held_by: Vec<String>,
}

/// A word that could not be set, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StopError(pub String);

/// Sets and shows the stop words.
pub trait StopWords: Send {
    /// Sets the word of `scope` (`all`, `venue:NAME`, `class:NAME`); `resume` clears it.
    ///
    /// # Errors
    /// No such scope, or the page cannot be written.
    fn apply(&self, scope: &str, word: Word) -> Result<Applied, StopError>;

    /// Every scope that does not run, for `status`.
    fn describe(&self) -> Value;
}
