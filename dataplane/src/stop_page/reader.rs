//! The page as a data core reads it.

use std::sync::Arc;

use model::stop::StopWords;

use super::{RawWords, StopPage};
use crate::worker::Words;

/// A data core's view: looks at two cache lines on every poll.
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
    fn changed(&mut self) -> Option<StopWords> {
        self.page.snapshot(&mut self.last).then(|| self.page.decode(&self.last))
    }

    #[inline]
    fn have_changed(&self) -> bool {
        self.page.differs(&self.last)
    }
}
