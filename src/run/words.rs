//! The stop page as the data cores read it and as control writes it.

use std::sync::Arc;

use control::request::Word;
use control::stop_words::{Applied, StopError, StopWords};
use dataplane::stop_page::{RawWords, Scope, StopPage, StopPageError};
use dataplane::worker::Words;
use model::stop::{StopWord, StopWords as Snapshot};
use serde_json::{Map, Value, json};

/// A data core's view: looks at one cache line on every poll.
pub struct PageReader {
    page: Arc<StopPage>,
    last: RawWords,
}

impl PageReader {
    /// Everything runs until the first look.
    pub fn new(page: Arc<StopPage>) -> Self {
        Self { page, last: RawWords::default() }
    }
}

impl Words for PageReader {
    #[inline]
    fn changed(&mut self) -> Option<Snapshot> {
        self.page.snapshot(&mut self.last).then(|| self.page.decode(&self.last))
    }
}

/// Control's view.
pub struct PageWriter(pub Arc<StopPage>);

impl StopWords for PageWriter {
    fn apply(&self, scope: &str, word: Word) -> Result<Applied, StopError> {
        let refused = |error: StopPageError| StopError(error.to_string());
        let scope: Scope = scope.parse().map_err(|error| StopError(format!("{error}")))?;
        let resumed = match word {
            Word::Halt => {
                self.0.set(&scope, StopWord::Halt).map_err(refused)?;
                return Ok(Applied { state: StopWord::Halt, held_by: vec![] });
            }
            Word::Passthrough => {
                let change = self.0.set(&scope, StopWord::Passthrough).map_err(refused)?;
                return Ok(Applied { state: change.after, held_by: vec![] });
            }
            Word::Resume => self.0.resume(&scope).map_err(refused)?,
        };
        let strictest = resumed.still_held.iter().map(|(_, word)| *word).max();
        Ok(Applied {
            state: resumed.change.after.max(strictest.unwrap_or_default()),
            held_by: resumed.still_held.iter().map(|(scope, _)| scope.to_string()).collect(),
        })
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
