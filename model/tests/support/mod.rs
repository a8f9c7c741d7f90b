//! A world in virtual time around one pacer, and an independent account of what it must do.
//!
//! [`world::World`] runs a script of [`world::Action`]s against a pacer: it polls when
//! `next_event` says, offers room, takes some of the offers and gives the rest back. Beside it runs
//! [`oracle::Oracle`], which is told only what crossed the pacer's interface and recomputes, in
//! exact integers, what had to happen. It panics at the first difference.
// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod drive;
pub mod exact;
pub mod limited;
pub mod oracle;
pub mod queue;
pub mod scenario;
pub mod world;

use proptest::test_runner::{Config, RngSeed};
use std::hash::{BuildHasher, Hasher, RandomState};

/// `cases` cases under a fresh seed, printed with a failure. `PROPTEST_RNG_SEED` sets the seed,
/// `PROPTEST_CASES` the number of cases.
pub fn cases(cases: u32) -> Config {
    fn from_env<T: std::str::FromStr>(name: &str) -> Option<T> {
        std::env::var(name).ok()?.parse().ok()
    }
    let seed =
        from_env("PROPTEST_RNG_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let cases = from_env("PROPTEST_CASES").unwrap_or(cases);
    println!("seed {seed}: repeat with PROPTEST_RNG_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}
