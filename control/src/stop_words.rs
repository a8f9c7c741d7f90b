//! The stop words as control sees them. Where they live is the data plane's business: they have to
//! work with the control thread dead, so control is one writer among others.

use model::config::{Class, Config};
use model::pacer::HaltRule;
use model::stop::StopWord;
use serde_json::{Map, Value, json};

use crate::registry::Registry;
use crate::request::Word;

/// A scope, its word and what holds for its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeState {
    /// `all`, `venue:NAME`, `class:NAME`.
    pub scope: String,
    /// Its own word.
    pub word: StopWord,
    /// The word that holds for every packet of it: its own, or a stricter one of `all`.
    pub state: StopWord,
    /// Other scopes that hold packets of it more strictly than its own word does, each with its word.
    /// `all` holds every packet, the others those that are theirs too.
    pub held_by: Vec<(String, StopWord)>,
}

impl ScopeState {
    /// The reply to `word`.
    pub fn reply(&self, word: Word) -> Value {
        json!({
            "ok": true,
            "scope": self.scope,
            "word": word.name(),
            "state": self.state.name(),
            "held_by": by_scope(self.held_by.iter().map(|(scope, word)| (scope.as_str(), *word))),
        })
    }

    fn publish(&self, registry: &mut Registry) {
        let scope = ("scope", self.scope.as_str());
        for of in StopWord::ALL {
            let help = "1 for the stop word that was given to the scope itself.";
            let labels = [scope, ("word", of.name())];
            registry.gauge("stop_word", help, &labels, u64::from(of == self.word));
            let help = "1 for the stop word that holds for every packet of the scope.";
            let labels = [scope, ("state", of.name())];
            registry.gauge("stop_state", help, &labels, u64::from(of == self.state));
        }
        for (by, word) in &self.held_by {
            let help = "1: packets of the scope are held by the stricter word of another one.";
            let labels = [scope, ("by", by.as_str()), ("word", word.name())];
            registry.gauge("stop_held_by", help, &labels, 1_u64);
        }
    }
}

/// What halts of classes leave going, for the answer to whoever halts one: a word on a class that carries no
/// orders is set like any other, and ends nothing.
#[derive(Clone, Debug, Default)]
pub struct HaltGaps(Vec<(String, String)>);

impl HaltGaps {
    /// Those of every class.
    pub fn of(config: &Config) -> Self {
        let gap = |class: &Class| Some((format!("class:{}", class.name), HaltRule::gap(class)?));
        Self(config.classes.iter().filter_map(gap).collect())
    }

    /// Puts it into `reply` to a halt of `scope` as `note`, where there is any.
    pub fn note(&self, word: Word, scope: &str, reply: &mut Value) {
        if let Some((_, gap)) = self.0.iter().find(|(of, _)| word == Word::Halt && of == scope) {
            reply["note"] = json!(gap);
        }
    }
}

/// A word that could not be set, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// There is no such scope.
    #[error("{0}")]
    Unknown(String),
    /// The page cannot be written.
    #[error("{0}")]
    Failed(String),
}

/// Sets and shows the stop words.
pub trait StopWords: Send {
    /// Sets the word of `scope` (`all`, `venue:NAME`, `class:NAME`); `resume` clears it.
    ///
    /// # Errors
    /// No such scope, or the page cannot be written.
    fn apply(&self, scope: &str, word: Word) -> Result<ScopeState, StopError>;

    /// Every scope: `all`, the venues, the classes.
    fn scopes(&self) -> Vec<ScopeState>;
}

/// The `stop_words` of `status`: every scope whose own word is not `running`.
pub(crate) fn to_json(scopes: &[ScopeState]) -> Value {
    let words = scopes.iter().map(|scope| (scope.scope.as_str(), scope.word));
    by_scope(words.filter(|(_, word)| *word != StopWord::Running))
}

/// Puts every scope on the list.
pub(crate) fn publish(scopes: &[ScopeState], registry: &mut Registry) {
    scopes.iter().for_each(|scope| scope.publish(registry));
}

fn by_scope<'a>(words: impl Iterator<Item = (&'a str, StopWord)>) -> Value {
    Value::Object(
        words.map(|(scope, word)| (scope.to_owned(), json!(word.name()))).collect::<Map<_, _>>(),
    )
}
