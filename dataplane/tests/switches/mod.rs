//! Profile switches under load, on real threads and in real time.
//!
//! ```text
//! generator -> net_ring -> worker (a core of its own) -> net_ring -> sink
//! ```
//! The calling thread generates, takes in what comes out and plays control. Every second switch goes
//! from `normal` to `normal`: it changes nothing, so what the machine itself does to a packet in the
//! same span of time stands beside what a switch does.
#![allow(dead_code, reason = "the example and the test use different parts")]

use std::thread;
use std::time::{Duration, Instant};

use dataplane::assemble::{self, TimeBase};
use dataplane::channel::{ControlLink, Event};
use dataplane::clock::{BASELINE_MIN, Calibrator, Clock};
use dataplane::thread::DataCore;
use dataplane::worker::{NoWords, Worker};
use model::config::Config;
use model::inflight::CompletionSource;
use model::kpi::{Block, Totals};
use model::time::Nanos;

use crate::common::{Bench, rings, worker_parts};
use crate::traffic::{BURST, Generator, MADE, Sink};

/// Under `contain` orders queue: of a burst some dozen come at once, and leave 2 us apart. A sink that the
/// machine keeps from its CPU is no stall.
const REST: &str = r#"
[default_class]
inside = "quotes"
venue = "back"
[[class]]
name = "orders"
kind = "order"
max_hold = "10s"
messages = "2000000/s"
message_burst = 64
messages_per_segment = 1
[[class]]
name = "cancels"
kind = "cancel"
priority = 0
[[class]]
name = "quotes"
[[class]]
name = "back"
from = "venue"
[[rule]]
class = "orders"
protocol = "udp"
dst_port = "7000-7002"
[[rule]]
class = "cancels"
protocol = "udp"
dst_port = 7003
[[profile]]
name = "contain"
[[profile.class]]
name = "orders"
messages = "500000/s"
message_burst = 4
"#;

/// Nothing has moved for so long: the run has failed.
const STUCK: Duration = Duration::from_secs(10);

/// How a run is driven.
pub struct Plan {
    /// Switches that change something; as many that do not stand between them.
    pub switches: u64,
    /// Packets in a second; `None` = as many as go through.
    pub packets_per_s: Option<u64>,
    /// CPU of the worker, which is then its own; else it gives its time away while it has nothing to
    /// do.
    pub cpu: Option<usize>,
}

/// What a run came to.
pub struct Outcome {
    pub generated: u64,
    pub arrived: u64,
    pub swapped: u64,
    pub totals: Totals,
    /// The longest waits of due packets after each switch, and what ended in that time.
    pub switched: Vec<Settled>,
    /// The same after switches that changed nothing.
    pub unchanged: Vec<Settled>,
    /// Packets that waited for a cap: `contain` was in force.
    pub cap_hits: u64,
    pub seconds: f64,
}

/// What [`Event::SwitchSettled`] says.
#[derive(Clone, Copy)]
pub struct Settled {
    pub longest_wait: Nanos,
    pub lost: u32,
}

impl Outcome {
    /// Every law that must hold, by name; empty when all do.
    pub fn broken(&self, plan: &Plan) -> Vec<&'static str> {
        let t = &self.totals;
        let lost = self.switched.iter().chain(&self.unchanged).any(|settled| settled.lost > 0);
        let laws = [
            ("every switch was answered", {
                let answered = [&self.switched, &self.unchanged].map(|all| all.len() as u64);
                answered == [plan.switches; 2]
            }),
            ("nothing lost", t.dropped() == 0 && !lost && self.arrived == self.generated),
            ("nothing reordered within a flow", self.swapped == 0),
            ("nothing early", t.early == 0),
            ("the books", t.packets_in == self.generated && t.packets_out == self.arrived),
            ("contain was in force", self.cap_hits > 0),
        ];
        laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect()
    }
}

/// What is asked for next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Contain,
    Nothing,
    Normal,
}

/// Control's side: one switch after the other, each when the one before has settled.
struct Switcher {
    link: ControlLink<Block>,
    block: Block,
    asked: u64,
    is_open: bool,
    switched: Vec<Settled>,
    unchanged: Vec<Settled>,
}

impl Switcher {
    /// There and back with a switch that changes nothing after each.
    const STEPS: [Step; 4] = [Step::Contain, Step::Nothing, Step::Normal, Step::Nothing];

    fn step(&self, number: u64) -> Step {
        Self::STEPS[(number % Self::STEPS.len() as u64) as usize]
    }

    fn turn(&mut self, config: &Config, plan: &Plan) {
        rings::take_in(&mut self.link, &mut self.block);
        while let Some(event) = self.link.take_event() {
            let Event::SwitchSettled { longest_wait, lost, .. } = event else { continue };
            let settled = Settled { longest_wait, lost };
            match self.step(self.asked - 1) {
                Step::Nothing => self.unchanged.push(settled),
                Step::Contain | Step::Normal => self.switched.push(settled),
            }
            self.is_open = false;
        }
        if self.is_open || self.is_done(plan) {
            return;
        }
        let contain = || Box::new(config.profiles[1].clone());
        let is_contained = self.asked % 4 == 1;
        let sent = match self.step(self.asked) {
            Step::Contain => self.link.set_profile(contain(), Nanos::MAX),
            Step::Nothing if is_contained => self.link.set_profile(contain(), Nanos::MAX),
            Step::Nothing | Step::Normal => self.link.set_normal(),
        };
        if sent.is_ok() {
            self.asked += 1;
            self.is_open = true;
        }
    }

    fn is_done(&self, plan: &Plan) -> bool {
        !self.is_open && self.asked >= 2 * plan.switches
    }
}

/// The calling thread runs on other CPUs from now on, where there are any.
fn keep_off(cpu: usize) {
    let mut cpus = rustix::thread::sched_getaffinity(None).unwrap();
    cpus.unset(cpu);
    if cpus.count() > 0 {
        rustix::thread::sched_setaffinity(None, &cpus).unwrap();
    }
}

/// Carries out `plan`. At its end every buffer is back, or the bench fails.
pub fn run(plan: &Plan) -> Outcome {
    let bench = Bench::with_pool(16_383, 2_304);
    let mut config = rings::config(2_048, ["", "stall_time = \"1s\""], REST);
    let (_in, in_rx, in_tx) = bench.open("net_ring0");
    let (_out, out_rx, out_tx) = bench.open("net_ring1");
    let (_, model) = Calibrator::start(BASELINE_MIN).unwrap();
    let (base, start) = (TimeBase::Tsc, Clock::new(model).now());
    let completion = CompletionSource::RingCount;
    let lane =
        assemble::lane(&config, &bench.pool, base, start, 0, (0, in_rx), (1, out_tx), completion);
    let kpis = assemble::kpi_plan(&config, &[(1, completion)], base);
    config.gateway.drain_max = Nanos::from_secs(1);
    let lanes = vec![lane.unwrap()];
    let (parts, control) = worker_parts(&config, &kpis, lanes, (1 << 10, 256), 1_024, NoWords);
    let (pool, cpu) = (bench.pool.clone(), plan.cpu);
    let core = thread::spawn(move || {
        let _core = DataCore::enter(cpu, &[pool]).unwrap();
        let mut worker = Worker::new(parts, Clock::new(model));
        loop {
            let turn = worker.poll(worker.next_turn());
            if turn.ended {
                break drop(worker.finish());
            }
            if turn.packets == 0 && cpu.is_none() {
                thread::yield_now();
            }
        }
    });

    if let Some(cpu) = plan.cpu {
        keep_off(cpu);
    }
    let mut generator = Generator::new(bench.pool.clone(), in_tx, u64::MAX);
    let mut sink = Sink::new(out_rx, MADE);
    let (switched, unchanged) = (Vec::new(), Vec::new());
    let block = Block::new(&kpis);
    let mut switcher =
        Switcher { link: control, block, asked: 0, is_open: false, switched, unchanged };
    let (began, mut last_move) = (Instant::now(), Instant::now());
    let mut due_from = (Instant::now(), 0);
    while !switcher.is_done(plan) || sink.arrived < generator.generated {
        let on_the_way = generator.generated - sink.arrived;
        if !switcher.is_done(plan) {
            if let Some(rate) = plan.packets_per_s {
                let (since, made) = due_from;
                let due = made + since.elapsed().as_nanos() as u64 * rate / 1_000_000_000;
                let whole = due / BURST as u64 * BURST as u64;
                generator.turn(whole);
                if due.saturating_sub(generator.generated) > 4 * BURST as u64 {
                    // This thread was away: what it missed is not made up in one burst.
                    due_from = (Instant::now(), generator.generated);
                }
            } else if on_the_way < 8 * BURST as u64 {
                generator.turn(generator.generated + BURST as u64);
            }
        } else {
            // What the ring did not take yet.
            generator.turn(generator.generated);
        }
        let taken = sink.turn();
        switcher.turn(&config, plan);
        if taken > 0 {
            last_move = Instant::now();
        } else if cpu.is_none() {
            thread::yield_now();
        }
        assert!(
            last_move.elapsed() < STUCK,
            "nothing moves: {} made, {} came, {} switches asked, {:?}",
            generator.generated,
            sink.arrived,
            switcher.asked,
            switcher.block.totals(),
        );
    }
    let seconds = began.elapsed().as_secs_f64();
    switcher.link.stopper().stop();
    core.join().unwrap();
    while let Some(full) = switcher.link.take_block() {
        switcher.block.merge(&full);
    }
    let totals = switcher.block.totals();
    Outcome {
        generated: generator.generated,
        arrived: sink.arrived,
        swapped: sink.swapped,
        totals,
        cap_hits: switcher.block.cells.iter().map(|cell| cell.cap_hits).sum(),
        switched: switcher.switched,
        unchanged: switcher.unchanged,
        seconds,
    }
}
