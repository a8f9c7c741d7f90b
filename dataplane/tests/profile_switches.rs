//! The quick variant of `scripts/profile-switches`: what a switch must never do. What it takes is
//! measured there; no time is asserted here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod switches;
#[path = "soak/traffic.rs"]
mod traffic;

#[test]
fn switches_under_load_lose_and_reorder_nothing() {
    let plan = switches::Plan { switches: 20, packets_per_s: None, cpu: None };
    let outcome = switches::run(&plan);
    assert_eq!(outcome.broken(&plan), [""; 0], "{:?}", outcome.totals.drops);
}
