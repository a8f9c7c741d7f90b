//! The stop page of a drill: written by what is around the gateway, read by the core.

use std::cell::Cell;
use std::rc::Rc;

use dataplane::worker::Words;
use model::stop::StopWords;

/// See the module's text. Clones are one page.
#[derive(Clone, Default)]
pub struct DrillWords(Rc<Cell<Option<StopWords>>>);

impl DrillWords {
    /// These words hold from the next look on.
    pub fn write(&self, words: StopWords) {
        self.0.set(Some(words));
    }
}

impl Words for DrillWords {
    fn changed(&mut self) -> Option<StopWords> {
        self.0.take()
    }

    fn have_changed(&self) -> bool {
        let words = self.0.take();
        let have = words.is_some();
        self.0.set(words);
        have
    }
}
