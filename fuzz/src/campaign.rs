//! Many runs of one target.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Target;
use crate::mutate::Mutator;

/// A run may take so long on its CPU; what takes longer is as good as hung on the thread that it would stall.
const RUN_TIME_MAX: Duration = Duration::from_secs(1);
/// So often an input has to take that long: a guest's CPU time has in it what its host took away.
const SLOW_RUNS: u32 = 3;
/// Inputs that are kept because they brought a new answer.
const KEPT_MAX: usize = 4_096;

/// An input that breaks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The input.
    pub input: Vec<u8>,
    /// What it breaks.
    pub why: String,
}

/// See the module.
pub struct Campaign {
    target: &'static Target,
    mutator: Mutator,
    corpus: Vec<Vec<u8>>,
    answers: HashSet<u64>,
    runs: u64,
}

impl Campaign {
    /// Begins with the corpus of the target.
    ///
    /// # Errors
    /// An input of the corpus breaks something.
    pub fn new(target: &'static Target, seed: u64) -> Result<Self, Found> {
        let (mutator, answers) = (Mutator::new(seed), HashSet::new());
        let mut new = Self { target, mutator, corpus: Vec::new(), answers, runs: 0 };
        for input in (target.corpus)() {
            new.run(&input)?;
            new.corpus.push(input);
        }
        Ok(new)
    }

    /// Runs the target so often, on inputs that are made of others.
    ///
    /// # Errors
    /// The first input that breaks something.
    pub fn go_on(&mut self, runs: u64) -> Result<(), Found> {
        for _ in 0..runs {
            let [one, other] = [0; 2].map(|_: u8| self.mutator.below(self.corpus.len()));
            let mut input = self.corpus[one].clone();
            self.mutator.change(&mut input, &self.corpus[other]);
            if self.run(&input)? && self.corpus.len() < KEPT_MAX {
                self.corpus.push(input);
            }
        }
        Ok(())
    }

    /// Whether it was answered as nothing before.
    fn run(&mut self, input: &[u8]) -> Result<bool, Found> {
        self.runs += 1;
        let (answer, mut took) = timed(self.target, input)?;
        for _ in 1..SLOW_RUNS {
            if took <= RUN_TIME_MAX {
                break;
            }
            took = timed(self.target, input)?.1;
        }
        if took > RUN_TIME_MAX {
            return Err(Found { input: input.to_vec(), why: format!("it took {took:?}") });
        }
        let mut hasher = DefaultHasher::new();
        // Numbers in it would make every answer a new one.
        for byte in answer.bytes().filter(|byte| !byte.is_ascii_digit()) {
            byte.hash(&mut hasher);
        }
        Ok(self.answers.insert(hasher.finish()))
    }

    /// Runs so far.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// Different answers so far.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }
}

/// What a target answers, and how long this thread had its CPU for it.
fn timed(target: &Target, input: &[u8]) -> Result<(String, Duration), Found> {
    let cpu_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let began = cpu_time();
    let answer = answer(target, input)?;
    Ok((answer, cpu_time().saturating_sub(began)))
}

/// What a target answers to an input.
///
/// # Errors
/// It panicked: what it said.
pub fn answer(target: &Target, input: &[u8]) -> Result<String, Found> {
    // Nothing outlives a run: what a panic leaves behind is dropped.
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Found { input: input.to_vec(), why: text.unwrap_or_else(|| "a panic".to_owned()) }
    })
}
