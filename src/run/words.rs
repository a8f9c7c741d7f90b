//! The stop page as control and `--direct` write it.

use std::sync::Arc;

use control::request::Word;
use control::stop_words::{Applied, StopError, StopWords};
use dataplane::stop_page::{Scope, StopPage, StopPageError};
use model::stop::StopWord;
use serde_json::{Map, Value, json};

/// See the module.
pub struct PageWriter(pub Arc<StopPage>);

/// Does what a command says, in the process or, with `--direct`, from another one.
///
/// # Errors
/// No such scope, or the page cannot be written.
pub fn apply(page: &StopPage, scope: &Scope, word: Word) -> Result<Applied, StopPageError> {
    let own = match word {
        Word::Halt => page.set(scope, StopWord::Halt)?.after,
        Word::Passthrough => page.set(scope, StopWord::Passthrough)?.after,
        Word::Resume => page.resume(scope)?.change.after,
    };
    let mut stricter = page.other_holds(scope);
    stricter.retain(|(_, word)| *word > own);
    Ok(Applied {
        state: stricter.iter().map(|(_, word)| *word).fold(own, StopWord::max),
        held_by: stricter.iter().map(|(scope, _)| scope.to_string()).collect(),
    })
}

impl StopWords for PageWriter {
    fn apply(&self, scope: &str, word: Word) -> Result<Applied, StopError> {
        let scope: Scope = scope.parse().map_err(|error| StopError(format!("{error}")))?;
        apply(&self.0, &scope, word).map_err(|error| StopError(error.to_string()))
    }

    fn describe(&self) -> Value {
        let words: Map<String, Value> = self
            .0
            .describe()
            .words
            .into_iter()
            .filter(|(_, word)| *word != StopWord::Running)
            .map(|(scope, word)| (scope.to_string(), json!(word.name())))
            .collect();
        Value::Object(words)
    }
}
