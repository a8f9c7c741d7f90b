//! Many frames that nobody should trust through a gateway between two net_rings: `scripts/fuzz --flood`.
//!
//! `flood [FRAMES] [SEED]`: 10^8 frames and seed 1 unless told otherwise. Prints one line of JSON on stdout.
//! Exit 0: every frame accounted for, every buffer back; 1: a law was broken.
#![allow(clippy::unwrap_used, reason = "a rig that cannot go on has failed")]

#[path = "../../dataplane/tests/common/mod.rs"]
mod common;
#[path = "../tests/flood/mod.rs"]
mod flood;

use std::process::ExitCode;

use serde_json::json;

fn main() -> ExitCode {
    let arguments: Result<Vec<u64>, _> =
        std::env::args().skip(1).map(|text| text.parse()).collect();
    let (frames, seed) = match arguments.as_deref() {
        Ok([]) => (100_000_000, 1),
        Ok([frames]) => (*frames, 1),
        Ok([frames, seed]) => (*frames, *seed),
        _ => {
            eprintln!("usage: flood [FRAMES] [SEED]");
            return ExitCode::from(2);
        }
    };
    let mut told = 0;
    let outcome = flood::run(frames, seed, |made| {
        if made >= told + frames / 10 {
            told = made;
            eprintln!("flood: {made} of {frames}");
        }
    });
    let broken = outcome.broken();
    broken.iter().for_each(|law| eprintln!("flood: BROKEN: {law}"));
    // `run` panics where a buffer is not back in the pool.
    eprintln!("flood: every buffer is back");
    let ends: serde_json::Map<_, _> =
        outcome.ends().iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
    let said = json!({
        "frames": outcome.frames,
        "packets_in": outcome.totals.packets_in,
        "packets_out": outcome.totals.packets_out,
        "drops": ends,
        "tagged": outcome.tagged,
        "profile_switches": outcome.switches,
        "early": outcome.totals.early,
        "seed": seed,
        "seconds": outcome.seconds,
        "laws_broken": broken.len(),
    });
    println!("{said}");
    ExitCode::from(u8::from(!broken.is_empty()))
}
