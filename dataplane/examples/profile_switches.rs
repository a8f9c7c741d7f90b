//! What profile switches cost under load: `scripts/profile-switches`.
//!
//! `profile_switches [SWITCHES] [PACKETS_PER_S] [CPU]`. Prints one line of JSON on stdout. Exit 0: no
//! law was broken; 1: some was.
#![allow(clippy::unwrap_used, reason = "a rig that cannot go on has failed")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/switches/mod.rs"]
mod switches;
#[path = "../tests/soak/traffic.rs"]
mod traffic;

use std::process::ExitCode;

use switches::{Plan, Settled};

/// The wait that a share `q` of the switches stays within, us.
fn wait_us(settled: &[Settled], q: f64) -> f64 {
    let mut waits: Vec<u64> = settled.iter().map(|settled| settled.longest_wait.0).collect();
    waits.sort_unstable();
    let rank = (q * waits.len() as f64).ceil() as usize;
    waits.get(rank.saturating_sub(1)).map_or(0.0, |ns| *ns as f64 / 1e3)
}

fn figures(settled: &[Settled]) -> String {
    let lost: u64 = settled.iter().map(|settled| u64::from(settled.lost)).sum();
    let of = |q| wait_us(settled, q);
    format!(
        "{{\"n\": {}, \"lost\": {lost}, \"p50\": {:.2}, \"p90\": {:.2}, \"p99\": {:.2}, \"max\": {:.2}}}",
        settled.len(),
        of(0.5),
        of(0.9),
        of(0.99),
        of(1.0),
    )
}

fn main() -> ExitCode {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let Ok([switches, packets_per_s, cpu]) = numbers.as_deref() else {
        eprintln!("usage: profile_switches SWITCHES PACKETS_PER_S CPU");
        return ExitCode::from(2);
    };
    let plan =
        Plan { switches: *switches, packets_per_s: Some(*packets_per_s), cpu: Some(*cpu as usize) };
    let outcome = switches::run(&plan);
    let broken = outcome.broken(&plan);
    for law in &broken {
        eprintln!("profile_switches: BROKEN: {law}");
    }
    // `run` panics where a buffer is not back in the pool.
    eprintln!("profile_switches: every buffer is back");
    println!(
        "{{\"switches\": {}, \"packets\": {}, \"packets_per_s\": {:.0}, \"dropped\": {}, \"swapped\": {}, \
         \"effective_blocked_time_us\": {}, \"without_a_change_us\": {}, \"laws_broken\": {}}}",
        outcome.switched.len(),
        outcome.generated,
        outcome.generated as f64 / outcome.seconds,
        outcome.totals.dropped(),
        outcome.swapped,
        figures(&outcome.switched),
        figures(&outcome.unchanged),
        broken.len(),
    );
    ExitCode::from(u8::from(!broken.is_empty()))
}
