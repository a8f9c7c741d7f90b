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

/// What a share `q` of the switches stays within.
fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn figures(settled: &[Settled], of: impl Fn(&Settled) -> f64) -> String {
    let q = |q| quantile(settled.iter().map(&of).collect(), q);
    format!(
        "{{\"n\": {}, \"p50\": {:.2}, \"p90\": {:.2}, \"p99\": {:.2}, \"max\": {:.2}}}",
        settled.len(),
        q(0.5),
        q(0.9),
        q(0.99),
        q(1.0),
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
    let us_per_packet = outcome.seconds * 1e6 / outcome.generated as f64;
    let blocked = |settled: &Settled| f64::from(settled.lost) * us_per_packet;
    let delay = |settled: &Settled| settled.longest_wait.0 as f64 / 1e3;
    println!(
        "{{\"switches\": {}, \"packets\": {}, \"packets_per_s\": {:.0}, \"dropped\": {}, \"swapped\": {}, \
         \"effective_blocked_time_us\": {}, \"switch_delay_us\": {}, \
         \"delay_without_a_change_us\": {}, \"laws_broken\": {}}}",
        outcome.switched.len(),
        outcome.generated,
        outcome.generated as f64 / outcome.seconds,
        outcome.totals.dropped(),
        outcome.swapped,
        figures(&outcome.switched, blocked),
        figures(&outcome.switched, delay),
        figures(&outcome.unchanged, delay),
        broken.len(),
    );
    ExitCode::from(u8::from(!broken.is_empty()))
}
