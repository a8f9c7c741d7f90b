//! Runs out of a seed: arms whose figures are known, with noise as a busy machine makes it.

use model::kpi::catalogue::{self, Arm as Where};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rig::ab::plan::{Arm as Side, Plan};
use rig::ab::result::{
    Arm, Asked, Backlog, Belongs, Block, Conditions, Contract, Environment, Fact, Gates, Header,
    Kpi, Lack, Passage, Question, Raster, Resolution, RunResult, Series, Totals, Void, VoidRule,
    Workload,
};

/// What an arm is like, before noise.
#[derive(Clone, Copy, Debug)]
pub struct Like {
    pub gap_error_ns: f64,
    pub excess: f64,
    pub delay_p50_ns: f64,
    pub delay_p99_ns: f64,
    pub goodput: f64,
    pub completion: f64,
    pub cpu_ns: f64,
}

/// An arm in which the kernel paces.
pub const KERNEL: Like = Like {
    gap_error_ns: 80_000.0,
    excess: 3.0,
    delay_p50_ns: 30_000.0,
    delay_p99_ns: 90_000.0,
    goodput: 17e6,
    completion: 0.9999,
    cpu_ns: 9_000.0,
};

/// How a run is made up.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub seed: u64,
    pub rounds: u32,
    /// The arm in which the kernel paces, and the reference.
    pub kernel: Like,
    pub wirepace: Like,
    /// Relative noise of a block.
    pub noise: f64,
    /// One block in so many is void, and wild; 0: none.
    pub void_one_in: u32,
    /// Not all figures, only those that gate.
    pub is_short: bool,
}

impl World {
    pub const fn new(seed: u64, wirepace: Like) -> Self {
        Self {
            seed,
            rounds: 12,
            kernel: KERNEL,
            wirepace,
            noise: 0.1,
            void_one_in: 0,
            is_short: true,
        }
    }
}

pub struct Noise(Pcg64Mcg);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// 0 to 1.
    pub fn uniform(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }

    /// About normal, with one in 16 draws five times as far.
    fn wild(&mut self) -> f64 {
        let sum: f64 = (0..6).map(|_| self.uniform() - 0.5).sum();
        if self.0.next_u32().is_multiple_of(16) { 5.0 * sum } else { sum }
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end
    }
}

/// The run that `world` describes: `sender`, `kernel`, `kernel-none` and `wirepace`, or with `is_short` the two
/// that are judged.
pub fn run(world: World) -> RunResult {
    let mut noise = Noise::new(world.seed);
    let (all_arms, likes) = arms(&world);
    let plan = Plan::draw(world.seed, world.rounds as usize);
    let mut blocks = Vec::new();
    for round in 0..world.rounds {
        // What drifts from round to round moves all arms.
        let drift = 0.3 * noise.wild() * world.noise;
        let mut order: Vec<usize> = (0..all_arms.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, noise.below(last + 1));
        }
        if world.is_short {
            let first = plan.first[round as usize];
            order = if first == Side::A { vec![0, 1] } else { vec![1, 0] };
        }
        let is_void = world.void_one_in > 0 && round % world.void_one_in == 1;
        for attempt in 0..=u32::from(is_void) {
            for (position, arm) in (0..).zip(&order) {
                let mut block = block(&world, likes[*arm], *arm, &mut noise, drift);
                (block.round, block.attempt, block.position) = (round, attempt, position);
                if is_void && attempt == 0 {
                    block.void.push(Void::Steal { cpu: 1, ppm: 40_000 });
                }
                blocks.push(block);
            }
        }
    }
    let workload = Workload {
        name: "steady-orders".to_owned(),
        schedule_file: "steady-orders.schedule".to_owned(),
        messages: 20_000,
        contract: Contract {
            rate_bits_per_s: 20_000_000,
            messages_per_s: 10_000,
            burst_bytes: 2_000,
            max_delay_ns: 20_000_000,
            latency_budget_ns: 50_000,
            link_bits_per_s: 1_000_000_000,
            gap_error_p99_ns: None,
        },
        block_ns: 2_000_000_000,
        rounds: world.rounds,
        blocks,
    };
    let question = Question {
        asked: Asked::WhoPaces,
        text: "Who paces: the strategy, the kernel or wirepace?".to_owned(),
        reference: all_arms.len() - 1,
        arms: all_arms,
        belongs: vec![
            Belongs {
                what: "hand-over".to_owned(),
                to_workload: true,
                value: "10 every 1 ms".to_owned(),
            },
            Belongs {
                what: "queueing discipline".to_owned(),
                to_workload: false,
                value: "HTB in kernel, none elsewhere".to_owned(),
            },
        ],
        workloads: vec![workload],
    };
    RunResult {
        format: rig::ab::result::FORMAT,
        header: header(world.seed),
        environment: Environment {
            facts: vec![fact("kernel", "6.18.0"), fact("clocksource", "tsc <invariant>")],
            cpu_roles: vec![fact("CPU 0", "sender"), fact("CPU 1", "the arm under test")],
        },
        gates: Gates {
            level: 0.01,
            confidence: 0.95,
            resolutions_min: 3.0,
            goodput_margin: 0.01,
            completion_margin: 0.001,
            cpu_margin: 0.5,
        },
        questions: vec![question],
    }
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: name.to_owned(), value: value.to_owned() }
}

fn header(seed: u64) -> Header {
    Header {
        quick: true,
        seed,
        command: format!("wirepace ab --config configs/ab.toml --out out/ab --quick --seed {seed}"),
        version: "0.1.0".to_owned(),
        commit: "0123456".to_owned(),
        config_digest: "89abcdef".to_owned(),
        started_s: 1_800_000_000,
        duration_ns: 58_000_000_000,
        cpus: 2,
        not_measured: vec![
            "A NIC: frames pass veth pairs, which have no serializer, no DMA and no interrupts."
                .to_owned(),
        ],
        lacks: vec![Lack {
            what: "fq".to_owned(),
            reason: "the kernel does not have it".to_owned(),
        }],
        void_rule: VoidRule {
            sentinel_stolen_max: 0.02,
            steal_max: 0.01,
            sender_late_p99_max_ns: 200_000,
            repeats_max: 2,
        },
        ..Header::default()
    }
}

fn arms(world: &World) -> (Vec<Arm>, Vec<Like>) {
    let arm = |name: &str, title: &str, paces, is_kernel| Arm {
        name: name.to_owned(),
        title: title.to_owned(),
        paces,
        is_kernel,
        settings: vec![fact("offloads", "off"), fact("hand-over", "early")],
    };
    let kernel = arm("kernel", "kernel, HTB on the strategy host", true, true);
    let wirepace = arm("wirepace", "wirepace over af_packet on veth", true, false);
    if world.is_short {
        return (vec![kernel, wirepace], vec![world.kernel, world.wirepace]);
    }
    let sender = arm("sender", "the strategy paces by spinning", false, true);
    let none = arm("kernel-none", "kernel, no discipline", false, true);
    let likes = vec![
        Like { gap_error_ns: 9_000.0, excess: 1.0, ..KERNEL },
        world.kernel,
        Like { gap_error_ns: 900_000.0, excess: 9.0, delay_p50_ns: 12_000.0, ..KERNEL },
        world.wirepace,
    ];
    (vec![sender, kernel, none, wirepace], likes)
}

/// A value of one block.
fn noisy(base: f64, world: &World, noise: &mut Noise, drift: f64) -> f64 {
    base * (drift + world.noise * noise.wild()).exp()
}

fn block(world: &World, like: Like, arm: usize, noise: &mut Noise, drift: f64) -> Block {
    let mut value = |base: f64| noisy(base, world, noise, drift);
    let delay = vec![("p50", value(like.delay_p50_ns)), ("p99", value(like.delay_p99_ns))];
    let gap_error = value(like.gap_error_ns);
    let mut kpis = vec![
        kpi(
            "wire_cadence_variability_ns",
            None,
            vec![("p50", gap_error / 4.0), ("p99", gap_error)],
        ),
        kpi("burstiness_index", None, vec![("excess", value(like.excess)), ("bi", 0.001)]),
        kpi("dispatch_to_wire_ns", Some("total"), delay),
        kpi("completion_ratio", None, vec![("ratio", like.completion)]),
        Kpi { class: None, ..kpi("cpu_ns_per_packet", None, vec![("mean", value(like.cpu_ns))]) },
    ];
    // Bytes that arrive are the same but for what is lost: a block hardly moves them.
    let bytes = like.goodput / 8.0 * (1.0 + 0.001 * noise.uniform());
    let span_ns = 1_000_000_000;
    let totals = Totals { delivered_bytes: bytes as u64, span_ns, ..Totals::default() };
    if !world.is_short {
        kpis.extend(others(&kpis, arm, noise));
    }
    Block {
        arm,
        totals,
        kpis,
        series: if world.is_short { Series::default() } else { series(like, noise) },
        conditions: Conditions {
            sentinel_stolen: vec![0.001, 0.003],
            steal: vec![0.0, 0.002],
            observer: Some(Resolution { n: 1_000, p50_ns: 400, p99_ns: 2_500 }),
            captured: 20_000,
            read_back: vec![fact("tso", "off"), fact("gro", "off")],
            ..Conditions::default()
        },
        ..Block::default()
    }
}

fn kpi(name: &str, part: Option<&str>, values: Vec<(&str, f64)>) -> Kpi {
    Kpi {
        name: name.to_owned(),
        class: Some("orders".to_owned()),
        part: part.map(str::to_owned),
        n: 20_000,
        values: values.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect(),
        view: "outside".to_owned(),
        departure: Some("modelled".to_owned()),
        ..Kpi::default()
    }
}

/// The rest of the catalogue, but for every seventh, which is absent, and every eleventh, which nobody records.
fn others(known: &[Kpi], arm: usize, noise: &mut Noise) -> Vec<Kpi> {
    let is_known = |name: &str| known.iter().any(|kpi| kpi.name == name);
    let here = catalogue::all().filter(|of| of.available && of.arms.contains(&Where::Kernel));
    let mut all = Vec::new();
    for (n, definition) in here.enumerate().filter(|(n, _)| n % 11 != 5) {
        if is_known(definition.name) {
            continue;
        }
        let size = if definition.unit == "ns" { 20_000.0 } else { 2.0 };
        let mut one = kpi(definition.name, None, vec![("p50", size * (0.5 + noise.uniform()))]);
        one.proxy = definition.name == "ingest_gap_ns";
        if n % 7 == 3 || definition.name == "send_queue_bytes" && arm == 0 {
            one.values[0].1 = None;
            one.absent = Some("no_bql".to_owned());
        }
        all.push(one);
    }
    all
}

fn series(like: Like, noise: &mut Noise) -> Series {
    let mut quantiles = |scale: f64| -> Vec<i64> {
        let mut all: Vec<i64> =
            (0..200).map(|_| (scale * noise.wild() * noise.wild().exp()) as i64).collect();
        all.sort_unstable();
        all
    };
    let gap_error_ns = quantiles(like.gap_error_ns);
    let release_error_ns = quantiles(like.delay_p99_ns);
    let mut dispatch_to_wire_ns = quantiles(like.delay_p50_ns);
    dispatch_to_wire_ns.iter_mut().for_each(|delay| *delay = delay.abs());
    let passage = |n: u64| {
        let due_ns = 100_000 * n;
        let late = like.gap_error_ns * noise.uniform();
        let wire_ns = (n % 50 != 49).then_some(due_ns + late as u64);
        Passage { due_ns, dispatch_ns: due_ns / 1_000_000 * 1_000_000, wire_ns }
    };
    let timeline: Vec<Passage> = (0..200).map(passage).collect();
    let mut packets = vec![0_u32; 80];
    for passage in &timeline {
        let Some(wire) = passage.wire_ns else { continue };
        if let Some(count) = packets.get_mut((wire / 250_000) as usize) {
            *count += 1;
        }
    }
    let backlog = (0..100).map(|n| (n * 7 % 10) * like.excess as u32).collect();
    Series {
        gap_error_ns,
        release_error_ns,
        dispatch_to_wire_ns,
        timeline,
        raster: Raster { window_ns: 250_000, packets },
        backlog: Backlog { every_ns: 200_000, packets: backlog },
    }
}
