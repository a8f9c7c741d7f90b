//! The proof of the pacer in virtual time: random worlds around the real pacer and in-flight account,
//! and an independent checker that holds every departure to the design.
//!
//! Every run prints its seed; `PROVE_SEED=N` repeats it, and `PROVE_CASE=N` with the printed row
//! repeats one world. `scripts/prove` runs as many packets as it is told to, and prints the table.

mod arbitration;
mod bucket;
mod case;
mod check;
mod device;
mod rates;
mod rng;
mod table;
mod tally;
mod traffic;
mod windows;
mod world;

use case::{Case, Row};
use model::profile::Lateness;
use rng::Rng;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tally::Tally;

const POLICIES: [Lateness; 4] =
    [Lateness::CatchUp, Lateness::ReAnchor, Lateness::Drop, Lateness::SendNow];

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `PROVE_SEED`, else `usual`; printed.
fn seed(usual: u64) -> u64 {
    let seed = from_env("PROVE_SEED").unwrap_or(usual);
    println!("seed {seed}: repeat with PROVE_SEED={seed}");
    seed
}

fn rows(flows: &[u32]) -> Vec<Row> {
    let row = |lateness, jitter| move |&flows: &u32| Row { lateness, jitter, flows };
    POLICIES
        .iter()
        .flat_map(|&policy| [false, true].map(|jitter| (policy, jitter)))
        .flat_map(|(policy, jitter)| flows.iter().map(row(policy, jitter)))
        .collect()
}

/// Worlds of one row until `packets` have arrived in them, and the seeds of those that broke.
fn prove_row(row: Row, seed: u64, packets: u64) -> (Tally, Vec<u64>) {
    let of_row = u64::from(row.flows) << 8 ^ (row.lateness as u64) << 1 ^ u64::from(row.jitter);
    let mut rng = Rng::new(seed ^ of_row);
    let (mut all, mut broken) = (Tally::default(), Vec::new());
    while all.arrived < packets && broken.len() < 5 {
        let world = from_env("PROVE_CASE").unwrap_or_else(|| rng.next());
        let most = if row.flows > 1_000 { 50_000 } else { 6_000 };
        // As it is drawn, so that the seed of the world alone repeats it.
        let case = Case::draw(row, world, 500 + world % most);
        let run = AssertUnwindSafe(|| world::World::new(&case).run());
        match catch_unwind(run) {
            Ok(tally) => all.add(&tally),
            Err(_) => broken.push(world),
        }
    }
    (all, broken)
}

fn prove(usual: u64, flows: &[u32], packets: u64) {
    let seed = seed(usual);
    let rows = rows(flows);
    let share = packets / rows.len() as u64;
    let mut table = table::Table::new();
    let mut breaches = Vec::new();
    for row in rows {
        let rate = rates::prove(row, seed, 400).unwrap_or_else(|why| {
            breaches.push(format!("{row:?}: rate: {why}"));
            f64::NAN
        });
        let (tally, broken) = prove_row(row, seed, share);
        table.row(row, &tally, rate);
        breaches.extend(broken.iter().map(|world| format!("{row:?}: PROVE_CASE={world}")));
    }
    table.print();
    assert!(breaches.is_empty(), "PROVE_SEED={seed} breaks {breaches:#?}");
}

fn arbitrate(seed: u64, packets: u64) {
    let figures = arbitration::prove(seed, packets)
        .unwrap_or_else(|why| panic!("PROVE_SEED={seed} breaks arbitration: {why}"));
    println!("arbitration {figures:?}");
}

#[test]
fn who_goes_first_in_random_worlds_is_right() {
    arbitrate(seed(1), 100_000);
}

/// The same worlds every time: what is rare must not fail at random here.
#[test]
fn every_departure_of_random_worlds_is_right() {
    prove(1, &[1, 100, 2_000], from_env("PROVE_PACKETS").unwrap_or(200_000));
}

/// The whole of it: `scripts/prove`.
#[test]
#[ignore = "minutes: run by scripts/prove in a release build"]
fn the_whole_proof() {
    let fresh = RandomState::new().build_hasher().finish();
    let packets = from_env("PROVE_PACKETS").unwrap_or(10_000_000);
    prove(fresh, &[1, 100, 10_000, 100_000], packets);
    arbitrate(from_env("PROVE_SEED").unwrap_or(fresh), packets / 10);
}
