//! Frames without end.

use crate::mutate::Mutator;
use crate::targets;

/// Most frames of the corpus are changed; one in so many goes as it is.
const WHOLE_ONE_IN: usize = 4;

/// Good and bad frames, made of those of the targets `frame` and `intent`. A function of the seed.
pub struct Frames {
    mutator: Mutator,
    corpus: Vec<Vec<u8>>,
    bytes_max: usize,
    frame: Vec<u8>,
}

impl Frames {
    /// None of them longer than `bytes_max`.
    pub fn new(seed: u64, bytes_max: usize) -> Self {
        let named = ["frame", "intent"].into_iter().filter_map(targets::find);
        let mut corpus: Vec<Vec<u8>> = named.flat_map(|target| (target.corpus)()).collect();
        corpus.retain(|frame| frame.len() <= bytes_max);
        Self { mutator: Mutator::new(seed), corpus, bytes_max, frame: Vec::new() }
    }

    /// The next one.
    #[allow(clippy::should_implement_trait, reason = "a frame borrows the room that it is made in")]
    pub fn next(&mut self) -> &[u8] {
        let [one, other] = [0; 2].map(|_: u8| self.mutator.below(self.corpus.len()));
        self.frame.clear();
        self.frame.extend_from_slice(&self.corpus[one]);
        if self.mutator.below(WHOLE_ONE_IN) > 0 {
            self.mutator.change(&mut self.frame, &self.corpus[other]);
        }
        self.frame.truncate(self.bytes_max);
        &self.frame
    }
}
