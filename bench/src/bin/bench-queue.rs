//! The deadline queue and the buckets beside their peers.
//!
//! `bench-queue [--rounds 7] [--cpu 1] [--out DIR] [--quick]`: a table on stdout; `queue.json` and
//! `queue.svg` in DIR. Exit 1 with `--gate` when a bound is not met.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use bench::buckets::{Packets, product, with_memo};
use bench::machine::{self, Disturbed, Machine, Marks};
use bench::queue::{
    CancellableHashedWheel, Carousel, DeadlineQueue, Dpdk, HashedWheel, Heap, LazyHeap,
    RTE_SCHED_DOES, RekeyedTree, RteSched, SLOT_NS, Tree, Wheel,
};
use bench::stats::{least, median, quantile};
use bench::svg;
use bench::workload::{Block, Load, Ordering, Pattern, Spread};
use clap::Parser;
use serde::Serialize;

/// The deadline queue beside its peers, interleaved in one run.
#[derive(Parser)]
struct Args {
    /// Times each queue is measured, in turn with the others.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// CPU to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Where queue.json and queue.svg go.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Uniform spread and 1 k and 100 k nodes only.
    #[arg(long)]
    quick: bool,
    /// Exit 1 when a bound is not met.
    #[arg(long)]
    gate: bool,
    /// The buckets only.
    #[arg(long)]
    buckets: bool,
    /// One size only.
    #[arg(long)]
    nodes: Option<u32>,
    /// Print the memory that one queue takes, and nothing else.
    #[arg(long, hide = true, num_args = 2, value_names = ["QUEUE", "NODES"])]
    memory: Option<Vec<String>>,
}

/// One queue under one load.
trait Arm {
    fn name(&self) -> &'static str;
    fn block(&mut self, pattern: Pattern, pairs: u64) -> Block;
}

struct Loaded<Q>(&'static str, Load<Q>);

impl<Q: DeadlineQueue> Arm for Loaded<Q> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn block(&mut self, pattern: Pattern, pairs: u64) -> Block {
        self.1.warm_up(pattern);
        self.1.block(pattern, pairs)
    }
}

/// DPDK's scheduler: it knows one pattern and no spread.
struct Sched(RteSched);

impl Arm for Sched {
    fn name(&self) -> &'static str {
        RTE_SCHED
    }

    fn block(&mut self, _pattern: Pattern, pairs: u64) -> Block {
        self.0.warm_up();
        self.0.steady(pairs)
    }
}

/// What is to be said of DPDK's scheduler at one size, beside its row or in place of it.
#[derive(Clone, Debug, Serialize)]
struct SchedNote {
    nodes: u32,
    /// DPDK memory for each pipe, without its packet.
    bytes_per_pipe: Option<f64>,
    /// Why there is no row.
    not_run: Option<String>,
}

const WHEEL: &str = "wirepace";
const CAROUSEL: &str = "Carousel";
const HEAP: &str = "BinaryHeap";
const TREE: &str = "BTreeSet";
const HASHED: &str = "hash wheel";
const RTE_SCHED: &str = "rte_sched";
const QUEUES: [&str; 6] = [WHEEL, CAROUSEL, HASHED, HEAP, TREE, RTE_SCHED];

fn arm<Q: DeadlineQueue + 'static>(
    name: &'static str,
    pattern: Pattern,
    spread: Spread,
    nodes: u32,
) -> Box<dyn Arm> {
    let load = if pattern == Pattern::FillDrain {
        Load::<Q>::empty(spread, nodes)
    } else {
        Load::<Q>::warm(spread, nodes)
    };
    Box::new(Loaded(name, load))
}

fn arms(pattern: Pattern, spread: Spread, nodes: u32) -> Vec<Box<dyn Arm>> {
    let mut arms = vec![arm::<Wheel>(WHEEL, pattern, spread, nodes)];
    if pattern == Pattern::CancelHeavy {
        arms.push(arm::<CancellableHashedWheel>(HASHED, pattern, spread, nodes));
        arms.push(arm::<LazyHeap>(HEAP, pattern, spread, nodes));
        arms.push(arm::<RekeyedTree>(TREE, pattern, spread, nodes));
    } else {
        arms.push(arm::<Carousel>(CAROUSEL, pattern, spread, nodes));
        arms.push(arm::<HashedWheel>(HASHED, pattern, spread, nodes));
        arms.push(arm::<Heap>(HEAP, pattern, spread, nodes));
        arms.push(arm::<Tree>(TREE, pattern, spread, nodes));
    }
    arms
}

/// A row of the result.
#[derive(Clone, Debug, Serialize)]
struct Row {
    queue: &'static str,
    nodes: u32,
    spread: Spread,
    pattern: Pattern,
    /// Median over blocks, ns for schedule and release (or cancel and schedule) together.
    ns_per_pair: f64,
    /// The best block.
    ns_per_pair_min: f64,
    /// Over batches of all blocks.
    batch_p50_ns: f64,
    batch_p99_ns: f64,
    /// Median over rounds of this queue's time by the product's in the same round.
    times_wirepace: f64,
    blocks: usize,
    disturbed_blocks: usize,
}

/// ns for each pair, round by round, and whether the round was disturbed.
#[derive(Default)]
struct Series {
    ns: Vec<f64>,
    disturbed: Vec<Disturbed>,
    batches: Vec<f64>,
}

impl Series {
    /// Blocks that nothing disturbed, or all where fewer than three are left.
    fn clean(&self) -> Vec<usize> {
        let clean: Vec<usize> =
            (0..self.ns.len()).filter(|&i| !self.disturbed[i].is_any()).collect();
        if clean.len() >= 3 { clean } else { (0..self.ns.len()).collect() }
    }

    fn median(&self) -> f64 {
        median(&self.clean().iter().map(|&i| self.ns[i]).collect::<Vec<_>>())
    }
}

fn cell(
    args: &Args,
    (pattern, spread): (Pattern, Spread),
    nodes: u32,
    sched: Option<RteSched>,
    rows: &mut Vec<Row>,
) {
    let pairs = match (nodes, pattern) {
        (..=10_000, _) => 200_000,
        (_, Pattern::FillDrain) => u64::from(nodes),
        _ => 300_000,
    };
    let rounds = if nodes > 500_000 { args.rounds.min(5) } else { args.rounds };
    let mut arms = arms(pattern, spread, nodes);
    if let Some(sched) = sched {
        arms.push(Box::new(Sched(sched)));
    }
    let mut series: Vec<Series> = arms.iter().map(|_| Series::default()).collect();
    for round in 0..rounds {
        for turn in 0..arms.len() {
            let i = (round + turn) % arms.len();
            let before = Marks::read(args.cpu);
            let block = arms[i].block(pattern, pairs);
            series[i].disturbed.push(before.until(Marks::read(args.cpu)));
            series[i].ns.push(block.ns / block.pairs as f64);
            series[i].batches.extend(block.batches);
        }
    }
    let ours = series[0].ns.clone();
    for (arm, mut s) in arms.iter().zip(series) {
        let ratios: Vec<f64> = s.ns.iter().zip(&ours).map(|(peer, ours)| peer / ours).collect();
        rows.push(Row {
            queue: arm.name(),
            nodes,
            spread,
            pattern,
            ns_per_pair: s.median(),
            ns_per_pair_min: least(&s.ns),
            batch_p50_ns: quantile(&mut s.batches, 0.5),
            batch_p99_ns: quantile(&mut s.batches, 0.99),
            times_wirepace: median(&ratios),
            blocks: s.ns.len(),
            disturbed_blocks: s.disturbed.iter().filter(|d| d.is_any()).count(),
        });
    }
}

/// What does not depend on the load.
#[derive(Clone, Debug, Serialize)]
struct Facts {
    queue: &'static str,
    /// Grown resident memory for each of a million nodes, in a process of its own.
    bytes_per_node: Option<f64>,
    /// A poll of an empty queue, ns.
    idle_poll_empty_ns: f64,
    /// A poll of a queue whose 100,000 nodes wait for far away, ns.
    idle_poll_waiting_ns: f64,
    ordering: Ordering,
}

fn facts_of<Q: DeadlineQueue>(queue: &'static str, rounds: usize) -> Facts {
    let idle = |nodes| {
        let polls: Vec<f64> =
            (0..rounds.max(3)).map(|_| Load::<Q>::idle_poll(nodes, 1_000_000)).collect();
        median(&polls)
    };
    Facts {
        queue,
        bytes_per_node: memory_of(queue, 1_000_000),
        idle_poll_empty_ns: idle(0),
        idle_poll_waiting_ns: idle(100_000),
        ordering: Load::<Q>::ordering(Spread::Uniform, 100_000, 500_000),
    }
}

/// Bytes for each node, measured in a new process.
fn memory_of(queue: &str, nodes: u32) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output =
        Command::new(program).args(["--memory", queue, &nodes.to_string()]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn print_memory(queue: &str, nodes: u32) {
    fn grown<Q: DeadlineQueue>(nodes: u32) -> f64 {
        let before = machine::resident_bytes();
        let load = Load::<Q>::warm(Spread::Uniform, nodes);
        let after = machine::resident_bytes();
        drop(load);
        (after - before) as f64 / f64::from(nodes)
    }
    let bytes = match queue {
        WHEEL => grown::<Wheel>(nodes),
        CAROUSEL => grown::<Carousel>(nodes),
        HASHED => grown::<HashedWheel>(nodes),
        HEAP => grown::<Heap>(nodes),
        TREE => grown::<Tree>(nodes),
        _ => return,
    };
    println!("{bytes:.1}");
}

/// DPDK's scheduler with `nodes` pipes, if it can be had; what is to be said of it goes to `notes`.
fn sched(dpdk: Result<&Dpdk, &String>, nodes: u32, notes: &mut Vec<SchedNote>) -> Option<RteSched> {
    let made = dpdk.map_err(Clone::clone).and_then(|dpdk| RteSched::new(dpdk, nodes));
    notes.push(SchedNote {
        nodes,
        bytes_per_pipe: made.as_ref().ok().map(RteSched::bytes_per_pipe),
        not_run: made.as_ref().err().cloned(),
    });
    made.ok()
}

fn print_sched(notes: &[SchedNote]) {
    println!("\n{RTE_SCHED}: {RTE_SCHED_DOES}");
    for SchedNote { nodes, bytes_per_pipe, not_run } in notes {
        match (bytes_per_pipe, not_run) {
            (_, Some(why)) => println!("{RTE_SCHED:<12} {nodes:>9} not run: {why}"),
            (Some(bytes), None) => println!("{RTE_SCHED:<12} {nodes:>9} {bytes:.0} bytes a pipe"),
            (None, None) => {}
        }
    }
}

fn print_rows(rows: &[Row]) {
    println!(
        "\n{:<12} {:>9} {:<8} {:<11} {:>8} {:>8} {:>8} {:>8} {:>10}  blocks",
        "queue", "nodes", "spread", "pattern", "ns/pair", "min", "p50", "p99", "x wirepace"
    );
    for r in rows {
        println!(
            "{:<12} {:>9} {:<8} {:<11} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>10.2}  {}{}",
            r.queue,
            r.nodes,
            r.spread.name(),
            r.pattern.name(),
            r.ns_per_pair,
            r.ns_per_pair_min,
            r.batch_p50_ns,
            r.batch_p99_ns,
            r.times_wirepace,
            r.blocks,
            if r.disturbed_blocks > 0 {
                format!(" ({} disturbed)", r.disturbed_blocks)
            } else {
                String::new()
            }
        );
    }
}

fn print_facts(facts: &[Facts]) {
    println!(
        "\n{:<12} {:>10} {:>11} {:>13} {:>8} {:>12} {:>10} {:>10} {:>10}",
        "queue",
        "bytes/node",
        "idle empty",
        "idle waiting",
        "early",
        "earliest ns",
        "late p50",
        "late p99",
        "unordered"
    );
    for f in facts {
        println!(
            "{:<12} {:>10} {:>8.2} ns {:>10.2} ns {:>7.1}% {:>12} {:>10} {:>10} {:>9.1}%",
            f.queue,
            f.bytes_per_node.map_or("-".to_owned(), |b| format!("{b:.1}")),
            f.idle_poll_empty_ns,
            f.idle_poll_waiting_ns,
            100.0 * f.ordering.early,
            f.ordering.earliest_ns,
            f.ordering.late_p50_ns,
            f.ordering.late_p99_ns,
            100.0 * f.ordering.out_of_order,
        );
    }
}

/// A bound and what was found.
#[derive(Clone, Debug, Serialize)]
struct Verdict {
    what: String,
    found: f64,
    bound: f64,
    met: bool,
}

fn at_most(what: &str, found: f64, bound: f64) -> Verdict {
    Verdict { what: what.to_owned(), found, bound, met: found <= bound }
}

fn at_least(what: &str, found: f64, bound: f64) -> Verdict {
    Verdict { what: what.to_owned(), found, bound, met: found >= bound }
}

/// The bounds, over uniform spread and steady load.
fn verdicts(rows: &[Row], facts: &[Facts]) -> Vec<Verdict> {
    let of = |queue, nodes| {
        rows.iter().find(|r| {
            (r.queue, r.nodes, r.spread, r.pattern)
                == (queue, nodes, Spread::Uniform, Pattern::Steady)
        })
    };
    let mut verdicts = Vec::new();
    for nodes in [1_000, 100_000] {
        if let Some(r) = of(WHEEL, nodes) {
            verdicts.push(at_most(
                &format!("ns for schedule + release, {nodes} nodes"),
                r.ns_per_pair,
                20.0,
            ));
        }
    }
    if let (Some(many), Some(some)) = (of(WHEEL, 1_000_000), of(WHEEL, 100_000)) {
        let bound = 2.5 * some.ns_per_pair.max(20.0);
        verdicts.push(at_most("ns for schedule + release, 1000000 nodes", many.ns_per_pair, bound));
    }
    if let Some(r) = of(HEAP, 100_000) {
        verdicts.push(at_least(
            "times faster than BinaryHeap, 100000 nodes",
            r.times_wirepace,
            5.0,
        ));
    }
    for nodes in [1_000, 100_000, 1_000_000] {
        for queue in [HASHED, HEAP, TREE, RTE_SCHED] {
            if let Some(r) = of(queue, nodes) {
                let what = format!("times faster than {queue}, {nodes} nodes");
                verdicts.push(at_least(&what, r.times_wirepace, 1.0));
            }
        }
        if let Some(r) = of(CAROUSEL, nodes) {
            let what = format!("times Carousel's time, {nodes} nodes");
            verdicts.push(at_most(&what, 1.0 / r.times_wirepace, 1.3));
        }
    }
    if let Some(f) = facts.iter().find(|f| f.queue == WHEEL) {
        verdicts.push(at_most("ns for an idle poll of an empty queue", f.idle_poll_empty_ns, 5.0));
    }
    verdicts
}

/// Three levels asked and taken for a packet.
#[derive(Clone, Debug, Serialize)]
struct BucketRow {
    rates: &'static str,
    packets: Packets,
    product_ns: f64,
    with_memo_ns: f64,
}

fn buckets(rounds: usize) -> Vec<BucketRow> {
    const COUNT: u64 = 1_000_000;
    let mut rows = Vec::new();
    for (rates, bits) in [
        ("20M, 50M, 1G", [20_000_000, 50_000_000, 1_000_000_000]),
        ("three primes", [19_999_999, 49_999_991, 999_999_937]),
    ] {
        for packets in [Packets::Alike, Packets::Mixed] {
            let (mut ours, mut memo) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(product(bits, packets, COUNT));
                memo.push(with_memo(bits, packets, COUNT));
            }
            let (product_ns, with_memo_ns) = (median(&ours), median(&memo));
            rows.push(BucketRow { rates, packets, product_ns, with_memo_ns });
        }
    }
    rows
}

fn print_buckets(rows: &[BucketRow]) {
    println!("\nbuckets, ask and take at three levels, ns for a packet");
    for r in rows {
        let packets = if r.packets == Packets::Alike { "alike" } else { "mixed" };
        println!(
            "{:<14} lengths {:<6} {:>6.2}  with memo and division {:>6.2}",
            r.rates, packets, r.product_ns, r.with_memo_ns
        );
    }
}

fn picture(rows: &[Row]) -> String {
    let mut groups: Vec<svg::Group> = Vec::new();
    for r in rows {
        let name = format!("{}, {}, {}", r.nodes, r.spread.name(), r.pattern.name());
        if groups.last().is_none_or(|group| group.name != name) {
            groups.push(svg::Group { name, bars: Vec::new() });
        }
        if let Some(group) = groups.last_mut() {
            group.bars.push((r.queue.to_owned(), r.ns_per_pair));
        }
    }
    let title = "Deadline queues: schedule and release (or cancel and schedule) of one node";
    svg::bars(title, "ns, median", &QUEUES.map(str::to_owned), &groups)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    if let Some([queue, nodes]) = args.memory.as_deref() {
        print_memory(queue, nodes.parse()?);
        return Ok(());
    }
    let pinned = machine::pin(args.cpu);
    let machine = Machine::read();
    let place = if pinned { format!("on CPU {}", args.cpu) } else { "not pinned".to_owned() };
    println!("{machine}; {place}");
    if args.buckets {
        print_buckets(&buckets(args.rounds));
        return Ok(());
    }
    let sizes: &[u32] = if args.quick { &[1_000, 100_000] } else { &[1_000, 100_000, 1_000_000] };
    let one = args.nodes.map(|n| [n]);
    let sizes = one.as_ref().map_or(sizes, |one| &one[..]);
    let spreads = if args.quick { &Spread::ALL[..1] } else { &Spread::ALL[..] };
    let mut rows = Vec::new();
    let dpdk = Dpdk::start(args.cpu);
    let mut sched_notes = Vec::new();
    for pattern in Pattern::ALL {
        for &spread in spreads {
            for &nodes in sizes {
                let from = rows.len();
                let has_sched = pattern == Pattern::Steady && spread == Spread::Uniform;
                let sched = has_sched.then(|| sched(dpdk.as_ref(), nodes, &mut sched_notes));
                cell(&args, (pattern, spread), nodes, sched.flatten(), &mut rows);
                if from == 0 {
                    print_rows(&rows);
                } else {
                    print_rows(&rows[from..]);
                }
            }
        }
    }
    let facts = vec![
        facts_of::<Wheel>(WHEEL, args.rounds),
        facts_of::<Carousel>(CAROUSEL, args.rounds),
        facts_of::<HashedWheel>(HASHED, args.rounds),
        facts_of::<Heap>(HEAP, args.rounds),
        facts_of::<Tree>(TREE, args.rounds),
    ];
    print_facts(&facts);
    print_sched(&sched_notes);
    let verdicts = verdicts(&rows, &facts);
    println!();
    for v in &verdicts {
        let met = if v.met { "met" } else { "NOT met" };
        println!("{:<52} {:>8.2}  bound {:>8.2}  {met}", v.what, v.found, v.bound);
    }
    let buckets = buckets(args.rounds);
    print_buckets(&buckets);
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out)?;
        let result = serde_json::json!({
            "machine": machine, "slot_ns": SLOT_NS, "rows": rows, "queues": facts,
            "rte_sched": { "does": RTE_SCHED_DOES, "sizes": sched_notes },
            "buckets": buckets, "bounds": verdicts,
        });
        std::fs::write(out.join("queue.json"), serde_json::to_string_pretty(&result)?)?;
        std::fs::write(out.join("queue.svg"), picture(&rows))?;
    }
    if args.gate && verdicts.iter().any(|v| !v.met) {
        std::process::exit(1);
    }
    Ok(())
}
