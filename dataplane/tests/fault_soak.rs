//! The quick variant of `scripts/soak-faults`: 10^6 packets with every fault, and each fault alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod soak;

use dataplane::port::faults::Faults;
use model::time::Nanos;
use soak::{Outcome, run};

fn every_fault(seed: u64) -> Faults {
    Faults {
        seed,
        drop: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        refuse: 0.2,
        withhold_completions: 0.05,
        clock_step: Nanos::from_millis(1),
        clock_step_every: Nanos::from_millis(20),
        ..Faults::default()
    }
}

fn holds(name: &str, faults: &Faults, outcome: &Outcome) {
    let broken = outcome.broken();
    assert!(broken.is_empty(), "{name}, {faults:?}: {broken:?}\n{:?}\n{outcome:?}", outcome.ends());
}

#[test]
fn a_million_packets_with_every_fault_are_accounted_for() {
    let faults = every_fault(20_261_120);
    let outcome = run(1_000_000, &faults, |_| {});
    holds("every fault", &faults, &outcome);
    let (rx, tx) = (outcome.rx, outcome.tx);
    // Each fault was there: a wrapper that does nothing would pass every law.
    let some = [rx.lost, rx.duplicated, rx.held_back, tx.refusals, tx.withheld];
    assert!(some.iter().all(|&n| n > 1_000), "{outcome:?}");
    assert!(outcome.tapped.out_of_order > 0 && outcome.tapped.twice > 0, "{outcome:?}");
    assert!(outcome.clock_steps > 0 && outcome.switches >= 19, "{outcome:?}");
    assert!(outcome.in_flight_peak > 0 && outcome.in_flight_peak <= 32 << 10, "{outcome:?}");
    assert_eq!(outcome.malformed, 1_000);
}

#[test]
fn each_fault_alone_keeps_the_books() {
    let none = Faults { seed: 7, ..Faults::default() };
    for (name, faults) in [
        ("none", none),
        ("drop", Faults { drop: 0.5, ..none }),
        ("reorder", Faults { reorder: 0.5, reorder_window: 64, ..none }),
        ("duplicate", Faults { duplicate: 1.0, ..none }),
        ("refuse", Faults { refuse: 0.9, ..none }),
        ("withhold", Faults { withhold_completions: 1.0, ..none }),
    ] {
        let outcome = run(100_000, &faults, |_| {});
        holds(name, &faults, &outcome);
        if faults.reorder == 0.0 {
            assert_eq!(outcome.tapped.out_of_order, 0, "{name}");
        }
        if faults.duplicate == 0.0 {
            assert_eq!(outcome.tapped.twice, 0, "{name}");
        }
    }
}
