//! Bytes that nobody should trust, given to everything that reads some.
//!
//! A [`Target`] is a reader and the laws that its answer must keep; [`Campaign`] feeds it inputs that grow out
//! of a corpus by mutation. What a target answers is summed up in a few bits, and an input that brings a new
//! answer joins the corpus of the campaign: so without any instrumentation of the code a campaign gets beyond
//! the first check of a format. It is a function of its seed and of the number of runs.

mod campaign;
mod frames;
mod mutate;
pub mod targets;

pub use campaign::{Campaign, Found, answer};
pub use frames::Frames;

/// A reader, what it may be given, and what must hold.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Inputs to begin with.
    pub corpus: fn() -> Vec<Vec<u8>>,
    /// Runs it. Panics where a law is broken; otherwise what was answered, in words that are the same for
    /// inputs that took the same way.
    pub run: fn(&[u8]) -> String,
}
