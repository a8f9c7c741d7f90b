//! How late packets leave, beside bare spin loops, in one run.
//!
//! `bench-release [--rounds 60] [--block-ms 10] [--cpu 1] [--out DIR]`: a table on stdout;
//! `release.json` and `release.svg` in DIR. Exit 1 with `--gate` when a bound is not met.

use std::error::Error;
use std::path::PathBuf;

use bench::machine::{Machine, Marks};
use bench::release::{Arm, Block, World, bare_spin, gap};
use bench::stats::quantile;
use bench::svg;
use clap::Parser;
use model::time::Nanos;
use serde::Serialize;

/// The release error of the product beside two spin loops.
#[derive(Parser)]
struct Args {
    /// Blocks of each arm at each rate.
    #[arg(long, default_value_t = 60, overrides_with = "rounds")]
    rounds: usize,
    /// Length of a block, ms.
    #[arg(long, default_value_t = 10)]
    block_ms: u64,
    /// CPU to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Where release.json and release.svg go.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Exit 1 when a bound is not met.
    #[arg(long)]
    gate: bool,
}

/// Packets per second, and whether the bounds hold for it.
const RATES: [(u64, bool); 4] =
    [(10_000, true), (100_000, true), (500_000, true), (1_000_000, false)];
/// No turn of any of the loops takes so long by itself: the CPU was away.
const TURN_MAX_NS: u64 = 20_000;
/// Quantiles of the curves in the picture.
const CURVE: [f64; 12] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// One arm at one rate.
#[derive(Clone, Debug, Serialize)]
struct Row {
    arm: Arm,
    packets_per_s: u64,
    /// Packets in the blocks that count.
    packets: usize,
    blocks: usize,
    /// Blocks with steal, preemption or a turn of more than 20 us; they do not count.
    disturbed_blocks: usize,
    /// All blocks are disturbed, so all count.
    counts_disturbed: bool,
    p50_ns: f64,
    p99_ns: f64,
    p999_ns: f64,
    max_ns: f64,
    min_ns: f64,
    /// p99 and maximum over all blocks, disturbed ones too.
    p99_all_ns: f64,
    max_all_ns: f64,
    /// Gaps within 256 ns of the wanted one.
    within_256_ns: f64,
    /// Gaps below a tenth of the wanted one.
    bursts: f64,
    /// Mean time of a turn of the loop.
    turn_ns: f64,
    /// Quantiles of the error, for the picture.
    curve: Vec<(f64, f64)>,
}

fn row(arm: Arm, packets_per_s: u64, block_ns: f64, blocks: &[(Block, bool)]) -> Row {
    let counts_disturbed = blocks.iter().all(|(_, disturbed)| *disturbed);
    let counted = || blocks.iter().filter(|(_, d)| counts_disturbed || !d).map(|(block, _)| block);
    let mut errors: Vec<f64> = counted().flat_map(|b| b.errors.iter().copied()).collect();
    let mut all: Vec<f64> = blocks.iter().flat_map(|(b, _)| b.errors.iter().copied()).collect();
    let gaps: Vec<f64> = counted().flat_map(|b| b.gaps.iter().copied()).collect();
    let wanted = gap(packets_per_s).0 as f64;
    let share = |keep: &dyn Fn(f64) -> bool| {
        gaps.iter().filter(|&&g| keep(g)).count() as f64 / gaps.len().max(1) as f64
    };
    let turns: u64 = counted().map(|b| b.turns).sum();
    Row {
        arm,
        packets_per_s,
        packets: errors.len(),
        blocks: blocks.len(),
        disturbed_blocks: blocks.iter().filter(|(_, d)| *d).count(),
        counts_disturbed,
        p50_ns: quantile(&mut errors, 0.5),
        p99_ns: quantile(&mut errors, 0.99),
        p999_ns: quantile(&mut errors, 0.999),
        max_ns: quantile(&mut errors, 1.0),
        min_ns: quantile(&mut errors, 0.0),
        p99_all_ns: quantile(&mut all, 0.99),
        max_all_ns: quantile(&mut all, 1.0),
        within_256_ns: share(&|g| (g - wanted).abs() <= 256.0),
        bursts: share(&|g| g < wanted / 10.0),
        turn_ns: block_ns * counted().count() as f64 / turns.max(1) as f64,
        curve: CURVE.iter().map(|&q| (q, quantile(&mut errors, q))).collect(),
    }
}

/// A bound and what was found.
#[derive(Clone, Debug, Serialize)]
struct Verdict {
    what: String,
    found_ns: f64,
    bound_ns: f64,
    met: bool,
}

fn verdicts(rows: &[Row], slot: Nanos) -> Vec<Verdict> {
    let of = |arm, rate| rows.iter().find(|r| r.arm == arm && r.packets_per_s == rate);
    let mut verdicts = Vec::new();
    for (rate, _) in RATES.iter().filter(|(_, is_bound)| *is_bound) {
        if let (Some(ours), Some(spin)) = (of(Arm::Worker, *rate), of(Arm::PollingSpin, *rate)) {
            for (name, found_ns, bound_ns) in [
                ("p50", ours.p50_ns, 2.0 * spin.p50_ns + slot.0 as f64),
                ("p99", ours.p99_ns, 3.0 * spin.p99_ns + slot.0 as f64),
            ] {
                let what = format!("{name} at {rate} packets/s");
                verdicts.push(Verdict { what, found_ns, bound_ns, met: found_ns <= bound_ns });
            }
        }
    }
    verdicts
}

fn print(rows: &[Row], verdicts: &[Verdict], slot: Nanos) {
    println!("t_tx - t_eligible, ns; slot {} ns", slot.0);
    println!(
        "{:>9} {:<17} {:>8} {:>7} {:>7} {:>8} {:>9} {:>10} {:>8} {:>8} {:>8}  blocks",
        "packets/s",
        "",
        "packets",
        "p50",
        "p99",
        "p99.9",
        "max",
        "max of all",
        "+-256ns",
        "bursts",
        "ns/turn"
    );
    for r in rows {
        println!(
            "{:>9} {:<17} {:>8} {:>7} {:>7} {:>8} {:>9} {:>10} {:>7.2}% {:>7.3}% {:>8.1}  {} ({} disturbed{})",
            r.packets_per_s,
            r.arm.name(),
            r.packets,
            r.p50_ns,
            r.p99_ns,
            r.p999_ns,
            r.max_ns,
            r.max_all_ns,
            100.0 * r.within_256_ns,
            100.0 * r.bursts,
            r.turn_ns,
            r.blocks,
            r.disturbed_blocks,
            if r.counts_disturbed { ", all count" } else { "" },
        );
    }
    println!();
    for v in verdicts {
        let met = if v.met { "met" } else { "NOT met" };
        println!("{:<28} {:>8} ns  bound {:>8} ns  {met}", v.what, v.found_ns, v.bound_ns);
    }
}

fn picture(rows: &[Row]) -> String {
    let panels = RATES.iter().map(|(rate, _)| {
        let lines = rows.iter().filter(|r| r.packets_per_s == *rate).map(|r| svg::Line {
            name: r.arm.name().to_owned(),
            points: r.curve.iter().map(|&(q, ns)| (ns.max(1.0), q)).collect(),
        });
        svg::Panel {
            title: format!("{rate} packets/s"),
            x: "t_tx - t_eligible, ns".to_owned(),
            y: "share of packets".to_owned(),
            lines: lines.collect(),
        }
    });
    svg::curves("Release error by the TSC, one core, net_ring", &panels.collect::<Vec<_>>())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let machine = Machine::read();
    println!("{machine}; on CPU {}", args.cpu);
    let world = World::start(args.cpu)?;
    let length = Nanos::from_millis(args.block_ms);
    let mut spin = world.polling_spin(0)?;
    let mut rows = Vec::new();
    let mut slot = Nanos::ZERO;
    for (n, (rate, _)) in RATES.into_iter().enumerate() {
        let (mut product, wheel_slot) = world.product(2 + 4 * n as u32, rate, None)?;
        let (mut fine, _) = world.product(4 + 4 * n as u32, rate, Some(Nanos(64)))?;
        slot = wheel_slot;
        let mut blocks = [const { Vec::new() }; 4];
        for round in 0..args.rounds {
            for turn in 0..Arm::ALL.len() {
                let i = (round + turn) % Arm::ALL.len();
                let before = Marks::read(args.cpu);
                let block = match Arm::ALL[i] {
                    Arm::BareSpin => bare_spin(&world.clock, gap(rate), length),
                    Arm::PollingSpin => spin.block(&world.clock, &world.pool, gap(rate), length),
                    Arm::Worker => product.block(&world.clock, &world.pool, length),
                    Arm::FineWorker => fine.block(&world.clock, &world.pool, length),
                };
                let disturbed = before.until(Marks::read(args.cpu)).is_any()
                    || block.longest_turn_ns > TURN_MAX_NS;
                blocks[i].push((block, disturbed));
            }
        }
        for (arm, blocks) in Arm::ALL.into_iter().zip(&blocks) {
            rows.push(row(arm, rate, length.0 as f64, blocks));
        }
    }
    drop(spin);
    world.end()?;
    let verdicts = verdicts(&rows, slot);
    print(&rows, &verdicts, slot);
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out)?;
        let result = serde_json::json!({
            "machine": machine, "slot_ns": slot.0, "rows": rows, "bounds": verdicts,
        });
        std::fs::write(out.join("release.json"), serde_json::to_string_pretty(&result)?)?;
        std::fs::write(out.join("release.svg"), picture(&rows))?;
    }
    if args.gate && verdicts.iter().any(|v| !v.met) {
        std::process::exit(1);
    }
    Ok(())
}
