//! The quick variant of `scripts/fuzz --flood`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../dataplane/tests/common/mod.rs"]
mod common;
#[path = "flood/mod.rs"]
mod flood;

#[test]
fn frames_that_nobody_should_trust_are_all_accounted_for() {
    let outcome = flood::run(300_000, 20_261_130, |_| {});
    assert_eq!(outcome.broken(), Vec::<String>::new(), "{:?}\n{outcome:?}", outcome.ends());
    // They are not all turned away at the first check, nor all let through.
    let malformed = outcome.malformed.iter().filter(|n| **n > 100).count();
    assert!(malformed >= 8, "{:?}", outcome.ends());
    assert!(outcome.arrived > 20_000 && outcome.tagged > 1_000, "{outcome:?}");
    assert!(outcome.switches >= 5, "{outcome:?}");
}
