//! The stop words as control sees them. Where they live is the data plane's business: they have to
//! work with the control thread dead, so control is one writer among others.

use model::stop::StopWord;
use serde_json::Value;

use crate::request::Word;

/// What came of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The strictest word that now holds for packets of the scope, its own or another's.
    pub state: StopWord,
    /// Other scopes that hold packets of it more strictly than its own word does, such as `all`.
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
