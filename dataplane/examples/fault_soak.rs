//! Many packets through a gateway with every fault on: `scripts/soak-faults`.
//!
//! `fault_soak [PACKETS] [SEED]`: 10^8 packets and seed 1 unless told otherwise. Prints one line of
//! JSON on stdout. Exit 0: every packet accounted for, every buffer back; 1: a law was broken.
#![allow(clippy::unwrap_used, reason = "a rig that cannot go on has failed")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/soak/mod.rs"]
mod soak;

use std::process::ExitCode;

use dataplane::port::faults::Faults;
use model::time::Nanos;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (packets, seed) = match (arguments.next(), arguments.next()) {
        (None, _) => (100_000_000, 1),
        (Some(Ok(packets)), None) => (packets, 1),
        (Some(Ok(packets)), Some(Ok(seed))) => (packets, seed),
        _ => {
            eprintln!("usage: fault_soak [PACKETS] [SEED]");
            return ExitCode::from(2);
        }
    };
    let faults = Faults {
        seed,
        drop: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        refuse: 0.2,
        withhold_completions: 0.05,
        clock_step: Nanos::from_millis(1),
        clock_step_every: Nanos::from_millis(100),
        ..Faults::default()
    };
    eprintln!("fault_soak: {packets} packets, {faults:?}");
    let mut told = 0;
    let outcome = soak::run(packets, &faults, |made| {
        if made >= told + packets / 10 {
            told = made;
            eprintln!("fault_soak: {made} of {packets}");
        }
    });
    let broken = outcome.broken();
    for law in &broken {
        eprintln!("fault_soak: BROKEN: {law}");
    }
    let ends: Vec<_> = outcome.ends().iter().map(|(name, n)| format!("\"{name}\": {n}")).collect();
    // `run` panics where a buffer is not back in the pool.
    eprintln!("fault_soak: every buffer is back");
    println!(
        "{{\"packets\": {}, \"lost\": {}, \"duplicated\": {}, \"held_back\": {}, \
         \"out_of_order_before\": {}, \"refusals\": {}, \"withheld\": {}, \"clock_steps\": {}, \
         \"profile_switches\": {}, \"packets_in\": {}, \"packets_out\": {}, \"drops\": {{{}}}, \
         \"swapped\": {}, \"early\": {}, \"in_flight_peak_bytes\": {}, \
         \"seed\": {seed}, \"seconds\": {:.1}, \"laws_broken\": {}}}",
        outcome.generated,
        outcome.rx.lost,
        outcome.rx.duplicated,
        outcome.rx.held_back,
        outcome.tapped.out_of_order,
        outcome.tx.refusals,
        outcome.tx.withheld,
        outcome.clock_steps,
        outcome.switches,
        outcome.totals.packets_in,
        outcome.totals.packets_out,
        ends.join(", "),
        outcome.swapped,
        outcome.totals.early,
        outcome.in_flight_peak,
        outcome.seconds,
        broken.len(),
    );
    ExitCode::from(u8::from(!broken.is_empty()))
}
