//! The stop page as control and `--direct` write it.

use std::sync::Arc;

use control::request::Word;
use control::stop_words::{ScopeState, StopError, StopWords};
use dataplane::stop_page::{Scope, StopPage, StopPageError};
use model::stop::StopWord;

/// See the module.
pub struct PageWriter(pub Arc<StopPage>);

/// Does what a command says, in the process or, with `--direct`, from another one.
///
/// # Errors
/// No such scope, or the page cannot be written.
pub fn apply(page: &StopPage, scope: &Scope, word: Word) -> Result<ScopeState, StopPageError> {
    let own = match word {
        Word::Halt => page.set(scope, StopWord::Halt)?.after,
        Word::Passthrough => page.set(scope, StopWord::Passthrough)?.after,
        Word::Resume => page.resume(scope)?.change.after,
    };
    Ok(state(scope, own, &page.other_holds(scope)))
}

/// What holds for packets of `scope`, which has the word `own`, with `others` that hold some of them.
fn state(scope: &Scope, own: StopWord, others: &[(Scope, StopWord)]) -> ScopeState {
    let stricter = others.iter().filter(|(_, word)| *word > own);
    let of_all = others.iter().find(|(other, _)| *other == Scope::All).map(|(_, word)| *word);
    ScopeState {
        scope: scope.to_string(),
        word: own,
        state: of_all.map_or(own, |word| word.max(own)),
        held_by: stricter.map(|(scope, word)| (scope.to_string(), *word)).collect(),
    }
}

impl StopWords for PageWriter {
    fn apply(&self, scope: &str, word: Word) -> Result<ScopeState, StopError> {
        let scope: Scope = scope.parse().map_err(|error| StopError::Unknown(format!("{error}")))?;
        apply(&self.0, &scope, word).map_err(|error| match error {
            StopPageError::UnknownScope { .. } => StopError::Unknown(error.to_string()),
            _ => StopError::Failed(error.to_string()),
        })
    }

    fn scopes(&self) -> Vec<ScopeState> {
        let words = self.0.describe().words;
        words
            .iter()
            .map(|(scope, own)| state(scope, *own, &scope.others_that_hold(&words)))
            .collect()
    }
}
